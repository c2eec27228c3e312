/** Builds as rows, bars and chips. */

import { serverNow } from "../api.js";
import { html } from "../dom.js";
import { dateTime, duration, personName, shortRevision } from "../format.js";
import { useNow, useQuery } from "../hooks.js";
import { builders as allBuilders, workers as allWorkers } from "../queries.js";
import { StateIcon, stateOf } from "../results.js";
import { go, to } from "../router.js";
import { StopButton } from "./actions.js";
import { Ago, Elapsed } from "./basics.js";
import { useLastSuccess } from "./expected.js";

/** Names of builders and workers by id, live. */
export function useNames() {
  const builders = useQuery(allBuilders);
  const workers = useQuery(allWorkers);
  return {
    builder: (id) => builders.get(id)?.name ?? (builders.state === "ready" ? `builder ${id}` : "…"),
    worker: (id) => workers.get(id)?.name ?? (workers.state === "ready" ? `worker ${id}` : "…"),
  };
}

/** Seconds a build took or has taken so far. */
export function tookSeconds(build, now = serverNow()) {
  return Math.max(0, (build.complete_at ?? now) - build.started_at);
}

/** A running build's time against that of the builder's last success. */
export function Progress({ build }) {
  const before = useLastSuccess(build);
  const now = useNow(!build.complete);
  const took = tookSeconds(build, now);
  const expected = before ? Math.max(1, tookSeconds(before)) : null;
  const share = expected ? Math.min(1, took / expected) : null;
  const left = expected ? expected - took : null;
  const text = left === null ? "no earlier build to compare with" : left > 0 ? `about ${duration(left)} left` : `${duration(-left)} over the last success`;
  return html`<span class="progress ${left !== null && left < 0 ? "over" : ""}" role="progressbar" title=${text}
    aria-label=${text} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${share === null ? undefined : Math.round(share * 100)}>
    <i class=${share === null ? "unknown" : ""} style=${share === null ? undefined : { transform: `translateX(${Math.max(2, share * 100) - 100}%)` }}></i>
  </span>`;
}

/** How a running build's remaining time reads. */
export function Remaining({ build }) {
  const before = useLastSuccess(build);
  const now = useNow();
  if (!before) return null;
  const left = tookSeconds(before) - tookSeconds(build, now);
  return left > 0 ? html`<span>~${duration(left)} left</span>` : html`<span class="over">+${duration(-left)}</span>`;
}

/** Those who are responsible for a build: the authors of its changes, and who asked for it. */
export function ownersOf(properties) {
  const named = [properties?.owners?.[0] ?? [], properties?.owner?.[0] ?? []].flat();
  return [...new Set(named)].filter((person) => person && person !== "anonymous");
}

/** The branch and revision of a build and whose it is, as far as they are known. */
function Source({ build }) {
  const branch = build.properties?.branch?.[0];
  const revision = build.properties?.got_revision?.[0] ?? build.properties?.revision?.[0];
  const owners = ownersOf(build.properties);
  return html`${(branch || revision) && html`<span class="source">${branch && html`<span class="tag">${branch}</span> `}<code>${shortRevision(String(revision ?? ""))}</code></span>`}
    ${owners.length > 0 && html`<span class="owners" title=${owners.join(", ")}>${owners.slice(0, 2).map(personName).join(", ")}${owners.length > 2 && ` +${owners.length - 2}`}</span>`}`;
}

/** A running build in a list. */
export function RunningRow({ build, names, showBuilder = true, showWorker = true }) {
  const name = `${names.builder(build.builderid)} #${build.number}`;
  return html`<li class="row running">
    <${StateIcon} state="running" />
    <a class="main" href=${to.build(build.builderid, build.number)}>
      ${showBuilder && html`<b>${names.builder(build.builderid)}</b>`} <span class="num ${showBuilder ? "dim" : "only-number"}">#${build.number}</span>
    </a>
    <span class="detail state-text">${build.state_string}<${Source} build=${build} /></span>
    ${showWorker && html`<a class="worker dim" href=${to.worker(build.workerid)}>${names.worker(build.workerid)}</a>`}
    <span class="bar-cell"><${Progress} build=${build} /></span>
    <span class="time"><${Elapsed} from=${build.started_at} /> <small class="dim"><${Remaining} build=${build} /></small></span>
    <${StopButton} build=${build} name=${name} small />
  </li>`;
}

/** A build that has ended, in a list. */
export function EndedRow({ build, names, showBuilder = true, showWorker = true }) {
  const state = stateOf(build);
  return html`<li class="row">
    <${StateIcon} state=${state} />
    <a class="main" href=${to.build(build.builderid, build.number)}>
      ${showBuilder && html`<b>${names.builder(build.builderid)}</b>`} <span class="num ${showBuilder ? "dim" : "only-number"}">#${build.number}</span>
    </a>
    <span class="detail state-text">${build.state_string}<${Source} build=${build} /></span>
    ${showWorker && html`<a class="worker dim" href=${to.worker(build.workerid)}>${names.worker(build.workerid)}</a>`}
    <span class="took num dim">${duration(tookSeconds(build))}</span>
    <span class="time dim"><${Ago} at=${build.complete_at} /></span>
  </li>`;
}

/** A build in a list, running or ended. */
export function BuildRow(props) {
  return props.build.complete ? html`<${EndedRow} ...${props} />` : html`<${RunningRow} ...${props} />`;
}

const BAR = 9;
const GAP = 2;
const TALL = 24;

/**
 * A builder's newest builds as little bars, oldest left: height is duration, colour is the result. One picture that
 * takes clicks as a whole, since a farm has hundreds of builders; the builder's own page has a link for each build.
 */
export function History({ builds, builderid }) {
  const shown = [...builds].sort((a, b) => a.number - b.number);
  const times = shown.map((build) => tookSeconds(build));
  const longest = Math.max(1, ...times);
  const paths = new Map();
  shown.forEach((build, i) => {
    const state = stateOf(build);
    const height = Math.max(3, TALL * (0.18 + 0.82 * Math.sqrt(times[i] / longest)));
    paths.set(state, `${paths.get(state) ?? ""}M${i * (BAR + GAP)} ${TALL}v${-height.toFixed(1)}h${BAR}V${TALL}z`);
  });
  const at = (event) => shown[Math.floor(event.offsetX / (BAR + GAP))];
  const point = (event) => {
    const build = at(event);
    event.currentTarget.title = build ? `#${build.number} ${stateOf(build)}, ${duration(tookSeconds(build))}, ${dateTime(build.started_at)}` : "";
  };
  const open = (event) => {
    const build = at(event);
    if (!build) return;
    if (event.ctrlKey || event.metaKey) window.open(to.build(builderid, build.number));
    else go(to.build(builderid, build.number));
  };
  const width = Math.max(0, shown.length * (BAR + GAP) - GAP);
  return html`<span class="history" aria-hidden="true" onPointerMove=${point} onClick=${open} style=${{ width: `${width}px` }}><svg width=${width} height=${TALL}>
    ${[...paths].map(([state, d]) => html`<path key=${state} class="state-${state}" d=${d} />`)}</svg></span>`;
}
