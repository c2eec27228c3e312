/** Source stamps: what is built. */

import { html } from "../dom.js";
import { shortRevision } from "../format.js";
import { useQuery } from "../hooks.js";
import { changeOfStamp } from "../queries.js";

/** The web view of a revision, if the page may link to it. */
export function httpUrl(url) {
  return /^https?:\/\//.test(url ?? "") ? url : null;
}

/** A revision, which links to its web view if there is one. */
export function Revision({ revision, link }) {
  const code = html`<code title=${revision}>${shortRevision(revision)}</code>`;
  return link ? html`<a href=${link} rel="noopener">${code}</a>` : code;
}

/** A source stamp as one of a list of facts. */
export function Stamp({ stamp }) {
  const link = httpUrl(useQuery(stamp.revision ? changeOfStamp(stamp.ssid) : null).list[0]?.revlink);
  const where = [stamp.repository, stamp.project].filter(Boolean).join(", ");
  return html`<div title=${where}><dt>Source${stamp.codebase && ` of ${stamp.codebase}`}</dt>
    <dd>${stamp.branch || "default branch"}${stamp.revision ? html` <${Revision} revision=${stamp.revision} link=${link} />` : " (newest)"}
      ${stamp.patch && html` <span class="tag" title=${stamp.patch.comment}>with a patch${stamp.patch.author && ` by ${stamp.patch.author}`}</span>`}</dd></div>`;
}
