/**
 * A builder's history as a picture: one bar per build, oldest left; its height is the time it took, its colour and
 * pattern the result. Bars are links; the arrow keys go along them.
 */

import { html, useLayoutEffect, useRef, useState } from "../dom.js";
import { count, dateTime, duration } from "../format.js";
import { useNow } from "../hooks.js";
import { NAMES, stateOf } from "../results.js";
import { to } from "../router.js";
import { tookSeconds } from "./builds.js";

const HEIGHT = 132;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 12;
const MIN_STEP = 7;
const MAX_STEP = 22;
const NARROWEST = LEFT + RIGHT + 5 * MIN_STEP;
/** seconds between which lines are drawn across the picture */
const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800];

/** The durations to draw lines at: a few round ones up to the longest. */
function ruled(longest) {
  const step = NICE.find((seconds) => longest / seconds <= 3.5) ?? longest / 3;
  const lines = [];
  for (let at = step; at <= longest; at += step) lines.push(at);
  return lines;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

/** "12 success, 3 failure". */
function told(builds) {
  const states = [...NAMES, "running"];
  const parts = states.map((name) => [name, builds.filter((build) => stateOf(build) === name).length]).filter(([, n]) => n);
  return parts.map(([name, n]) => `${n} ${name}`).join(", ");
}

export function Picture({ builds, builderid }) {
  const box = useRef(null);
  const [width, setWidth] = useState(() => Math.max(NARROWEST, Math.min(900, innerWidth - 60)));
  const [at, setAt] = useState(null);
  useLayoutEffect(() => {
    // it is told of no width at all while its place is not laid out
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(NARROWEST, Math.floor(entry.contentRect.width))));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const fits = Math.max(5, Math.floor((width - LEFT - RIGHT) / MIN_STEP));
  const shown = [...builds].sort((a, b) => b.number - a.number).slice(0, fits).reverse();
  const now = useNow(shown.some((build) => !build.complete));
  const times = shown.map((build) => tookSeconds(build, now));
  const longest = Math.max(1, ...times);
  const step = Math.min(MAX_STEP, (width - LEFT - RIGHT) / Math.max(1, shown.length));
  const inner = HEIGHT - BOTTOM - TOP;
  const y = (seconds) => TOP + inner * (1 - seconds / longest);
  const usual = median(shown.flatMap((build, i) => (build.complete && build.results <= 1 ? [times[i]] : [])));
  const current = at === null ? null : shown.findIndex((build) => build.number === at);
  const label = `The last ${count(shown.length, "build")}: ${told(shown)}; the longest took ${duration(longest)}${usual === null ? "" : `, a success ${duration(usual)} in the middle`}`;

  function pressed(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const from = current !== null && current >= 0 ? current : shown.length - 1;
    const next = Math.min(shown.length - 1, Math.max(0, from + by));
    box.current.querySelectorAll("a.bar")[next]?.focus();
  }

  const every = Math.max(1, Math.ceil(46 / step));
  const chosen = current !== null && shown[current];
  return html`<figure class="picture" ref=${box} onPointerLeave=${() => setAt(null)}>
    <svg width=${width} height=${HEIGHT} role="group" aria-label=${label} onKeyDown=${pressed}>
      ${ruled(longest).map((seconds) => html`<g class="rule" aria-hidden="true" key=${seconds}>
        <path d="M${LEFT} ${y(seconds)}H${width}" /><text x=${LEFT - 8} y=${y(seconds) + 4}>${duration(seconds)}</text></g>`)}
      ${usual !== null && html`<path class="usual" aria-hidden="true" d="M${LEFT} ${y(usual)}H${LEFT + step * shown.length}" />`}
      ${shown.map((build, i) => {
        const state = stateOf(build);
        const height = Math.max(3, (inner * times[i]) / longest);
        const x = LEFT + i * step;
        const bar = Math.max(2, step - (step > 10 ? 3 : 2));
        return html`<a class="bar state-${state}" key=${build.buildid} href=${to.build(builderid, build.number)}
          tabindex=${i === (current !== null && current >= 0 ? current : shown.length - 1) ? 0 : -1}
          aria-label="#${build.number} ${state}, ${duration(times[i])}, ${dateTime(build.started_at)}"
          onFocus=${() => setAt(build.number)} onPointerEnter=${() => setAt(build.number)}>
          <rect class="touch" x=${x} y="0" width=${step} height=${HEIGHT - BOTTOM + 4} />
          <rect class="shape" x=${x} y=${TOP + inner - height} width=${bar} height=${height} rx=${state === "failure" || state === "exception" ? 0 : Math.min(2.5, bar / 3)} />
          ${(state === "failure" || state === "exception") && html`<path class="cross" d="M${x + bar / 2 - 2.5} ${TOP + inner + 5}l5 5m0-5l-5 5" />`}</a>`;
      })}
      ${shown.map((build, i) => (shown.length - 1 - i) % every === 0 && html`<text class="tick" aria-hidden="true" key=${build.buildid} x=${LEFT + i * step + step / 2} y=${HEIGHT - 2}>${step * every > 40 ? `#${build.number}` : ""}</text>`)}
    </svg>
    <figcaption class="dim num" aria-hidden="true">${chosen ? html`<span class="state-${stateOf(chosen)}"><b>#${chosen.number}</b> ${stateOf(chosen)}</span>, ${duration(times[current])}, ${dateTime(chosen.started_at)}` : told(shown)}</figcaption>
  </figure>`;
}
