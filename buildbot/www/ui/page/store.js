/**
 * Live queries: what a GET returned, kept true by the event stream. Nothing here asks twice.
 *
 * A query is fetched once and then changed by events: each carries the whole resource, which is put in, replaced, or
 * taken out when it no longer belongs. Queries stay alive for a while after a page is left, so that going back is
 * instant. Changes are announced at most once per frame, however many events arrive.
 */

import { get } from "./api.js";
import { stream } from "./stream.js";

/** Queries that no page shows any more but that are kept up to date. */
const KEPT_QUERIES = 60;
const RETRY_MS = 5000;

/**
 * What a query asks and how events change it.
 * @typedef {object} Question
 * @property {string} path  what to GET, such as `builds?complete=false`; also the query's name
 * @property {string} [follow]  the pattern of its events; without it the answer does not change. What is asked ahead may
 *   not know it yet: a later question of the same path may bring it
 * @property {string} key  the attribute that identifies an item
 * @property {(item: object) => boolean} [keep]  whether an item belongs to the query; default: all do
 * @property {(a: object, b: object) => number} [order]  default: as they came
 * @property {number} [limit]  how many items to hold
 * @property {(key: string[], message: object) => number} [count]  by how much an event changes the total
 * @property {{pattern: (item: object) => string, until: (item: object) => boolean, change: (item: object, message: object) => object}} [below]
 *   events of each item's own that change it, and when they end
 */

class Query {
  constructor(question) {
    this.question = question;
    this.state = "loading";
    this.error = null;
    this.total = 0;
    this.clock = 0;
    /** counts what was announced, so that whoever begins to look knows whether he missed something */
    this.version = 0;
    this.users = new Set();
    /** resolves with the first answer, or with the error in its place */
    this.settled = this.#load();
  }

  #items = new Map();
  #list = null;
  #listener = null;
  /** item's id → its own listener */
  #below = new Map();
  #generation = 0;
  #scheduled = false;
  #refilling = false;

  /** The items in order; the same array until something changes. */
  get list() {
    if (this.#list === null) {
      this.#list = [...this.#items.values()];
      if (this.question.order) this.#list.sort(this.question.order);
    }
    return this.#list;
  }

  /** The only item of a query for a single resource. */
  get item() {
    return this.list[0];
  }

  get(id) {
    return this.#items.get(id);
  }

  /** Fetch again, because events were missed for good or the first attempt failed. */
  reload() {
    this.#load();
  }

  close() {
    this.#generation += 1;
    this.#listener?.close();
    this.#listener = null;
    for (const listener of this.#below.values()) listener.close();
    this.#below.clear();
  }

  async #load() {
    this.close();
    const generation = this.#generation;
    const { path } = this.question;
    this.#listen();
    try {
      const answer = await get(path);
      if (generation !== this.#generation) return;
      this.#items = new Map(answer.items.map((item) => [item[this.question.key], item]));
      const first = this.state !== "ready";
      this.total = answer.total;
      this.clock = answer.clock;
      this.state = "ready";
      this.error = null;
      this.#changed(first);
      this.#follow();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.error = error;
      // What was there stays in sight while the server is away.
      if (this.state !== "ready") this.state = "error";
      this.#changed();
      if (error.offline || error.status >= 500) this.#loadLater(generation);
    }
  }

  /** The server could not answer: ask again when the line is back, or else after a pause. */
  #loadLater(generation) {
    const again = () => {
      if (stream.state !== "open") return;
      clearTimeout(timer);
      stream.removeEventListener("state", again);
      if (generation === this.#generation) this.#load();
    };
    const timer = setTimeout(again, RETRY_MS);
    stream.addEventListener("state", again);
  }

  /** The same question, which knows now what to follow. */
  adopt(question) {
    this.question = question;
    if (this.state === "ready") this.#follow();
  }

  #listen() {
    const { follow } = this.question;
    if (follow) this.#listener ??= stream.listen(follow, (key, message, clock) => this.#apply(key, message, clock), () => this.#load());
  }

  /** Go on from the answer. */
  #follow() {
    this.#listen();
    this.#listener?.ready(this.clock);
    this.#followBelow(this.clock);
  }

  /** Follow each item that is there, true at `clock`, until its events end. */
  #followBelow(clock) {
    const { below } = this.question;
    if (!below) return;
    for (const [id, listener] of this.#below) {
      const item = this.#items.get(id);
      if (!item) {
        listener.close();
        this.#below.delete(id);
      } else if (below.until(item)) {
        listener.closeAfter(clock);
      }
    }
    for (const [id, item] of this.#items) {
      if (this.#below.has(id) || below.until(item)) continue;
      const change = (_, message) => {
        const known = this.#items.get(id);
        const changed = known && below.change(known, message);
        if (changed === known) return;
        this.#items.set(id, changed);
        this.#changed();
      };
      const listener = stream.listen(below.pattern(item), change, () => this.#load());
      this.#below.set(id, listener);
      listener.ready(clock);
    }
  }

  #apply(key, message, clock) {
    const { question } = this;
    const id = message?.[question.key];
    if (id === undefined) return;
    if (question.count) this.total = Math.max(0, this.total + question.count(key, message));
    const known = this.#items.get(id);
    // A message may tell less than a reply: properties that were asked for are not in it.
    const item = { ...known, ...message };
    if (known?.properties && isEmpty(message.properties)) item.properties = known.properties;
    if (!question.keep || question.keep(item)) {
      if (!known && !question.count) this.total += 1;
      this.#items.set(id, item);
    } else if (known) {
      this.#items.delete(id);
      if (!question.count) this.total -= 1;
      this.#refill();
    } else {
      return;
    }
    this.#trim();
    this.#followBelow(clock);
    this.#changed();
  }

  #trim() {
    const { limit } = this.question;
    if (!limit || this.#items.size <= limit) return;
    this.#list = null;
    const kept = this.list.slice(0, limit);
    this.#items = new Map(kept.map((item) => [item[this.question.key], item]));
  }

  /** A window on a longer list has room again: fetch what comes after it. */
  async #refill() {
    const { limit, path, key, keep } = this.question;
    if (!limit || this.#refilling || this.#items.size >= limit / 2 || this.total <= this.#items.size) return;
    this.#refilling = true;
    const generation = this.#generation;
    try {
      const answer = await get(path);
      if (generation !== this.#generation) return;
      // What events have told already is newer than this answer.
      for (const item of answer.items) {
        if (!this.#items.has(item[key]) && (!keep || keep(item))) this.#items.set(item[key], item);
      }
      this.#followBelow(answer.clock);
      this.#changed();
    } catch {
      // The window stays short until the next item leaves it; the stream shows that the server is away.
    } finally {
      this.#refilling = false;
    }
  }

  #changed(now = false) {
    this.#list = null;
    if (this.#scheduled) return;
    const announce = () => {
      this.#scheduled = false;
      this.version += 1;
      for (const user of this.users) user();
    };
    // Somebody waits for a first answer.
    if (now) {
      announce();
      return;
    }
    this.#scheduled = true;
    // Hidden pages get no frames, and still have to be right when they are looked at.
    if (document.hidden) setTimeout(announce, 200);
    else requestAnimationFrame(announce);
  }
}

function isEmpty(properties) {
  return !properties || Object.keys(properties).length === 0;
}

const queries = new Map();

/** The query for a question; the same object for the same path. */
export function query(question) {
  let found = queries.get(question.path);
  if (found) {
    // Most recently used last.
    queries.delete(question.path);
    const known = found.question;
    if ((question.follow && !known.follow) || (question.below && !known.below)) found.adopt(question);
  } else {
    found = new Query(question);
  }
  queries.set(question.path, found);
  const idle = [...queries.values()].filter((other) => other.users.size === 0 && other !== found);
  for (const old of idle.slice(0, Math.max(0, idle.length - KEPT_QUERIES))) {
    old.close();
    queries.delete(old.question.path);
  }
  return found;
}
