/** The pages of the navigation, and the key after `g` that goes there. */

import { to } from "../router.js";

export const PAGES = [
  { title: "Home", icon: "home", key: "h", href: to.home(), roots: [""] },
  { title: "Builders", icon: "builders", key: "b", href: to.builders(), roots: ["builders"] },
  { title: "Projects", icon: "projects", key: "p", href: to.projects(), roots: ["projects"] },
  { title: "Console", icon: "console", key: "o", href: to.console(), roots: ["console"] },
  { title: "Queue", icon: "queue", key: "q", href: to.waiting(), roots: ["pendingbuildrequests", "buildrequests", "buildsets"] },
  { title: "Changes", icon: "changes", key: "c", href: to.changes(), roots: ["changes"] },
  { title: "Workers", icon: "workers", key: "w", href: to.workers(), roots: ["workers"] },
  { title: "Schedulers", icon: "schedulers", key: "s", href: to.schedulers(), roots: ["schedulers"] },
  { title: "Masters", icon: "masters", key: "m", href: to.masters(), roots: ["masters"] },
  { title: "About", icon: "help", key: "a", href: to.about(), roots: ["about"], rare: true },
];
