/** Who looks at the page, and whether they may do more than look: what the server's configuration says. */

let mayControl = true;

/** Take the answer of `/config`. */
export function setVisitor(config) {
  mayControl = config.user_may_control !== false;
  // The provider knows who it is; a login that fails shows why and does not come back here by itself.
  if (config.auth?.autologin && config.user?.anonymous) location.assign(loginAddress());
}

/** Attributes of an element that acts on something: its tooltip, or that it does not work and why. */
export function acting(title) {
  return mayControl ? { title } : { disabled: true, title: "You may look but not change anything: log in as somebody who may" };
}

export const loginAddress = () => `auth/login?redirect=${here()}`;
export const logoutAddress = () => `auth/logout?redirect=${here()}`;

function here() {
  return encodeURIComponent(location.hash.slice(1) || "/");
}
