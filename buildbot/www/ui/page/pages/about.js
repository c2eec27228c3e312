/** Versions, what the server says of its configuration, and the API. */

import { get } from "../api.js";
import { html, useEffect, useState } from "../dom.js";
import { useTitle } from "../hooks.js";
import { Panel } from "../parts/basics.js";
import { Reporters } from "../parts/reporters.js";

/** Machine-readable descriptions of the API. */
const DOCUMENTS = [
  ["api/v2/application.spec", "Paths and types of the API, as the existing clients read them"],
  ["api/v2/openapi.json", "The same as OpenAPI 3.1"],
];
/** Has places of its own on this page. */
const SHOWN_ELSEWHERE = ["versions", "user", "user_may", "title"];

/** What the visitor may do, in words. */
function allowed(rights = {}) {
  const actions = Object.entries(rights).filter(([, { all, own }]) => [all, own].some((right) => right === true || right.length > 0));
  return actions.length === 0 ? "you may look, not act" : actions.map(([action]) => action.replace("/", ": ")).join(", ");
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}

export function About({ config }) {
  useTitle("About");
  const [paths, setPaths] = useState(null);
  useEffect(() => {
    let there = true;
    get("application.spec").then(
      ({ items }) => { if (there) setPaths(items); },
      (error) => { if (there) setPaths(error); },
    );
    return () => { there = false; };
  }, []);
  const versions = config.versions ?? [];
  const settings = Object.entries(config).filter(([name]) => !SHOWN_ELSEWHERE.includes(name)).sort(([a], [b]) => a.localeCompare(b));
  const user = config.user ?? { anonymous: true };
  return html`<header class="page-head"><h1>About</h1><span class="dim">${config.title}</span></header>
    <div class="home about">
      <div class="column">
        <${Panel} title="Configuration"><div class="table-scroll"><table class="properties">
          <thead><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead>
          <tbody>${settings.map(([name, value]) => html`<tr key=${name}><th scope="row">${name}</th><td><code>${text(value)}</code></td></tr>`)}</tbody>
        </table></div><//>
        <${Reporters} />
      </div>
      <div class="column side">
        <${Panel} title="Versions"><dl class="facts stacked">${versions.map(([name, version]) => html`<div key=${name}><dt>${name}</dt><dd class="num">${version}</dd></div>`)}</dl><//>
        <${Panel} title="You"><dl class="facts stacked">
          <div><dt>Name</dt><dd>${user.anonymous ? "not logged in" : user.full_name || user.username || user.email}</dd></div>
          ${user.email && html`<div><dt>Mail</dt><dd>${user.email}</dd></div>`}
          ${user.groups?.length > 0 && html`<div><dt>Groups</dt><dd>${user.groups.join(", ")}</dd></div>`}
          <div><dt>Control</dt><dd>${allowed(config.user_may)}</dd></div>
        </dl><//>
        <${Panel} title="API" count=${Array.isArray(paths) ? `${paths.length} paths` : undefined}>
          ${paths instanceof Error && html`<p class="empty wrong">${paths.message}</p>`}
          <ul class="links">${DOCUMENTS.map(([href, what]) => html`<li key=${href}><a href=${href}><code>${href}</code></a><small class="dim">${what}</small></li>`)}</ul>
        <//>
      </div>
    </div>`;
}
