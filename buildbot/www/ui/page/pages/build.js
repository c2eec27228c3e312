/** One build: steps with their logs, changes, properties. */

import { html, useState } from "../dom.js";
import { count, dateTime, duration, personName } from "../format.js";
import { useLater, useQuery, useTitle } from "../hooks.js";
import { RebuildButton, StopButton } from "../parts/actions.js";
import { Ago, Content, Elapsed, Icon, Panel } from "../parts/basics.js";
import { BuildRow, Progress, Remaining, ownersOf, tookSeconds, useNames } from "../parts/builds.js";
import { ChangeRow, Person } from "../parts/changes.js";
import { HtmlLog, LogView, RemovedLog } from "../parts/logview.js";
import { WorkerInfo } from "../parts/machines.js";
import { Properties } from "../parts/properties.js";
import { Revision, Stamp, httpUrl } from "../parts/sources.js";
import { Parent, Triggered, requestOf } from "../parts/triggered.js";
import {
  build as oneBuild, buildChanges, buildsetRequests, logs as stepLogs, neighbours,
  properties as allProperties, rebuilds, request as oneRequest, sameWorker, steps as allSteps, workers as allWorkers,
} from "../queries.js";
import { StateChip, StateIcon, stateOf } from "../results.js";
import { replace, to } from "../router.js";
import { NotFound } from "./notfound.js";

const TABS = ["steps", "changes", "people", "properties", "worker"];

export function Build({ route }) {
  const builderid = Number(route.segments[1]);
  const number = Number(route.segments[3]);
  const query = useQuery(oneBuild(builderid, number));
  // At once, not when the build is there.
  useQuery(allSteps({ builderid, number }));
  useQuery(allProperties({ builderid, number }));
  const build = query.item;
  if (query.state === "error" && query.error.status === 404) return html`<${NotFound} what=${`build ${number} of this builder`} />`;
  if (!build) return html`<${Content} query=${query} lines=${10} />`;
  return html`<${Known} key=${build.buildid} build=${build} route=${route} />`;
}

function Known({ build, route }) {
  const names = useNames();
  const builder = names.builder(build.builderid);
  const name = `${builder} #${build.number}`;
  const state = stateOf(build);
  useTitle(`${build.complete ? (build.results === 0 ? "✓" : "✗") : "●"} ${name}`);
  const later = useLater(useQuery(allSteps(build)).state === "ready");
  const around = useQuery(later ? neighbours(build.builderid, build.number) : null).list;
  const previous = around.find((other) => other.number === build.number - 1);
  const next = around.find((other) => other.number === build.number + 1);
  const propertiesQuery = useQuery(allProperties(build));
  const properties = propertiesQuery.item ?? {};
  const request = useQuery(build.buildrequestid ? oneRequest(build.buildrequestid) : null).item;
  const buildset = request?.buildset;
  const tab = TABS.includes(route.params.get("tab")) ? route.params.get("tab") : "steps";
  const changes = useQuery(later || tab !== "steps" ? buildChanges(build.buildid) : null);
  const value = (key) => properties[key]?.[0];
  const owned = propertiesQuery.item ? { ...build, owner: value("owner") ?? null } : build;
  const revision = value("got_revision") ?? value("revision");

  const tabName = (title) => title[0].toUpperCase() + title.slice(1);
  return html`<header class="page-head build-head">
      <nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.builders()}>Builders</a><a href=${to.builder(build.builderid)} data-key="up">${builder}</a></nav>
      <h1>${builder} <span class="num">#${build.number}</span></h1>
      <${StateChip} state=${state} />
      <span class="around">
        ${previous ? html`<a class="button icon-only quiet" data-key="previous" href=${to.build(build.builderid, previous.number)} aria-label="Previous build, ${stateOf(previous)}" title="Previous build: ${stateOf(previous)}"><${Icon} name="left" /></a>` : html`<span class="button icon-only quiet disabled" aria-hidden="true"><${Icon} name="left" /></span>`}
        ${next ? html`<a class="button icon-only quiet" data-key="next" href=${to.build(build.builderid, next.number)} aria-label="Next build, ${stateOf(next)}" title="Next build: ${stateOf(next)}"><${Icon} name="right" /></a>` : html`<span class="button icon-only quiet disabled" aria-hidden="true"><${Icon} name="right" /></span>`}
      </span>
      <span class="grow"></span>
      <div class="buttons">
        ${!build.complete && html`<${StopButton} build=${owned} name=${name} />`}
        <${RebuildButton} build=${owned} name=${name} />
      </div>
    </header>
    <section class="panel overview state-edge-${state}" aria-label="Overview">
      <div class="headline"><span class="state-text">${build.state_string}</span>
        <span class="time-big num"><${Elapsed} from=${build.started_at} until=${build.complete_at} />
          <small class="dim">${build.complete ? previous?.complete && html`<${Compared} build=${build} previous=${previous} />` : html`<${Remaining} build=${build} />`}</small></span></div>
      ${!build.complete && html`<${Progress} build=${build} />`}
      <dl class="facts">
        <div><dt>Started</dt><dd title=${dateTime(build.started_at)}><${Ago} at=${build.started_at} /></dd></div>
        ${build.complete_at && html`<div><dt>Ended</dt><dd title=${dateTime(build.complete_at)}><${Ago} at=${build.complete_at} /></dd></div>`}
        ${build.workerid && html`<div><dt>Worker</dt><dd><a href=${to.worker(build.workerid)}>${names.worker(build.workerid)}</a></dd></div>`}
        ${value("branch") && html`<div><dt>Branch</dt><dd>${value("branch")}</dd></div>`}
        ${revision && html`<div><dt>Revision</dt><dd><${Revision} revision=${String(revision)} link=${httpUrl(changes.list.find((change) => change.revision === revision)?.revlink)} /></dd></div>`}
        ${value("owner") && html`<div><dt>Owner</dt><dd>${value("owner")}</dd></div>`}
        ${buildset?.reason && html`<div class="wide"><dt>Reason</dt><dd>${buildset.reason}</dd></div>`}
        ${buildset?.parent_buildid && html`<${Parent} buildset=${buildset} names=${names} />`}
        ${(buildset?.sourcestamps ?? []).filter((stamp) => stamp.codebase || stamp.patch).map((stamp) => html`<${Stamp} key=${stamp.ssid} stamp=${stamp} />`)}
        ${build.complete && later && html`<${RebuiltAs} build=${build} />`}
        ${request && html`<div><dt>Waited</dt><dd><a href=${to.request(request.buildrequestid)}>${duration(build.started_at - request.submitted_at)}</a></dd></div>`}
        ${build.locks_duration_s > 0 && html`<div><dt>Locked</dt><dd>${duration(build.locks_duration_s)}</dd></div>`}
      </dl>
    </section>
    <div class="tabs" role="tablist" aria-label="Parts of the build" onKeyDown=${(event) => moveTab(event, tab, build)}>
      ${TABS.map((title) => html`<a role="tab" id="tab-${title}" aria-selected=${tab === title} tabindex=${tab === title ? 0 : -1}
        href=${to.build(build.builderid, build.number, title === "steps" ? {} : { tab: title })}
        onClick=${(event) => { event.preventDefault(); showTab(build, title); }}>${tabName(title)}${title === "changes" && changes.list.length > 0 && html`<span class="count">${changes.list.length}</span>`}</a>`)}
    </div>
    ${tab === "steps" && html`<${Steps} build=${build} />`}
    ${tab === "changes" && html`<${Panel} title="Changes" class="headless"><${Content} query=${changes} empty="This build was not started by a change.">
      <ul class="rows">${changes.list.map((change) => html`<${ChangeRow} key=${change.changeid} change=${change} open />`)}</ul><//><//>`}
    ${tab === "people" && html`<${People} changes=${changes} owners=${ownersOf(properties)} />`}
    ${tab === "properties" && html`<${Properties} properties=${properties} />`}
    ${tab === "worker" && html`<${OnWorker} build=${build} names=${names} />`}`;
}

function RebuiltAs({ build }) {
  const again = useQuery(rebuilds(build.buildid)).list.at(0);
  const request = useQuery(again ? buildsetRequests(again.bsid) : null).list.at(0);
  return request ? html`<div><dt>Rebuilt as</dt><dd><a href=${to.request(request.buildrequestid, { follow: 1 })}>request ${request.buildrequestid}</a></dd></div>` : null;
}

/** Those whose changes are in the build, and who asked for it. */
function People({ changes, owners }) {
  const people = new Map();
  const add = (person, what) => person && person !== "anonymous" && people.set(person, [...new Set([...(people.get(person) ?? []), what])]);
  for (const change of changes.list) {
    add(change.author, "author");
    add(change.committer, "committer");
  }
  for (const owner of owners) add(owner, "owner");
  return html`<${Panel} title="Responsible users" count=${people.size}>
    ${changes.state !== "ready" ? html`<${Content} query=${changes} />` : people.size === 0 ? html`<p class="empty">Nobody is known to be responsible for this build.</p>`
    : html`<ul class="rows">${[...people].map(([person, roles]) => html`<li class="row" key=${person}><${Person} name=${personName(person)} /><span class="main"><b>${personName(person)}</b></span>
      <span class="detail dim">${person === personName(person) ? "" : person.slice(personName(person).length).trim()}</span><span class="dim">${roles.join(", ")}</span></li>`)}</ul>`}
  <//>`;
}

/** The worker, and what it has built for this builder before. */
function OnWorker({ build, names }) {
  const worker = useQuery(allWorkers).get(build.workerid);
  const before = useQuery(build.workerid ? sameWorker(build.builderid, build.workerid, build.number) : null);
  if (!build.workerid) return html`<p class="empty">No worker is known of this build.</p>`;
  return html`<${Panel} title="Worker"><p class="facts"><a class="tag link" href=${to.worker(build.workerid)}>${names.worker(build.workerid)}</a></p>${worker && html`<${WorkerInfo} worker=${worker} />`}<//>
    <${Panel} title="Builds before, on the same worker"><${Content} query=${before} empty="There are none of this builder.">
      <ul class="rows">${before.list.map((other) => html`<${BuildRow} key=${other.buildid} build=${other} names=${names} showBuilder=${false} showWorker=${false} />`)}</ul><//><//>`;
}

function showTab(build, title) {
  replace(to.build(build.builderid, build.number, title === "steps" ? {} : { tab: title }));
}

function moveTab(event, tab, build) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const title = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length];
  showTab(build, title);
  document.getElementById(`tab-${title}`)?.focus();
}

function Compared({ build, previous }) {
  const difference = tookSeconds(build) - tookSeconds(previous);
  if (Math.abs(difference) < 1) return html`<span>as #${previous.number}</span>`;
  return html`<span>${duration(Math.abs(difference))} ${difference > 0 ? "longer" : "shorter"} than #${previous.number}</span>`;
}

function Steps({ build }) {
  const steps = useQuery(allSteps(build));
  const [hidden, setHidden] = useState(false);
  const shown = steps.list.filter((step) => hidden || !step.hidden);
  const hiddenCount = steps.list.length - steps.list.filter((step) => !step.hidden).length;
  return html`<${Panel} title="Steps" class="headless">
    <${Content} query=${steps} empty=${build.complete ? "This build had no steps." : "The first step has not begun."} lines=${6}>
      <ol class="rows steps">${shown.map((step) => html`<${Step} key=${step.stepid} step=${step} build=${build} />`)}</ol>
    <//>
    ${hiddenCount > 0 && html`<button class="more" onClick=${() => setHidden(!hidden)}>${hidden ? "Hide" : "Show"} ${count(hiddenCount, "hidden step")}</button>`}
  <//>`;
}

/** What is worth a look opens by itself: what runs and what went wrong. */
function opensByItself(step) {
  return (step.started_at && !step.complete) || (step.complete && [2, 4].includes(step.results));
}

function Step({ step, build }) {
  const [chosen, setChosen] = useState(null);
  const state = stateOf(step);
  const open = chosen ?? opensByItself(step);
  const body = `step-${step.stepid}`;
  const children = new Set(step.urls.map(({ url }) => requestOf(safeUrl(url))).filter(Boolean));
  // A triggered build has two addresses: its request's and, at last, its own.
  const plain = children.size ? step.urls.filter(({ url }) => !requestOf(safeUrl(url)) && !/^#\/builders\/\d+\/builds\/\d+$/.test(safeUrl(url) ?? "")) : step.urls;
  const share = step.started_at ? Math.min(1, stepSeconds(step) / Math.max(1, tookSeconds(build))) : 0;
  return html`<li class="step state-edge-${state}">
    <div class="row">
      <${StateIcon} state=${state} />
      <button class="main" aria-expanded=${!!open} aria-controls=${body} onClick=${() => setChosen(!open)}>
        <span class="num dim">${step.number}</span> <b>${step.name}</b> <${Icon} name=${open ? "down" : "right"} /></button>
      <span class="detail state-text">${step.state_string}</span>
      ${plain.map(({ name, url }) => html`<a class="tag link" href=${safeUrl(url)} rel="noopener"><${Icon} name="link" />${name}</a>`)}
      <span class="share" aria-hidden="true"><i style=${{ width: `${share * 100}%` }}></i></span>
      <span class="time num">${step.started_at && html`<${Elapsed} from=${step.started_at} until=${step.complete_at} />`}</span>
    </div>
    ${children.size > 0 && html`<ul class="triggered">${[...children].map((id) => html`<${Triggered} key=${id} buildrequestid=${id} />`)}</ul>`}
    ${open && html`<div id=${body} class="step-body"><${Logs} step=${step} build=${build} /></div>`}
  </li>`;
}

function stepSeconds(step) {
  return Math.max(0, (step.complete_at ?? Date.now() / 1000) - step.started_at);
}

/** Steps may name any address; only those that a browser opens as a page become links. */
function safeUrl(url) {
  const own = url.indexOf("#/");
  try {
    const parsed = new URL(url, location.href);
    if (own >= 0 && url.slice(0, own) === location.href.split("#")[0]) return url.slice(own);
    return ["http:", "https:", "mailto:", "ftp:"].includes(parsed.protocol) ? parsed.href : undefined;
  } catch {
    return undefined;
  }
}

function Logs({ step, build }) {
  const logs = useQuery(stepLogs(step.stepid));
  const [chosen, setChosen] = useState(null);
  const list = logs.list;
  const first = stateOf(step) === "exception" ? ["err.text", "stdio"] : ["stdio"];
  const log = [(item) => item.logid === chosen, ...first.map((name) => (item) => item.name === name), () => true]
    .map((wanted) => list.find(wanted)).find(Boolean);
  const place = { builderid: build.builderid, number: build.number, step: step.number };
  return html`<${Content} query=${logs} empty=${step.complete ? "This step has no logs." : "No output yet."}>
    ${list.length > 1 && html`<div class="log-tabs" role="group" aria-label="Logs">${list.map((item) => html`<button class="small" aria-pressed=${item === log} onClick=${() => setChosen(item.logid)}>
      ${item.name}<span class="dim num">${item.num_lines}</span></button>`)}</div>`}
    ${log && (log.type === "h" ? html`<${HtmlLog} log=${log} />` : log.type === "d" ? html`<${RemovedLog} log=${log} />` : log.num_lines > 0 ? html`<${LogView} key=${log.logid} log=${log} place=${place} />` : html`<p class="empty">${log.name} is empty.</p>`)}
  <//>`;
}

