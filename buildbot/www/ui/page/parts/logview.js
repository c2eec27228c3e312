/**
 * A log of any length: only the lines in sight are drawn, only the windows in sight are fetched, and while it grows
 * the event stream says when there is more.
 */

import { attributesOf } from "../ansi.js";
import { html, useEffect, useLayoutEffect, useReducer, useRef, useState } from "../dom.js";
import { number } from "../format.js";
import { Lines } from "../loglines.js";
import { logPath } from "../queries.js";
import { go, to } from "../router.js";
import { stream } from "../stream.js";
import { Icon } from "./basics.js";
import { FindBar, Marked } from "./logsearch.js";

const LINE_PX = 19;
/** Browsers cannot draw taller elements; longer logs scroll by proportion. */
const MAX_HEIGHT_PX = 12_000_000;

/**
 * @param {object} log  the log's resource; a newer one of the same log may be given as it grows
 * @param {number} [line]  a line to show and to mark, from 0
 * @param {"tail" | "full"} size
 * @param {object} place  builderid, number, step and slug for links
 */
export function LogView({ log, line = null, size = "tail", place }) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const box = useRef(null);
  const lines = useRef(null);
  if (lines.current?.logid !== log.logid) lines.current = new Lines(log, logPath({ ...place, slug: log.slug }), draw);
  const source = lines.current;
  source.total = Math.max(source.total, log.num_lines);
  const total = source.total;

  const [wanted, setWanted] = useState("");
  const [target, setTarget] = useState(line);
  const [following, setFollowing] = useState(line === null && (size === "tail" || !log.complete));
  const [viewPx, setViewPx] = useState(size === "tail" ? 320 : 600);

  const fullPx = total * LINE_PX;
  const heightPx = Math.min(fullPx, MAX_HEIGHT_PX);
  const scale = fullPx > heightPx ? (fullPx - viewPx) / (heightPx - viewPx) : 1;
  const topOf = (index) => Math.max(0, (index * LINE_PX - viewPx / 3) / scale);
  const [scrollTop, setScrollTop] = useState(() => (line === null ? 0 : Math.min(topOf(line), heightPx - viewPx)));
  const first = Math.max(0, Math.floor((scrollTop * scale) / LINE_PX) - 5);
  const last = Math.min(total - 1, first + Math.ceil(viewPx / LINE_PX) + 10);

  useLayoutEffect(() => {
    const element = box.current;
    const observer = new ResizeObserver(() => setViewPx(element.clientHeight));
    observer.observe(element);
    return () => {
      observer.disconnect();
      source.closed = true;
    };
  }, [source]);

  useLayoutEffect(() => {
    if (following) box.current.scrollTop = box.current.scrollHeight;
  }, [total, following, viewPx]);

  useLayoutEffect(() => {
    if (line !== null) show(line);
  }, [line, source]);

  useLayoutEffect(() => {
    if (total > 0) source.want(first, last);
  });

  useEffect(() => {
    const again = () => {
      if (stream.state !== "open" || !source.error) return;
      source.error = null;
      draw();
    };
    stream.addEventListener("state", again);
    return () => stream.removeEventListener("state", again);
  }, [source]);

  /** Bring a line into sight and mark it. */
  function show(index) {
    setTarget(index);
    setFollowing(false);
    box.current.scrollTop = topOf(index);
  }

  function scrolled(event) {
    const { scrollTop: top, scrollHeight, clientHeight } = event.target;
    setScrollTop(top);
    setFollowing(top + clientHeight >= scrollHeight - 4);
  }

  const rows = [];
  for (let index = first; index <= last; index += 1) rows.push(index);
  const digits = String(total).length;
  // Where the drawn lines stand: at their place, or for proportional scrolling relative to what is in sight.
  const offset = scale === 1 ? first * LINE_PX : scrollTop - (scrollTop * scale - first * LINE_PX);
  return html`<div class="log ${size}">
    <div class="log-bar">
      <span class="dim num">${number(total)} ${total === 1 ? "line" : "lines"}${!log.complete && html` <span class="live">live</span>`}</span>
      ${source.error && html`<span class="wrong" role="alert">${source.error.message}
        <button class="small" onClick=${() => { source.error = null; draw(); }}>Try again</button></span>`}
      ${size === "full" && html`<${FindBar} log=${log} firstInSight=${() => first} show=${show} onText=${setWanted} />`}
      <span class="grow"></span>
      ${size === "full" && first > 20 && html`<button class="small quiet" onClick=${() => { setFollowing(false); box.current.scrollTop = 0; }}><${Icon} name="top" />Top</button>`}
      ${!following && total > 20 && html`<button class="small quiet" onClick=${() => setFollowing(true)}>
        <${Icon} name="bottom" />${log.complete ? "End" : "Follow"}</button>`}
      ${size === "tail" && html`<a class="button small quiet" aria-label="Open ${log.name} on a page of its own" href=${to.log(place.builderid, place.number, place.step, log.slug)}>
        <${Icon} name="expand" /><span>Open</span></a>`}
      <a class="button small quiet" href="api/v2/logs/${log.logid}/raw_inline" target="_blank" rel="noopener" aria-label="Raw text of ${log.name}"><${Icon} name="link" /><span>Raw</span></a>
      <a class="button small quiet" href="api/v2/logs/${log.logid}/raw" download aria-label="Download ${log.name}"><${Icon} name="download" /><span>Download</span></a>
    </div>
    <div class="log-box" ref=${box} onScroll=${scrolled} tabindex="0" role="region" aria-label="Log ${log.name}"
      style=${{ "--digits": digits, height: size === "tail" ? `${Math.min(total || 1, 18) * LINE_PX + 16}px` : undefined }}>
      <div class="log-space" style=${{ height: `${heightPx}px` }}>
        <div class="log-lines" style=${{ transform: `translateY(${offset}px)` }}>
          ${rows.map((index) => html`<${Line} key=${index} index=${index} line=${source.line(index)} marked=${index === target} wanted=${wanted}
            onMark=${() => go(to.log(place.builderid, place.number, place.step, log.slug, { line: index + 1 }))} />`)}
        </div>
      </div>
    </div>
  </div>`;
}

function Line({ index, line, marked, wanted, onMark }) {
  return html`<div class="line ${line?.stream ?? "coming"} ${marked ? "marked" : ""}">
    <button class="line-number" tabindex="-1" onClick=${onMark} aria-label="Link to line ${index + 1}" data-n=${index + 1}></button>
    <span class="text">${line?.runs.map(({ text, style }) => {
      const attributes = attributesOf(style);
      return attributes.class || Object.keys(attributes.style).length ? html`<span ...${attributes}><${Marked} text=${text} wanted=${wanted} /></span>` : html`<${Marked} text=${text} wanted=${wanted} />`;
    })}</span>
  </div>`;
}

/** A log that is a page: shown without any rights. */
export function HtmlLog({ log }) {
  return html`<iframe class="html-log" sandbox="" src="api/v2/logs/${log.logid}/raw_inline" title=${log.name}></iframe>`;
}

/** A log whose content is older than the configuration keeps it. */
export function RemovedLog({ log }) {
  return html`<p class="empty">The content of ${log.name} has been removed: it was older than logs are kept here.</p>`;
}
