/** Who holds locks, and who waits for them. */

import { locks as readLocks } from "../api.js";
import { html, useEffect, useState } from "../dom.js";
import { Panel } from "./basics.js";

/** Locks are no part of the database, so nothing tells when they change. */
const EVERY_MS = 5000;

function useLocks() {
  const [locks, setLocks] = useState([]);
  useEffect(() => {
    let timer;
    let over = false;
    const look = async () => {
      // what cannot be read now is asked for again
      const found = await readLocks().catch(() => null);
      if (over) return;
      if (found) setLocks(found);
      timer = setTimeout(look, EVERY_MS);
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, []);
  return locks;
}

const who = (claims) => claims.map(({ owner, mode, count }) => `${owner}${mode === "exclusive" ? " (exclusive)" : count > 1 ? ` (${count})` : ""}`).join(", ");

/** The locks of this master that are in use; nothing if none is. */
export function Locks() {
  const locks = useLocks();
  if (locks.length === 0) return null;
  return html`<${Panel} title="Locks" count=${locks.length}><ul class="rows">${locks.map((lock) => html`<li class="row" key=${`${lock.name} ${lock.worker}`}>
    <span class="main"><b>${lock.name}</b>${lock.worker && html` <span class="dim">on ${lock.worker}</span>`}</span>
    <span class="detail">${lock.holders.length > 0 && html`held by ${who(lock.holders)}`}${lock.waiting.length > 0 && html`<span class="dim"> · ${lock.waiting.length} waiting: ${who(lock.waiting)}</span>`}</span>
  </li>`)}</ul><//>`;
}
