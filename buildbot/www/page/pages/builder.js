/** One builder: its queue, its history, its builds. */

import { html } from "../dom.js";
import { duration } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { cancelAll } from "../parts/actions.js";
import { Content, Icon, Panel } from "../parts/basics.js";
import { BuildRow, History, tookSeconds, useNames } from "../parts/builds.js";
import { openForce } from "../parts/force.js";
import { QueueRow } from "../parts/queue.js";
import { WorkerTiles } from "../parts/machines.js";
import { builderBuilds, builderForceSchedulers, builders as allBuilders, builderWaiting, workers as allWorkers } from "../queries.js";
import { StateChip, stateOf } from "../results.js";
import { to } from "../router.js";
import { NotFound } from "./notfound.js";

const SHOWN_BARS = 60;

export function Builder({ route }) {
  const builders = useQuery(allBuilders);
  const key = route.segments[1];
  const builder = builders.list.find((item) => String(item.builderid) === key) ?? builders.list.find((item) => item.name === key);
  useTitle(builder?.name ?? "Builder");
  if (!builder) {
    return builders.state === "ready" ? html`<${NotFound} what=${`builder ${key}`} />` : html`<${Content} query=${builders} lines=${8} />`;
  }
  return html`<${Known} builder=${builder} key=${builder.builderid} />`;
}

function Known({ builder }) {
  const names = useNames();
  const builds = useQuery(builderBuilds(builder.builderid));
  const queue = useQuery(builderWaiting(builder.builderid));
  const force = useQuery(builderForceSchedulers(builder.builderid));
  const workers = useQuery(allWorkers);
  const running = builds.list.filter((build) => !build.complete);
  const ended = builds.list.filter((build) => build.complete);
  const own = workers.list.filter((worker) => worker.configured_on.some(({ builderid }) => builderid === builder.builderid));
  const good = ended.filter((build) => build.results === 0 || build.results === 1);
  const times = good.map((build) => tookSeconds(build)).sort((a, b) => a - b);
  const state = running.length ? "running" : ended.length ? stateOf(ended[0]) : null;

  return html`<header class="page-head">
      <nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.builders()} data-key="up">Builders</a></nav>
      <h1>${builder.name}</h1>
      ${state && html`<${StateChip} state=${state} />`}
      ${builder.tags.map((tag) => html`<a class="tag" href=${to.builders({ tag })}>${tag}</a>`)}
      <span class="grow"></span>
      <div class="buttons">${force.list.filter((scheduler) => scheduler.enabled !== false).map((scheduler) => html`<button class="primary" onClick=${() => openForce(scheduler, builder)}>
        <${Icon} name="play" />${scheduler.button_name || scheduler.label || scheduler.name}</button>`)}</div>
      ${builder.description && html`<p class="description dim">${builder.description}</p>`}
    </header>
    <div class="home">
      <div class="column">
        <${Panel} title="History" class="chart">
          <${Content} query=${builds} empty="Nothing has been built here yet." lines=${3}>
            <${History} builds=${builds.list.slice(0, SHOWN_BARS)} builderid=${builder.builderid} size="large" />
            <dl class="facts inline">
              <div><dt>Successful</dt><dd class="num">${ended.length ? `${Math.round((good.length / ended.length) * 100)}%` : "–"}</dd></div>
              <div><dt>Median time</dt><dd class="num">${times.length ? duration(times[Math.floor(times.length / 2)]) : "–"}</dd></div>
              <div><dt>Shown</dt><dd class="num">${builds.list.length} of ${builds.total.toLocaleString()}</dd></div>
            </dl>
          <//>
        <//>
        <${Panel} title="Builds">
          <${Content} query=${builds} empty="Nothing has been built here yet." lines=${8}>
            <ul class="rows">${builds.list.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} showBuilder=${false} />`)}</ul>
          <//>
        <//>
      </div>
      <div class="column side">
        <${Panel} title="Waiting" count=${queue.total} actions=${queue.list.length > 1 && html`<button class="small danger-text" onClick=${() => cancelAll(queue.list, builder.name)}>Cancel all</button>`}>
          <${Content} query=${queue} empty="Nothing waits for this builder.">
            <ul class="rows">${queue.list.map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} showBuilder=${false} />`)}</ul>
          <//>
        <//>
        <${Panel} title="Workers" count=${own.length}>
          <${Content} query=${workers}>
            ${own.length ? html`<${WorkerTiles} workers=${own} running=${running} />` : html`<p class="empty">No worker is configured for it.</p>`}
          <//>
        <//>
      </div>
    </div>`;
}
