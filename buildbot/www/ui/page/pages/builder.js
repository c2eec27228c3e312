/** One builder: its queue, its history, its builds. */

import { html, useState } from "../dom.js";
import { duration } from "../format.js";
import { useGradually, useQuery, useTitle } from "../hooks.js";
import { cancelAll } from "../parts/actions.js";
import { Content, Icon, Panel } from "../parts/basics.js";
import { BuildRow, tookSeconds, useNames } from "../parts/builds.js";
import { openForce } from "../parts/force.js";
import { OfProject } from "../parts/projects.js";
import { WorkerTiles } from "../parts/machines.js";
import { Picture } from "../parts/picture.js";
import { QueueRow, useReasons } from "../parts/queue.js";
import {
  PAGE_BUILDS, builderBuilds, builderForceSchedulers, builders as allBuilders, builderWaiting, workers as allWorkers,
} from "../queries.js";
import { NAMES, StateChip, stateOf } from "../results.js";
import { href, replace, to } from "../router.js";
import { acting } from "../visitor.js";
import { NotFound } from "./notfound.js";

/** Rows at first and with each step; the picture's bars are as many as fit. */
const SHOWN_BUILDS = 40;
const MORE_BUILDS = 100;
/** Choices of the filter by result: a name and the results that it lets through. */
const CHOICES = [["All", []], ["Failed", [2, 4]], ["Warnings", [1]], ["Successful", [0]], ["Cancelled", [6]]];

export function Builder({ route }) {
  const builders = useQuery(allBuilders);
  const key = route.segments[1];
  const builder = builders.list.find((item) => String(item.builderid) === key) ?? builders.list.find((item) => item.name === key);
  useTitle(builder?.name ?? "Builder");
  if (!builder) {
    return builders.state === "ready" ? html`<${NotFound} what=${`builder ${key}`} />` : html`<${Content} query=${builders} lines=${8} />`;
  }
  return html`<${Known} builder=${builder} key=${builder.builderid} route=${route} />`;
}

function Known({ builder, route }) {
  const names = useNames();
  const builds = useQuery(builderBuilds(builder.builderid));
  const queue = useQuery(builderWaiting(builder.builderid));
  const force = useQuery(builderForceSchedulers(builder.builderid));
  const workers = useQuery(allWorkers);
  const [shown, setShown] = useState(SHOWN_BUILDS);
  const limit = Math.max(PAGE_BUILDS, shown);
  const wanted = CHOICES.find(([name]) => name.toLowerCase() === route.params.get("show")) ?? CHOICES[0];
  const listed = useQuery(builderBuilds(builder.builderid, wanted[1], limit));
  const drawn = useGradually(listed.list.slice(0, shown));
  const why = useReasons();
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
      ${builder.projectid !== null && html`<${OfProject} projectid=${builder.projectid} />`}
      ${builder.tags.map((tag) => html`<a class="tag" href=${to.builders({ tag })}>${tag}</a>`)}
      <span class="grow"></span>
      <div class="buttons">${force.list.filter((scheduler) => scheduler.enabled !== false).map((scheduler) => html`<button class="primary" ...${acting("forceschedulers/force", { builderids: [builder.builderid] })} onClick=${() => openForce(scheduler, builder)}>
        <${Icon} name="play" />${scheduler.button_name || scheduler.label || scheduler.name}</button>`)}</div>
      ${builder.description && html`<p class="description dim">${builder.description}</p>`}
    </header>
    <div class="home">
      <div class="column">
        <${Panel} title="History" class="chart">
          <${Content} query=${builds} empty="Nothing has been built here yet." lines=${3}>
            <${Picture} builds=${builds.list} builderid=${builder.builderid} />
            <dl class="facts inline">
              <div><dt>Successful</dt><dd class="num">${ended.length ? `${Math.round((good.length / ended.length) * 100)}%` : "–"} of ${ended.length}</dd></div>
              <div><dt>Median time</dt><dd class="num">${times.length ? duration(times[Math.floor(times.length / 2)]) : "–"}</dd></div>
              <div><dt>All builds</dt><dd class="num">${builds.total.toLocaleString()}</dd></div>
            </dl>
          <//>
        <//>
        <${Panel} title="Builds" count=${listed.state === "ready" ? listed.total.toLocaleString() : undefined} actions=${html`<${Choice} chosen=${wanted[0]} builder=${builder} />`}>
          <${Content} query=${listed} empty=${wanted[1].length ? `No build has ended like that (${wanted[1].map((one) => NAMES[one]).join(", ")}).` : "Nothing has been built here yet."} lines=${8}>
            <ul class="rows">${drawn.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} showBuilder=${false} />`)}</ul>
            ${listed.total > shown && html`<button class="more" onClick=${() => setShown(shown + MORE_BUILDS)}>Show more: ${shown} of ${listed.total.toLocaleString()}</button>`}
          <//>
        <//>
      </div>
      <div class="column side">
        <${Panel} title="Waiting" count=${queue.total} actions=${queue.list.length > 1 && html`<button class="small danger-text" ...${acting("buildrequests/cancel", { builderids: [builder.builderid] })} onClick=${() => cancelAll(queue.list, builder.name)}>Cancel all</button>`}>
          <${Content} query=${queue} empty="Nothing waits for this builder.">
            <ul class="rows">${queue.list.map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} why=${why} showBuilder=${false} compact />`)}</ul>
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

/** Which builds are listed; remembered in the address. */
function Choice({ chosen, builder }) {
  const show = (name) => replace(href(["builders", builder.builderid], name === CHOICES[0][0] ? {} : { show: name.toLowerCase() }));
  return html`<div class="choice" role="group" aria-label="Builds to list">${CHOICES.map(([name]) => html`<button class="tag" aria-pressed=${name === chosen} onClick=${() => show(name)}>${name}</button>`)}</div>`;
}
