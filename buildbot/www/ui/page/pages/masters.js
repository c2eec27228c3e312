/** All masters: whether they run, since when they are silent, and what each does. */

import { html } from "../dom.js";
import { count, dateTime } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { Ago, Content, Panel } from "../parts/basics.js";
import { RunningRow, useNames } from "../parts/builds.js";
import {
  builders as allBuilders, changesources as allChangesources, masters as allMasters, runningBuilds, schedulers as allSchedulers,
  workers as allWorkers,
} from "../queries.js";
import { to } from "../router.js";

export function Masters() {
  useTitle("Masters");
  const masters = useQuery(allMasters);
  const [builders, workers, running, schedulers, sources] = [allBuilders, allWorkers, runningBuilds, allSchedulers, allChangesources].map(useQuery);
  const names = useNames();
  const active = masters.list.filter((master) => master.active).length;
  return html`<header class="page-head"><h1>Masters</h1>
      <span class="dim">${masters.state === "ready" && `${active} of ${masters.list.length} active`}</span></header>
    <${Content} query=${masters} empty="No master is known." lines=${6}>
      ${masters.list.map((master) => {
        const id = master.masterid;
        const builds = running.list.filter((build) => build.masterid === id);
        const facts = [
          ["Builders", builders.list.filter((builder) => builder.masterids.includes(id)).length],
          ["Workers connected", workers.list.filter((worker) => worker.connected_to.some((one) => one.masterid === id)).length],
          ["Builds running", builds.length],
          ["Schedulers", schedulers.list.filter((scheduler) => scheduler.master?.masterid === id).length],
          ["Change sources", sources.list.filter((source) => source.master?.masterid === id).map((source) => source.name).join(", ") || "0"],
        ];
        return html`<section class="panel master" key=${id} aria-label=${master.name}>
          <div class="row"><i class="dot ${master.active ? "idle" : "offline"}" role="img" aria-label=${master.active ? "active" : "inactive"}></i>
            <h2 class="grow">${master.name}</h2>
            <span class="dim" title=${dateTime(master.last_active)}>${master.active ? "active" : html`last seen <${Ago} at=${master.last_active} />`}</span></div>
          <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd class="num">${value}</dd></div>`)}</dl>
          ${builds.length > 0 && html`<details><summary>${count(builds.length, "running build")}</summary>
            <ul class="rows">${builds.map((build) => html`<${RunningRow} key=${build.buildid} build=${build} names=${names} />`)}</ul></details>`}
        </section>`;
      })}
    <//>
    <p class="dim"><a href=${to.about()}>Versions and configuration</a></p>`;
}
