/** How long builds will probably take: as long as their builder's last success. */

import { get } from "../api.js";
import { useEffect, useReducer } from "../dom.js";
import { useQuery } from "../hooks.js";
import { endedBuilds, lastSuccess, latestBuilds } from "../queries.js";

/** builderid → its last success, or null while it is asked for or if there is none */
const known = new Map();
const waiting = new Set();
let asking = false;
let hasLatest = false;
/** what draws a row → the builder of its build */
const users = new Map();

const MANY = 3;

/** Of many builders the latest builds of all tell it; those that succeed seldom are asked for where few are drawn. */
async function ask() {
  if (!hasLatest && waiting.size > MANY) {
    const { items } = await get(latestBuilds.path).catch(() => ({ items: [] }));
    hasLatest = items.length > 0;
    for (const build of items.reverse()) if (build.complete && build.results === 0) known.set(build.builderid, build);
    for (const [draw, builderid] of users) if (known.get(builderid)) draw();
  }
  const missing = [...waiting].filter((id) => !known.get(id));
  waiting.clear();
  for (const id of missing) {
    known.delete(id); // Nothing to compare with, until its next build appears on a page.
    if (missing.length > MANY) continue;
    const { items } = await get(lastSuccess(id).path).catch(() => ({ items: null }));
    if (items) known.set(id, items[0] ?? null);
    for (const [draw, builderid] of users) if (builderid === id) draw();
  }
  asking = false;
  if (waiting.size > 0) later();
}

function later() {
  if (!asking) setTimeout(ask, 0);
  asking = true;
}

/** The last success of a build's builder before it, or undefined. */
export function useLastSuccess(build) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const recent = useQuery(endedBuilds);
  const id = build.builderid;
  const found = recent.list.find((other) => other.builderid === id && other.results === 0 && other.number < build.number);
  const ready = recent.state === "ready";
  useEffect(() => {
    users.set(draw, id);
    if (ready && !found && !known.has(id)) {
      known.set(id, null);
      waiting.add(id);
      later();
    }
    return () => users.delete(draw);
  }, [id, ready, !found]);
  return found ?? known.get(id) ?? undefined;
}
