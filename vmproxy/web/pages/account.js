// Who one is, one's sessions and tokens, and the settings of this browser.

import { ask, consoleId, json, pages } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { load, onChange, save } from "./settings.js";
import { confirmed, notice, onIdentity, start } from "./shell.js";
import { counted, long, short, span, time, wrong } from "./words.js";

const RIGHTS = ["see", "spy", "write", "admin"];
const SESSIONS_LIMIT = 200;

/** @param {import("./shell.js").Identity} identity */
function drawIdentity(identity) {
  byId("who", HTMLHeadingElement).textContent = identity.operator;
  const parts = [];
  if (identity.from) parts.push(`from ${identity.from}`);
  if (identity.groups?.length) parts.push(`in ${identity.groups.join(", ")}`);
  /** @type {Map<number, string[]>} */
  const rights = new Map();
  for (const right of RIGHTS) {
    const number = identity.consoles?.[right];
    if (number !== undefined) rights.set(number, [...(rights.get(number) ?? []), right]);
  }
  for (const [number, names] of rights) parts.push(`${names.join(", ")}: ${counted(number, "console")}`);
  const ends = time(identity.ends);
  if (ends) parts.push(`login ends ${long(ends)} if nothing is done`);
  byId("about", HTMLParagraphElement).textContent = parts.join(" \u00b7 ");
}

// Settings.

const form = byId("settings", HTMLFormElement);

/** @param {import("./settings.js").Settings} settings */
function drawSettings(settings) {
  for (const [name, value] of Object.entries(settings)) {
    const field = form.elements.namedItem(name);
    if (field instanceof RadioNodeList) field.value = String(value);
    else if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = Boolean(value);
    else if (field instanceof HTMLInputElement) field.value = String(value);
  }
}

form.addEventListener("change", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  if (!field.reportValidity()) return;
  const value = { checkbox: field.checked, number: Number(field.value) }[field.type] ?? field.value;
  drawSettings(save({ [field.name]: value }));
});
form.addEventListener("submit", (event) => event.preventDefault());

// Sessions.

async function drawSessions() {
  const body = byId("sessions", HTMLTableSectionElement);
  const rows = [];
  for await (const items of pages("sessions", { limit: SESSIONS_LIMIT })) {
    for (const session of items) rows.push(sessionRow(/** @type {any} */ (session)));
    if (rows.length >= SESSIONS_LIMIT) break;
  }
  fill(body, ...(rows.length ? rows : [noneRow("Nobody is on a console.", 7)]));
}

/** @param {any} session as the API has it */
function sessionRow(session) {
  const console = session.console
    ? h("a", { href: `/c/${encodeURIComponent(consoleId(session))}` }, session.console)
    : h("span", { class: "muted" }, "none");
  const end = h("button", { type: "button", onclick: () => void endSession(session) }, "End\u2026");
  return h(
    "tr",
    {},
    h("td", {}, session.who),
    h("td", {}, session.front ?? ""),
    h("td", {}, console),
    h("td", {}, session.mode ?? ""),
    h("td", { title: long(time(session.since)) }, short(time(session.since))),
    h("td", {}, session.idle === null || session.idle === undefined ? "" : span(session.idle)),
    h("td", { class: "number" }, session.id && end),
  );
}

/** @param {any} session */
async function endSession(session) {
  const reason = await confirmed({
    title: `End the session of ${session.who}${session.console ? ` on ${session.console}` : ""}?`,
    button: "End it",
    field: { label: "Reason, told to them", maxlength: 200 },
  });
  if (reason === null) return;
  await told(async () => {
    await ask(`sessions/${encodeURIComponent(session.id)}`, { method: "DELETE", query: { reason } });
    await drawSessions();
  });
}

// Tokens.

async function drawTokens() {
  const rows = [];
  for await (const items of pages("tokens")) for (const token of items) rows.push(tokenRow(/** @type {any} */ (token)));
  fill(byId("tokens", HTMLTableSectionElement), ...(rows.length ? rows : [noneRow("There is no token.", 5)]));
}

/** @param {any} token */
function tokenRow(token) {
  const expires = time(token.expires);
  const past = expires !== null && expires.getTime() < Date.now();
  return h(
    "tr",
    {},
    h("td", {}, token.name),
    h("td", {}, token.scope),
    h("td", {}, token.on?.length && token.on[0] !== "*" ? token.on.join(" ") : h("span", { class: "muted" }, "all")),
    h("td", { title: long(expires) }, past ? h("span", { class: "tag bad" }, "expired") : long(expires).slice(0, 16)),
    h("td", { class: "number" }, h("button", { type: "button", onclick: () => void revoke(token) }, "Revoke\u2026")),
  );
}

/** @param {any} token */
async function revoke(token) {
  const text = "Scripts that use it are refused from now on.";
  if ((await confirmed({ title: `Revoke the token ${token.name}?`, text, button: "Revoke it" })) === null) return;
  await told(async () => {
    await ask(`tokens/${encodeURIComponent(token.id)}`, { method: "DELETE" });
    await drawTokens();
  });
}

const tokenForm = byId("token", HTMLFormElement);

tokenForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(tokenForm);
  const error = byId("token-error", HTMLParagraphElement);
  fill(error);
  const on = String(fields.get("on")).split(/[\s,]+/).filter(Boolean);
  const wanted = { name: fields.get("name"), scope: fields.get("scope"), expires: fields.get("expires"), on };
  try {
    const made = await json("tokens", { json: wanted });
    tokenForm.reset();
    /** @type {HTMLDetailsElement} */ (tokenForm.closest("details")).open = false;
    drawFresh(String(made.token));
    await drawTokens();
  } catch (refused) {
    fill(error, wrong(refused));
  }
});

/** @param {string} token */
function drawFresh(token) {
  const text = h("input", { class: "mono", readonly: true, value: token, "aria-label": "The new token", onfocus: () => text.select() });
  const copy = h("button", { type: "button", class: "primary" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(token).then(
      () => (copy.textContent = "Copied"),
      () => text.select(),
    );
  });
  fill(
    byId("fresh", HTMLDivElement),
    h(
      "div",
      { class: "fresh" },
      h("p", {}, h("strong", {}, "This is shown once. "), "Whoever has it may what it may: keep it like a password."),
      h("div", { class: "bar" }, text, copy, h("button", { type: "button", onclick: () => fill(byId("fresh", HTMLDivElement)) }, "Done")),
    ),
  );
  text.focus();
}

// What they share.

/**
 * @param {string} text
 * @param {number} columns
 */
function noneRow(text, columns) {
  return h("tr", {}, h("td", { colspan: columns, class: "muted" }, text));
}

/** @param {() => Promise<void>} run */
async function told(run) {
  try {
    await run();
  } catch (error) {
    notice(wrong(error), { kind: "bad" });
  }
}

start();
drawSettings(load());
onChange(drawSettings);
onIdentity(drawIdentity);
void told(drawSessions);
void told(drawTokens);
