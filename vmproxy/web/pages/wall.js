// The wall: up to sixteen consoles side by side, read-only; one at a time has the keyboard.

import { json } from "./api.js";
import { penWords, statusWords } from "./actions.js";
import { byId, fill, h } from "./dom.js";
import { ConsoleSession, follow } from "./session.js";
import { notice, start } from "./shell.js";
import { load } from "./terminal.js";
import { stateWord, wrong } from "./words.js";

const MOST = 16;
const LINES = 50;
const SCROLLBACK = 1000;
/** How wide a character is, of its height. */
const CHARACTER = 0.602;
const FONT = { least: 5, most: 16 };

/** @type {readonly (readonly [string, string])[]} */
const KEYS = [
  ["F6", "From a terminal to the name above it, and back to the one that has the keyboard"],
  ["Tab", "To the next name, button or terminal, from outside a terminal"],
  ["Enter", "On a name: its page; on \u201cType here\u201d: the keyboard is there"],
  ["?", "This list (outside a terminal)"],
];

start();

const parts = {
  wall: byId("wall", HTMLDivElement),
  add: byId("wall-add", HTMLFormElement),
  empty: byId("wall-empty", HTMLParagraphElement),
  said: byId("wall-said", HTMLSpanElement),
};

/** @type {Tile[]} */
let tiles = [];
/** @type {Tile|null} who has the keyboard */
let typing = null;
const modules = await load();

/** @param {string} text */
function say(text) {
  parts.said.textContent = text;
}

class Tile {
  /** @param {string} console its id, or a name */
  constructor(console) {
    this.console = console;
    this.said = false;
    this.session = new ConsoleSession(
      console,
      { mode: "spy", replay: LINES, scrollback: SCROLLBACK },
      {
        changed: () => this.render(),
        say: (text) => say(`${this.name}: ${text}`),
        output: () => this.mark(true),
        leave: () => this.link.focus(),
        again: () => typing === this && this.session.terminal?.focus(),
      },
    );
    this.link = h("a", { class: "name", href: `/c/${encodeURIComponent(console)}` }, console);
    this.state = h("span", { class: "muted" });
    this.news = h("span", { class: "tag news", hidden: true }, "new");
    this.keyboard = h("button", { type: "button", onclick: () => void this.toggle() }, "Type here");
    const close = h("button", { type: "button", class: "quiet", "aria-label": `Take ${console} off the wall`, onclick: () => remove(this) }, "\u00d7");
    this.host = h("div", { class: "terminal-host" });
    this.element = h("section", { class: "tile", "aria-label": console }, h("header", { class: "bar" }, this.link, this.news, this.state, h("span", { class: "push" }), this.keyboard, close), this.host);
    for (const looked of ["pointerenter", "focusin"]) this.element.addEventListener(looked, () => this.mark(false));
  }

  get name() {
    return this.session.info?.name ?? this.console;
  }

  begin() {
    this.session.start(modules, this.host);
    follow(this.session.socket);
    this.scale();
    if (modules === null) fill(this.host, h("p", {}, "The terminal is not installed on this server."));
  }

  /** @param {boolean} said */
  mark(said) {
    if (said && (this.element.matches(":hover") || this.element.contains(document.activeElement))) return;
    this.said = said && this.session.attached;
    this.news.hidden = !this.said;
    this.element.classList.toggle("said", this.said);
  }

  render() {
    const { info, socket } = this.session;
    const { writers } = this.session.situation;
    const words = statusWords(socket.status, Date.now(), this.session.attached);
    const writes = socket.live && socket.pen === "write";
    this.link.textContent = this.name;
    if (words !== null) fill(this.state, words.title);
    else fill(this.state, info && h("span", { class: `dot ${info.state}` }), ` ${info && info.state !== "up" ? `${stateWord(info.state)}, ` : ""}${penWords(socket.pen, writers)}`);
    this.element.classList.toggle("away", words !== null);
    this.element.classList.toggle("writes", writes);
    this.keyboard.textContent = writes ? "Stop typing" : words?.button || "Type here";
    if (typing === this && !writes && socket.live && socket.pen === "spy") typing = null;
  }

  /** Take the keyboard from the other, or give it up. */
  async toggle() {
    const { socket } = this.session;
    if (!socket.live) {
      await this.session.again();
      return;
    }
    try {
      if (socket.pen === "write") {
        typing = null;
        await socket.request("drop");
        return;
      }
      const before = typing;
      typing = this;
      if (before !== null && before !== this && before.session.socket.live) await before.session.socket.request("drop");
      await socket.request("take");
      this.session.terminal?.focus();
    } catch (error) {
      if (typing === this) typing = null;
      notice(`${this.name}: ${wrong(error)}`, {
        kind: "bad",
        key: this.console,
        action: { label: "Open the console", run: () => location.assign(this.link.href) },
      });
    }
  }

  /** Letters as large as eighty of them have room. */
  scale() {
    const terminal = this.session.terminal?.terminal;
    if (!terminal) return;
    const room = this.element.clientWidth - 30;
    const size = Math.floor((10 * room) / (80 * CHARACTER)) / 10;
    terminal.options.fontSize = Math.min(FONT.most, Math.max(FONT.least, size));
  }
}

/** @param {string} console */
function add(console) {
  if (tiles.length >= MOST) {
    say(`A wall has ${MOST} consoles at most.`);
    return;
  }
  if (tiles.some((tile) => tile.console === console)) return;
  const tile = new Tile(console);
  tiles.push(tile);
  parts.wall.append(tile.element);
  arrange();
  tile.begin();
}

/** @param {Tile} tile */
function remove(tile) {
  if (typing === tile) typing = null;
  tile.session.stop();
  tile.element.remove();
  tiles = tiles.filter((one) => one !== tile);
  arrange();
}

/** The address has what is on the wall. */
function arrange() {
  const url = new URL(location.href);
  url.searchParams.delete("c");
  for (const { console } of tiles) url.searchParams.append("c", console);
  history.replaceState(null, "", url);
  parts.wall.dataset.columns = String(Math.ceil(Math.sqrt(tiles.length)));
  parts.empty.hidden = tiles.length > 0;
  parts.empty.textContent = "Nothing is on the wall yet. Add consoles by name here, or choose them in the list.";
  for (const tile of tiles) tile.scale();
}

function adding() {
  const names = h("datalist", { id: "wall-names" });
  const input = h("input", { type: "search", "aria-label": "Console to add", placeholder: "Add a console", list: "wall-names", autocomplete: "off" });
  let asked = "";
  input.addEventListener("input", async () => {
    asked = input.value;
    try {
      const { items } = await json("consoles", { query: { q: asked, limit: 10, fields: "id,name,alias" }, quiet: true });
      if (asked === input.value) fill(names, ...items.map((/** @type {any} */ one) => h("option", { value: one.alias ?? one.name })));
    } catch {
      // It can be typed whole.
    }
  });
  parts.add.append(input, names, h("button", { type: "submit" }, "Add"));
  parts.add.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) add(input.value.trim());
    input.value = "";
  });
}

const asked = new URLSearchParams(location.search).getAll("c").flatMap((value) => value.split(","));
adding();
arrange();
for (const one of asked) if (one) add(one);
new ResizeObserver(() => {
  for (const tile of tiles) tile.scale();
}).observe(parts.wall);
addEventListener("keydown", (event) => {
  if (event.key === "F6") {
    event.preventDefault();
    (typing ?? tiles[0])?.session.terminal?.focus();
  } else if (event.key === "?" && !(event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) && !document.querySelector("dialog[open]")) {
    void import("./dialogs.js").then(({ showKeys }) => showKeys(KEYS));
  }
});
addEventListener("beforeunload", (event) => {
  if (tiles.some(({ session }) => session.atWork)) event.preventDefault();
});
