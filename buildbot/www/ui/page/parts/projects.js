/** The project of a builder. */

import { html } from "../dom.js";
import { useQuery } from "../hooks.js";
import { projects as allProjects } from "../queries.js";
import { to } from "../router.js";
import { Icon } from "./basics.js";

/** A link to it, with its name as soon as that is known. */
export function OfProject({ projectid }) {
  const project = useQuery(allProjects).get(projectid);
  return project ? html`<a class="tag" href=${to.project(projectid)} title="Project"><${Icon} name="projects" />${project.name}</a>` : null;
}
