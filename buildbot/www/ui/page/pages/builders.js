/** All builders with their state and latest builds. */

import { html, useState } from "../dom.js";
import { useQuery, useTitle } from "../hooks.js";
import { Content, Panel } from "../parts/basics.js";
import { BuilderRows, Tags, isInUse, toggled, withTags } from "../parts/builders.js";
import { builders as allBuilders } from "../queries.js";
import { replace, to } from "../router.js";

export function Builders({ route }) {
  useTitle("Builders");
  const builders = useQuery(allBuilders);
  const [text, setText] = useState("");
  const chosen = route.params.getAll("tag");
  const old = route.params.has("old");

  const configured = builders.list.filter((builder) => isInUse(builder) || old);
  const wanted = text.toLowerCase();
  const shown = withTags(configured, chosen).filter((builder) => builder.name.toLowerCase().includes(wanted));
  const removed = builders.list.filter((builder) => !isInUse(builder)).length;
  const show = (tags, withOld) => replace(to.builders({ tag: tags, old: withOld ? "1" : undefined }));
  const toggle = (tag) => show(toggled(chosen, tag), old);

  return html`<header class="page-head"><h1>Builders</h1>
      <input class="filter" type="search" placeholder="Filter by name" aria-label="Filter by name" value=${text} onInput=${(event) => setText(event.target.value)} />
      <${Tags} builders=${configured} chosen=${chosen} onToggle=${toggle} />
      ${(removed > 0 || old) && html`<label class="check"><input type="checkbox" checked=${old} onChange=${() => show(chosen, !old)} />no longer configured</label>`}
    </header>
    <${Panel} title="Builders" class="headless">
      <${Content} query=${builders} empty="No builder is configured." lines=${8}>
        <${BuilderRows} builders=${shown} onTag=${toggle} />
        ${shown.length === 0 && html`<p class="empty">No builder fits.</p>`}
      <//>
    <//>`;
}
