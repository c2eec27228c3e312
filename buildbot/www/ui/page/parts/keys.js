/** Keyboard shortcuts for the whole page. */

import { html } from "../dom.js";
import { go } from "../router.js";
import { Dialog, dialogOpen, openDialog } from "./dialogs.js";
import { PAGES } from "./pages.js";
import { openPalette } from "./palette.js";
import { nextTheme } from "./theme.js";

const GROUPS = [
  ["Everywhere", [
    [["/"], "Search"],
    [["?"], "This help"],
    [["t"], "Theme: automatic, light, dark"],
    [["j"], "Next row"],
    [["k"], "Previous row"],
    [["Enter"], "Open the row"],
  ]],
  ["Go to", PAGES.map(({ key, title }) => [["g", key], title])],
  ["On a build", [
    [["["], "Previous build"],
    [["]"], "Next build"],
    [["u"], "Up to the builder"],
  ]],
  ["In a log", [
    [["f"], "Find"],
    [["n"], "Next match"],
    [["N"], "Previous match"],
    [["l"], "Go to a line"],
  ]],
  ["On a builder's picture", [
    [["←", "→"], "Build before, build after"],
  ]],
];

export function openHelp() {
  if (dialogOpen()) return;
  openDialog((close) => html`<${Dialog} title="Keyboard shortcuts" onClose=${close}>
    <div class="keys">${GROUPS.map(([title, keys]) => html`<section><h3>${title}</h3><dl>
      ${keys.map(([pressed, text]) => html`<div><dt>${pressed.map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${text}</dd></div>`)}
    </dl></section>`)}</div>
    <div class="buttons"><button onClick=${close} autofocus>Close</button></div>
  <//>`);
}

/** Move the focus along the main links of rows. */
function step(by) {
  const rows = [...document.querySelectorAll("main .row a.main, main .row button.main, main th a.main")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

function follow(selector) {
  document.querySelector(selector)?.click();
}

function enter(selector) {
  const input = document.querySelector(selector);
  input?.focus();
  input?.select();
}

const SIMPLE = {
  "/": openPalette,
  "?": openHelp,
  t: nextTheme,
  j: () => step(1),
  k: () => step(-1),
  "[": () => follow("a[data-key='previous']"),
  "]": () => follow("a[data-key='next']"),
  u: () => follow("a[data-key='up']"),
  f: () => enter("input[data-key='find']"),
  l: () => enter("input[data-key='line']"),
  n: () => follow("button[data-key='match-after']"),
  N: () => follow("button[data-key='match-before']"),
};

let goingUntil = 0;

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || dialogOpen()) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
  if (Date.now() < goingUntil) {
    goingUntil = 0;
    const page = PAGES.find(({ key }) => key === event.key);
    if (page) {
      event.preventDefault();
      go(page.href);
      return;
    }
  }
  if (event.key === "g") {
    goingUntil = Date.now() + 1500;
  } else if (SIMPLE[event.key]) {
    event.preventDefault();
    SIMPLE[event.key]();
  }
}

export function listenToKeys() {
  addEventListener("keydown", pressed);
}
