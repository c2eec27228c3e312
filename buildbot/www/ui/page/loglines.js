/** The lines of a log, fetched in windows as they are looked at. */

import { parseLine } from "./ansi.js";
import { logLines } from "./api.js";

const WINDOW = 250;
const STREAMS = { o: "", e: "err", h: "head", i: "" };

/** Lines around the one that is gone to that come with it: as many as a tall window shows. */
const AROUND = 100;

/** Windows that were asked for before their log was known, by its path and their number: promises, then their lines. */
const ahead = new Map();
const KEPT = 20;
const key = (path, n) => `${path}#${n}`;

/**
 * Ask for the windows that will be in sight if the view goes to a line (from 0).
 * @returns {Promise[]}  one for each that is not there yet; none of them is rejected
 */
export function linesAhead(path, line) {
  const numbers = new Set([line - AROUND, line + AROUND].map((one) => Math.floor(Math.max(0, one) / WINDOW)));
  return [...numbers].map((n) => fetchAhead(path, n)).filter((found) => found instanceof Promise);
}

function fetchAhead(path, n) {
  const name = key(path, n);
  if (!ahead.has(name)) {
    // What could not be had is asked for again by whoever wants it.
    const coming = logLines(path, n * WINDOW, WINDOW).then((lines) => ahead.has(name) && ahead.set(name, lines), () => ahead.delete(name));
    ahead.set(name, coming);
    if (ahead.size > KEPT) ahead.delete(ahead.keys().next().value);
  }
  return ahead.get(name);
}

/** The lines of a log that have been fetched, in windows, and the fetching of others. */
export class Lines {
  #windows = new Map();
  #fetching = new Set();
  /** windows that had no more to give, by how long the log was said to be when they were asked */
  #dry = new Map();

  constructor(log, path, changed) {
    this.logid = log.logid;
    this.path = path;
    this.prefixed = log.type === "s";
    this.total = log.num_lines;
    this.changed = changed;
    this.error = null;
    this.closed = false;
  }

  /** The line as {stream, runs}, or undefined while it is on its way. */
  line(index) {
    const n = Math.floor(index / WINDOW);
    if (!this.#windows.has(n)) this.#takeAhead(n);
    return this.#windows.get(n)?.[index % WINDOW];
  }

  /** See to it that these lines are there or on their way. */
  want(first, last) {
    if (this.error) return;
    const lastWindow = Math.floor(Math.min(last, this.total - 1) / WINDOW);
    for (let n = Math.floor(first / WINDOW); n <= lastWindow; n += 1) {
      const have = this.#windows.get(n)?.length ?? 0;
      const whole = Math.min(WINDOW, this.total - n * WINDOW);
      if (have < whole && !this.#fetching.has(n) && this.#dry.get(n) !== this.total) this.#fetch(n, have);
    }
  }

  async #fetch(n, have) {
    this.#fetching.add(n);
    const total = this.total;
    try {
      await ahead.get(key(this.path, n));
      if (!this.#takeAhead(n)) this.#take(n, await logLines(`logs/${this.logid}`, n * WINDOW + have, WINDOW - have), total);
      this.error = null;
    } catch (error) {
      this.error = error;
    } finally {
      this.#fetching.delete(n);
    }
    if (!this.closed) this.changed();
  }

  /** Take a window that came ahead; false if it did not, or has nothing new. */
  #takeAhead(n) {
    const lines = ahead.get(key(this.path, n));
    if (!Array.isArray(lines)) return false;
    ahead.delete(key(this.path, n));
    const isNew = lines.length > 0 && !this.#windows.has(n);
    if (isNew) this.#take(n, lines, this.total);
    return isNew;
  }

  #take(n, lines, total) {
    const known = this.#windows.get(n) ?? [];
    if (lines.length === 0) this.#dry.set(n, total);
    let style = known.at(-1)?.next;
    for (const text of lines) {
      const parsed = parseLine(this.prefixed ? text.slice(1) : text, style);
      style = parsed.style;
      known.push({ stream: this.prefixed ? STREAMS[text[0]] ?? "" : "", runs: parsed.runs, next: parsed.style });
    }
    this.#windows.set(n, known);
  }
}
