/** Small things that every page uses. */

import { html } from "../dom.js";
import { age, dateTime, duration } from "../format.js";
import { useNow } from "../hooks.js";

/** How long ago a moment was, kept current; the exact time as a tooltip. */
export function Ago({ at }) {
  const now = useNow();
  if (!at) return null;
  return html`<time datetime=${new Date(at * 1000).toISOString()} title=${dateTime(at)}>${age(now - at)}</time>`;
}

/** From a start to an end, or to now, ticking. */
export function Elapsed({ from, until }) {
  const now = useNow(until === null || until === undefined);
  if (!from) return null;
  return html`<span class="num">${duration((until ?? now) - from)}</span>`;
}

/** A section with a heading, a count and actions. */
export function Panel({ title, count, href, actions, children, class: extra = "" }) {
  const heading = href ? html`<a href=${href}>${title}</a>` : title;
  return html`<section class="panel ${extra}" aria-label=${title}>
    <header>
      <h2>${heading}${count !== undefined && html`<span class="count">${count}</span>`}</h2>
      ${actions && html`<div class="actions">${actions}</div>`}
    </header>
    ${children}
  </section>`;
}

/** What to show of a query: its content, or that it is on its way, empty or refused. */
export function Content({ query, empty, children, lines = 3 }) {
  if (query.state === "error") {
    return html`<div class="note error" role="alert">
      ${query.error.message}
      <button class="small" onClick=${() => query.reload()}>Try again</button>
    </div>`;
  }
  if (query.state === "loading") {
    return html`<div class="skeleton" aria-busy="true" aria-label="Loading">
      ${Array.from({ length: lines }, () => html`<i></i>`)}
    </div>`;
  }
  if (empty && query.list.length === 0) return html`<p class="empty">${empty}</p>`;
  return children;
}

/** A plain line-drawn icon; decoration unless it has a label. */
export function Icon({ name, label }) {
  return html`<svg class="glyph" viewBox="0 0 16 16" aria-hidden=${label ? undefined : "true"} role=${label ? "img" : undefined}
    aria-label=${label}><path d=${GLYPHS[name]} /></svg>`;
}

const GLYPHS = {
  home: "M2.5 7.5 8 3l5.5 4.5V13a.5.5 0 0 1-.5.5H9.8V10H6.2v3.5H3a.5.5 0 0 1-.5-.5z",
  builders: "M2.5 4h11M2.5 8h11M2.5 12h11M5 2.6v2.8M10.5 6.6v2.8M7 10.6v2.8",
  projects: "M2.5 4h4l1.5 2h5.5v6.5h-11zM2.5 6V4",
  console: "M2.5 2.5h11v11h-11zM6.2 2.5v11M9.9 2.5v11M2.5 6.2h11M2.5 9.9h11",
  queue: "M8 13.5a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11zM8 5v3.2l2 1.3",
  changes: "M8 10.2a2.2 2.2 0 1 1 0-4.4 2.2 2.2 0 0 1 0 4.4zM8 1.8v4m0 4.4v4",
  workers: "M2.5 3.5h11v6.5h-11zM5.5 13h5M8 10v3",
  masters: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  schedulers: "M3 3.5h10V13H3zM3 6.5h10M5.8 2v2.5M10.2 2v2.5",
  search: "M7 11.5a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9zM10.4 10.4l3.1 3.1",
  sun: "M8 10.6a2.6 2.6 0 1 1 0-5.2 2.6 2.6 0 0 1 0 5.2zM8 1.8v1.4m0 9.6v1.4M1.8 8h1.4m9.6 0h1.4M3.6 3.6l1 1m6.8 6.8 1 1m0-8.8-1 1m-6.8 6.8-1 1",
  moon: "M13 9.6A5.4 5.4 0 0 1 6.4 3a5.4 5.4 0 1 0 6.6 6.6z",
  auto: "M8 13.5a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11zM8 2.5v11M8 5h4.5M8 8h5.5M8 11h4.5",
  help: "M8 13.5a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11zM6.4 6.4a1.6 1.6 0 1 1 2.3 1.4c-.5.3-.7.6-.7 1.2M8 11h.01",
  play: "M5 3.5v9l7.5-4.5z",
  stop: "M4 4h8v8H4z",
  rebuild: "M12.5 6.5A5 5 0 1 0 13 9M13 3v3.6H9.4",
  cancel: "m4 4 8 8m0-8-8 8",
  left: "M10 3 5 8l5 5",
  right: "m6 3 5 5-5 5",
  down: "m3 6 5 5 5-5",
  up: "m3 10 5-5 5 5",
  top: "M8 13.5v-8M4.5 8.5 8 5l3.5 3.5M3 2.5h10",
  download: "M8 2.5v7M5 7l3 3 3-3M3 13h10",
  expand: "M9.5 2.5h4v4M13.5 2.5 9 7M6.5 13.5h-4v-4M2.5 13.5 7 9",
  link: "M9.5 2.5h4v4M13.5 2.5 7.5 8.5M12 9v4.5H2.5V4H7",
  bottom: "M8 2.5v8M4.5 7.5 8 11l3.5-3.5M3 13.5h10",
};
