/** Schedulers, which can be switched on and off. */

import { call } from "../api.js";
import { html } from "../dom.js";
import { useQuery, useTitle } from "../hooks.js";
import { Content, Icon, Panel } from "../parts/basics.js";
import { attempt } from "../parts/dialogs.js";
import { openForce } from "../parts/force.js";
import { builders as allBuilders, forceSchedulers, schedulers as allSchedulers } from "../queries.js";
import { acting } from "../visitor.js";

export function Schedulers() {
  useTitle("Schedulers");
  const schedulers = useQuery(allSchedulers);
  const force = useQuery(forceSchedulers);
  const builders = useQuery(allBuilders);
  const idsOf = (form) => builders.list.filter((builder) => form.builder_names.includes(builder.name)).map((builder) => builder.builderid);
  const enable = (scheduler) => attempt(() => call(`schedulers/${scheduler.schedulerid}`, "enable", { enabled: !scheduler.enabled }));
  return html`<header class="page-head"><h1>Schedulers</h1></header>
    <${Panel} title="Schedulers" class="headless">
      <${Content} query=${schedulers} empty="No scheduler is configured." lines=${6}>
        <ul class="rows">${schedulers.list.map((scheduler) => {
          const form = force.get(scheduler.name);
          return html`<li class="row" key=${scheduler.schedulerid}>
            <i class="dot ${scheduler.master ? (scheduler.enabled ? "idle" : "paused") : "offline"}" role="img" aria-label=${scheduler.master ? "active" : "inactive"}></i>
            <span class="main"><b>${scheduler.name}</b></span>
            <span class="detail dim">${scheduler.master ? `on ${scheduler.master.name}` : "on no master"}</span>
            ${form && scheduler.enabled && html`<button class="small" ...${acting("forceschedulers/force", { builderids: idsOf(form) })} onClick=${() => openForce(form, null)}><${Icon} name="play" />${form.button_name || "Force"}</button>`}
            <label class="switch"><input type="checkbox" role="switch" checked=${scheduler.enabled} ...${acting("schedulers/enable")} onChange=${() => enable(scheduler)} aria-label="Enable ${scheduler.name}" /><i></i></label>
          </li>`;
        })}</ul>
      <//>
    <//>`;
}
