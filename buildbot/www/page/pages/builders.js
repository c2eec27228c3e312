/** All builders with their state and latest builds. */

import { html, useMemo, useState } from "../dom.js";
import { duration } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { Ago, Content, Panel } from "../parts/basics.js";
import { History, tookSeconds } from "../parts/builds.js";
import { builders as allBuilders, latestBuilds, waiting } from "../queries.js";
import { StateIcon, stateOf } from "../results.js";
import { replace, to } from "../router.js";

const SHOWN_BUILDS = 14;

export function Builders({ route }) {
  useTitle("Builders");
  const builders = useQuery(allBuilders);
  const latest = useQuery(latestBuilds);
  const queue = useQuery(waiting);
  const [text, setText] = useState("");
  const chosen = route.params.getAll("tag");
  const old = route.params.has("old");

  const byBuilder = useMemo(() => group(latest.list, "builderid", SHOWN_BUILDS), [latest.list]);
  const waitingBy = useMemo(() => group(queue.list, "builderid", Infinity), [queue.list]);
  const configured = builders.list.filter((builder) => builder.masterids.length > 0 || old);
  const tags = [...new Set(configured.flatMap((builder) => builder.tags))].filter((tag) => tag !== "_virtual_").sort();
  const wanted = text.toLowerCase();
  const shown = configured.filter((builder) =>
    builder.name.toLowerCase().includes(wanted) && chosen.every((tag) => builder.tags.includes(tag)));
  const removed = builders.list.filter((builder) => builder.masterids.length === 0).length;

  function show(params) {
    const query = new URLSearchParams(params);
    replace(`#/builders${query.size ? `?${query}` : ""}`);
  }
  const withTags = (list) => [...list.map((tag) => ["tag", tag]), ...(old ? [["old", "1"]] : [])];
  const toggle = (tag) => show(withTags(chosen.includes(tag) ? chosen.filter((other) => other !== tag) : [...chosen, tag]));

  return html`<header class="page-head"><h1>Builders</h1>
      <input class="filter" type="search" placeholder="Filter by name" aria-label="Filter by name" value=${text} onInput=${(event) => setText(event.target.value)} />
      <div class="tags" role="group" aria-label="Tags">${tags.map((tag) => html`<button class="tag" aria-pressed=${chosen.includes(tag)} onClick=${() => toggle(tag)}>${tag}</button>`)}</div>
      ${(removed > 0 || old) && html`<label class="check"><input type="checkbox" checked=${old}
        onChange=${() => show([...chosen.map((tag) => ["tag", tag]), ...(old ? [] : [["old", "1"]])])} />no longer configured</label>`}
    </header>
    <${Panel} title="Builders" class="headless">
      <${Content} query=${builders} empty="No builder is configured." lines=${8}>
        <ul class="rows builders">${shown.map((builder) => html`<${BuilderRow} key=${builder.builderid} builder=${builder}
          builds=${byBuilder.get(builder.builderid) ?? []} waiting=${waitingBy.get(builder.builderid)?.length ?? 0} onTag=${toggle} />`)}</ul>
        ${shown.length === 0 && html`<p class="empty">No builder fits.</p>`}
      <//>
    <//>`;
}

function group(items, key, most) {
  const groups = new Map();
  for (const item of items) {
    const list = groups.get(item[key]);
    if (!list) groups.set(item[key], [item]);
    else if (list.length < most) list.push(item);
  }
  return groups;
}

function BuilderRow({ builder, builds, waiting: inQueue, onTag }) {
  const running = builds.filter((build) => !build.complete);
  const last = builds.find((build) => build.complete);
  return html`<li class="row builder ${builder.masterids.length ? "" : "gone"}">
    <${StateIcon} state=${last ? stateOf(last) : "pending"} label=${last ? `last: ${stateOf(last)}` : "never built"} />
    <span class="main-cell"><a class="main" href=${to.builder(builder.builderid)}><b>${builder.name}</b></a>
      ${builder.tags.map((tag) => html`<button class="tag" tabindex="-1" onClick=${() => onTag(tag)}>${tag}</button>`)}</span>
    <span class="detail">
      ${running.length > 0 && html`<span class="tag busy"><i class="dot busy"></i>${running.length} running</span>`}
      ${inQueue > 0 && html`<span class="tag">${inQueue} waiting</span>`}
    </span>
    <span class="history-cell"><${History} builds=${builds} builderid=${builder.builderid} /></span>
    <span class="took num dim">${last && duration(tookSeconds(last))}</span>
    <span class="time dim">${last ? html`<${Ago} at=${last.complete_at} />` : "never"}</span>
  </li>`;
}
