/** Why a request waits, as far as the farm's state tells. */

import { count } from "../format.js";
import { workerReason, workerState } from "./machines.js";

/** after so long beside an idle worker, something else must hold a request back */
const SOON_S = 20;

/**
 * What the requests of each builder wait for.
 * @param {{builders, workers, masters, running}} farm  the lists of live queries
 * @returns {(request: object, now: number) => {text: string, kind: "wait" | "stuck"}}  stuck: somebody has to act
 */
export function reasons({ builders, workers, masters, running }) {
  const busy = new Set(running.map((build) => build.workerid));
  const building = new Set(running.map((build) => `${build.workerid} ${build.builderid}`));
  const active = new Set(masters.filter((master) => master.active).map((master) => master.masterid));
  const names = new Map(masters.map((master) => [master.masterid, master.name]));
  const known = new Map(builders.map((builder) => [builder.builderid, builder]));
  const states = new Map(workers.map((worker) => [worker.workerid, workerState(worker, busy)]));
  const own = new Map();
  for (const worker of workers) {
    for (const builderid of new Set(worker.configured_on.map((one) => one.builderid))) {
      own.set(builderid, [...(own.get(builderid) ?? []), worker]);
    }
  }
  const cached = new Map();

  function ofBuilder(builderid) {
    const builder = known.get(builderid);
    if (builder && !builder.masterids.some((id) => active.has(id))) return { text: "no running master has this builder", kind: "stuck" };
    const its = own.get(builderid) ?? [];
    if (its.length === 0) return { text: "no worker is configured for this builder", kind: "stuck" };
    const counts = {};
    for (const worker of its) counts[states.get(worker.workerid)] = (counts[states.get(worker.workerid)] ?? 0) + 1;
    const { offline = 0, quarantined = 0, paused = 0, stopping = 0, busy: working = 0, idle = 0, asleep = 0 } = counts;
    const parts = [offline && `${offline} offline`, quarantined && `${quarantined} in quarantine`, paused && `${paused} paused`, stopping && `${stopping} stopping`].filter(Boolean).join(", ");
    if (idle) return { text: `${count(idle, "worker")} idle`, kind: "idle" };
    if (asleep) return { text: its.length === 1 ? `${its[0].name}: ${workerReason(its[0])}` : `${count(asleep, "worker")} started when needed`, kind: "idle" };
    if (working) {
      // a worker runs one build of a builder at a time, whatever else it could take
      const same = its.filter((worker) => states.get(worker.workerid) === "busy" && building.has(`${worker.workerid} ${builderid}`)).length;
      if (its.length === 1) return { text: same ? `${its[0].name} runs a build of this builder already` : `${its[0].name} is busy with other builders`, kind: "wait" };
      const others = working - same;
      const told = [same && `${same} ${same === 1 ? "runs" : "run"} a build of this builder`, others && `${others} busy with other builders`, parts];
      return { text: `no worker is free: ${told.filter(Boolean).join(", ")}`, kind: "wait" };
    }
    if (offline === its.length) return { text: its.length === 1 ? `${its[0].name} is not connected` : `none of ${its.length} workers is connected`, kind: "stuck" };
    if (its.length === 1 && paused) return { text: `${its[0].name} is paused${its[0].pause_reason ? `: ${its[0].pause_reason}` : ""}`, kind: "stuck" };
    if (its.length === 1 && quarantined) return { text: `${its[0].name} is in quarantine: ${workerReason(its[0])}`, kind: "wait" };
    return { text: `no worker takes builds: ${parts}`, kind: "stuck" };
  }

  return (request, now) => {
    if (request.claimed) return { text: `claimed by ${names.get(request.claimed_by_masterid) ?? "a master"}, about to start`, kind: "wait" };
    if (!cached.has(request.builderid)) cached.set(request.builderid, ofBuilder(request.builderid));
    const reason = cached.get(request.builderid);
    if (reason.kind !== "idle") return reason;
    if (now - request.submitted_at < SOON_S) return { text: "about to start", kind: "wait" };
    return { text: `locks or rules hold it back, ${reason.text}`, kind: "wait" };
  };
}
