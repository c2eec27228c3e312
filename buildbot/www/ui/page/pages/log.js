/** One log on a page of its own. */

import { html } from "../dom.js";
import { useLater, useQuery, useTitle } from "../hooks.js";
import { Content } from "../parts/basics.js";
import { useNames } from "../parts/builds.js";
import { HtmlLog, LogView, RemovedLog } from "../parts/logview.js";
import { build as oneBuild, logAt, logs as stepLogs, steps as allSteps } from "../queries.js";
import { StateChip, stateOf } from "../results.js";
import { to } from "../router.js";
import { NotFound } from "./notfound.js";

export function Log({ route }) {
  const [, builderid, , number, , stepNumber, , slug] = route.segments;
  const names = useNames();
  // Its place in the API gives it at once; who wrote it and what becomes of it is asked a moment later.
  const place = { builderid: Number(builderid), number: Number(number), step: stepNumber, slug };
  const direct = useQuery(logAt(place));
  const later = useLater(direct.state === "ready");
  const builds = useQuery(later ? oneBuild(Number(builderid), Number(number)) : null);
  const build = builds.item;
  const steps = useQuery(build ? allSteps(build) : null);
  const step = steps.list.find((item) => String(item.number) === stepNumber || item.name === stepNumber);
  const logs = useQuery(step ? stepLogs(step.stepid) : null);
  const log = logs.list.find((item) => item.slug === slug) ?? direct.item;
  useTitle(build && step ? `${slug}, ${step.name}, ${names.builder(build.builderid)} #${number}` : "Log");
  if (!log && direct.error?.status === 404) {
    return html`<${NotFound} what=${`log ${slug}`} />`;
  }
  if (!log) return html`<${Content} query=${direct} lines=${12} />`;
  const line = Number(route.params.get("line"));
  return html`<header class="page-head log-head">
      <nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.builder(builderid)}>${names.builder(Number(builderid))}</a>
        <a href=${to.build(builderid, number)} data-key="up">#${number}</a><span>${step?.name ?? stepNumber}</span></nav>
      <h1>${log.name}</h1>${step && html`<${StateChip} state=${stateOf(step)} />`}
    </header>
    <div class="panel log-page">${log.type === "h" ? html`<${HtmlLog} log=${log} />`
      : log.type === "d" ? html`<${RemovedLog} log=${log} />` : html`<${LogView} key=${log.logid} log=${log} size="full" place=${place} line=${line > 0 ? line - 1 : null} />`}</div>`;
}
