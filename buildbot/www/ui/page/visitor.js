/** Who looks at the page, and what he may do: what the server's configuration says. The server decides all the same. */

let anonymous = true;
let name = "anonymous";
/** action → to what it may be done; null until the server has said so */
let rights = null;

/** Take the answer of `/config`. */
export function setVisitor({ user, user_may: said, auth }) {
  anonymous = user.anonymous === true;
  name = user.email || user.username || user.full_name || "anonymous";
  rights = said;
  // The provider knows who it is; a login that fails shows why and does not come back here by itself.
  if (auth?.autologin && anonymous) location.assign(loginAddress());
}

export const loggedIn = () => !anonymous;

const covers = (right, builderids) => right === true || (Array.isArray(right) && builderids.every((id) => right.includes(id)));

/**
 * Whether the visitor may do something: "yes", "no", or "own" if he may as far as it is his.
 * @param {string} action  such as "builds/stop"
 * @param {object} [about]  what it would be done to
 * @param {number[]} [about.builderids]  the builders that it is of; all of them must be allowed
 * @param {string | null} [about.owner]  whose it is; undefined if that is not known here
 */
export function may(action, { builderids = [], owner } = {}) {
  const right = rights?.[action];
  if (!right || covers(right.all, builderids)) return "yes";
  if (!covers(right.own, builderids) || (owner !== undefined && owner !== name)) return "no";
  return owner === undefined ? "own" : "yes";
}

/** Attributes of an element that acts on something: its tooltip, or that it does not work and why. */
export function acting(action, about, title) {
  const allowed = may(action, about);
  if (allowed === "yes") return { title };
  if (allowed === "own") return { title: `${title ?? "Allowed"}, if it is yours` };
  return { disabled: true, title: whyNot() };
}

function whyNot() {
  const nothing = Object.values(rights).every(({ all, own }) => [all, own].every((right) => right === false || right.length === 0));
  if (nothing) return "You may look but not change anything: log in as somebody who may";
  return anonymous ? "Log in as somebody who may do this" : "You do not have the role that may do this";
}

export const loginAddress = () => `auth/login?redirect=${here()}`;
export const logoutAddress = () => `auth/logout?redirect=${here()}`;

function here() {
  return encodeURIComponent(location.hash.slice(1) || "/");
}
