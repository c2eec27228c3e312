/**
 * Asks for what a page will need when a visitor points at a link to it or moves the focus there, so that it is there
 * when he clicks. A query that is asked for here is an ordinary live one, kept for a while like those of visited pages.
 */

import {
  PAGE_CHANGES, build, builderBuilds, builderForceSchedulers, builderWaiting, change, changeBuilds, changes,
  changesources, claimedRequests, consoleBuilds, consoleRequests, consoleSets, endedBuilds, forceSchedulers,
  latestBuilds, logAt, logPath, masters, neighbours, projects, properties, request, requestBuilds, runningBuilds,
  schedulers, steps, waiting, workerBuilds, workers,
} from "./queries.js";
import { linesAhead } from "./loglines.js";
import { parse } from "./router.js";
import { query } from "./store.js";

/** Whoever only passes over a link does not stay as long. */
const DWELL_MS = 60;

/** First segment of an address, and the questions of its page; most are asked by every page. */
const AHEAD = {
  "": () => [runningBuilds, endedBuilds, waiting, workers, masters],
  builders: ([, id, , number, , step, , slug], params) => {
    if (!id) return [latestBuilds];
    if (!/^\d+$/.test(id)) return [];
    const place = { builderid: Number(id), number: Number(number) };
    if (slug) {
      linesAhead(logPath({ ...place, step, slug }), Math.max(0, Number(params.get("line")) - 1));
      return [logAt({ ...place, step, slug })];
    }
    return number ? [build(place.builderid, place.number), steps(place), properties(place), neighbours(place.builderid, place.number)]
      : [builderBuilds(Number(id)), builderWaiting(Number(id)), builderForceSchedulers(Number(id))];
  },
  buildrequests: ([, id]) => [request(Number(id)), requestBuilds(Number(id))],
  pendingbuildrequests: () => [waiting, claimedRequests],
  projects: () => [projects, latestBuilds],
  console: () => [changes(), consoleSets(PAGE_CHANGES), consoleRequests(PAGE_CHANGES), consoleBuilds(PAGE_CHANGES)],
  changes: ([, id]) => (id ? [change(Number(id)), changeBuilds(Number(id))] : [changes()]),
  workers: ([, id]) => (/^\d+$/.test(id ?? "") ? [workerBuilds(Number(id))] : []),
  schedulers: () => [schedulers, forceSchedulers],
  masters: () => [masters, schedulers, changesources],
};

function ahead(address) {
  const { segments, params } = parse(address);
  for (const question of AHEAD[segments[0] ?? ""]?.(segments, params) ?? []) query(question);
}

export function prefetchOnIntent() {
  let timer = null;
  const linkOf = (event) => event.target.closest?.("a[href^='#/']");
  const of = (link) => {
    const address = link?.getAttribute("href");
    if (address && address !== location.hash) ahead(address);
  };
  const soon = (event) => {
    clearTimeout(timer);
    const link = linkOf(event);
    if (link) timer = setTimeout(() => of(link), DWELL_MS);
  };
  addEventListener("pointerover", soon, { passive: true });
  addEventListener("focusin", soon);
  addEventListener("pointerdown", (event) => of(linkOf(event)), { passive: true });
  // Before anything of the new page is drawn: keys click too, and addresses are typed.
  addEventListener("click", (event) => of(linkOf(event)), { capture: true });
  addEventListener("hashchange", () => ahead(location.hash), { capture: true });
}
