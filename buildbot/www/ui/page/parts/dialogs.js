/** Questions to the visitor, as native modal dialogs: they keep the focus, Escape closes them. */

import { html, render, useEffect, useLayoutEffect, useRef, useState } from "../dom.js";

/** A modal dialog that is open as long as it is drawn. */
export function Dialog({ title, onClose, children, class: extra = "" }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return html`<dialog ref=${element} class=${extra} aria-label=${title}
    onCancel=${(event) => { event.preventDefault(); onClose(); }}
    onClick=${(event) => { if (event.target === element.current) onClose(); }}>
    <div class="dialog-body">
      <h2>${title}</h2>
      ${children}
    </div>
  </dialog>`;
}

let host = null;

/** Draw a dialog until `close` is called. */
export function openDialog(draw) {
  host?.remove();
  host = document.createElement("div");
  const own = host;
  document.body.append(own);
  const close = () => {
    render(null, own);
    own.remove();
    if (host === own) host = null;
  };
  render(draw(close), own);
  return close;
}

/** True if a dialog is open, so that keys belong to it. */
export function dialogOpen() {
  return document.querySelector("dialog[open]") !== null;
}

function Confirm({ title, text, action, ask, value = "", pattern, kind = "danger", onDone }) {
  const [reason, setReason] = useState(value);
  return html`<${Dialog} title=${title} onClose=${() => onDone(null)}>
    <form onSubmit=${(event) => { event.preventDefault(); onDone(reason); }}>
      <p>${text}</p>
      ${ask && html`<label class="field"><span>${ask}</span>
        <input value=${reason} pattern=${pattern} required=${pattern !== undefined} onInput=${(event) => setReason(event.target.value)} autofocus /></label>`}
      <div class="buttons">
        <button type="button" onClick=${() => onDone(null)}>${kind === "danger" ? "Keep" : "Close"}</button>
        <button class=${kind} autofocus=${!ask}>${action}</button>
      </div>
    </form>
  <//>`;
}

/**
 * Ask before something is destroyed or changed; `ask` names a field to fill in, `pattern` makes it required.
 * @returns {Promise<string | null>}  the reason given ("" if none), or null for "no"
 */
export function confirm(question) {
  return new Promise((resolve) => {
    openDialog((close) => html`<${Confirm} ...${question} onDone=${(answer) => { close(); resolve(answer); }} />`);
  });
}

const toasts = new EventTarget();
let lastToast = 0;

/** Say something for a few seconds; `href` makes it a link. */
export function toast(text, { href, kind = "info" } = {}) {
  lastToast += 1;
  toasts.dispatchEvent(new CustomEvent("toast", { detail: { id: lastToast, text, href, kind } }));
}

/** Where toasts appear; read out by screen readers. */
export function Toasts() {
  const [shown, setShown] = useState([]);
  useEffect(() => {
    const add = ({ detail }) => {
      setShown((all) => [...all.slice(-3), detail]);
      const dismiss = () => setShown((all) => all.filter(({ id }) => id !== detail.id));
      setTimeout(dismiss, detail.kind === "error" ? 12_000 : 6000);
    };
    toasts.addEventListener("toast", add);
    return () => toasts.removeEventListener("toast", add);
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.map(({ id, text, href, kind }) =>
      html`<div key=${id} class="toast ${kind}">${href ? html`<a href=${href}>${text}</a>` : text}</div>`)}
  </div>`;
}

/** Run an action; what goes wrong is said instead of thrown. Gives its result, or undefined. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error.message, { kind: "error" });
    return undefined;
  }
}
