/** One log on a page of its own. */

import { html } from "../dom.js";
import { useQuery, useTitle } from "../hooks.js";
import { Content } from "../parts/basics.js";
import { useNames } from "../parts/builds.js";
import { HtmlLog, LogView } from "../parts/logview.js";
import { build as oneBuild, logs as stepLogs, steps as allSteps } from "../queries.js";
import { StateChip, stateOf } from "../results.js";
import { to } from "../router.js";
import { NotFound } from "./notfound.js";

export function Log({ route }) {
  const [, builderid, , number, , stepNumber, , slug] = route.segments;
  const names = useNames();
  const builds = useQuery(oneBuild(Number(builderid), Number(number)));
  const build = builds.item;
  const steps = useQuery(build ? allSteps(build.buildid) : null);
  const step = steps.list.find((item) => String(item.number) === stepNumber || item.name === stepNumber);
  const logs = useQuery(step ? stepLogs(step.stepid) : null);
  const log = logs.list.find((item) => item.slug === slug);
  useTitle(build && step ? `${slug}, ${step.name}, ${names.builder(build.builderid)} #${number}` : "Log");
  if ([builds, steps, logs].some((query) => query.error?.status === 404) || (logs.state === "ready" && !log) || (steps.state === "ready" && !step)) {
    return html`<${NotFound} what=${`log ${slug}`} />`;
  }
  if (!log) return html`<${Content} query=${[builds, steps, logs].find((query) => query.state === "error") ?? builds} lines=${12} />`;
  const line = Number(route.params.get("line"));
  const place = { builderid: build.builderid, number: build.number, step: step.number };
  return html`<header class="page-head log-head">
      <nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.builder(build.builderid)}>${names.builder(build.builderid)}</a>
        <a href=${to.build(build.builderid, build.number)} data-key="up">#${build.number}</a><span>${step.name}</span></nav>
      <h1>${log.name}</h1><${StateChip} state=${stateOf(step)} />
    </header>
    <div class="panel log-page">${log.type === "h" ? html`<${HtmlLog} log=${log} />`
      : html`<${LogView} key=${log.logid} log=${log} size="full" place=${place} line=${line > 0 ? line - 1 : null} />`}</div>`;
}
