/** Finding text in a log and going to a line: the server looks, this shows where. */

import { searchLog } from "../api.js";
import { html, useEffect, useRef, useState } from "../dom.js";
import { number } from "../format.js";
import { Icon } from "./basics.js";

/** Typing goes on for this long before the server is asked. */
const TYPING_MS = 180;
const MOST = 1000;

/** What was found so far; `after` is where to go on, null if the log was seen to its end. */
const NOTHING = { text: "", matches: [], after: null, busy: false, error: null };

/**
 * @param {object} log
 * @param {() => number} firstInSight  the first line in sight, from which the search begins
 * @param {(line: number) => void} show  called with the line of the match that was chosen
 */
export function FindBar({ log, firstInSight, show, onText }) {
  const [typed, setTyped] = useState("");
  const [found, setFound] = useState(NOTHING);
  const [at, setAt] = useState(-1);
  const asked = useRef(0);

  async function look(text, known, after) {
    asked.current += 1;
    const own = asked.current;
    setFound({ text, matches: known, after, busy: true, error: null });
    const matches = [...known];
    const wanted = known.length + MOST;
    let next = after;
    try {
      do {
        const answer = await searchLog(log.logid, text, next, Math.min(MOST, wanted - matches.length));
        if (own !== asked.current) return null;
        matches.push(...answer.matches);
        next = answer.next;
        setFound({ text, matches: [...matches], after: next, busy: next !== null && matches.length < wanted, error: null });
      } while (next !== null && matches.length < wanted);
      return matches;
    } catch (error) {
      if (own === asked.current) setFound({ text, matches, after: next, busy: false, error });
      return null;
    }
  }

  async function begin(text) {
    onText(text);
    setAt(-1);
    if (!text) {
      asked.current += 1;
      setFound(NOTHING);
      return;
    }
    const matches = await look(text, [], -1);
    if (!matches?.length) return;
    const from = firstInSight();
    const first = matches.findIndex((match) => match.line >= from);
    choose(matches, Math.max(0, first));
  }

  function choose(matches, index) {
    setAt(index);
    show(matches[index].line);
  }

  async function move(by) {
    const { text, matches, after, busy } = found;
    if (typed !== text) return begin(typed);
    const next = at + by;
    if (next >= matches.length && !busy && (after !== null || log.num_lines - 1 > (matches.at(-1)?.line ?? -1))) {
      // There is more behind what was found, or the log has grown meanwhile.
      const more = await look(text, matches, after ?? matches.at(-1)?.line ?? -1);
      if (more?.length) choose(more, next < more.length ? next : 0);
      return undefined;
    }
    if (matches.length) choose(matches, (next + matches.length) % matches.length);
    return undefined;
  }

  useEffect(() => {
    if (typed === found.text) return undefined;
    const timer = setTimeout(() => begin(typed), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);

  const { matches, after, busy, error } = found;
  const many = `${number(matches.length)}${after !== null ? "+" : ""}`;
  const said = error ? error.message : !found.text ? "" : matches.length ? (at >= 0 ? `${number(at + 1)} of ${many}` : many) : busy ? "searching" : "nothing found";
  return html`<div class="find" role="search">
    <input type="search" data-key="find" placeholder="Find" aria-label="Find in ${log.name}" spellcheck="false" value=${typed} onInput=${(event) => setTyped(event.target.value)}
      onKeyDown=${(event) => {
        if (event.key === "Enter") { event.preventDefault(); move(event.shiftKey ? -1 : 1); }
        if (event.key === "Escape") event.target.blur();
      }} />
    <span class="said num ${error ? "wrong" : "dim"}" role="status">${said}</span>
    <button class="icon-only quiet" data-key="match-before" disabled=${!matches.length} onClick=${() => move(-1)} aria-label="Previous match" title="Previous match (N)"><${Icon} name="up" /></button>
    <button class="icon-only quiet" data-key="match-after" disabled=${!matches.length} onClick=${() => move(1)} aria-label="Next match" title="Next match (n)"><${Icon} name="down" /></button>
    <input class="goto num" data-key="line" inputmode="numeric" pattern="[0-9]*" placeholder="Line" aria-label="Go to line" onKeyDown=${(event) => {
      if (event.key === "Escape") event.target.blur();
      const line = Number(event.target.value.replace(/\D/g, ""));
      if (event.key === "Enter" && line > 0) { show(Math.min(line, log.num_lines) - 1); event.target.blur(); }
    }} />
  </div>`;
}

/** A text with what was searched for marked; capitals of ASCII do not count. */
export function Marked({ text, wanted }) {
  if (!wanted) return text;
  const lower = (string) => string.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const folded = lower(text);
  const needle = lower(wanted);
  const pieces = [];
  let from = 0;
  for (let at = folded.indexOf(needle); at >= 0; at = folded.indexOf(needle, from)) {
    pieces.push(text.slice(from, at), html`<mark>${text.slice(at, at + needle.length)}</mark>`);
    from = at + needle.length;
  }
  return [...pieces, text.slice(from)];
}
