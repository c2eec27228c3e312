/** What surrounds every page: brand, navigation, search, state of the connection. */

import { html } from "../dom.js";
import { useNow, useQuery, useStreamState } from "../hooks.js";
import { builders as allBuilders, runningBuilds, waiting } from "../queries.js";
import { to } from "../router.js";
import { stream } from "../stream.js";
import { Icon } from "./basics.js";
import { dashboards } from "./dashboards.js";
import { openHelp } from "./keys.js";
import { Login } from "./login.js";
import { PAGES } from "./pages.js";
import { openPalette } from "./palette.js";
import { ThemeButton } from "./theme.js";

export function Frame({ config, route, children }) {
  // Who has no projects needs no page of them.
  const projects = useQuery(allBuilders).list.some((builder) => builder.projectid !== null);
  const root = route.segments[0] ?? "";
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("main").focus(); }}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><img src=${new URL("../icon.svg", import.meta.url).href} alt="" width="24" height="24" /><b>${config.title}</b></a>
      <nav aria-label="Pages">
        ${PAGES.filter(({ rare, icon }) => !rare && (icon !== "projects" || projects)).map(({ title, icon, href, roots }) => html`<a href=${href} class="nav-${icon}" aria-current=${roots.includes(root) ? "page" : undefined}>
          <${Icon} name=${icon} /><span>${title}</span>${icon === "queue" && html`<${QueueCount} />`}</a>`)}
        ${dashboards(config).map(({ name, caption, href }) => html`<a href=${href} class="nav-dashboard" aria-current=${root === name ? "page" : undefined}>
          <${Icon} name="console" /><span>${caption}</span></a>`)}
      </nav>
      <div class="tools">
        <button class="search" onClick=${openPalette} aria-label="Search"><${Icon} name="search" /><span>Search</span><kbd>/</kbd></button>
        <${Connection} />
        <${ThemeButton} />
        <${Login} config=${config} />
        <button class="icon-only quiet help" onClick=${openHelp} aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)"><${Icon} name="help" /></button>
      </div>
    </header>
    <${OtherOrigin} config=${config} />
    <main id="main" tabindex="-1" data-path=${route.hash}>${children}</main>
    <footer class="foot"><span>${(config.versions ?? []).filter(([name]) => name === "Tenfold").map((pair) => pair.join(" "))}</span>
      <a href=${to.about()}>About</a><a href=${to.schedulers()}>Schedulers</a><a href=${to.masters()}>Masters</a><a href="api/v2/application.spec">API</a><button class="plain" onClick=${openHelp}>Keyboard</button></footer>`;
}

function QueueCount() {
  const queue = useQuery(waiting);
  return queue.total > 0 ? html`<small class="badge" aria-label="${queue.total} waiting">${queue.total.toLocaleString()}</small>` : null;
}

/** Whether what is shown is live. */
function Connection() {
  const state = useStreamState();
  const running = useQuery(runningBuilds);
  useNow(state === "waiting");
  if (state === "open") {
    return html`<span class="connection open" role="status" title="Live: changes appear as they happen"><i class=${running.list.length ? "beat" : ""}></i><span>Live</span></span>`;
  }
  const seconds = Math.max(0, Math.ceil((stream.retryAt - Date.now()) / 1000));
  const text = state === "connecting" ? "Connecting" : `Offline, trying again${seconds ? ` in ${seconds} s` : ""}`;
  return html`<button class="connection ${state}" role="status" onClick=${() => stream.retry()} title="Try now"><i></i><span>${text}</span></button>`;
}

/** Actions are refused from an origin that the master does not know; better said before than after. */
function OtherOrigin({ config }) {
  const expected = new URL(config.buildbotURL).origin;
  const loopback = (origin) => origin.replace(/\/\/(127\.0\.0\.1|\[::1\])(?=[:/]|$)/, "//localhost");
  if (loopback(expected) === loopback(location.origin) || config.allowed_origins) return null;
  return html`<div class="note warning" role="note">This page is open at <b>${location.origin}</b>, but the configuration's <code>buildbotURL</code> says
    <a href=${config.buildbotURL}>${config.buildbotURL}</a>. Reading works; stop, rebuild and force will be refused.</div>`;
}
