/** Who is logged in, and the way in and out. */

import { html } from "../dom.js";
import { loginAddress, logoutAddress } from "../visitor.js";

export function Login({ config }) {
  const { auth, user } = config;
  if (!auth || auth.name === "NoAuth") return null;
  // Where to come back to is known when it is clicked.
  const go = (address) => (event) => { event.currentTarget.href = address(); };
  if (user.anonymous) {
    if (auth.name === "RemoteUserAuth") return null;
    return html`<a class="login" href="auth/login" onClick=${go(loginAddress)}>${auth.oauth2 ? `Log in with ${auth.name}` : "Log in"}</a>`;
  }
  const name = user.full_name || user.username || user.email;
  return html`<span class="login"><b title=${user.email ?? ""}>${name}</b>
    ${auth.name !== "RemoteUserAuth" && html`<a href="auth/logout" onClick=${go(logoutAddress)}>Log out</a>`}</span>`;
}
