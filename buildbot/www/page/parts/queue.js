/** Waiting requests as rows. */

import { html } from "../dom.js";
import { StateIcon } from "../results.js";
import { to } from "../router.js";
import { CancelButton } from "./actions.js";
import { Elapsed } from "./basics.js";

/** A request that waits, with its age. */
export function QueueRow({ request, names, showBuilder = true }) {
  const name = names.builder(request.builderid);
  return html`<li class="row waiting">
    <${StateIcon} state="pending" />
    <a class="main" href=${to.request(request.buildrequestid)} title="Request ${request.buildrequestid}">
      ${showBuilder ? html`<b>${name}</b>` : html`Request ${request.buildrequestid}`}</a>
    <span class="detail">
      ${request.priority !== 0 && html`<span class="tag" title="Priority">priority ${request.priority}</span>`}
      ${request.waited_for && html`<span class="tag" title="A running build waits for this one">waited for</span>`}
    </span>
    <span class="time"><${Elapsed} from=${request.submitted_at} /></span>
    <${CancelButton} request=${request} name=${name} small />
  </li>`;
}
