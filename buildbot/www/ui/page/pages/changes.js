/** The latest changes, and one change with what was built of it. */

import { html, useEffect, useState } from "../dom.js";
import { dateTime, firstLine } from "../format.js";
import { useGradually, useQuery, useTitle } from "../hooks.js";
import { Content, Panel } from "../parts/basics.js";
import { BuildRow, useNames } from "../parts/builds.js";
import { ChangeDetails, ChangeRow } from "../parts/changes.js";
import { Properties } from "../parts/properties.js";
import { httpUrl } from "../parts/sources.js";
import { CHANGE_FIELDS, PAGE_CHANGES as PAGE, change as oneChange, changeBuilds, changes as latestChanges } from "../queries.js";
import { href, replace, to } from "../router.js";
import { NotFound } from "./notfound.js";

/** Typing goes on for this long before the server is asked. */
const TYPING_MS = 250;

export function Changes({ route }) {
  useTitle("Changes");
  const field = CHANGE_FIELDS[route.params.get("in")] ? route.params.get("in") : "comments";
  const text = route.params.get("text") ?? "";
  const [typed, setTyped] = useState(text);
  const [limit, setLimit] = useState(PAGE);
  const changes = useQuery(latestChanges(field, text, limit));
  const drawn = useGradually(changes.list);
  const search = (name, value) => {
    setLimit(PAGE);
    replace(href(["changes"], { text: value || undefined, in: name === "comments" ? undefined : name }));
  };
  useEffect(() => {
    if (typed === text) return undefined;
    const timer = setTimeout(() => search(field, typed), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  return html`<header class="page-head"><h1>Changes</h1><span class="dim num">${changes.state === "ready" && `${changes.total.toLocaleString()} ${text ? "found" : "in all"}`}</span><span class="grow"></span>
      <form class="search-in" role="search" onSubmit=${(event) => { event.preventDefault(); search(field, typed); }}>
        <select aria-label="Search in" value=${field} onChange=${(event) => search(event.target.value, typed)}>${Object.entries(CHANGE_FIELDS).map(([name, label]) => html`<option value=${name}>${label}</option>`)}</select>
        <input class="filter" type="search" placeholder="Search" aria-label="Search changes" value=${typed} onInput=${(event) => setTyped(event.target.value)} />
      </form>
    </header>
    <${Panel} title="Changes" class="headless">
      <${Content} query=${changes} empty=${text ? `No change has “${text}” in its ${CHANGE_FIELDS[field].toLowerCase()}.` : "No change has come in yet."} lines=${10}>
        <ul class="rows">${drawn.map((change) => html`<${ChangeRow} key=${change.changeid} change=${change} />`)}</ul>
        ${changes.total > changes.list.length && html`<button class="more" onClick=${() => setLimit(limit + PAGE)}>Show more: ${changes.list.length} of ${changes.total.toLocaleString()}</button>`}
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
  const link = httpUrl(change.revlink);
  const facts = [["Author", change.author], ["Committer", change.committer], ["When", dateTime(change.when_timestamp)], ["Branch", change.branch],
    ["Repository", change.repository], ["Project", change.project], ["Codebase", change.codebase], ["Category", change.category]];
  return html`<header class="page-head"><nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.changes()} data-key="up">Changes</a></nav>
      <h1>${firstLine(change.comments) || `Change ${change.changeid}`}</h1></header>
    <section class="panel overview" aria-label="Change">
      <dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
        ${change.revision && html`<div><dt>Revision</dt><dd>${link ? html`<a href=${link} rel="noopener"><code>${change.revision}</code></a>` : html`<code>${change.revision}</code>`}</dd></div>`}</dl>
      <${ChangeDetails} change=${change} />
    </section>
    ${Object.keys(change.properties ?? {}).length > 0 && html`<${Properties} properties=${change.properties} />`}
    <${Panel} title="Builds" count=${builds.list.length}>
      <${Content} query=${builds} empty="Nothing was built of it."><ul class="rows">${builds.list.map((build) => html`<${BuildRow} key=${build.buildid} build=${build} names=${names} />`)}</ul><//>
    <//>`;
}
