/** Builders as rows, with their latest builds; their tags as a filter. */

import { html, useMemo } from "../dom.js";
import { duration } from "../format.js";
import { useGradually, useQuery } from "../hooks.js";
import { builderBuilds, latestBuilds, waiting } from "../queries.js";
import { StateIcon, stateOf } from "../results.js";
import { to } from "../router.js";
import { Ago } from "./basics.js";
import { History, tookSeconds } from "./builds.js";

const SHOWN_BUILDS = 14;
/** Of how many builders that are not among the newest builds of all the own ones are asked for. */
const SELDOM = 40;

/** The newest builds of each builder, by its id. */
export function useLatest() {
  const latest = useQuery(latestBuilds);
  return useMemo(() => group(latest.list, "builderid", SHOWN_BUILDS), [latest.list]);
}

/** Whether builds of a builder may come: a master runs it, or it is a virtual one. */
export const isInUse = (builder) => builder.masterids.length > 0 || builder.tags.includes("_virtual_");

/** The builders of a list that have all chosen tags. */
export const withTags = (builders, chosen) => builders.filter((builder) => chosen.every((tag) => builder.tags.includes(tag)));

/** The tags of some builders, to choose from. */
export function Tags({ builders, chosen, onToggle }) {
  const tags = [...new Set(builders.flatMap((builder) => builder.tags))].filter((tag) => tag !== "_virtual_").sort();
  return html`<div class="tags" role="group" aria-label="Tags">${tags.map((tag) => html`<button class="tag" key=${tag} aria-pressed=${chosen.includes(tag)} onClick=${() => onToggle(tag)}>${tag}</button>`)}</div>`;
}

/** The chosen tags after one of them was chosen or given up. */
export const toggled = (chosen, tag) => (chosen.includes(tag) ? chosen.filter((other) => other !== tag) : [...chosen, tag]);

export function BuilderRows({ builders, onTag }) {
  const queue = useQuery(waiting);
  const latest = useLatest();
  const drawn = useGradually(builders);
  // On a busy farm the newest builds of all do not reach back to those of builders that build seldom.
  const isPart = useQuery(latestBuilds).list.length >= latestBuilds.limit;
  const seldom = isPart ? drawn.filter((builder) => !latest.has(builder.builderid)).slice(0, SELDOM) : [];
  const waitingBy = useMemo(() => group(queue.list, "builderid", Infinity), [queue.list]);
  return html`<ul class="rows builders">${drawn.map((builder) => html`<${BuilderRow} key=${builder.builderid} builder=${builder}
    builds=${latest.get(builder.builderid) ?? []} asks=${seldom.includes(builder)} unknown=${isPart} waiting=${waitingBy.get(builder.builderid)?.length ?? 0} onTag=${onTag} />`)}</ul>`;
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

function BuilderRow({ builder, builds: newest, asks, unknown, waiting: inQueue, onTag }) {
  const own = useQuery(asks ? builderBuilds(builder.builderid, [], SHOWN_BUILDS) : null);
  const builds = newest.length ? newest : own.list;
  const never = unknown && !(asks && own.state === "ready") ? "not lately" : "never";
  const running = builds.filter((build) => !build.complete);
  const last = builds.find((build) => build.complete);
  return html`<li class="row builder ${isInUse(builder) ? "" : "gone"}">
    <${StateIcon} state=${last ? stateOf(last) : "pending"} label=${last ? `last: ${stateOf(last)}` : `${never} built`} />
    <span class="main-cell"><a class="main" href=${to.builder(builder.builderid)}><b>${builder.name}</b></a>
      ${builder.tags.filter((tag) => tag !== "_virtual_").map((tag) => html`<button class="tag" tabindex="-1" onClick=${() => onTag(tag)}>${tag}</button>`)}</span>
    <span class="detail">
      ${running.length > 0 && html`<span class="tag busy"><i class="dot busy"></i>${running.length} running</span>`}
      ${inQueue > 0 && html`<span class="tag">${inQueue} waiting</span>`}
    </span>
    <span class="history-cell"><${History} builds=${builds} builderid=${builder.builderid} /></span>
    <span class="took num dim">${last && duration(tookSeconds(last))}</span>
    <span class="time dim">${last ? html`<${Ago} at=${last.complete_at} />` : never}</span>
  </li>`;
}
