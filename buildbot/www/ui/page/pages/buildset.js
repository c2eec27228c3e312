/** One buildset: why it was asked for, of what, with which properties, and the requests in it. */

import { html } from "../dom.js";
import { dateTime } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { CancelButton } from "../parts/actions.js";
import { Ago, Content, Elapsed, Panel } from "../parts/basics.js";
import { useNames } from "../parts/builds.js";
import { Properties } from "../parts/properties.js";
import { Stamp } from "../parts/sources.js";
import { Parent } from "../parts/triggered.js";
import { buildset as oneBuildset, buildsetProperties, buildsetRequests } from "../queries.js";
import { NAMES, StateChip, StateIcon } from "../results.js";
import { to } from "../router.js";
import { NotFound } from "./notfound.js";

const stateOfRequest = (request) => (request.complete ? NAMES[request.results] : request.claimed ? "running" : "pending");

export function Buildset({ route }) {
  const id = Number(route.segments[1]);
  const query = useQuery(oneBuildset(id));
  const requests = useQuery(buildsetRequests(id));
  const known = useQuery(buildsetProperties(id)).item;
  const properties = known ?? {};
  const owner = known && (known.owner?.[0] ?? null);
  const names = useNames();
  const buildset = query.item;
  useTitle(`Buildset ${id}`);
  if (query.error?.status === 404) return html`<${NotFound} what=${`buildset ${id}`} />`;
  if (!buildset) return html`<${Content} query=${query} lines=${6} />`;
  const state = buildset.complete ? NAMES[buildset.results] : "pending";
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.waiting()} data-key="up">Queue</a></nav>
      <h1>Buildset <span class="num">${id}</span></h1><${StateChip} state=${state} /></header>
    <section class="panel overview state-edge-${state}" aria-label="Overview">
      <div class="headline"><span class="state-text">${buildset.reason}</span></div>
      <dl class="facts">
        <div><dt>Submitted</dt><dd title=${dateTime(buildset.submitted_at)}><${Ago} at=${buildset.submitted_at} /></dd></div>
        ${buildset.complete_at && html`<div><dt>Complete</dt><dd><${Ago} at=${buildset.complete_at} /></dd></div>`}
        ${buildset.external_idstring && html`<div><dt>External id</dt><dd>${buildset.external_idstring}</dd></div>`}
        ${buildset.parent_buildid && html`<${Parent} buildset=${buildset} names=${names} />`}
        ${buildset.sourcestamps.map((stamp) => html`<${Stamp} key=${stamp.ssid} stamp=${stamp} />`)}
      </dl>
    </section>
    <${Panel} title="Requests" count=${requests.list.length}><${Content} query=${requests} empty="It has no requests.">
      <ul class="rows">${requests.list.map((request) => html`<li class="row" key=${request.buildrequestid}>
        <${StateIcon} state=${stateOfRequest(request)} />
        <a class="main" href=${to.request(request.buildrequestid)}><b>${names.builder(request.builderid)}</b></a>
        <span class="detail dim">request ${request.buildrequestid}</span>
        <span class="time">${request.complete ? html`<${Ago} at=${request.complete_at} />` : html`<${Elapsed} from=${request.submitted_at} />`}</span>
        ${!request.complete && html`<${CancelButton} request=${{ ...request, owner }} name=${names.builder(request.builderid)} small />`}
      </li>`)}</ul><//><//>
    <${Properties} properties=${properties} />`;
}
