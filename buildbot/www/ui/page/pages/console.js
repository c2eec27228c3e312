/** Which change went through what: changes as rows, builders as columns, results as cells. */

import { html, useMemo, useState } from "../dom.js";
import { firstLine, personName, shortRevision } from "../format.js";
import { useGradually, useQuery, useTitle } from "../hooks.js";
import { Ago, Content, Panel } from "../parts/basics.js";
import { Tags, isInUse, toggled, withTags } from "../parts/builders.js";
import { PAGE_CHANGES, builders as allBuilders, changes as latestChanges, consoleBuilds, consoleRequests, consoleSets } from "../queries.js";
import { StateIcon, stateOf } from "../results.js";
import { replace, to } from "../router.js";

const ROWS = 30;

export function Console({ route }) {
  useTitle("Console");
  const chosen = route.params.getAll("tag");
  const [rows, setRows] = useState(ROWS);
  const limit = Math.max(PAGE_CHANGES, rows);
  const builders = useQuery(allBuilders);
  const changes = useQuery(latestChanges("comments", "", limit));
  const [sets, requests, builds] = [consoleSets(limit), consoleRequests(limit), consoleBuilds(limit)].map(useQuery);
  const asked = [changes, sets, requests, builds, builders];
  const configured = builders.list.filter(isInUse);
  return html`<header class="page-head"><h1>Console</h1>
      <${Tags} builders=${configured} chosen=${chosen} onToggle=${(tag) => replace(to.console({ tag: toggled(chosen, tag) }))} /></header>
    <${Panel} title="Console" class="headless">
      <${Content} query=${asked.find((query) => query.state !== "ready") ?? changes} empty="No change has come in yet." lines=${10}>
        <${Table} configured=${configured} chosen=${chosen} changes=${changes} rows=${rows} sets=${sets} requests=${requests} builds=${builds} onMore=${() => setRows(rows + ROWS)} />
      <//>
    <//>`;
}

function Table({ configured, chosen, changes, rows, sets, requests, builds, onMore }) {
  const cells = useMemo(() => found(changes.list, sets.list, requests.list, builds.list), [changes.list, sets.list, requests.list, builds.list]);
  const newest = changes.list.slice(0, rows);
  const isBuilt = (change, builder) => cells.has(place(change.changeid, builder.builderid));
  // What became of older changes is beyond what was asked: they come with "Show more".
  const cut = [sets, requests].some((query) => query.list.length >= query.question.limit);
  const reach = cut ? newest.findLastIndex((change) => configured.some((builder) => isBuilt(change, builder))) : -1;
  const shown = reach < 0 ? newest : newest.slice(0, reach + 1);
  const columns = withTags(configured, chosen).filter((builder) => shown.some((change) => isBuilt(change, builder)));
  const drawn = useGradually(shown);
  return html`<div class="table-scroll"><table class="console" onKeyDown=${pressed}>
      <thead><tr><th scope="col">Change</th>${columns.map((builder) => html`<th scope="col" key=${builder.builderid} class="of-builder"><a href=${to.builder(builder.builderid)} title=${builder.name}>${builder.name}</a></th>`)}<td></td></tr></thead>
      <tbody>${drawn.map((change) => html`<${Row} key=${change.changeid} change=${change} columns=${columns} cells=${cells} />`)}</tbody>
    </table></div>
    ${changes.total > shown.length && html`<button class="more" onClick=${onMore}>Show more: ${shown.length} of ${changes.total.toLocaleString()}</button>`}`;
}

const place = (changeid, builderid) => `${changeid}/${builderid}`;

/** What became of each change on each builder: the newest request for it, with its build. */
function found(changes, sets, requests, builds) {
  const byStamp = new Map(changes.map((change) => [change.sourcestamp.ssid, change.changeid]));
  const byRevision = new Map(changes.filter((change) => change.revision).map((change) => [change.revision, change.changeid]));
  const newest = (ids) => Math.max(0, ...ids.filter(Boolean));
  const ofSet = new Map(sets.map((set) => [set.bsid, newest(set.sourcestamps.map((stamp) => byStamp.get(stamp.ssid)))]));
  const cells = new Map();
  const put = (changeid, cell) => {
    const at = place(changeid, cell.builderid);
    const known = cells.get(at);
    if (changeid && (!known || cell.buildrequestid > known.buildrequestid || (cell.buildrequestid === known.buildrequestid && cell.buildid && !(cell.buildid < known.buildid)))) cells.set(at, cell);
  };
  const ofRequest = new Map();
  for (const request of requests) {
    ofRequest.set(request.buildrequestid, ofSet.get(request.buildsetid));
    put(ofSet.get(request.buildsetid), request);
  }
  for (const build of builds) {
    // What was asked for without a revision says what it has built when it knows.
    const got = Object.values([build.properties?.got_revision?.[0]].flat().flatMap((one) => (one && typeof one === "object" ? Object.values(one) : [one])));
    put(ofRequest.get(build.buildrequestid) || newest(got.map((revision) => byRevision.get(revision))), build);
  }
  return cells;
}

function Row({ change, columns, cells }) {
  const title = firstLine(change.comments) || `Change ${change.changeid}`;
  return html`<tr>
    <th scope="row"><a class="main" href=${to.change(change.changeid)} title=${change.comments}>${title}</a>
      <small class="dim">${personName(change.author)}${change.revision && html` · <code>${shortRevision(change.revision)}</code>`} · <${Ago} at=${change.when_timestamp} /></small></th>
    ${cellsOf(change, columns, cells)}
  </tr>`;
}

/** Most cells are empty, and there may be thousands: neighbours that are empty are one. */
function cellsOf(change, columns, cells) {
  const drawn = [];
  let empty = 0;
  const gap = (after) => empty && drawn.push(html`<td key="before ${after}" colspan=${empty}></td>`);
  for (const builder of columns) {
    const cell = cells.get(place(change.changeid, builder.builderid));
    if (cell) {
      gap(builder.builderid);
      drawn.push(html`<td key=${builder.builderid}>${linkTo(cell, builder)}</td>`);
      empty = 0;
    } else {
      empty += 1;
    }
  }
  // The column that takes what room is left.
  empty += 1;
  gap("end");
  return drawn;
}

function linkTo(cell, builder) {
  const state = stateOf(cell);
  const name = cell.buildid ? `${builder.name} #${cell.number}: ${state}` : `${builder.name}, request ${cell.buildrequestid}: ${state}`;
  return html`<a tabindex="-1" class="state-${state}" aria-label=${name} title=${name} href=${cell.buildid ? to.build(cell.builderid, cell.number) : to.request(cell.buildrequestid)}><${StateIcon} state=${state} label=${null} /></a>`;
}

/** Arrow keys walk along rows and columns, over what is empty. */
function pressed(event) {
  const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  const from = event.target.closest("td, th");
  if (right === undefined || !from) return;
  event.preventDefault();
  const { rows } = event.currentTarget;
  let [x, y] = [columnOf(from), from.parentElement.rowIndex];
  for (let cell; (cell = rows[(y += down)] && cellAt(rows[y], (x += right))); ) {
    const link = cell.querySelector("a");
    if (link) return link.focus();
  }
}

function columnOf(cell) {
  const before = cell.previousElementSibling;
  return before ? columnOf(before) + before.colSpan : 0;
}

function cellAt(row, column) {
  let left = column;
  return [...row.cells].find((cell) => (left -= cell.colSpan) < 0);
}
