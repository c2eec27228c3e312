/** What visitors can do to builds, requests and workers. */

import { call } from "../api.js";
import { html } from "../dom.js";
import { go, to } from "../router.js";
import { acting } from "../visitor.js";
import { Icon } from "./basics.js";
import { attempt, confirm, toast } from "./dialogs.js";

/** Ask, then stop a running build. */
export async function stopBuild(build, name) {
  const reason = await confirm({
    title: `Stop ${name}?`,
    text: "The running step is interrupted and the build ends as cancelled.",
    ask: "Reason (optional)",
    action: "Stop build",
  });
  if (reason === null) return;
  await attempt(async () => {
    await call(`builds/${build.buildid}`, "stop", { reason: reason || "no reason" });
    toast(`Stopping ${name}`);
  });
}

/** Build again what a build has built, and go to the new request. */
export async function rebuild(build) {
  await attempt(async () => {
    const [, requests] = await call(`builds/${build.buildid}`, "rebuild");
    go(to.request(Object.values(requests)[0], { follow: 1 }));
  });
}

/** Ask, then cancel a request. */
export async function cancelRequest(request, name) {
  const reason = await confirm({
    title: `Cancel the request for ${name}?`,
    text: `Request ${request.buildrequestid} leaves the queue and is not built.`,
    ask: "Reason (optional)",
    action: "Cancel request",
  });
  if (reason === null) return;
  await attempt(async () => {
    await call(`buildrequests/${request.buildrequestid}`, "cancel", { reason: reason || "no reason" });
    toast(`Cancelled request ${request.buildrequestid}`);
  });
}

/** Ask, then cancel several requests. */
export async function cancelAll(requests, name) {
  const reason = await confirm({
    title: `Cancel ${requests.length} waiting requests?`,
    text: `Nothing that waits for ${name} now will be built.`,
    ask: "Reason (optional)",
    action: "Cancel all",
  });
  if (reason === null) return;
  await attempt(async () => {
    for (const { buildrequestid } of requests) {
      await call(`buildrequests/${buildrequestid}`, "cancel", { reason: reason || "no reason" });
    }
    toast(`Cancelled ${requests.length} requests`);
  });
}

/** Ask for another priority of a request that waits. */
export async function changePriority(request, name) {
  const text = await confirm({
    title: `Priority of the request for ${name}`,
    text: "Requests of a higher priority are built first. Negative numbers come after everything else.",
    ask: "Priority",
    value: String(request.priority),
    pattern: "-?[0-9]{1,9}",
    action: "Set",
    kind: "primary",
  });
  if (text === null) return;
  await attempt(() => call(`buildrequests/${request.buildrequestid}`, "set_priority", { priority: Number(text) }));
}

/** Pause, unpause, stop or kill a worker; what is hard to undo asks first. */
export async function controlWorker(worker, action) {
  const texts = {
    pause: {
      title: `Pause ${worker.name}?`,
      text: "It finishes its builds and takes no new ones.",
      action: "Pause",
      kind: "primary",
    },
    stop: {
      title: `Shut down ${worker.name}?`,
      text: "It finishes its builds, takes no new ones and then disconnects.",
      action: "Shut down",
    },
    kill: { title: `Disconnect ${worker.name} now?`, text: "Its running builds are lost.", action: "Disconnect" },
  };
  const reason = action === "unpause" ? "" : await confirm({ ...texts[action], ask: "Reason (optional)" });
  if (reason === null) return;
  await attempt(() => call(`workers/${worker.workerid}`, action, { reason }));
}

/** Of which builder a build or request is and whose, as far as that is known here. */
const of = ({ builderid, owner, properties }) => ({ builderids: [builderid], owner: owner === undefined ? properties?.owner?.[0] : owner });

export function StopButton({ build, name, small }) {
  return html`<button class="${small ? "icon-only quiet" : ""} danger-text" onClick=${() => stopBuild(build, name)}
    ...${acting("builds/stop", of(build), "Stop this build")} aria-label="Stop ${name}"><${Icon} name="stop" />${!small && "Stop"}</button>`;
}

export function RebuildButton({ build, name }) {
  return html`<button onClick=${() => rebuild(build)} ...${acting("builds/rebuild", of(build))} aria-label="Rebuild ${name}"><${Icon} name="rebuild" />Rebuild</button>`;
}

export function CancelButton({ request, name, small }) {
  return html`<button class="${small ? "icon-only quiet" : ""} danger-text" onClick=${() => cancelRequest(request, name)}
    ...${acting("buildrequests/cancel", of(request), "Cancel this request")} aria-label="Cancel request ${request.buildrequestid}">
    <${Icon} name="cancel" />${!small && "Cancel"}</button>`;
}

export function PriorityButton({ request, name, bare }) {
  return html`<button class="small quiet num" onClick=${() => changePriority(request, name)} ...${acting("buildrequests/set_priority", of(request), "Change the priority")}
    aria-label="Priority ${request.priority} of request ${request.buildrequestid}: change">${bare ? "" : "priority "}${request.priority}</button>`;
}
