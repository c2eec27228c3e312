/** Changes as rows. */

import { html, useState } from "../dom.js";
import { firstLine, personName, shortRevision } from "../format.js";
import { to } from "../router.js";
import { Ago, Icon } from "./basics.js";
import { httpUrl } from "./sources.js";

/** A letter on a colour of the person's own. */
export function Person({ name }) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return html`<i class="person" aria-hidden="true" style=${{ "--hue": hash }}>${[...name][0]?.toUpperCase()}</i>`;
}

export function ChangeRow({ change, open: openAtFirst = false }) {
  const [open, setOpen] = useState(openAtFirst);
  const name = personName(change.author);
  const link = httpUrl(change.revlink);
  const more = change.comments.trim().includes("\n") || change.files.length > 0;
  return html`<li class="change">
    <div class="row">
      <${Person} name=${name} />
      <a class="main" href=${to.change(change.changeid)}><b>${firstLine(change.comments) || "(no comment)"}</b></a>
      <span class="detail dim">${name}${change.branch && html` <span class="tag">${change.branch}</span>`}
        ${change.category && html` <span class="tag">${change.category}</span>`}</span>
      <span class="took">${link ? html`<a href=${link} rel="noopener"><code>${shortRevision(change.revision)}</code></a>` : html`<code class="dim">${shortRevision(change.revision)}</code>`}</span>
      <span class="time dim"><${Ago} at=${change.when_timestamp} /></span>
      ${more ? html`<button class="icon-only quiet" aria-expanded=${open} aria-label="Details of ${firstLine(change.comments) || `change ${change.changeid}`}" onClick=${() => setOpen(!open)}><${Icon} name=${open ? "down" : "right"} /></button>` : html`<span class="icon-only"></span>`}
    </div>
    ${open && html`<${ChangeDetails} change=${change} />`}
  </li>`;
}

const SHOWN_FILES = 60;

export function ChangeDetails({ change }) {
  return html`<div class="change-body">
    ${change.comments.trim().includes("\n") && html`<pre class="comments">${change.comments.trim()}</pre>`}
    ${change.files.length > 0 && html`<ul class="files">${change.files.slice(0, SHOWN_FILES).map((file) => html`<li><code>${file}</code></li>`)}
      ${change.files.length > SHOWN_FILES && html`<li class="dim">and ${change.files.length - SHOWN_FILES} more</li>`}</ul>`}
  </div>`;
}
