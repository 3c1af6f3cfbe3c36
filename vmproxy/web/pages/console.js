// The page of a console: terminal and bar.

import { address, ask, consolePath, json } from "./api.js";
import { statusWords } from "./actions.js";
import { Bar, eventLine, facts, people, viewerLine } from "./bar.js";
import { byId, fill, h } from "./dom.js";
import { KEPT_KEYS, copy } from "./keys.js";
import { ConsoleSession, follow } from "./session.js";
import { load as settings, onChange, save } from "./settings.js";
import { confirmed, notice, start } from "./shell.js";
import { SIZES, load } from "./terminal.js";
import { count, wrong } from "./words.js";

const REPLAY_LINES = 500;
const EVENTS = 50;
const NARROW = matchMedia("(max-width: 45rem)");

start({ needsLogin: true });

const query = new URLSearchParams(location.search);
const wanted = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const parts = {
  name: byId("console-name", HTMLHeadingElement),
  state: byId("console-state", HTMLSpanElement),
  pen: byId("console-pen", HTMLSpanElement),
  tools: byId("console-tools", HTMLDivElement),
  find: byId("console-find", HTMLFormElement),
  stage: byId("stage", HTMLDivElement),
  screen: byId("screen", HTMLDivElement),
  people: byId("people", HTMLUListElement),
  events: byId("events", HTMLOListElement),
  host: byId("terminal", HTMLDivElement),
  veil: byId("veil", HTMLDivElement),
  said: byId("console-said", HTMLParagraphElement),
  touch: byId("touch", HTMLFormElement),
};

let size = query.get("size") ?? (NARROW.matches ? "fit" : "80x24");
parts.name.textContent = wanted;
document.title = `${wanted} - vmproxy`;

const session = new ConsoleSession(
  wanted,
  { mode: query.get("mode") === "spy" ? "spy" : "write", replay: REPLAY_LINES },
  { changed: render, say, happened, leave: () => bar.focus(), again: () => session.terminal?.focus() },
);
const bar = new Bar(parts.tools, () => session.situation, say);

/** What is not needed at first is loaded when it is. */
function dialogs() {
  return import("./dialogs.js");
}

/**
 * @param {string} text
 * @param {boolean} [lasting]
 */
function say(text, lasting = false) {
  parts.said.textContent = text;
  if (lasting) notice(text, { seconds: 0, key: text });
}

/**
 * A notice goes into the list beside the terminal.
 * @param {string} text
 */
function happened(text) {
  parts.events.prepend(eventLine(text));
  while (parts.events.children.length > EVENTS) parts.events.lastElementChild?.remove();
}

/** The one place where what is known meets the page. */
function render() {
  const { info, socket } = session;
  if (info) {
    parts.name.textContent = info.name;
    document.title = `${info.name} - vmproxy`;
    fill(parts.state, ...facts(info));
    const rest = info.viewer_count - info.viewers.length;
    fill(parts.people, ...info.viewers.map(viewerLine), ...(rest > 0 ? [h("li", { class: "muted" }, `and ${count(rest)} more`)] : []));
  }
  fill(parts.pen, ...people(session.situation));
  if (session.held) say(`The VM takes no keys for the time being; ${socket.waiting} bytes wait.`);
  bar.render();
  veil();
}

/** Over the screen: why nothing comes. */
function veil() {
  const { status } = session.socket;
  const words = statusWords(status, Date.now(), session.attached);
  parts.screen.classList.toggle("away", words !== null);
  parts.veil.hidden = words === null;
  if (words === null) return;
  const known = parts.veil.dataset.title === words.title && parts.veil.dataset.button === words.button;
  const text = h("p", {}, words.text);
  if (known) parts.veil.querySelector("p")?.replaceWith(text);
  else {
    parts.veil.dataset.title = words.title;
    parts.veil.dataset.button = words.button;
    fill(parts.veil, h("h2", {}, words.title), text, words.button && h("button", { type: "button", onclick: () => void session.again() }, words.button));
  }
}

/**
 * Ask the server for something, and say what comes of it.
 * @param {string} type
 * @param {Record<string, unknown>} [fields]
 * @param {string} [done]
 */
async function request(type, fields = {}, done = "") {
  // At once: who types on after a button does not wait for the answer.
  session.terminal?.focus();
  try {
    await session.socket.request(type, fields);
    if (done) say(done);
    return "";
  } catch (error) {
    const kind = /** @type {{kind?: string}} */ (error).kind ?? "";
    if (kind !== "reason-needed") notice(wrong(error), { kind: "bad" });
    return kind || "failed";
  }
}

async function force() {
  const others = session.situation.writers.join(", ");
  const reason = await confirmed({
    title: `Take over from ${others}?`,
    text: "They are read-only from then on, and are told who did it.",
    button: "Take over",
    field: { label: session.hello.force_reason ? "Reason" : "Reason, if you like", required: Boolean(session.hello.force_reason) },
  });
  if (reason === null) return;
  if ((await request("force", { reason })) !== "reason-needed") return;
  const needed = await confirmed({ title: "A reason is needed here", button: "Take over", field: { label: "Reason", required: true } });
  if (needed !== null) await request("force", { reason: needed });
}

/**
 * @param {"message"|"note"} type
 * @param {string} title
 * @param {string} label
 * @param {string} button
 */
async function write(type, title, label, button) {
  const text = await confirmed({ title, button, field: { label, required: true } });
  if (text) await request(type, { text }, type === "note" ? "The note is in the event trail." : "The others have the message.");
}

/** Who else is here, each to be disconnected by those who may. */
async function disconnect() {
  const { info } = session;
  if (info === null) return;
  try {
    const { items } = await json("sessions", { query: { limit: 1000 } });
    const here = items.filter((/** @type {any} */ one) => one.uuid === info.uuid && String(one.port) === String(info.port));
    const list = here.map((/** @type {any} */ one) =>
      h("li", {}, h("span", {}, `${one.who}, ${one.mode}`), h("button", { type: "button", onclick: () => (box.close(), void sendOff(one)) }, "Disconnect")),
    );
    const box = h("dialog", { "aria-label": "Who is here" }, h("h2", {}, "Disconnect"), h("ul", { class: "people" }, ...list), h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => box.close() }, "Close")));
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
  } catch (error) {
    notice(wrong(error), { kind: "bad" });
  }
}

/** @param {{id: string, who: string}} one */
async function sendOff(one) {
  const reason = await confirmed({ title: `Disconnect ${one.who}?`, button: "Disconnect", field: { label: "Reason, which they are told" } });
  if (reason === null) return;
  try {
    await json(`sessions/${encodeURIComponent(one.id)}`, { method: "DELETE", query: { reason } });
    say(`${one.who} is disconnected.`);
  } catch (error) {
    notice(wrong(error), { kind: "bad" });
  }
}

async function lastLines() {
  try {
    const response = await ask(consolePath(wanted, "log"), { query: { lines: 200, format: "text" } });
    (await dialogs()).showText("The last 200 lines of the log", await response.text());
  } catch (error) {
    notice(wrong(error), { kind: "bad" });
  }
}

async function pasteButton() {
  try {
    session.paste(await navigator.clipboard.readText());
  } catch {
    (await dialogs()).askPaste((text) => session.paste(text));
  }
}

async function download() {
  const { showDownload } = await dialogs();
  showDownload(session.info?.alias ?? "console", (what, parameters) => address(consolePath(wanted, what), parameters));
}

async function keys() {
  const { CONSOLE_KEYS, showKeys } = await dialogs();
  showKeys(CONSOLE_KEYS);
}

function sshCommand() {
  const { info } = session;
  const name = info?.alias || info?.name || wanted;
  const port = session.hello.ssh_port ? `-p ${session.hello.ssh_port} ` : "";
  return `ssh ${port}${/^[\w.~-]+$/.test(name) ? name : (info?.uuid ?? name)}@${location.hostname}`;
}

/** @param {string} wish */
function resize(wish) {
  size = wish;
  parts.stage.classList.toggle("fit", size === "fit");
  session.terminal?.resize(size);
}

async function fullScreen() {
  try {
    await parts.screen.requestFullscreen();
  } catch {
    say("This browser has no full screen for pages.");
    return;
  }
  const { keyboard } = /** @type {{keyboard?: {lock: (keys: string[]) => Promise<void>}}} */ (/** @type {unknown} */ (navigator));
  await keyboard?.lock(["KeyW", "KeyT", "KeyN", "KeyQ"]).catch(() => {});
  session.terminal?.focus();
}

function tools() {
  const { socket } = session;
  const writes = () => socket.pen === "write";
  bar.group([
    { label: () => (session.situation.writers.length > 0 ? "Wait for write access" : "Take write access"), action: "take", shown: () => socket.pen === "spy", run: () => void request("take") },
    { label: "Give up write access", action: "drop", shown: writes, run: () => void request("drop") },
    { label: "Do not wait", action: "drop", shown: () => socket.pen === "waits", run: () => void request("drop") },
    { label: "Take over\u2026", action: "force", shown: () => !writes(), run: () => void force() },
    { label: "Write too", action: "join", shown: () => !writes() && session.situation.shared, run: () => void request("join") },
  ]);
  bar.menu("Send", () => [
    { label: "Break", action: "break", run: () => void request("break", {}, "The break is sent.") },
    ...(session.info?.sequences ?? []).map((name) => ({
      label: name, action: /** @type {const} */ ("sequence"), run: () => void request("sequence", { name }, `${name} is sent.`),
    })),
    { label: "Paste\u2026", action: "paste", run: () => void pasteButton() },
    ...KEPT_KEYS.map(([label, text]) => ({ label, action: /** @type {const} */ ("keys"), run: () => press(text), hint: "Your browser keeps this key for itself" })),
    { label: "F6", action: "keys", run: () => press("\x1b[17~") },
    { label: "Size of the terminal\u2026", action: "stty", run: () => void stty() },
  ]);
  bar.menu("People", () => [
    { label: "Message\u2026", action: "message", run: () => void write("message", "Message to the others here", "Text", "Send") },
    { label: "Disconnect\u2026", action: "disconnect", run: () => void disconnect() },
  ]);
  bar.menu("Log", () => [
    { label: "Last lines", run: () => void lastLines() },
    { label: "Play back", run: () => location.assign(`/c/${encodeURIComponent(wanted)}/play`) },
    { label: "Search\u2026", run: () => location.assign(`/search?on=${encodeURIComponent(`uuid:${session.info?.uuid ?? wanted}`)}`) },
    { label: "Download\u2026", run: () => void download() },
    { label: "Note\u2026", action: "note", run: () => void write("note", "Note into the event trail", "Text", "Write") },
  ]);
  bar.menu("More", () => [
    { label: "Copy the SSH command", run: () => void copy(sshCommand(), say), hint: sshCommand() },
    { label: "Find on the screen", run: find },
    { label: "Full screen", run: () => void fullScreen() },
    { label: "Larger text", run: () => font(1) },
    { label: "Smaller text", run: () => font(-1) },
    { label: "Keys", run: () => void keys() },
  ]);
  const sizes = h("select", { class: "sizes", "aria-label": "Size of the terminal", onchange: () => resize(sizes.value) });
  for (const one of [...SIZES, "fit"]) sizes.append(h("option", { value: one, selected: one === size }, one === "fit" ? "Fit" : one.replace("x", "\u00d7")));
  parts.tools.append(h("div", { class: "group push" }, sizes));
}

/** @param {number} step */
function font(step) {
  const next = save({ fontSize: Math.min(32, Math.max(8, settings().fontSize + step)) });
  session.terminal?.configure(next);
  if (size === "fit") resize(size);
}

async function stty() {
  const { terminal } = session;
  if (terminal !== null) (await dialogs()).showStty(terminal.terminal.cols, terminal.terminal.rows, type);
}

/** @param {string} text */
function type(text) {
  const arrow = /^\x1b\[([A-D])$/.exec(text);
  session.type(arrow && session.terminal?.terminal.modes.applicationCursorKeysMode ? `\x1bO${arrow[1]}` : text);
}

/** Type a key of a button, and go on at the terminal. @param {string} text */
function press(text) {
  session.terminal?.focus();
  type(text);
}

/** Find what has scrolled by. */
function find() {
  const { terminal } = session;
  if (terminal === null) return;
  if (!parts.find.hidden) {
    parts.find.querySelector("input")?.focus();
    return;
  }
  const search = terminal.search();
  const options = { decorations: { matchBackground: "#5a4a12", activeMatchBackground: "#a8760c", matchOverviewRuler: "#f0b429", activeMatchColorOverviewRuler: "#ffffff" } };
  const results = search.then((addon) =>
    addon.onDidChangeResults(({ resultIndex, resultCount }) => {
      found.textContent = resultCount ? `${resultIndex + 1} of ${resultCount}` : input.value && "not found";
    }),
  );
  /** @param {"findPrevious"|"findNext"} way */
  const go = async (way) => void (await search)[way](input.value, options);
  const close = async () => {
    parts.find.hidden = true;
    terminal.focus();
    (await search).clearDecorations();
    (await results).dispose();
  };
  const input = h("input", { type: "search", "aria-label": "Find on the screen", placeholder: "Find on the screen" });
  const found = h("span", { class: "muted", role: "status" });
  input.addEventListener("input", () => void go("findPrevious"));
  parts.find.onsubmit = (event) => {
    event.preventDefault();
    void go("findPrevious");
  };
  parts.find.onkeydown = (event) => {
    if (event.key === "Escape") void close();
  };
  fill(
    parts.find,
    input,
    h("button", { type: "submit" }, "Before"),
    h("button", { type: "button", onclick: () => void go("findNext") }, "After"),
    h("button", { type: "button", onclick: () => location.assign(`/search?${new URLSearchParams({ on: `uuid:${session.info?.uuid ?? wanted}`, q: input.value })}`) }, "In the whole log"),
    found,
    h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => void close() }, "\u00d7"),
  );
  parts.find.hidden = false;
  input.focus();
}

/** What is shown where xterm.js is not installed. @param {string} text */
function withoutTerminal(text) {
  const area = h("pre", { class: "plain", tabindex: 0, "aria-label": "The log" }, text);
  fill(
    parts.host,
    h("p", {}, "The terminal is not installed on this server (its administrator can run \u201cmake web\u201d). This is the log, as text; to type, use ", h("code", {}, sshCommand()), "."),
    area,
  );
  area.scrollTop = area.scrollHeight;
}

async function plainLog() {
  /** @type {string|null} */
  let shown = null;
  for (;;) {
    try {
      const response = await fetch(address(consolePath(wanted, "log"), { lines: 500, format: "text" }), { credentials: "same-origin" });
      /** @type {string|null} */
      const text = response.ok ? await response.text() : shown;
      if (text !== null && text !== shown) withoutTerminal((shown = text));
    } catch {
      // The veil says what is wrong.
    }
    await new Promise((done) => setTimeout(done, 5000));
  }
}

addEventListener("keydown", (event) => {
  const { target } = event;
  const typing = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
  if (event.key === "F6") {
    event.preventDefault();
    session.terminal?.focus();
  } else if (typing || document.querySelector("dialog[open]")) return;
  else if (event.key === "?") void keys();
  else if (event.key === "f" && event.ctrlKey && !event.altKey) {
    event.preventDefault();
    find();
  }
});

addEventListener("beforeunload", (event) => {
  if (session.atWork) event.preventDefault();
});

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

new ResizeObserver(() => {
  if (size === "fit") session.terminal?.resize(size);
}).observe(parts.screen);

onChange((changed) => session.terminal?.configure(changed));
if (matchMedia("(max-width: 45rem), (pointer: coarse)").matches) void import("./touch.js").then(({ touchKeys }) => touchKeys(parts.touch, type));
tools();
const modules = await load();
parts.stage.classList.toggle("fit", size === "fit" || modules === null);
session.start(modules, parts.host, { size });
follow(session.socket);
session.terminal?.focus();
if (modules === null) void plainLog();
setInterval(render, 30_000);
