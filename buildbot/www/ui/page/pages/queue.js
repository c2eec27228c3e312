/** Everything that waits, and one request on its way to a build. */

import { html, useEffect, useState } from "../dom.js";
import { useGradually, useQuery, useTitle } from "../hooks.js";
import { CancelButton, PriorityButton, cancelAll } from "../parts/actions.js";
import { Ago, Content, Elapsed, Panel } from "../parts/basics.js";
import { BuildRow, useNames } from "../parts/builds.js";
import { Locks } from "../parts/locks.js";
import { Stamp } from "../parts/sources.js";
import { QueueRow, Reason, useReasons } from "../parts/queue.js";
import {
  buildsetProperties, builders as allBuilders, claimedRequests, request as oneRequest, requestBuilds, runningBuilds, waiting, waitingOf,
} from "../queries.js";
import { StateChip } from "../results.js";
import { href, replace, to } from "../router.js";
import { acting } from "../visitor.js";
import { NotFound } from "./notfound.js";

const PAGE = 100;

export function Queue({ route }) {
  useTitle("Queue");
  const text = route.params.get("builder") ?? "";
  const [limit, setLimit] = useState(PAGE);
  const builders = useQuery(allBuilders);
  const wanted = text.toLowerCase();
  const ids = text ? builders.list.filter((builder) => builder.name.toLowerCase().includes(wanted)).map((builder) => builder.builderid) : [];
  const none = text !== "" && ids.length === 0;
  const queue = useQuery(none ? null : ids.length || limit > waiting.limit ? waitingOf(ids, limit) : waiting);
  const claimed = useQuery(claimedRequests);
  const running = useQuery(runningBuilds);
  const names = useNames();
  const why = useReasons();
  const built = new Set(running.list.map((build) => build.buildrequestid));
  const starting = running.state === "ready" ? claimed.list.filter((request) => !built.has(request.buildrequestid) && (!text || ids.includes(request.builderid))) : [];
  const shown = queue.list.slice(0, limit);
  const drawn = useGradually(shown);
  const filter = (value) => { setLimit(PAGE); replace(href(["pendingbuildrequests"], { builder: value || undefined })); };
  const search = html`<input class="filter" type="search" placeholder="Filter by builder" aria-label="Filter by builder" value=${text} onInput=${(event) => filter(event.target.value)} />`;
  return html`<header class="page-head"><h1>Queue</h1><span class="dim">by priority, then age</span><span class="grow"></span>${search}
      ${shown.length > 1 && html`<button class="danger-text" ...${acting("buildrequests/cancel", { builderids: shown.map((request) => request.builderid) })} onClick=${() => cancelAll(shown, text ? `“${text}”` : "these builders")}>Cancel ${queue.total > shown.length ? `the first ${shown.length}` : `all ${shown.length}`}</button>`}</header>
    ${starting.length > 0 && html`<${Panel} title="Claimed" count=${starting.length}>
      <ul class="rows queue">${starting.map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} why=${why} />`)}</ul><//>`}
    <${Panel} title="Waiting" count=${queue.total.toLocaleString()}>
      ${none ? html`<p class="empty">No builder has “${text}” in its name.</p>` : html`<${Content} query=${queue} empty=${text ? "Nothing waits for these builders." : "The queue is empty."} lines=${8}>
        <ul class="rows queue">${drawn.map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} why=${why} />`)}</ul>
        ${queue.total > shown.length && html`<button class="more" onClick=${() => setLimit(limit + PAGE)}>Show more: ${shown.length} of ${queue.total.toLocaleString()}</button>`}
      <//>`}
    <//>
    <${Locks} />`;
}

export function Request({ route }) {
  const id = Number(route.segments[1]);
  const query = useQuery(oneRequest(id));
  const builds = useQuery(requestBuilds(id));
  const names = useNames();
  const why = useReasons();
  const request = query.item;
  const buildset = request?.buildset;
  const properties = useQuery(request ? buildsetProperties(request.buildsetid) : null).item;
  const follow = route.params.has("follow") || route.params.has("redirect_to_build");
  const newest = builds.list[0];
  useTitle(`Request ${id}`);
  useEffect(() => {
    if (follow && newest) replace(to.build(newest.builderid, newest.number));
  }, [follow, newest]);
  if (query.error?.status === 404) return html`<${NotFound} what=${`request ${id}`} />`;
  if (!request) return html`<${Content} query=${query} lines=${6} />`;
  const owned = { ...request, owner: properties && (properties.owner?.[0] ?? null) };
  const name = names.builder(request.builderid);
  const state = request.complete ? ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"][request.results] : request.claimed ? "running" : "pending";
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.waiting()}>Queue</a><a href=${to.builder(request.builderid)} data-key="up">${name}</a></nav>
      <h1>Request <span class="num">${id}</span></h1><${StateChip} state=${state} /><span class="grow"></span>
      ${!request.complete && html`<${CancelButton} request=${owned} name=${name} />`}</header>
    <section class="panel overview state-edge-${state}" aria-label="Overview">
      <div class="headline"><span class="state-text">${state === "pending" ? html`waiting: <${Reason} request=${request} why=${why} />` : state === "running" ? "being built" : state}</span>
        ${!request.complete && html`<span class="time-big num"><${Elapsed} from=${request.submitted_at} /></span>`}</div>
      <dl class="facts">
        <div><dt>Submitted</dt><dd><${Ago} at=${request.submitted_at} /></dd></div>
        <div><dt>Builder</dt><dd><a href=${to.builder(request.builderid)}>${name}</a></dd></div>
        <div><dt>Priority</dt><dd class="num">${request.complete ? request.priority : html`<${PriorityButton} request=${owned} name=${name} bare />`}</dd></div>
        ${request.claimed && html`<div><dt>Claimed</dt><dd><${Ago} at=${request.claimed_at} /></dd></div>`}
        <div><dt>Buildset</dt><dd><a href=${to.buildset(request.buildsetid)}>${request.buildsetid}</a></dd></div>
        ${(buildset?.sourcestamps ?? []).map((stamp) => html`<${Stamp} stamp=${stamp} />`)}
        ${owned.owner && html`<div><dt>Owner</dt><dd>${owned.owner}</dd></div>`}
        ${buildset?.reason && html`<div class="wide"><dt>Reason</dt><dd>${buildset.reason}</dd></div>`}
      </dl>
      ${follow && !request.complete && html`<p class="dim">This page goes to the build as soon as it starts.</p>`}
    </section>
    <${Panel} title="Builds"><${Content} query=${builds} empty="No build has been started for it yet.">
      <ul class="rows">${builds.list.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} />`)}</ul><//><//>`;
}
