// The page where operators log in; it leads back to where they wanted to go.

import { address, ask } from "./api.js";
import { byId, h } from "./dom.js";
import { loginForm, start } from "./shell.js";
import { landing } from "./landing.js";

start({ needsLogin: false });
const there = landing(location.search);
const place = byId("login", HTMLDivElement);
place.append(loginForm(() => location.replace(there)));

/** @type {{single_sign_on: {label: string, path: string}|null}} */
const ways = await (await ask("login", { quiet: true })).json();
if (ways.single_sign_on) {
  const { label, path } = ways.single_sign_on;
  place.append(h("p", { class: "other-way" }, h("a", { class: "button", href: address(path, { to: there }) }, label)));
}
