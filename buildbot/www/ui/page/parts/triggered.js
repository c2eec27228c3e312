/** What a step has triggered: its state, live, in place of a bare link. */

import { html } from "../dom.js";
import { duration } from "../format.js";
import { useQuery } from "../hooks.js";
import { parentBuild, request as oneRequest, requestBuilds } from "../queries.js";
import { NAMES, StateIcon, stateOf } from "../results.js";
import { to } from "../router.js";
import { Elapsed } from "./basics.js";
import { useNames } from "./builds.js";

/** The id in the address of a request on this page, or undefined. */
export function requestOf(address) {
  const found = /^#\/buildrequests\/(\d+)$/.exec(address ?? "");
  return found ? Number(found[1]) : undefined;
}

export function Triggered({ buildrequestid }) {
  const names = useNames();
  const request = useQuery(oneRequest(buildrequestid)).item;
  const build = useQuery(requestBuilds(buildrequestid)).list[0];
  if (!request) return html`<li class="row"><span class="dim">request ${buildrequestid}</span></li>`;
  const name = names.builder(request.builderid);
  const state = build ? stateOf(build) : request.complete ? NAMES[request.results] : "pending";
  return html`<li class="row"><${StateIcon} state=${state} />
    <a class="main" href=${build ? to.build(build.builderid, build.number) : to.request(buildrequestid)}><b>${name}</b> <span class="num dim">${build ? `#${build.number}` : `request ${buildrequestid}`}</span></a>
    <span class="detail state-text">${build?.state_string ?? (request.complete ? state : "waiting")}</span>
    <span class="time num">${build ? html`<${Elapsed} from=${build.started_at} until=${build.complete_at} />` : request.complete ? duration(request.complete_at - request.submitted_at) : html`<${Elapsed} from=${request.submitted_at} />`}</span></li>`;
}

/** The build that a buildset belongs to, as one of its facts. */
export function Parent({ buildset, names }) {
  const buildid = buildset.parent_buildid;
  const parent = useQuery(parentBuild(buildid)).item;
  const how = [null, "Triggered from"].includes(buildset.parent_relationship) ? "Triggered by" : buildset.parent_relationship;
  return html`<div><dt>${how}</dt><dd>${parent ? html`<a href=${to.build(parent.builderid, parent.number)}>${names.builder(parent.builderid)} #${parent.number}</a>` : `build ${buildid}`}</dd></div>`;
}
