/** Pages of the installation's own: what the configuration says of them. */

import { href } from "../router.js";

/** Dashboards in their order: name, caption and address of each. */
export function dashboards(config) {
  const listed = config?.plugins?.wsgi_dashboards;
  if (!Array.isArray(listed)) return [];
  return listed
    .map(({ name, caption, order }) => ({ name, caption, order: order ?? 0, href: href([name]) }))
    .sort((a, b) => a.order - b.order || a.caption.localeCompare(b.caption));
}
