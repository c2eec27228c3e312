/**
 * What pages ask. The patterns here must not overlap one another (see stream.js), so a kind of resource is followed
 * either as a whole (`builds/*\/*`) or below one builder, worker or build, under the key that names it.
 */

/** What rows show of a build besides itself; they come with a snapshot, and by events of their own. */
const ROW_PROPERTIES = ["branch", "revision", "got_revision", "owner", "owners"];
const WITH_PROPERTIES = ROW_PROPERTIES.map((name) => `&property=${name}`).join("");
/** They are followed build by build, and only while it runs: those of all builds would be most of what happens. */
const rowProperties = {
  pattern: (build) => `builds/${build.buildid}/properties/*`,
  until: (build) => build.complete,
  change: (build, message) => {
    const told = Object.entries(message).filter(([name]) => ROW_PROPERTIES.includes(name));
    return told.length ? { ...build, properties: { ...build.properties, ...Object.fromEntries(told) } } : build;
  },
};

const newest = (key) => (a, b) => b[key] - a[key];
const fields = (...names) => names.map((name) => `&field=${name}`).join("");
const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });

const ENDED = 80;

export const builders = { path: "builders", follow: "builders/*/*", key: "builderid", order: byName };
export const workers = { path: "workers", follow: "workers/*/*", key: "workerid", order: byName };
export const masters = { path: "masters", follow: "masters/*/*", key: "masterid", order: byName };
export const projects = { path: "projects", follow: "projects/*/*", key: "projectid", order: byName };
export const schedulers = { path: "schedulers", follow: "schedulers/*/*", key: "schedulerid", order: byName };
export const forceSchedulers = { path: "forceschedulers", key: "name", order: byName };

export const runningBuilds = {
  path: "builds?complete=false&order=-buildid",
  follow: "builds/*/*",
  key: "buildid",
  keep: (build) => !build.complete,
  order: newest("started_at"),
};

export const endedBuilds = {
  path: `builds?complete=true&order=-complete_at&order=-buildid&limit=${ENDED}`,
  follow: "builds/*/*",
  key: "buildid",
  keep: (build) => build.complete,
  order: (a, b) => b.complete_at - a.complete_at || b.buildid - a.buildid,
  limit: ENDED,
};

/** The newest builds of all builders, for the little histories on the builders page. */
export const latestBuilds = {
  path: `builds?order=-buildid&limit=600${fields("buildid", "number", "builderid", "started_at", "complete", "complete_at", "results")}`,
  follow: "builds/*/*",
  key: "buildid",
  order: newest("buildid"),
  limit: 600,
};

/** An event's effect on the number of waiting requests: some of them are beyond what is held here. */
function countWaiting([, , event], request) {
  if (event === "new" || event === "unclaimed") return 1;
  if (event === "claimed") return -1;
  if (event === "complete" && !request.claimed) return -1;
  return 0;
}

const inQueue = (request) => !request.claimed && !request.complete && request.builderid !== undefined;
const queueOrder = (a, b) => b.priority - a.priority || a.buildrequestid - b.buildrequestid;

export const waiting = {
  path: "buildrequests?claimed=false&complete=false&order=-priority&order=buildrequestid&limit=200",
  follow: "buildrequests/*/*",
  key: "buildrequestid",
  keep: inQueue,
  order: queueOrder,
  limit: 200,
  count: countWaiting,
};

/** A longer part of the queue, or that of some builders. */
export const waitingOf = (builderids, limit) => ({
  ...waiting,
  path: `buildrequests?claimed=false&complete=false&order=-priority&order=buildrequestid&limit=${limit}${builderids.map((id) => `&builderid=${id}`).join("")}`,
  keep: builderids.length ? (request) => inQueue(request) && builderids.includes(request.builderid) : inQueue,
  count: builderids.length ? (key, request) => (builderids.includes(request.builderid) ? countWaiting(key, request) : 0) : countWaiting,
  limit,
});

/** Requests that a master has claimed and that are not complete: being built, or about to. */
export const claimedRequests = {
  path: "buildrequests?claimed=true&complete=false&order=-buildrequestid&limit=200",
  follow: "buildrequests/*/*",
  key: "buildrequestid",
  keep: (request) => request.claimed && !request.complete && request.builderid !== undefined,
  order: newest("buildrequestid"),
  limit: 200,
};

/** Attributes of changes that may be searched, as the page calls them. */
export const CHANGE_FIELDS = { comments: "Comment", author: "Author", branch: "Branch", revision: "Revision", repository: "Repository", project: "Project" };

/** How many changes are shown at first. */
export const PAGE_CHANGES = 50;

/** The newest changes; `text` narrows them to those whose `field` has it. */
export const changes = (field = "comments", text = "", limit = PAGE_CHANGES) => ({
  path: `changes?order=-changeid&limit=${limit}${text ? `&${field}__contains=${encodeURIComponent(text)}` : ""}`,
  follow: "changes/*/*",
  key: "changeid",
  keep: text ? (change) => (change[field] ?? "").includes(text) : undefined,
  order: newest("changeid"),
  limit,
});

/** What was asked to be built lately, of what, and what became of it: enough for so many changes. */
export const consoleSets = (changes) => ({
  path: `buildsets?order=-bsid&limit=${4 * changes}${fields("bsid", "sourcestamps")}`,
  follow: "buildsets/*/*",
  key: "bsid",
  order: newest("bsid"),
  limit: 4 * changes,
});

export const consoleRequests = (changes) => ({
  path: `buildrequests?order=-buildrequestid&limit=${8 * changes}${fields("buildrequestid", "buildsetid", "builderid", "complete", "claimed", "results")}`,
  follow: "buildrequests/*/*",
  key: "buildrequestid",
  order: newest("buildrequestid"),
  limit: 8 * changes,
});

export const consoleBuilds = (changes) => ({
  path: `builds?order=-buildid&limit=${8 * changes}&property=got_revision${fields("buildid", "number", "builderid", "buildrequestid", "started_at", "complete", "results", "properties")}`,
  follow: "builds/*/*",
  key: "buildid",
  order: newest("buildid"),
  limit: 8 * changes,
  below: rowProperties,
});

export const change = (changeid) => ({ path: `changes/${changeid}`, key: "changeid" });

/** A change of a source stamp, for its link. */
export const changeOfStamp = (ssid) => ({
  path: `sourcestamps/${ssid}/changes?limit=1${fields("changeid", "revlink")}`,
  key: "changeid",
});

export const changeBuilds = (changeid) => ({
  path: `changes/${changeid}/builds?order=-buildid&limit=100`,
  key: "buildid",
  order: newest("buildid"),
});

export const builder = (builderid) => ({ path: `builders/${builderid}`, key: "builderid" });

/** How many builds are shown at first, and how many more each time. */
export const PAGE_BUILDS = 100;

/** A builder's newest builds; `results` (a list, may be empty) narrows them to those that ended like that. */
export const builderBuilds = (builderid, results = [], limit = PAGE_BUILDS) => ({
  path: `builders/${builderid}/builds?order=-number&limit=${limit}${WITH_PROPERTIES}${results.map((one) => `&results=${one}`).join("")}`,
  follow: `builders/${builderid}/builds/*/*`,
  key: "buildid",
  keep: results.length ? (build) => results.includes(build.results) : undefined,
  order: newest("number"),
  limit,
  below: rowProperties,
});

export const builderWaiting = (builderid) => ({
  path: `builders/${builderid}/buildrequests?claimed=false&complete=false&order=-priority&order=buildrequestid&limit=50`,
  follow: `builders/${builderid}/buildrequests/*/*`,
  key: "buildrequestid",
  keep: inQueue,
  order: queueOrder,
  limit: 50,
  count: ([, , , , event], request) => countWaiting([null, null, event], request),
});

export const builderForceSchedulers = (builderid) => ({
  path: `builders/${builderid}/forceschedulers`,
  key: "name",
  order: byName,
});

/** One build by its number; followed below its builder, as the builder's page does. */
export const build = (builderid, number) => ({
  path: `builders/${builderid}/builds/${number}`,
  follow: `builders/${builderid}/builds/*/*`,
  key: "buildid",
  keep: (item) => item.number === number,
});

/** The builds before and after: for links, and for the time it took before. */
export const neighbours = (builderid, number) => ({
  path: `builders/${builderid}/builds?number=${number - 1}&number=${number + 1}`,
  follow: `builders/${builderid}/builds/*/*`,
  key: "buildid",
  keep: (item) => item.number === number - 1 || item.number === number + 1,
  order: newest("number"),
});

/** A build's steps; asked by its place, so that nobody has to wait for its id (undefined until it is known). */
export const steps = ({ builderid, number, buildid }) => ({
  path: `builders/${builderid}/builds/${number}/steps`,
  follow: buildid && `builds/${buildid}/steps/*/*`,
  key: "stepid",
  order: (a, b) => a.number - b.number,
});

export const logs = (stepid) => ({
  path: `steps/${stepid}/logs`,
  follow: `steps/${stepid}/logs/*/*`,
  key: "logid",
  order: (a, b) => a.logid - b.logid,
});

export const buildChanges = (buildid) => ({
  path: `builds/${buildid}/changes`,
  key: "changeid",
  order: newest("changeid"),
});

/** A build's properties: one item, whose attributes are the properties; events bring new and changed ones. */
export const properties = ({ builderid, number, buildid }) => ({
  path: `builders/${builderid}/builds/${number}/properties`,
  key: "\u0000",
  below: buildid && { pattern: () => `builds/${buildid}/properties/*`, until: () => false, change: (known, message) => ({ ...known, ...message }) },
});

/** A request, and its buildset as it was when this was asked. */
export const request = (buildrequestid) => ({
  path: `buildrequests/${buildrequestid}?expand=buildset`,
  follow: "buildrequests/*/*",
  key: "buildrequestid",
  keep: (item) => item.buildrequestid === buildrequestid,
});

export const requestBuilds = (buildrequestid) => ({
  path: `builds?buildrequestid=${buildrequestid}&order=-buildid&limit=20`,
  follow: "builds/*/*",
  key: "buildid",
  keep: (item) => item.buildrequestid === buildrequestid,
  order: newest("buildid"),
});

export const buildset = (bsid) => ({ path: `buildsets/${bsid}`, follow: "buildsets/*/*", key: "bsid", keep: (item) => item.bsid === bsid });

export const workerBuilds = (workerid) => ({
  path: `workers/${workerid}/builds?order=-buildid&limit=100${WITH_PROPERTIES}`,
  follow: `workers/${workerid}/builds/*/*`,
  key: "buildid",
  order: newest("buildid"),
  limit: 100,
  below: rowProperties,
});

/** A builder's newest success: by number, for its index knows which builds are its own. */
export const lastSuccess = (builderid) => ({
  path: `builders/${builderid}/builds?complete=true&results=0&order=-number&limit=1`,
  key: "buildid",
});

/** The build whose step asked for this one. */
export const parentBuild = (buildid) => ({ path: `builds/${buildid}`, key: "buildid" });

/** The newest request to build again what a build has built. */
export const rebuilds = (buildid) => ({
  path: `buildsets?rebuilt_buildid=${buildid}&limit=1&order=-bsid`,
  follow: "buildsets/*/*",
  key: "bsid",
  keep: (item) => item.rebuilt_buildid === buildid,
  order: newest("bsid"),
  limit: 1,
});

export const buildsetRequests = (bsid) => ({
  path: `buildsets/${bsid}/buildrequests`,
  follow: "buildrequests/*/*",
  key: "buildrequestid",
  keep: (item) => item.buildsetid === bsid,
});

export const buildsetProperties = (bsid) => ({ path: `buildsets/${bsid}/properties`, key: "\u0000" });

/** What else a builder has built on a worker before a build. */
export const sameWorker = (builderid, workerid, number) => ({
  path: `builders/${builderid}/builds?workerid=${workerid}&number__lt=${number}&order=-number&limit=5${WITH_PROPERTIES}`,
  key: "buildid",
  order: newest("number"),
});

export const changesources = { path: "changesources", follow: "changesources/*/*", key: "changesourceid", order: byName };

/** The path of a log by its place. */
export const logPath = ({ builderid, number, step, slug }) => `builders/${builderid}/builds/${number}/steps/${step}/logs/${slug}`;

/** A log by its place, for the first glance; it is followed below its step. */
export const logAt = (place) => ({
  path: logPath(place),
  key: "logid",
});
