// What all pages have: who is logged in, notices, the login in place, the warning before a session ends.

import { Problem, ask, json, onUnauthenticated } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { applyTheme, onChange } from "./settings.js";
import { span, time, wrong } from "./words.js";

/**
 * @typedef {object} Identity as whoami says
 * @property {string} operator
 * @property {string[]} groups
 * @property {string} [from]
 * @property {Record<string, number>} [consoles] how many for each right
 * @property {string|null} [ends] when the session ends if nothing is done; null: it does not
 */

const WARNING_SECONDS = 120;
const TOUCH_SECONDS = 60;
const NOTICES = 4;

/** @type {Promise<boolean>|null} */
let asking = null;
/** @type {Identity|null} */
let identity = null;
/** @type {Set<(identity: Identity) => void>} */
const identified = new Set();

/**
 * Begin: each page calls this once, first.
 * @param {{needsLogin?: boolean}} [options]
 */
export function start({ needsLogin = true } = {}) {
  onUnauthenticated(loginInPlace);
  onChange(applyTheme);
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
  }
  byId("logout", HTMLButtonElement).addEventListener("click", logout);
  if (!needsLogin) return;
  void refreshIdentity();
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, touch, { capture: true, passive: true });
}

let touched = Date.now();

/** Somebody is at the keys: the session goes on. */
function touch() {
  if (identity === null || Date.now() - touched < TOUCH_SECONDS * 1000) return;
  touched = Date.now();
  void ask("session", { method: "PUT", quiet: true }).catch(() => {});
}

/**
 * Be told who is logged in: now, if it is known, and after each login.
 * @param {(identity: Identity) => void} told
 */
export function onIdentity(told) {
  identified.add(told);
  if (identity !== null) told(identity);
}

/** Ask who is logged in. */
export async function refreshIdentity() {
  try {
    identity = /** @type {Identity} */ (await json("whoami"));
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) notice(wrong(error), { kind: "bad" });
    return;
  }
  const me = byId("me", HTMLAnchorElement);
  me.textContent = identity.operator;
  me.title = "Account: sessions, tokens, settings";
  byId("logout", HTMLButtonElement).hidden = false;
  warnBefore(time(identity.ends));
  for (const told of identified) told(identity);
}

async function logout() {
  try {
    await ask("session", { method: "DELETE", quiet: true });
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) {
      notice(wrong(error), { kind: "bad" });
      return;
    }
  }
  location.assign("/login");
}

/**
 * Tell something at the top of the page. It stays until it is closed, or for some seconds; one with the same key takes the
 * place of the one before.
 * @param {string} text
 * @param {{kind?: "plain"|"good"|"bad", seconds?: number, key?: string, action?: {label: string, run: () => void}}} [options]
 * @returns {() => void} takes it away
 */
export function notice(text, { kind = "plain", seconds = kind === "bad" ? 0 : 8, key = "", action } = {}) {
  const place = byId("notices", HTMLDivElement);
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
  const remove = () => element.remove();
  const element = h(
    "div",
    { class: `notice ${kind}`, "data-key": key || null },
    h("p", {}, text),
    action && h("button", { type: "button", onclick: () => (remove(), action.run()) }, action.label),
    h("button", { type: "button", class: "quiet", "aria-label": "Close this notice", onclick: remove }, "\u00d7"),
  );
  place.append(element);
  while (place.children.length > NOTICES) place.firstElementChild?.remove();
  if (seconds) setTimeout(remove, seconds * 1000);
  return remove;
}

/** @type {ReturnType<typeof setTimeout>|undefined} */
let warning;

/** @param {Date|null} ends */
function warnBefore(ends) {
  clearTimeout(warning);
  if (ends === null) return;
  const left = (ends.getTime() - Date.now()) / 1000;
  // Longer timers than 24 days end at once.
  warning = setTimeout(
    async () => {
      const now = await json("whoami", { quiet: true }).catch(() => null);
      const later = time(now?.ends);
      if (later && later.getTime() - Date.now() > (WARNING_SECONDS + 5) * 1000) {
        warnBefore(later);
        return;
      }
      const rest = later ? span((later.getTime() - Date.now()) / 1000) : "a moment";
      notice(`Your login ends in ${rest}.`, { key: "session", seconds: 0, action: { label: "Stay", run: () => void stay() } });
    },
    Math.min(Math.max(left - WARNING_SECONDS, 1), 1_000_000) * 1000,
  );
}

/** Go on with the session; if it ends in any case, log in again. */
async function stay() {
  await ask("session", { method: "PUT" });
  await refreshIdentity();
  const ends = time(identity?.ends);
  if (ends && ends.getTime() - Date.now() <= (WARNING_SECONDS + 5) * 1000) await loginInPlace();
}

/**
 * Ask for the password where somebody is; all that need it wait for the same dialog.
 * @returns {Promise<boolean>} whether somebody has logged in
 */
export function loginInPlace() {
  asking ??= showLogin().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<boolean>} */
function showLogin() {
  return new Promise((resolve) => {
    let done = false;
    const dialog = h("dialog", { class: "login", "aria-labelledby": "login-title" });
    const form = loginForm(() => {
      done = true;
      dialog.close();
    });
    dialog.append(
      h("h2", { id: "login-title" }, identity === null ? "Log in" : "Your login has ended"),
      form,
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
      if (done) void refreshIdentity();
    });
    document.body.append(dialog);
    dialog.showModal();
    if (identity !== null) /** @type {HTMLElement} */ (form.elements.namedItem("password")).focus();
  });
}

/**
 * The form of the login, for the page and for the dialog.
 * @param {() => void} loggedIn
 * @returns {HTMLFormElement}
 */
export function loginForm(loggedIn) {
  const error = h("p", { class: "error", role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  const operator = h("input", {
    name: "operator", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false", maxlength: 256,
    value: identity?.operator ?? "", autofocus: identity === null,
  });
  const password = h("input", {
    name: "password", type: "password", autocomplete: "current-password", required: true, maxlength: 1024,
  });
  const form = h(
    "form",
    { class: "fields", method: "post" },
    h("label", {}, "Operator", operator),
    h("label", {}, "Password", password),
    error,
    h("div", { class: "buttons" }, button),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    fill(error);
    try {
      await ask("login", { json: { operator: operator.value, password: password.value }, quiet: true });
      password.value = "";
      loggedIn();
    } catch (refused) {
      const wrongPassword = refused instanceof Problem && refused.status === 401;
      fill(error, wrongPassword ? "This operator with this password may not log in." : wrong(refused));
      password.select();
      password.focus();
    } finally {
      button.disabled = false;
    }
  });
  return form;
}

/**
 * Ask whether something is to be done, with a text if one is needed.
 * @param {{title: string, text?: string, button: string, field?: {label: string, value?: string, required?: boolean, maxlength?: number}}} question
 * @returns {Promise<string|null>} the text ("" without a field); null: no
 */
export function confirmed({ title, text, button, field }) {
  return new Promise((resolve) => {
    const input = field && h("input", { value: field.value ?? "", required: field.required, maxlength: field.maxlength ?? 500 });
    /** @type {string|null} */
    let answer = null;
    const dialog = h(
      "dialog",
      { "aria-labelledby": "question-title" },
      h(
        "form",
        {
          class: "fields",
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            answer = input ? input.value : "";
            dialog.close();
          },
        },
        h("h2", { id: "question-title" }, title),
        text && h("p", {}, text),
        input && h("label", {}, /** @type {{label: string}} */ (field).label, input),
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
          h("button", { type: "submit", class: "primary" }, button),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Show how many alerts nobody has acknowledged, beside the link to their page.
 * @param {number} number
 */
export function showAlerts(number) {
  const badge = byId("nav-alerts", HTMLSpanElement);
  badge.hidden = number === 0;
  badge.textContent = number > 999 ? "999+" : String(number);
}
