/** The lines of a log, fetched in windows as they are looked at. */

import { parseLine } from "./ansi.js";
import { logLines } from "./api.js";

const WINDOW = 250;
const STREAMS = { o: "", e: "err", h: "head", i: "" };

/** Windows that were asked for before their log was known, by its path and their number. */
const ahead = new Map();
const KEPT = 20;
const key = (path, n) => `${path}#${n}`;

/** Ask for the window with a line (from 0), and for the one of the line where the view will begin. */
export function linesAhead(path, line) {
  for (const n of new Set([line - WINDOW / 10, line].map((one) => Math.floor(Math.max(0, one) / WINDOW)))) {
    if (ahead.has(key(path, n))) continue;
    const lines = logLines(path, n * WINDOW, WINDOW);
    ahead.set(key(path, n), lines);
    // Whoever wants them asks again.
    lines.catch(() => ahead.delete(key(path, n)));
    if (ahead.size > KEPT) ahead.delete(ahead.keys().next().value);
  }
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
    return this.#windows.get(Math.floor(index / WINDOW))?.[index % WINDOW];
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
      const asked = have === 0 ? await ahead.get(key(this.path, n)) : undefined;
      ahead.delete(key(this.path, n));
      const lines = asked?.length ? asked : await logLines(`logs/${this.logid}`, n * WINDOW + have, WINDOW - have);
      const known = this.#windows.get(n) ?? [];
      if (lines.length === 0) this.#dry.set(n, total);
      let style = known.at(-1)?.next;
      for (const text of lines) {
        const parsed = parseLine(this.prefixed ? text.slice(1) : text, style);
        style = parsed.style;
        known.push({ stream: this.prefixed ? STREAMS[text[0]] ?? "" : "", runs: parsed.runs, next: parsed.style });
      }
      this.#windows.set(n, known);
      this.error = null;
    } catch (error) {
      this.error = error;
    } finally {
      this.#fetching.delete(n);
    }
    if (!this.closed) this.changed();
  }
}
