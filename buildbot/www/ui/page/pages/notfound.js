/** What does not exist. */

import { html } from "../dom.js";
import { useTitle } from "../hooks.js";

export function NotFound({ what }) {
  useTitle("Not found");
  return html`<div class="nothing"><h1>Not found</h1><p>There is no ${what ?? "such page"}.</p><a class="button" href="#/">Home</a></div>`;
}
