/**
 * What pages ask. The patterns here must not overlap one another (see stream.js), so a kind of resource is followed
 * either as a whole (`builds/*\/*`) or below one builder, worker or build, under the key that names it.
 */

const newest = (key) => (a, b) => b[key] - a[key];
const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });

const ENDED = 80;

export const builders = { path: "builders", follow: "builders/*/*", key: "builderid", order: byName };
export const workers = { path: "workers", follow: "workers/*/*", key: "workerid", order: byName };
export const masters = { path: "masters", follow: "masters/*/*", key: "masterid", order: byName };
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
  path: `builds?complete=true&order=-buildid&limit=${ENDED}`,
  follow: "builds/*/*",
  key: "buildid",
  keep: (build) => build.complete,
  order: (a, b) => b.complete_at - a.complete_at || b.buildid - a.buildid,
  limit: ENDED,
};

/** The newest builds of all builders, for the little histories on the builders page. */
export const latestBuilds = {
  path: "builds?order=-buildid&limit=600",
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

export const changes = {
  path: "changes?order=-changeid&limit=100",
  follow: "changes/*/*",
  key: "changeid",
  order: newest("changeid"),
  limit: 100,
};

export const change = (changeid) => ({ path: `changes/${changeid}`, key: "changeid" });

export const changeBuilds = (changeid) => ({
  path: `changes/${changeid}/builds?order=-buildid&limit=100`,
  key: "buildid",
  order: newest("buildid"),
});

export const builder = (builderid) => ({ path: `builders/${builderid}`, key: "builderid" });

export const builderBuilds = (builderid) => ({
  path: `builders/${builderid}/builds?order=-number&limit=100&property=branch&property=revision&property=got_revision`,
  follow: `builders/${builderid}/builds/*/*`,
  key: "buildid",
  order: newest("number"),
  limit: 100,
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

export const steps = (buildid) => ({
  path: `builds/${buildid}/steps`,
  follow: `builds/${buildid}/steps/*/*`,
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
export const properties = (buildid) => ({
  path: `builds/${buildid}/properties`,
  key: "\u0000",
  also: {
    [`builds/${buildid}/properties/*`]: (items, _key, message) => {
      const [id, known] = items.entries().next().value ?? [undefined, {}];
      items.set(id, { ...known, ...message });
      return true;
    },
  },
});

export const request = (buildrequestid) => ({
  path: `buildrequests/${buildrequestid}`,
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
  path: `workers/${workerid}/builds?order=-buildid&limit=100`,
  follow: `workers/${workerid}/builds/*/*`,
  key: "buildid",
  order: newest("buildid"),
  limit: 100,
});

/** A builder's last success before one of its builds: how long that one will probably take. */
export const lastSuccess = (builderid, number) => ({
  path: `builders/${builderid}/builds?complete=true&results=0&number__lt=${number}&order=-number&limit=1`,
  key: "buildid",
});
