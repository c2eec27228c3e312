/** The latest changes, and one change with what was built of it. */

import { html } from "../dom.js";
import { dateTime, firstLine } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { Content, Panel } from "../parts/basics.js";
import { BuildRow, useNames } from "../parts/builds.js";
import { ChangeDetails, ChangeRow } from "../parts/changes.js";
import { change as oneChange, changeBuilds, changes as latestChanges } from "../queries.js";
import { to } from "../router.js";
import { NotFound } from "./notfound.js";

export function Changes() {
  useTitle("Changes");
  const changes = useQuery(latestChanges);
  return html`<header class="page-head"><h1>Changes</h1><span class="dim num">${changes.total.toLocaleString()} in all</span></header>
    <${Panel} title="Changes" class="headless">
      <${Content} query=${changes} empty="No change has come in yet." lines=${10}>
        <ul class="rows">${changes.list.map((change) => html`<${ChangeRow} key=${change.changeid} change=${change} />`)}</ul>
      <//>
    <//>`;
}

export function Change({ route }) {
  const query = useQuery(oneChange(Number(route.segments[1])));
  const builds = useQuery(changeBuilds(Number(route.segments[1])));
  const names = useNames();
  const change = query.item;
  useTitle(change ? firstLine(change.comments) : "Change");
  if (query.error?.status === 404) return html`<${NotFound} what=${`change ${route.segments[1]}`} />`;
  if (!change) return html`<${Content} query=${query} lines=${8} />`;
  const link = /^https?:\/\//.test(change.revlink ?? "") ? change.revlink : null;
  const facts = [["Author", change.author], ["Committer", change.committer], ["When", dateTime(change.when_timestamp)], ["Branch", change.branch],
    ["Repository", change.repository], ["Project", change.project], ["Codebase", change.codebase], ["Category", change.category]];
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.changes()} data-key="up">Changes</a></nav>
      <h1>${firstLine(change.comments) || `Change ${change.changeid}`}</h1></header>
    <section class="panel overview" aria-label="Change">
      <dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
        ${change.revision && html`<div><dt>Revision</dt><dd>${link ? html`<a href=${link} rel="noopener"><code>${change.revision}</code></a>` : html`<code>${change.revision}</code>`}</dd></div>`}</dl>
      <${ChangeDetails} change=${change} />
    </section>
    <${Panel} title="Builds" count=${builds.list.length}>
      <${Content} query=${builds} empty="Nothing was built of it."><ul class="rows">${builds.list.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} />`)}</ul><//>
    <//>`;
}
