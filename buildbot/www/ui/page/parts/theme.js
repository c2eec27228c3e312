/** Light, dark, or as the system says. */

import { html, useEffect, useState } from "../dom.js";
import { Icon } from "./basics.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
const changes = new EventTarget();

function current() {
  return document.documentElement.dataset.theme ?? "auto";
}

/** The next of the three. */
export function nextTheme() {
  const theme = NEXT[current()];
  if (theme === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("tenfold.theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("tenfold.theme", theme);
  }
  changes.dispatchEvent(new Event("change"));
}

export function ThemeButton() {
  const [theme, setTheme] = useState(current());
  useEffect(() => {
    const changed = () => setTheme(current());
    changes.addEventListener("change", changed);
    return () => changes.removeEventListener("change", changed);
  }, []);
  return html`<button class="icon-only quiet" onClick=${nextTheme} title="Theme: ${theme}" aria-label="Theme: ${theme}. Change">
    <${Icon} name=${ICONS[theme]} /></button>`;
}
