/** Properties as a table with a filter. */

import { html, useState } from "../dom.js";
import { Panel } from "./basics.js";

export function Properties({ properties }) {
  const [text, setText] = useState("");
  const wanted = text.toLowerCase();
  const shown = Object.entries(properties).sort(([a], [b]) => a.localeCompare(b))
    .filter(([name, [value]]) => name.toLowerCase().includes(wanted) || JSON.stringify(value).toLowerCase().includes(wanted));
  return html`<${Panel} title="Properties" actions=${html`<input class="filter" type="search" placeholder="Filter" aria-label="Filter properties" value=${text} onInput=${(event) => setText(event.target.value)} />`}>
    ${shown.length === 0 ? html`<p class="empty">No properties.</p>` : html`<div class="table-scroll"><table class="properties">
      <thead><tr><th>Name</th><th>Value</th><th>Source</th></tr></thead>
      <tbody>${shown.map(([name, [value, source]]) => html`<tr key=${name}><th scope="row">${name}</th><td><code>${typeof value === "string" ? value : JSON.stringify(value, null, 1)}</code></td><td class="dim">${source}</td></tr>`)}</tbody>
    </table></div>`}
  <//>`;
}

