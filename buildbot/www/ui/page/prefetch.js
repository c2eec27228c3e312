/**
 * Asks for what a page will need, all at once: when a visitor points at a link to it or moves the focus there, so that
 * it is there when he clicks, and else at the click. A query that is asked for here is an ordinary live one, kept for a
 * while like those of visited pages.
 */

import {
  PAGE_CHANGES, build, builderBuilds, builderForceSchedulers, builderWaiting, builders, change, changeBuilds, changes,
  changesources, claimedRequests, consoleBuilds, consoleRequests, consoleSets, endedBuilds, forceSchedulers,
  latestBuilds, logAt, logPath, masters, neighbours, projects, properties, request, requestBuilds, runningBuilds,
  schedulers, steps, waiting, workerBuilds, workers,
} from "./queries.js";
import { linesAhead } from "./loglines.js";
import { parse } from "./router.js";
import { query } from "./store.js";

/** Whoever only passes over a link does not stay as long. */
const DWELL_MS = 60;

/** What most pages show something of. */
const FARM = [builders, workers, masters, runningBuilds];

/** First segment of an address, and the questions of its page, without those that the frame asks. */
const AHEAD = {
  "": () => [...FARM, endedBuilds, waiting],
  builders: ([, id, , number, , step, , slug]) => {
    if (!id) return [...FARM, latestBuilds];
    if (!/^\d+$/.test(id)) return [];
    const place = { builderid: Number(id), number: Number(number) };
    if (slug) return [workers, logAt({ ...place, step, slug })];
    if (number) return [workers, build(place.builderid, place.number), steps(place), properties(place), neighbours(place.builderid, place.number)];
    return [...FARM, builderBuilds(Number(id)), builderWaiting(Number(id)), builderForceSchedulers(Number(id))];
  },
  buildrequests: ([, id]) => [...FARM, request(Number(id)), requestBuilds(Number(id))],
  pendingbuildrequests: () => [...FARM, waiting, claimedRequests],
  projects: () => [builders, projects, latestBuilds],
  console: () => [builders, changes(), consoleSets(PAGE_CHANGES), consoleRequests(PAGE_CHANGES), consoleBuilds(PAGE_CHANGES)],
  changes: ([, id]) => (id ? [change(Number(id)), changeBuilds(Number(id))] : [changes()]),
  workers: ([, id]) => [...FARM, ...(/^\d+$/.test(id ?? "") ? [workerBuilds(Number(id))] : [])],
  schedulers: () => [masters, schedulers, forceSchedulers],
  masters: () => [...FARM, schedulers, changesources],
};

/**
 * Ask for what the page of a route needs.
 * @returns {Promise[]}  one for each answer that is not there yet; none of them is rejected
 */
export function ahead({ segments, params }) {
  const asked = (AHEAD[segments[0] ?? ""]?.(segments, params) ?? []).map(query);
  const coming = asked.filter((one) => one.state === "loading").map((one) => one.settled);
  const [root, builderid, , number, , step, , slug] = segments;
  if (root === "builders" && slug) {
    coming.push(...linesAhead(logPath({ builderid, number, step, slug }), Math.max(0, Number(params.get("line")) - 1)));
  }
  return coming;
}

export function prefetchOnIntent() {
  let timer = null;
  const linkOf = (event) => event.target.closest?.("a[href^='#/']");
  const of = (link) => {
    const address = link?.getAttribute("href");
    if (address && address !== location.hash) ahead(parse(address));
  };
  const soon = (event) => {
    clearTimeout(timer);
    const link = linkOf(event);
    if (link) timer = setTimeout(() => of(link), DWELL_MS);
  };
  addEventListener("pointerover", soon, { passive: true });
  addEventListener("focusin", soon);
  addEventListener("pointerdown", (event) => of(linkOf(event)), { passive: true });
}
