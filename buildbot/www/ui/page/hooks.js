/** How components use live queries and the passing of time. */

import { serverNow } from "./api.js";
import { useEffect, useLayoutEffect, useReducer, useState } from "./dom.js";
import { query } from "./store.js";
import { stream } from "./stream.js";

const NOTHING = { state: "loading", list: [], item: undefined, total: 0, error: null, get: () => undefined, reload() {} };

/** The live query for a question, or an empty one for null; the component draws again when it changes. */
export function useQuery(question) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const live = question ? query(question) : null;
  const drawn = live?.version;
  useLayoutEffect(() => {
    if (!live) return undefined;
    live.users.add(draw);
    // It may have changed between drawing and this effect.
    if (live.version !== drawn) draw();
    return () => live.users.delete(draw);
  }, [live]);
  return live ?? NOTHING;
}

/** False at first, true once what is in sight has been drawn: for what may come a moment later. */
export function useLater(ready) {
  const [later, setLater] = useState(false);
  useEffect(() => {
    if (!ready) return undefined;
    const timer = setTimeout(() => setLater(true), 60);
    return () => clearTimeout(timer);
  }, [ready]);
  return later;
}

/** The beginning of a list at first, a moment later all of it: what is out of sight must not hold up what is in sight. */
export function useGradually(list, first = 18) {
  const all = useLater(list.length > 0);
  return all ? list : list.slice(0, first);
}

/** State of the event stream: "connecting", "open" or "waiting". */
export function useStreamState() {
  const [state, setState] = useState(stream.state);
  useEffect(() => {
    const changed = () => setState(stream.state);
    stream.addEventListener("state", changed);
    changed();
    return () => stream.removeEventListener("state", changed);
  }, []);
  return state;
}

const tickers = new Set();
let timer = null;

function tick() {
  for (const draw of tickers) draw();
}

/** The server's time in seconds, again every second as long as the component is there. */
export function useNow(running = true) {
  const [, draw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!running) return undefined;
    tickers.add(draw);
    timer ??= setInterval(tick, 1000);
    return () => {
      tickers.delete(draw);
      if (tickers.size === 0) {
        clearInterval(timer);
        timer = null;
      }
    };
  }, [running]);
  return serverNow();
}

/** Set the document's title while the component is there. */
export function useTitle(text) {
  useEffect(() => {
    document.title = text ? `${text} · ${useTitle.site}` : useTitle.site;
  }, [text, useTitle.site]);
}
useTitle.site = "Buildbot";
