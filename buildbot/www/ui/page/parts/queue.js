/** Waiting requests as rows. */

import { html, useMemo } from "../dom.js";
import { useNow, useQuery } from "../hooks.js";
import { builders as allBuilders, masters as allMasters, runningBuilds, workers as allWorkers } from "../queries.js";
import { StateIcon } from "../results.js";
import { to } from "../router.js";
import { CancelButton, PriorityButton } from "./actions.js";
import { Elapsed } from "./basics.js";
import { reasons } from "./reasons.js";

/** A function that tells why a request waits, or null while that is not known; live. */
export function useReasons() {
  const [builders, workers, masters, running] = [allBuilders, allWorkers, allMasters, runningBuilds].map(useQuery);
  const known = [builders, workers, masters, running].every((query) => query.state === "ready");
  return useMemo(
    () => known ? reasons({ builders: builders.list, workers: workers.list, masters: masters.list, running: running.list }) : null,
    [known, builders.list, workers.list, masters.list, running.list],
  );
}

/** Why a request waits; `why` may be null as long as the farm is not known. */
export function Reason({ request, why }) {
  const now = useNow();
  const reason = why?.(request, now);
  return reason ? html`<span class="reason ${reason.kind}" title=${reason.text}>${reason.text}</span>` : null;
}

/** A request that waits, with its age and, if `why` is given, what it waits for. */
export function QueueRow({ request, names, why, showBuilder = true, compact = false }) {
  const name = names.builder(request.builderid);
  return html`<li class="row waiting">
    <${StateIcon} state="pending" />
    <a class="main" href=${to.request(request.buildrequestid)} title="Request ${request.buildrequestid}">
      ${showBuilder ? html`<b>${name}</b>` : html`Request ${request.buildrequestid}`}</a>
    <span class="detail">
      ${why !== undefined && html`<${Reason} request=${request} why=${why} />`}
      ${(compact || why === undefined) && request.priority !== 0 && html`<span class="tag" title="Priority">priority ${request.priority}</span>`}
      ${request.waited_for && html` <span class="tag" title="A running build waits for this one">waited for</span>`}
    </span>
    ${why !== undefined && !compact && html`<span class="priority"><${PriorityButton} request=${request} name=${name} /></span>`}
    <span class="time"><${Elapsed} from=${request.submitted_at} /></span>
    <${CancelButton} request=${request} name=${name} small />
  </li>`;
}
