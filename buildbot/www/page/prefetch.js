/**
 * Asks for what a page will need when a visitor points at a link to it or moves the focus there, so that it is there
 * when he clicks. A query that is asked for here is an ordinary live one, kept for a while like those of visited pages.
 */

import {
  PAGE_CHANGES, build, builderBuilds, builderForceSchedulers, builderWaiting, change, changeBuilds, changes, changesources, claimedRequests, consoleBuilds,
  consoleRequests, consoleSets, forceSchedulers, latestBuilds, masters, neighbours, projects, request, requestBuilds, schedulers, waiting, workerBuilds,
} from "./queries.js";
import { parse } from "./router.js";
import { query } from "./store.js";

/** Whoever only passes over a link does not stay as long. */
const DWELL_MS = 60;

/** First segment of an address, and the questions of its page; most are asked by every page. */
const AHEAD = {
  builders: ([, id, , number]) => {
    if (!id) return [latestBuilds];
    if (!/^\d+$/.test(id)) return [];
    return number ? [build(Number(id), Number(number)), neighbours(Number(id), Number(number))]
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

function ahead(link) {
  const address = link.getAttribute("href");
  if (!address.startsWith("#/") || address === location.hash) return;
  const { segments } = parse(address);
  for (const question of AHEAD[segments[0]]?.(segments) ?? []) query(question);
}

export function prefetchOnIntent() {
  let timer = null;
  const linkOf = (event) => event.target.closest?.("a[href^='#/']");
  const soon = (event) => {
    clearTimeout(timer);
    const link = linkOf(event);
    if (link) timer = setTimeout(() => ahead(link), DWELL_MS);
  };
  addEventListener("pointerover", soon, { passive: true });
  addEventListener("focusin", soon);
  addEventListener("pointerdown", (event) => {
    const link = linkOf(event);
    if (link) ahead(link);
  }, { passive: true });
}
