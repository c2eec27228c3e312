/** The search box of the whole page: builders, workers and pages by name; `builder 17` goes to a build. */

import { html, useEffect, useRef, useState } from "../dom.js";
import { useQuery } from "../hooks.js";
import { builders as allBuilders, workers as allWorkers } from "../queries.js";
import { go, to } from "../router.js";
import { Icon } from "./basics.js";
import { Dialog, dialogOpen, openDialog } from "./dialogs.js";
import { PAGES } from "./pages.js";

const SHOWN = 12;

export function openPalette() {
  if (!dialogOpen()) openDialog((close) => html`<${Palette} onClose=${close} />`);
}

/** How well a name fits: the letters in order; the start of the name or of a word is better. */
function score(name, wanted) {
  const text = name.toLowerCase();
  if (!wanted) return 1;
  const at = text.indexOf(wanted);
  if (at === 0) return 100 - text.length / 100;
  if (at > 0) return (/[^a-z0-9]/.test(text[at - 1]) ? 60 : 40) - text.length / 100;
  let position = 0;
  for (const letter of wanted) {
    position = text.indexOf(letter, position) + 1;
    if (position === 0) return 0;
  }
  return 10 - text.length / 100;
}

function Palette({ onClose }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useRef(null);
  const builders = useQuery(allBuilders);
  const workers = useQuery(allWorkers);

  const [, name, buildNumber] = /^\s*(.*?)(?:[\s#]+(\d+))?\s*$/.exec(text);
  const wanted = name.toLowerCase();
  const entries = [
    ...PAGES.map(({ title, icon, href }) => ({ kind: "page", icon, name: title, href, rank: score(title, wanted) - 5 })),
    ...builders.list.map((builder) => ({
      kind: buildNumber ? `build ${buildNumber}` : "builder",
      icon: "builders",
      name: builder.name,
      href: buildNumber ? to.build(builder.builderid, buildNumber) : to.builder(builder.builderid),
      rank: score(builder.name, wanted),
    })),
    ...workers.list.map((worker) => ({
      kind: "worker", icon: "workers", name: worker.name, href: to.worker(worker.workerid), rank: score(worker.name, wanted) - 1,
    })),
  ].filter(({ rank }) => rank > 0).sort((a, b) => b.rank - a.rank).slice(0, SHOWN);
  const current = Math.min(chosen, entries.length - 1);

  useEffect(() => list.current?.children[current]?.scrollIntoView({ block: "nearest" }), [current]);

  function open(entry) {
    onClose();
    go(entry.href);
  }

  function pressed(event) {
    if (event.key === "ArrowDown") setChosen((current + 1) % Math.max(1, entries.length));
    else if (event.key === "ArrowUp") setChosen((current - 1 + entries.length) % Math.max(1, entries.length));
    else if (event.key === "Enter" && entries[current]) open(entries[current]);
    else return;
    event.preventDefault();
  }

  return html`<${Dialog} title="Search" onClose=${onClose} class="palette">
    <div class="palette-input"><${Icon} name="search" />
      <input autofocus placeholder="Builder, worker or page; “name 17” for a build" value=${text}
        onInput=${(event) => { setText(event.target.value); setChosen(0); }} onKeyDown=${pressed}
        role="combobox" aria-expanded="true" aria-controls="palette-list" aria-label="Search"
        aria-activedescendant=${entries.length ? `palette-${current}` : undefined} /></div>
    <ul id="palette-list" role="listbox" ref=${list} aria-label="Found">
      ${entries.map((entry, i) => html`<li id="palette-${i}" role="option" aria-selected=${i === current} key=${entry.href + entry.kind}
        onClick=${() => open(entry)} onPointerMove=${() => setChosen(i)}>
        <${Icon} name=${entry.icon} /><span>${entry.name}</span><small class="dim">${entry.kind}</small></li>`)}
      ${entries.length === 0 && html`<li class="empty">Nothing has that name.</li>`}
    </ul>
  <//>`;
}
