/** Starts the page: configuration, event stream, routes. */

import { config as getConfig } from "./api.js";
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { useTitle } from "./hooks.js";
import { About } from "./pages/about.js";
import { Build } from "./pages/build.js";
import { Builder } from "./pages/builder.js";
import { Builders } from "./pages/builders.js";
import { Buildset } from "./pages/buildset.js";
import { Change, Changes } from "./pages/changes.js";
import { Console } from "./pages/console.js";
import { Dashboard } from "./pages/dashboard.js";
import { Home } from "./pages/home.js";
import { Log } from "./pages/log.js";
import { Masters } from "./pages/masters.js";
import { NotFound } from "./pages/notfound.js";
import { Project, Projects } from "./pages/projects.js";
import { Queue, Request } from "./pages/queue.js";
import { Schedulers } from "./pages/schedulers.js";
import { Worker, Workers } from "./pages/workers.js";
import { dashboards } from "./parts/dashboards.js";
import { Toasts } from "./parts/dialogs.js";
import { Frame } from "./parts/frame.js";
import { listenToKeys } from "./parts/keys.js";
import { ahead, prefetchOnIntent } from "./prefetch.js";
import { parse, replace, useRoute } from "./router.js";
import { stream } from "./stream.js";
import { setVisitor } from "./visitor.js";

/** Patterns of addresses; `*` is any one segment. The first that fits is drawn. */
const ROUTES = [
  ["", Home],
  ["builders", Builders],
  ["builders/*", Builder],
  ["builders/*/builds/*", Build],
  ["builders/*/builds/*/steps/*/logs/*", Log],
  ["projects", Projects],
  ["projects/*", Project],
  ["console", Console],
  ["pendingbuildrequests", Queue],
  ["buildrequests/*", Request],
  ["changes", Changes],
  ["changes/*", Change],
  ["workers", Workers],
  ["workers/*", Worker],
  ["schedulers", Schedulers],
  ["masters", Masters],
  ["buildsets/*", Buildset],
  ["about", About],
].map(([pattern, page]) => [pattern ? pattern.split("/") : [], page]);

function pageFor({ segments }) {
  const found = ROUTES.find(([pattern]) =>
    pattern.length === segments.length && pattern.every((part, i) => part === "*" || part === segments[i]));
  return found?.[1] ?? NotFound;
}

/** Go to the page that the configuration wants to be seen first, if there is one of that name. */
function openFirst(config) {
  const first = parse(`#/${config.default_page ?? ""}`);
  if (first.segments.length && (pageFor(first) !== NotFound || dashboards(config).some(({ name }) => name === first.segments[0]))) replace(first.hash);
}

function App() {
  const route = useRoute(ahead);
  const [config, setConfig] = useState(null);
  const first = useRef(true);

  useEffect(() => {
    let waiting = null;
    const load = async () => {
      try {
        const answer = await getConfig();
        useTitle.site = answer.title;
        setVisitor(answer);
        if (/^#?\/?$/.test(location.hash)) openFirst(answer);
        setConfig(answer);
      } catch {
        // Shown as offline by the frame; the next connection asks again.
        waiting = () => {
          if (stream.state !== "open") return;
          stream.removeEventListener("state", waiting);
          load();
        };
        stream.addEventListener("state", waiting);
      }
    };
    load();
    return () => waiting && stream.removeEventListener("state", waiting);
  }, []);

  // Another page: start at its top, and tell screen readers by moving the focus there, with the next frame, since that
  // needs the layout; but never away from what a quick visitor has chosen meanwhile.
  useLayoutEffect(() => {
    if (first.current) {
      first.current = false;
      return undefined;
    }
    scrollTo(0, 0);
    const before = document.activeElement;
    const frame = requestAnimationFrame(() => {
      if (document.activeElement === before) document.querySelector("main")?.focus({ preventScroll: true });
    });
    return () => cancelAnimationFrame(frame);
  }, [route.path]);

  const own = route.segments.length === 1 && dashboards(config).find(({ name }) => name === route.segments[0]);
  const Page = own ? Dashboard : pageFor(route);
  const shown = config ?? { title: "Buildbot", buildbotURL: `${location.origin}/` };
  return html`<${Frame} config=${shown} route=${route}><${Page} key=${route.path} route=${route} config=${shown} dashboard=${own || undefined} /><//><${Toasts} />`;
}

stream.connect();
listenToKeys();
prefetchOnIntent();
render(html`<${App} />`, document.getElementById("app"));
