/**
 * Requests to the public HTTP API: REST for reading, JSON-RPC for acting.
 * Every reply carries the clock at which it was true; the event stream goes on from there.
 */

/** A reply that is not a success. `fields` holds texts per form field, if the server refused a form. */
export class ApiError extends Error {
  constructor(status, message, fields = null) {
    super(message);
    this.status = status;
    this.fields = fields;
  }

  /** True if the server was not reached at all, so that trying again may help. */
  get offline() {
    return this.status === 0;
  }
}

let serverOffsetMs = 0;

/** Now by the server's clock, in seconds: ages and durations do not depend on the visitor's clock. */
export function serverNow() {
  return (Date.now() + serverOffsetMs) / 1000;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, "The server cannot be reached.");
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isNaN(date)) {
    const offset = date - Date.now();
    // The header has whole seconds; a smaller difference says nothing.
    if (Math.abs(offset - serverOffsetMs) > 2000) serverOffsetMs = offset;
  }
  return response;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(response.status || 0, `The server answered ${response.status} without JSON.`);
  }
}

async function read(path) {
  const response = await request(`api/v2/${path}`, { headers: { Accept: "application/json" } });
  const body = await json(response);
  if (!response.ok) throw new ApiError(response.status, body.error ?? response.statusText);
  return { response, body };
}

/**
 * Read a path of the API, such as `builds?limit=5`.
 * @returns {Promise<{items: object[], total: number, clock: number}>}
 */
export async function get(path) {
  const { response, body } = await read(path);
  const name = Object.keys(body).find((key) => key !== "meta");
  const items = body[name];
  return {
    items,
    total: body.meta.total ?? items.length,
    clock: Number(response.headers.get("X-Tenfold-Clock") ?? body.meta.clock),
  };
}

/** The locks that builds and steps hold and wait for, of the master that answers. */
export async function locks() {
  const { body } = await read("locks");
  return body.locks;
}

/** The lines of the log at a path, such as `logs/4`, from `offset` on, at most `limit`; each ends in a line feed. */
export async function logLines(path, offset, limit) {
  const { items } = await get(`${path}/contents?offset=${offset}&limit=${limit}`);
  const lines = items[0].content.split("\n");
  lines.pop();
  return lines;
}

/**
 * Lines of a log after the line `after` (-1: all) that have `text`.
 * @returns {Promise<{matches: {line: number, text: string}[], next: number | null}>}  `next`: what to give as `after`
 *   to go on; null at the end
 */
export async function searchLog(logid, text, after = -1, limit = 1000) {
  const { body } = await read(`logs/${logid}/search?text=${encodeURIComponent(text)}&after=${after}&limit=${limit}`);
  return { matches: body.logmatches, next: body.meta.next };
}

/**
 * The master's metrics: `{name: [{labels: {name: value}, value}]}`. Throws ApiError for visitors who may not read them.
 */
export async function metrics() {
  const response = await request("metrics", {});
  if (!response.ok) throw new ApiError(response.status, response.statusText);
  const found = {};
  for (const line of (await response.text()).split("\n")) {
    const parts = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = {};
    for (const [, name, value] of (parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    (found[parts[1]] ??= []).push({ labels, value: Number(parts[3]) });
  }
  return found;
}

let lastCall = 0;

/** Act on what a path names, such as `call("builds/3", "stop", {reason: "…"})`; gives the action's result. */
export async function call(path, method, params = {}) {
  lastCall += 1;
  const response = await request(`api/v2/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: lastCall, method, params }),
  });
  const body = await json(response);
  if (body.error) {
    const message = body.error.message ?? body.error;
    if (message && typeof message === "object") throw new ApiError(response.status, "Some fields need another look.", message);
    throw new ApiError(response.status, String(message));
  }
  return body.result;
}

/** The server's configuration for pages. */
export async function config() {
  return json(await request("config", {}));
}
