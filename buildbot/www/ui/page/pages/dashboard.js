/** A page of the installation's own, which a WSGI application makes; it is shown inside this one. */

import { html, useEffect, useRef, useState } from "../dom.js";
import { useTitle } from "../hooks.js";

/**
 * Show a document inside an element. Its styles count there only, and its scripts do not run. The styles are given to
 * the browser as objects, since this page lets no text be a style or a script.
 */
function show(element, text) {
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  const holder = document.createElement("template");
  // A style attribute would be refused, and reported, while the text is read.
  holder.innerHTML = text.replace(/<[a-z][^>]*>/gi, (tag) => tag.replace(/(\s)style(\s*=)/gi, "$1data-own-style$2"));
  const given = holder.content;
  const sheets = [...given.querySelectorAll("style")].map((style) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style.textContent);
    return sheet;
  });
  const styled = [...given.querySelectorAll("[data-own-style]")];
  for (const one of given.querySelectorAll("script, style, title, base, meta")) one.remove();
  root.adoptedStyleSheets = sheets;
  root.replaceChildren(given);
  for (const one of styled) one.style.cssText = one.dataset.ownStyle;
}

export function Dashboard({ route, dashboard }) {
  const place = useRef(null);
  const [problem, setProblem] = useState(null);
  const path = `plugins/wsgi_dashboards/${encodeURIComponent(dashboard.name)}/index.html`;
  useTitle(dashboard.caption);
  useEffect(() => {
    const gone = new AbortController();
    const load = async () => {
      try {
        const answer = await fetch(path, { signal: gone.signal });
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${answer.status}: ${/html/.test(answer.headers.get("Content-Type") ?? "") ? answer.statusText || "error" : text}`);
        if (place.current) show(place.current, text);
      } catch (error) {
        if (error.name !== "AbortError") setProblem(error.message);
      }
    };
    load();
    return () => gone.abort();
  }, [path, route.hash]);
  return html`<header class="page-head"><h1>${dashboard.caption}</h1><span class="grow"></span>
      <a class="button quiet" href=${path}>Open alone</a></header>
    ${problem !== null && html`<div class="note warning" role="alert">This page could not be shown. <pre>${problem}</pre></div>`}
    <section class="panel dashboard" aria-label=${dashboard.caption} ref=${place}></section>`;
}
