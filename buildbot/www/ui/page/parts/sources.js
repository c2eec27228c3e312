/** Source stamps: what is built. */

import { html } from "../dom.js";
import { shortRevision } from "../format.js";

/** A source stamp as one of a list of facts. */
export function Stamp({ stamp }) {
  const where = [stamp.repository, stamp.project].filter(Boolean).join(", ");
  return html`<div title=${where}><dt>Source${stamp.codebase && ` of ${stamp.codebase}`}</dt>
    <dd>${stamp.branch || "default branch"}${stamp.revision ? html` <code title=${stamp.revision}>${shortRevision(stamp.revision)}</code>` : " (newest)"}
      ${stamp.patch && html` <span class="tag" title=${stamp.patch.comment}>with a patch${stamp.patch.author && ` by ${stamp.patch.author}`}</span>`}</dd></div>`;
}
