/** Workers and masters. */

import { html } from "../dom.js";
import { to } from "../router.js";
import { Ago } from "./basics.js";

/** offline, asleep (it is started when it is needed), quarantined, paused, stopping, busy or idle. */
export function workerState(worker, busy) {
  if (inQuarantine(worker)) return "quarantined";
  if (!worker.connected_to.length) return worker.state_string && !worker.quarantined_until ? "asleep" : "offline";
  if (worker.graceful) return "stopping";
  if (worker.paused) return "paused";
  return busy.has(worker.workerid) ? "busy" : "idle";
}

/** Whether it is left alone for a while, since it failed. */
function inQuarantine(worker) {
  return worker.quarantined_until > Date.now() / 1000;
}

/** Why it is in its state, or what it is doing, as far as somebody said so. */
export function workerReason(worker) {
  if (worker.paused && worker.pause_reason) return worker.pause_reason;
  return inQuarantine(worker) || !worker.quarantined_until ? worker.state_string ?? "" : "";
}

/** A dot whose colour and shape tell a worker's state. */
export function WorkerDot({ state }) {
  return html`<i class="dot ${state}" role="img" aria-label=${state} title=${state}></i>`;
}

/** Many workers in little space. */
export function WorkerTiles({ workers, running }) {
  const busy = new Map();
  for (const build of running) busy.set(build.workerid, (busy.get(build.workerid) ?? 0) + 1);
  const shown = workers.filter((worker) => worker.configured_on.length || worker.connected_to.length);
  return html`<ul class="tiles">${shown.map((worker) => {
    const state = workerState(worker, busy);
    const builds = busy.get(worker.workerid);
    return html`<li key=${worker.workerid}><a class="worker-tile ${state}" href=${to.worker(worker.workerid)} title="${worker.name}: ${state}${builds ? `, ${builds} running` : ""}">
      <${WorkerDot} state=${state} /><span>${worker.name}</span>${builds > 1 && html`<small class="num">×${builds}</small>`}</a></li>`;
  })}</ul>`;
}

/** All masters with what they do. */
export function MasterList({ masters, running }) {
  return html`<ul class="rows masters">${masters.map((master) => {
    const builds = running.filter((build) => build.masterid === master.masterid).length;
    return html`<li class="row" key=${master.masterid}>
      <i class="dot ${master.active ? "idle" : "offline"}" role="img" aria-label=${master.active ? "active" : "inactive"}></i>
      <span class="main" title=${master.name}>${master.name}</span>
      <span class="time dim">${master.active ? (builds ? `${builds} running` : "active") : html`last seen <${Ago} at=${master.last_active} />`}</span>
    </li>`;
  })}</ul>`;
}

/** What a worker says of its machine. */
export function WorkerInfo({ worker }) {
  const info = Object.entries(worker.workerinfo ?? {}).filter(([, value]) => value !== null && value !== "" && typeof value !== "object");
  return html`<dl class="facts stacked">${info.length ? info.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${String(value).trim()}</dd></div>`) : html`<div><dt>Machine</dt><dd class="dim">It has never connected.</dd></div>`}</dl>`;
}
