/**
 * The event stream: one WebSocket, many listeners, no gap.
 *
 * A listener is registered before its snapshot is fetched and told the snapshot's clock afterwards (`ready`); what
 * arrives in between waits. It then gets every event after that clock, in order, once. The stream remembers for
 * every pattern how far it is (events and bookmarks move that cursor), and after a lost connection subscribes again
 * from there. If the server no longer holds what was missed (410), the listener is told `lost` and fetches again.
 *
 * Patterns in use must not overlap: the server sends an event once per matching pattern and does not say for which,
 * so that an overlap could make a listener skip what is still on its way. `listen` refuses one that does.
 */

/** The server sends a bookmark every few seconds; silence for this long means that the line is dead. */
const SILENCE_MS = 25_000;
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000, 15_000];

class Listener {
  constructor(subscription, deliver, lost) {
    this.subscription = subscription;
    this.deliver = deliver;
    this.lost = lost;
    this.cursor = null;
    this.waiting = [];
    this.registeredAt = subscription.cursor;
    this.until = Infinity;
  }

  /** The snapshot is there, true at `clock`: deliver everything after it. */
  ready(clock) {
    this.cursor = clock;
    for (const event of this.waiting) this.take(event);
    this.waiting = [];
    this.subscription.need(clock, this.registeredAt !== null && clock < this.registeredAt);
  }

  take(event) {
    if (this.cursor === null) {
      this.waiting.push(event);
    } else if (event.c > this.cursor) {
      this.cursor = event.c;
      this.deliver(event.k.split("/"), event.m, event.c);
    }
  }

  /** Nothing comes after `clock`: close once everything up to there has been delivered. */
  closeAfter(clock) {
    this.until = Math.min(this.until, clock);
  }

  close() {
    this.subscription.remove(this);
  }
}

class Subscription {
  constructor(stream, pattern) {
    this.stream = stream;
    this.pattern = pattern;
    this.parts = pattern.split("/");
    this.listeners = new Set();
    /** everything up to here has been delivered; null until the first snapshot is there */
    this.cursor = null;
    this.acknowledged = false;
  }

  matches(parts) {
    return parts.length === this.parts.length && this.parts.every((part, i) => part === "*" || part === parts[i]);
  }

  overlaps(parts) {
    return (
      parts.length === this.parts.length &&
      this.parts.every((part, i) => part === "*" || parts[i] === "*" || part === parts[i])
    );
  }

  need(clock, anew) {
    if (this.cursor === null || anew) this.start(clock);
  }

  start(since) {
    this.cursor = this.cursor === null ? since : Math.min(this.cursor, since);
    this.acknowledged = false;
    this.stream.command({ cmd: "startConsuming", path: this.pattern, since: this.cursor }, (reply) => {
      if (reply.code === 200) {
        this.acknowledged = true;
      } else {
        this.cursor = null;
        for (const listener of [...this.listeners]) if (listener.cursor !== null) listener.lost(reply);
      }
    });
  }

  take(event) {
    // Until the server has answered `start` this may be an event of a subscription that `start` replaces; whatever
    // is ours comes after the answer.
    if (!this.acknowledged) return;
    if (event.c > this.cursor) this.cursor = event.c;
    for (const listener of [...this.listeners]) listener.take(event);
  }

  bookmark(clock) {
    if (!this.acknowledged || clock <= this.cursor) return;
    this.cursor = clock;
    for (const listener of [...this.listeners]) {
      if (listener.cursor !== null && listener.cursor < clock) listener.cursor = clock;
      if (listener.cursor >= listener.until) listener.close();
    }
  }

  remove(listener) {
    if (this.listeners.delete(listener) && this.listeners.size === 0) this.stream.drop(this);
  }
}

export class Stream extends EventTarget {
  #url;
  #socket = null;
  #subscriptions = new Map();
  #replies = new Map();
  #lastId = 0;
  #attempt = 0;
  #retryTimer = null;
  #silenceTimer = null;

  /** "connecting", "open" or "waiting"; changes are announced by a "state" event. */
  state = "connecting";
  /** When "waiting": the moment of the next attempt, in milliseconds since the epoch. */
  retryAt = 0;

  constructor(url) {
    super();
    this.#url = url;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retry();
    });
  }

  connect() {
    clearTimeout(this.#retryTimer);
    this.#setState("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempt = 0;
      this.#replies.clear();
      this.#heard();
      this.#setState("open");
      for (const subscription of this.#subscriptions.values()) {
        if (subscription.cursor !== null) subscription.start(subscription.cursor);
      }
    };
    socket.onmessage = (message) => {
      if (socket === this.#socket) this.#receive(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#lose();
    };
  }

  /** Try to connect now instead of when the pause is over. */
  retry() {
    if (this.state === "waiting") this.connect();
  }

  /**
   * Follow events whose key fits `pattern` (`*` is one segment).
   * @param deliver called with (key segments, message, clock)
   * @param lost called when events are gone for good and a new snapshot is needed
   * @returns {Listener} call its `ready(clock)` with the snapshot's clock, `close()` at the end
   */
  listen(pattern, deliver, lost) {
    let subscription = this.#subscriptions.get(pattern);
    if (!subscription) {
      const parts = pattern.split("/");
      for (const other of this.#subscriptions.values()) {
        if (other.overlaps(parts)) throw new Error(`${pattern} overlaps ${other.pattern}`);
      }
      subscription = new Subscription(this, pattern);
      this.#subscriptions.set(pattern, subscription);
    }
    const listener = new Listener(subscription, deliver, lost);
    subscription.listeners.add(listener);
    return listener;
  }

  /** Send a command if the line is open; when it opens later, subscriptions are sent anyway. */
  command(frame, onReply = () => {}) {
    if (this.state !== "open") return;
    this.#lastId += 1;
    this.#replies.set(this.#lastId, onReply);
    this.#socket.send(JSON.stringify({ ...frame, _id: this.#lastId }));
  }

  drop(subscription) {
    this.#subscriptions.delete(subscription.pattern);
    if (subscription.cursor !== null) this.command({ cmd: "stopConsuming", path: subscription.pattern });
  }

  #receive(frame) {
    this.#heard();
    if (frame.k !== undefined) {
      const parts = frame.k.split("/");
      for (const subscription of this.#subscriptions.values()) {
        if (subscription.matches(parts)) {
          subscription.take(frame);
          return;
        }
      }
    } else if (frame.bookmark !== undefined) {
      for (const subscription of this.#subscriptions.values()) subscription.bookmark(frame.bookmark);
    } else if (frame._id !== undefined) {
      const onReply = this.#replies.get(frame._id);
      this.#replies.delete(frame._id);
      onReply?.(frame);
    }
  }

  #heard() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => {
      const socket = this.#socket;
      this.#lose();
      socket.close();
    }, SILENCE_MS);
  }

  #lose() {
    clearTimeout(this.#silenceTimer);
    this.#socket = null;
    for (const subscription of this.#subscriptions.values()) subscription.acknowledged = false;
    const base = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    // Not all pages of a farm come back in the same instant.
    const pause = base * (0.75 + Math.random() / 2);
    this.#attempt += 1;
    this.retryAt = Date.now() + pause;
    this.#retryTimer = setTimeout(() => this.connect(), pause);
    this.#setState("waiting");
  }

  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

export const stream = new Stream(new URL("ws", location.href.split("#")[0]).href.replace(/^http/, "ws"));
