/** Projects with their builders, and one project. */

import { html, useState } from "../dom.js";
import { count } from "../format.js";
import { useQuery, useTitle } from "../hooks.js";
import { Content, Panel } from "../parts/basics.js";
import { BuilderRows, Tags, isInUse, toggled, useLatest, withTags } from "../parts/builders.js";
import { builders as allBuilders, projects as allProjects } from "../queries.js";
import { NAMES, StateIcon, stateOf } from "../results.js";
import { go, href, replace, to } from "../router.js";
import { NotFound } from "./notfound.js";

/** Of a project's builders this many stand on the page of all projects. */
const SHOWN_BUILDERS = 6;

const buildersOf = (project, builders) => builders.list.filter((builder) => builder.projectid === project.projectid && isInUse(builder));

export function Projects() {
  useTitle("Projects");
  const projects = useQuery(allProjects);
  const builders = useQuery(allBuilders);
  const [text, setText] = useState("");
  const wanted = text.toLowerCase();
  const active = builders.state !== "ready" ? [] : projects.list.map((project) => [project, buildersOf(project, builders)]).filter(([, own]) => own.length > 0);
  const shown = active.filter(([project]) => project.name.toLowerCase().includes(wanted));
  return html`<header class="page-head"><h1>Projects</h1>
      <input class="filter" type="search" placeholder="Filter by name" aria-label="Filter by name" value=${text} onInput=${(event) => setText(event.target.value)} /></header>
    <${Content} query=${projects.state === "ready" ? builders : projects} lines=${8}>
      ${shown.map(([project, own]) => html`<${Panel} key=${project.projectid} title=${project.name} count=${count(own.length, "builder")} href=${to.project(project.projectid)} actions=${html`<${Tally} builders=${own} />`}>
        ${project.description && html`<p class="about-project dim">${project.description}</p>`}
        <${BuilderRows} builders=${own.slice(0, SHOWN_BUILDERS)} onTag=${(tag) => go(href(["projects", project.projectid], { tag }))} />
        ${own.length > SHOWN_BUILDERS && html`<a class="more" href=${to.project(project.projectid)}>${count(own.length - SHOWN_BUILDERS, "more builder")}</a>`}
      <//>`)}
      ${shown.length === 0 && html`<p class="empty">${active.length ? "No project fits." : "No builder belongs to a project."}</p>`}
    <//>`;
}

/** How the last builds of some builders ended. */
function Tally({ builders }) {
  const latest = useLatest();
  const last = builders.map((builder) => latest.get(builder.builderid)?.find((build) => build.complete)).filter(Boolean);
  const counts = NAMES.map((name) => [name, last.filter((build) => stateOf(build) === name).length]).filter(([, n]) => n);
  return html`<span class="tally num">${counts.map(([name, n]) => html`<span key=${name} title="${count(n, "builder")}: ${name}"><${StateIcon} state=${name} />${n}</span>`)}</span>`;
}

export function Project({ route }) {
  const projects = useQuery(allProjects);
  const builders = useQuery(allBuilders);
  const key = route.segments[1];
  const project = projects.list.find((item) => String(item.projectid) === key) ?? projects.list.find((item) => item.name === key);
  useTitle(project?.name ?? "Project");
  if (!project) return projects.state === "ready" ? html`<${NotFound} what=${`project ${key}`} />` : html`<${Content} query=${projects} lines=${8} />`;
  const chosen = route.params.getAll("tag");
  const own = buildersOf(project, builders);
  const shown = withTags(own, chosen);
  const toggle = (tag) => replace(href(["projects", project.projectid], { tag: toggled(chosen, tag) }));
  return html`<header class="page-head">
      <nav class="crumbs" aria-label="Breadcrumbs"><a href=${to.projects()} data-key="up">Projects</a></nav>
      <h1>${project.name}</h1><${Tally} builders=${own} /><${Tags} builders=${own} chosen=${chosen} onToggle=${toggle} />
      ${project.description && html`<p class="description dim">${project.description}</p>`}
    </header>
    <${Panel} title="Builders" count=${own.length}>
      <${Content} query=${builders} lines=${8}>
        <${BuilderRows} builders=${shown} onTag=${toggle} />
        ${shown.length === 0 && html`<p class="empty">${own.length ? "No builder fits." : "No builder belongs to it."}</p>`}
      <//>
    <//>`;
}
