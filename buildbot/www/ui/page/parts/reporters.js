/** What became of the reports of this master's reporters, as its metrics say. */

import { metrics } from "../api.js";
import { html, useEffect, useState } from "../dom.js";
import { Panel } from "./basics.js";

const COLUMNS = [
  ["tenfold_reports_waiting", "Waiting"],
  ["tenfold_reports_sent_total", "Arrived"],
  ["tenfold_reports_given_up_total", "Given up"],
];

/** By reporter: `{name: {metric: number}}`. */
function byReporter(found) {
  const reporters = {};
  for (const [metric] of COLUMNS) {
    for (const { labels, value } of found[metric] ?? []) {
      reporters[labels.reporter] ??= {};
      reporters[labels.reporter][metric] = value;
    }
  }
  return Object.entries(reporters).sort(([a], [b]) => a.localeCompare(b));
}

/** A panel with a row for each reporter; nothing where there is none, or where the visitor may not read metrics. */
export function Reporters() {
  const [reporters, setReporters] = useState([]);
  useEffect(() => {
    let there = true;
    metrics().then((found) => { if (there) setReporters(byReporter(found)); }, () => {});
    return () => { there = false; };
  }, []);
  if (reporters.length === 0) return null;
  return html`<${Panel} title="Reporters"><div class="table-scroll"><table class="properties">
    <thead><tr><th scope="col">Name</th>${COLUMNS.map(([metric, title]) => html`<th key=${metric} scope="col">${title}</th>`)}</tr></thead>
    <tbody>${reporters.map(([name, values]) => html`<tr key=${name}>
      <th scope="row">${name}</th>${COLUMNS.map(([metric]) => html`<td key=${metric} class="num">${values[metric] ?? 0}</td>`)}
    </tr>`)}</tbody>
  </table></div><//>`;
}
