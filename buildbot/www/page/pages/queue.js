/** Everything that waits, and one request on its way to a build. */

import { html, useEffect } from "../dom.js";
import { useQuery, useTitle } from "../hooks.js";
import { CancelButton } from "../parts/actions.js";
import { Ago, Content, Elapsed, Panel } from "../parts/basics.js";
import { BuildRow, useNames } from "../parts/builds.js";
import { QueueRow } from "../parts/queue.js";
import { buildset as oneBuildset, request as oneRequest, requestBuilds, waiting } from "../queries.js";
import { StateChip } from "../results.js";
import { replace, to } from "../router.js";
import { NotFound } from "./notfound.js";

export function Queue() {
  useTitle("Queue");
  const queue = useQuery(waiting);
  const names = useNames();
  return html`<header class="page-head"><h1>Queue</h1><span class="dim">in the order of priority, then age</span></header>
    <${Panel} title="Waiting" count=${queue.total}>
      <${Content} query=${queue} empty="The queue is empty." lines=${8}>
        <ul class="rows">${queue.list.map((request) => html`<${QueueRow} key=${request.buildrequestid} request=${request} names=${names} />`)}</ul>
        ${queue.total > queue.list.length && html`<p class="empty">The first ${queue.list.length} of ${queue.total.toLocaleString()}.</p>`}
      <//>
    <//>`;
}

export function Request({ route }) {
  const id = Number(route.segments[1]);
  const query = useQuery(oneRequest(id));
  const builds = useQuery(requestBuilds(id));
  const names = useNames();
  const request = query.item;
  const buildset = useQuery(request ? oneBuildset(request.buildsetid) : null).item;
  const follow = route.params.has("follow") || route.params.has("redirect_to_build");
  const newest = builds.list[0];
  useTitle(`Request ${id}`);
  useEffect(() => {
    if (follow && newest) replace(to.build(newest.builderid, newest.number));
  }, [follow, newest]);
  if (query.error?.status === 404) return html`<${NotFound} what=${`request ${id}`} />`;
  if (!request) return html`<${Content} query=${query} lines=${6} />`;
  const name = names.builder(request.builderid);
  const state = request.complete ? ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"][request.results] : request.claimed ? "running" : "pending";
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.waiting()}>Queue</a><a href=${to.builder(request.builderid)} data-key="up">${name}</a></nav>
      <h1>Request <span class="num">${id}</span></h1><${StateChip} state=${state} /><span class="grow"></span>
      ${!request.complete && html`<${CancelButton} request=${request} name=${name} />`}</header>
    <section class="panel overview state-edge-${state}" aria-label="Overview">
      <div class="headline"><span class="state-text">${state === "pending" ? `waiting for a worker of ${name}` : state === "running" ? "being built" : state}</span>
        ${!request.complete && html`<span class="time-big num"><${Elapsed} from=${request.submitted_at} /></span>`}</div>
      <dl class="facts">
        <div><dt>Submitted</dt><dd><${Ago} at=${request.submitted_at} /></dd></div>
        <div><dt>Builder</dt><dd><a href=${to.builder(request.builderid)}>${name}</a></dd></div>
        <div><dt>Priority</dt><dd class="num">${request.priority}</dd></div>
        ${buildset?.reason && html`<div class="wide"><dt>Reason</dt><dd>${buildset.reason}</dd></div>`}
      </dl>
      ${follow && !request.complete && html`<p class="dim">This page goes to the build as soon as it starts.</p>`}
    </section>
    <${Panel} title="Builds"><${Content} query=${builds} empty="No build has been started for it yet.">
      <ul class="rows">${builds.list.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} />`)}</ul><//><//>`;
}
