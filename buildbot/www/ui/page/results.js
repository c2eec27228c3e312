/** Results of builds, steps and requests: a name, a colour (by class) and a shape for each. */

import { html } from "./dom.js";

export const NAMES = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"];

/** The state of a build, step or request as one word: a result's name, "running" or "pending". */
export function stateOf({ complete, results, started_at, claimed }) {
  if (complete) return NAMES[results] ?? "exception";
  return started_at || claimed ? "running" : "pending";
}

const SHAPES = {
  success: html`<path d="m4.6 8.3 2.3 2.3 4.6-5" />`,
  warnings: html`<path d="M8 4.2v4.6M8 11.4v.4" />`,
  failure: html`<path d="m5.2 5.2 5.6 5.6m0-5.6-5.6 5.6" />`,
  skipped: html`<path d="m4.4 5 3 3-3 3m4.2-6 3 3-3 3" />`,
  exception: html`<path d="M8.8 3.8 5.4 8.6h2.4l-.6 3.6 3.4-4.8H8.2z" />`,
  retry: html`<path d="M11.4 6.4A3.8 3.8 0 1 0 11.8 9M11.6 3.8v2.8H8.8" />`,
  cancelled: html`<path d="M4.6 8h6.8" />`,
  pending: html`<path d="M8 4.8V8l2.2 1.4" />`,
  running: html`<path d="M8 3.6A4.4 4.4 0 1 1 3.6 8" />`,
};

/**
 * An icon for a state; its shape differs from every other's, so that colour is not needed to tell them apart.
 * With `label=${null}` it is decoration beside a text that says the same.
 */
export function StateIcon({ state, label = state }) {
  const described = label === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": label };
  return html`<svg class="icon state-${state}" viewBox="0 0 16 16" ...${described}>
    ${label !== null && html`<title>${label}</title>`}
    <circle cx="8" cy="8" r="7" />
    ${SHAPES[state]}
  </svg>`;
}

/** The state in words on its colour. */
export function StateChip({ state }) {
  return html`<span class="chip state-${state}"><${StateIcon} state=${state} label=${null} />${state}</span>`;
}
