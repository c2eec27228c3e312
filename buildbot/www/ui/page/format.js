/** Texts for people: times, durations, names. */

const DAY = 86_400;

/** A duration in seconds: "4s", "2m 05s", "1h 07m", "3d 4h". */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${pad(s % 60)}s`;
  if (s < DAY) return `${Math.floor(s / 3600)}h ${pad(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / DAY)}d ${Math.floor((s % DAY) / 3600)}h`;
}

/** How long ago, in one word: "just now", "4 min", "3 h", "12 d". */
export function age(seconds) {
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 60 * DAY) return `${Math.floor(seconds / DAY)} d ago`;
  return `${Math.floor(seconds / (30 * DAY))} months ago`;
}

function pad(number) {
  return String(number).padStart(2, "0");
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A moment in the visitor's zone and language. */
export function dateTime(seconds) {
  return moment.format(new Date(seconds * 1000));
}

/** "1 build", "2 builds". */
export function count(number, noun, plural = `${noun}s`) {
  return `${number.toLocaleString()} ${number === 1 ? noun : plural}`;
}

/** The first line of a text. */
export function firstLine(text) {
  return (text ?? "").trimStart().split("\n", 1)[0];
}

/** A revision short enough for a table. */
export function shortRevision(revision) {
  return /^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$/i.test(revision ?? "") ? revision.slice(0, 9) : revision ?? "";
}

/** The name in "Name <mail>". */
export function personName(person) {
  return (person ?? "").replace(/\s*<[^>]*>\s*$/, "") || person || "somebody";
}

/** Bytes or lines: 12,345. */
export function number(value) {
  return value.toLocaleString();
}
