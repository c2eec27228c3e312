/** Hash routes: `#/builders/4/builds/7?tab=changes`. */

import { useEffect, useState } from "./dom.js";

/** The route of an address: path segments and query parameters. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return {
    path: `/${path}`,
    hash,
    segments: path ? path.split("/").map(decodeURIComponent) : [],
    params: new URLSearchParams(query),
  };
}

/** An address; segments are encoded, a parameter whose value is a list is repeated. */
export function href(segments, params = {}) {
  const given = Object.entries(params).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const query = new URLSearchParams(given.filter(([, value]) => value !== undefined && value !== null));
  const path = segments.map((segment) => encodeURIComponent(segment)).join("/");
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

export function go(address) {
  location.hash = address;
}

/** Change the address without a new entry in the history. */
export function replace(address) {
  history.replaceState(history.state, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** How long a page waits for its data; after that it shows that they are on their way. */
const PATIENCE_MS = 120;

/**
 * The route of the address. Another page's takes effect when all that `prepare` asks for is there: a page is drawn once,
 * with its data, not first without them.
 * @param {(route: object) => Promise[]} prepare  gives what is still on its way
 */
export function useRoute(prepare) {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    let shown = route.path;
    let timer = null;
    const changed = async () => {
      const next = parse(location.hash);
      clearTimeout(timer);
      const coming = next.path === shown ? [] : prepare(next);
      if (coming.length) {
        const late = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE_MS); });
        await Promise.race([Promise.all(coming), late]);
        // Somebody went on meanwhile.
        if (location.hash !== next.hash) return;
        clearTimeout(timer);
      }
      shown = next.path;
      setRoute(next);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

export const to = {
  home: () => href([]),
  builders: (params) => href(["builders"], params),
  builder: (builderid) => href(["builders", builderid]),
  build: (builderid, number, params) => href(["builders", builderid, "builds", number], params),
  log: (builderid, number, step, slug, params) =>
    href(["builders", builderid, "builds", number, "steps", step, "logs", slug], params),
  request: (buildrequestid, params) => href(["buildrequests", buildrequestid], params),
  waiting: () => href(["pendingbuildrequests"]),
  changes: () => href(["changes"]),
  buildset: (bsid) => href(["buildsets", bsid]),
  change: (changeid) => href(["changes", changeid]),
  console: (params) => href(["console"], params),
  projects: () => href(["projects"]),
  project: (projectid) => href(["projects", projectid]),
  workers: () => href(["workers"]),
  worker: (workerid) => href(["workers", workerid]),
  masters: () => href(["masters"]),
  about: () => href(["about"]),
  schedulers: () => href(["schedulers"]),
};
