/** How long builds will probably take: as long as their builder's last success. */

import { get } from "../api.js";
import { useEffect, useReducer } from "../dom.js";
import { useQuery } from "../hooks.js";
import { endedBuilds, successes } from "../queries.js";

/** builderid → its last success, or null while it is asked for or if there is none */
const known = new Map();
const waiting = new Set();
const users = new Set();

/** Builders of rows that are drawn together are asked for together. */
async function ask() {
  const builderids = [...waiting];
  waiting.clear();
  try {
    const { items } = await get(successes(builderids).path);
    for (const build of items.reverse()) known.set(build.builderid, build);
    // Those that succeed seldom are beyond what the answer holds.
    const missing = builderids.length > 1 ? builderids.filter((id) => known.get(id) === null) : [];
    await Promise.all(missing.map(async (id) => {
      const found = (await get(successes([id]).path)).items[0];
      if (found) known.set(id, found);
    }));
  } catch {
    // Nothing to compare with, until the next build of the builder appears.
    for (const id of builderids) known.delete(id);
  }
  for (const draw of users) draw();
}

/** The last success of a build's builder before it, or undefined. */
export function useLastSuccess(build) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const recent = useQuery(endedBuilds);
  const id = build.builderid;
  const found = recent.list.find((other) => other.builderid === id && other.results === 0 && other.number < build.number);
  const ready = recent.state === "ready";
  useEffect(() => {
    users.add(draw);
    if (ready && !found && !known.has(id)) {
      known.set(id, null);
      if (waiting.size === 0) setTimeout(ask, 0);
      waiting.add(id);
    }
    return () => users.delete(draw);
  }, [id, ready, !found]);
  return found ?? known.get(id) ?? undefined;
}
