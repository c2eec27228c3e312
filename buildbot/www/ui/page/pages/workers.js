/** All workers, and one worker with its builds. */

import { html, useState } from "../dom.js";
import { count } from "../format.js";
import { useGradually, useQuery, useTitle } from "../hooks.js";
import { controlWorker } from "../parts/actions.js";
import { Content, Panel } from "../parts/basics.js";
import { BuildRow, useNames } from "../parts/builds.js";
import { WorkerDot, WorkerInfo, workerReason, workerState } from "../parts/machines.js";
import { builders as allBuilders, masters as allMasters, runningBuilds, workerBuilds, workers as allWorkers } from "../queries.js";
import { href, replace, to } from "../router.js";
import { acting } from "../visitor.js";
import { NotFound } from "./notfound.js";

export function Workers({ route }) {
  useTitle("Workers");
  const chosen = route.params.get("state");
  const [text, setText] = useState("");
  const workers = useQuery(allWorkers);
  const running = useQuery(runningBuilds);
  const masters = useQuery(allMasters);
  const names = useNames();
  const busy = new Set(running.list.map((build) => build.workerid));
  const order = ["offline", "quarantined", "paused", "stopping", "busy", "idle", "asleep"];
  const configured = workers.list.filter((worker) => worker.configured_on.length || worker.connected_to.length);
  const counts = order.map((state) => [state, configured.filter((worker) => workerState(worker, busy) === state).length]).filter(([, n]) => n);
  const wanted = text.toLowerCase();
  const shown = configured.filter((worker) => worker.name.toLowerCase().includes(wanted) && (!chosen || workerState(worker, busy) === chosen));
  const show = (state) => replace(href(["workers"], { state: state === chosen ? undefined : state }));
  return html`<header class="page-head"><h1>Workers</h1>
      <div class="tags" role="group" aria-label="States">${counts.map(([state, n]) => html`<button class="tag" aria-pressed=${state === chosen} onClick=${() => show(state)}><i class="dot ${state}"></i>${n} ${state}</button>`)}</div>
      <span class="grow"></span>
      <input class="filter" type="search" placeholder="Filter by name" aria-label="Filter by name" value=${text} onInput=${(event) => setText(event.target.value)} /></header>
    <${Panel} title="Workers" class="headless">
      <${Content} query=${workers} empty="No worker is configured." lines=${8}>
        <ul class="rows workers">${shown.map((worker) => {
          const state = workerState(worker, busy);
          const builds = running.list.filter((build) => build.workerid === worker.workerid);
          return html`<li class="row" key=${worker.workerid}>
            <${WorkerDot} state=${state} />
            <a class="main" href=${to.worker(worker.workerid)}><b>${worker.name}</b></a>
            <span class="detail">${builds.length ? builds.map((build) => html`<a class="tag busy" href=${to.build(build.builderid, build.number)}>${names.builder(build.builderid)} #${build.number}</a>`)
              : html`<span class="dim">${[state, workerReason(worker)].filter(Boolean).join(": ")}</span>`}</span>
            <span class="host dim">${hostOf(worker)}</span>
            <span class="time dim">${worker.connected_to.map(({ masterid }) => masters.get(masterid)?.name.split(":")[0] ?? `master ${masterid}`).join(", ")}</span>
            <${WorkerActions} worker=${worker} />
          </li>`;
        })}</ul>
        ${shown.length === 0 && html`<p class="empty">No worker fits.</p>`}
      <//>
    <//>`;
}

function hostOf(worker) {
  const { version, host, system } = worker.workerinfo ?? {};
  return [(host ?? system ?? "").split("\n")[0], version && `worker ${version}`].filter(Boolean).join(" · ");
}

function WorkerActions({ worker }) {
  const online = worker.connected_to.length > 0;
  return html`<span class="worker-actions">
    ${worker.paused || workerState(worker, new Set()) === "quarantined" ? html`<button class="small" ...${acting("workers/unpause")} onClick=${() => controlWorker(worker, "unpause")} aria-label="Unpause ${worker.name}">Unpause</button>`
      : html`<button class="small quiet" ...${acting("workers/pause")} onClick=${() => controlWorker(worker, "pause")} aria-label="Pause ${worker.name}">Pause</button>`}
    ${online && !worker.graceful && html`<button class="small quiet" ...${acting("workers/stop")} onClick=${() => controlWorker(worker, "stop")} aria-label="Shut down ${worker.name}">Shut down</button>`}
    ${online && worker.graceful && html`<button class="small danger-text" ...${acting("workers/kill")} onClick=${() => controlWorker(worker, "kill")} aria-label="Disconnect ${worker.name}">Disconnect</button>`}
  </span>`;
}

export function Worker({ route }) {
  const workers = useQuery(allWorkers);
  const key = route.segments[1];
  const worker = workers.list.find((item) => String(item.workerid) === key) ?? workers.list.find((item) => item.name === key);
  useTitle(worker?.name ?? "Worker");
  if (!worker) return workers.state === "ready" ? html`<${NotFound} what=${`worker ${key}`} />` : html`<${Content} query=${workers} lines=${8} />`;
  return html`<${Known} key=${worker.workerid} worker=${worker} />`;
}

function Known({ worker }) {
  const names = useNames();
  const builds = useQuery(workerBuilds(worker.workerid));
  const drawn = useGradually(builds.list);
  const builders = useQuery(allBuilders);
  const running = builds.list.filter((build) => !build.complete);
  const state = workerState(worker, new Set(running.map((build) => build.workerid)));
  const ids = [...new Set(worker.configured_on.map(({ builderid }) => builderid))];
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.workers()} data-key="up">Workers</a></nav>
      <h1>${worker.name}</h1><span class="chip worker-${state}"><${WorkerDot} state=${state} />${state}</span>
      ${workerReason(worker) && html`<span class="dim">${workerReason(worker)}</span>`}
      <span class="grow"></span><${WorkerActions} worker=${worker} /></header>
    <div class="home">
      <div class="column"><${Panel} title="Builds">
        <${Content} query=${builds} empty="It has built nothing yet." lines=${8}>
          <ul class="rows">${drawn.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} showWorker=${false} />`)}</ul><//>
      <//></div>
      <div class="column side">
        <${Panel} title="Machine"><${WorkerInfo} worker=${worker} /><//>
        <${Panel} title="Builders" count=${ids.length}><ul class="tag-list">${ids.map((id) => html`<li><a class="tag" href=${to.builder(id)}>${builders.get(id)?.name ?? count(id, "builder")}</a></li>`)}</ul><//>
      </div>
    </div>`;
}
