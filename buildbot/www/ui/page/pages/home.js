/** What runs, what waits, what ended, and who does the work. */

import { html, useMemo } from "../dom.js";
import { count, duration } from "../format.js";
import { useGradually, useNow, useQuery, useTitle } from "../hooks.js";
import { Content, Icon, Panel } from "../parts/basics.js";
import { EndedRow, RunningRow, tookSeconds, useNames } from "../parts/builds.js";
import { MasterList, WorkerTiles, workerState } from "../parts/machines.js";
import { QueueRow, useReasons } from "../parts/queue.js";
import { endedBuilds, masters as allMasters, runningBuilds, waiting, workers as allWorkers } from "../queries.js";
import { NAMES, stateOf } from "../results.js";
import { to } from "../router.js";

const SHOWN_WAITING = 12;
const SHOWN_ENDED = 25;

/** Each panel asks for itself, so that an answer draws nothing but what it is about. */
export function Home() {
  useTitle("");
  return html`<h1 class="visually-hidden">Home</h1>
    <${Summary} />
    <div class="home">
      <div class="column"><${Running} /><${Ended} /></div>
      <div class="column side"><${Waiting} /><${Workers} /><${Masters} /></div>
    </div>`;
}

function Running() {
  const names = useNames();
  const running = useQuery(runningBuilds);
  const drawn = useGradually(running.list);
  return html`<${Panel} title="Running" count=${running.list.length}>
    <${Content} query=${running} empty="Nothing is being built right now.">
      <ul class="rows">${drawn.map((build) => html`<${RunningRow} key=${build.buildid} build=${build} names=${names} />`)}</ul>
    <//>
  <//>`;
}

function Ended() {
  const names = useNames();
  const ended = useQuery(endedBuilds);
  const drawn = useGradually(ended.list.slice(0, SHOWN_ENDED), 8);
  return html`<${Panel} title="Ended">
    <${Content} query=${ended} empty="No build has ended yet." lines=${8}>
      <ul class="rows">${drawn.map((build) => html`<${EndedRow} key=${build.buildid} build=${build} names=${names} />`)}</ul>
    <//>
  <//>`;
}

function Waiting() {
  const names = useNames();
  const queue = useQuery(waiting);
  const why = useReasons();
  return html`<${Panel} title="Waiting" count=${queue.total} href=${to.waiting()}>
    <${Content} query=${queue} empty="The queue is empty.">
      <ul class="rows">${queue.list.slice(0, SHOWN_WAITING).map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} why=${why} compact />`)}</ul>
      ${queue.total > SHOWN_WAITING && html`<a class="more" href=${to.waiting()}>${count(queue.total - SHOWN_WAITING, "more request")}</a>`}
    <//>
  <//>`;
}

function Workers() {
  const workers = useQuery(allWorkers);
  const running = useQuery(runningBuilds);
  return html`<${Panel} title="Workers" count=${workers.list.length} href=${to.workers()}>
    <${Content} query=${workers} empty="No worker is configured."><${WorkerTiles} workers=${workers.list} running=${running.list} /><//>
  <//>`;
}

function Masters() {
  const masters = useQuery(allMasters);
  const running = useQuery(runningBuilds);
  return html`<${Panel} title="Masters" count=${masters.list.length} href=${to.masters()}>
    <${Content} query=${masters} empty="No master is known."><${MasterList} masters=${masters.list} running=${running.list} /><//>
  <//>`;
}

function Summary() {
  const [running, queue, workers] = [runningBuilds, waiting, allWorkers].map(useQuery);
  const now = useNow();
  const oldest = queue.list.reduce((first, request) => Math.min(first, request.submitted_at), Infinity);
  const configured = workers.list.filter((worker) => worker.configured_on.length);
  const busy = new Set(running.list.map((build) => build.workerid));
  const online = configured.filter((worker) => worker.connected_to.length);
  const here = configured.filter((worker) => worker.connected_to.length || workerState(worker, busy) === "asleep").length;
  const paused = online.filter((worker) => workerState(worker, busy) === "paused").length;
  const quarantined = configured.filter((worker) => workerState(worker, busy) === "quarantined").length;
  return html`<div class="summary">
    <div class="tile"><span class="label"><${Icon} name="play" />Running</span><b class="num">${running.list.length}</b>
      <small class="dim">${busy.size ? `on ${count(busy.size, "worker")}` : "idle"}</small></div>
    <a class="tile" href=${to.waiting()}><span class="label"><${Icon} name="queue" />Waiting</span><b class="num">${queue.total.toLocaleString()}</b>
      <small class="dim">${queue.total && Number.isFinite(oldest) ? `oldest ${duration(now - oldest)}` : "nothing waits"}</small></a>
    <a class="tile" href=${to.workers()}><span class="label"><${Icon} name="workers" />Workers</span><b class="num">${online.length}<span class="dim">/${configured.length}</span></b>
      <small class=${here < configured.length ? "wrong" : "dim"}>${here < configured.length ? `${configured.length - here} offline` : online.length < here ? `${here - online.length} asleep` : "all online"}${paused ? `, ${paused} paused` : ""}${quarantined ? `, ${quarantined} in quarantine` : ""}</small></a>
    <${Recent} />
  </div>`;
}

/** The latest results at a glance. */
function Recent() {
  const builds = useQuery(endedBuilds).list;
  const shown = useMemo(() => builds.slice(0, 60).reverse(), [builds]);
  const counts = NAMES.map((name) => [name, shown.filter((build) => stateOf(build) === name).length]).filter(([, n]) => n);
  const good = shown.filter((build) => build.results === 0 || build.results === 1).length;
  const longest = Math.max(1, ...shown.map((build) => tookSeconds(build)));
  return html`<div class="tile recent">
    <span class="label">Last ${shown.length} builds</span>
    <div class="recent-body">
      <b class="num">${shown.length ? `${Math.round((good / shown.length) * 100)}%` : "–"}</b>
      <div class="history small" aria-hidden="true">${shown.map((build) => html`<span key=${build.buildid} class="state-${stateOf(build)}">
        <i style=${{ height: `${22 + 78 * Math.sqrt(tookSeconds(build) / longest)}%` }}></i></span>`)}</div>
    </div>
    <small class="dim">${counts.map(([name, n]) => `${n} ${name}`).join(", ")}</small>
  </div>`;
}
