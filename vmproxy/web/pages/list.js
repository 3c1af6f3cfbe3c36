// The list of consoles: filter as one types, rows as they scroll into view, live.

import { Problem, json } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { forget, newRow, paint } from "./list-row.js";
import { Live } from "./live.js";
import { fromAddress, toAddress, toQuery } from "./query.js";
import { Loaded, PAGE, inView } from "./rows.js";
import { notice, onIdentity, showAlerts, start } from "./shell.js";
import { STATES, count, counted, stateWord, wrong } from "./words.js";

/** @typedef {import("./list-row.js").Row} Row */

const CHOSEN_LIMIT = 16;
const TYPING_MS = 80;
const REFRESH_MS = 2000;
const FIELDS = "id,name,port,state,since,reason,host,writers,viewer_count,last_output,last_line,log_problem,logging,alerts";
const KEYS = [
  ["/", "type a filter"],
  ["\u2191 \u2193 PgUp PgDn Home End", "move"],
  ["Enter", "open; with Ctrl in a new tab"],
  ["Space", "choose for the wall"],
  ["w", "open what is chosen on the wall"],
  ["Esc", "leave the filter, and empty it"],
];

const grid = byId("grid", HTMLDivElement);
const body = byId("rows", HTMLDivElement);
const head = /** @type {HTMLElement} */ (grid.querySelector(".grid-head"));
const filter = byId("filter", HTMLInputElement);
const wall = byId("wall", HTMLButtonElement);
const empty = byId("empty", HTMLParagraphElement);

let view = fromAddress(location.search);
/** @type {Loaded<Row>} */
let loaded = new Loaded(part);
let active = 0;
let known = -1;
let live = /** @type {Live|null} */ (null);
/** @type {Map<string, string>} id and name */
const chosen = new Map();
/** @type {Map<number, HTMLElement>} */
const drawn = new Map();

/**
 * @param {string|null} after
 * @param {number} limit
 * @param {AbortSignal} signal
 */
function part(after, limit, signal) {
  return json("consoles", { query: { ...toQuery(view), fields: FIELDS, limit, after }, signal });
}

// Loading.

/** @type {Loaded<Row>|null} what takes the place of the list that is shown, as soon as it has what is in view */
let coming = null;
/** How many consoles there were when the list was asked for. */
let knownThen = -1;

/** Ask for the list anew: what is shown stays until the answer is there. */
async function reload() {
  coming?.abandon();
  coming = new Loaded(part);
  knownThen = known;
  await load(coming, Math.max(PAGE, wanted()));
}

/**
 * @param {Loaded<Row>} list
 * @param {number} many
 */
async function load(list, many) {
  try {
    await list.load(many, () => {
      if (list === coming && (list.complete || list.items.length >= many)) {
        loaded.abandon();
        loaded = list;
        coming = null;
        checkTotal();
      }
      if (list === loaded) draw();
    });
  } catch (error) {
    if ((list !== loaded && list !== coming) || (error instanceof DOMException && error.name === "AbortError")) return;
    if (error instanceof Problem && error.status === 400 && list.items.length) {
      void reload(); // the server keeps lists for a while only
      return;
    }
    notice(wrong(error), { kind: "bad", key: "list", action: { label: "Try again", run: () => void reload() } });
  }
}

/** How many rows must be loaded for what is in view. */
function wanted() {
  return inView(grid.scrollTop, grid.clientHeight, rowHeight(), loaded.total || PAGE)[1];
}

// Drawing.

let height = 0;

function rowHeight() {
  height ||= parseFloat(getComputedStyle(document.documentElement).fontSize) * parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  return height;
}

let asked = false;

function drawSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

function draw() {
  const row = rowHeight();
  active = Math.max(0, Math.min(active, loaded.total - 1));
  body.style.height = `${loaded.total * row}px`;
  grid.setAttribute("aria-rowcount", String(loaded.total + 1));
  const [first, last] = inView(grid.scrollTop, grid.clientHeight - head.offsetHeight, row, loaded.total);
  for (const [index, element] of drawn) {
    if (index < first || index >= last) {
      element.remove();
      drawn.delete(index);
    }
  }
  for (let index = first; index < last; index += 1) {
    let element = drawn.get(index);
    if (element === undefined) {
      element = newRow(index);
      drawn.set(index, element);
      body.append(element);
    }
    element.style.transform = `translateY(${index * row}px)`;
    element.classList.toggle("active", index === active);
    paint(element, loaded.items[index], chosen.has(loaded.items[index]?.id));
  }
  if (loaded.total) grid.setAttribute("aria-activedescendant", `row-${active}`);
  else grid.removeAttribute("aria-activedescendant");
  if (last > loaded.items.length && !loaded.complete) void load(loaded, last);
  const ids = [];
  for (let index = first; index < last && index < loaded.items.length; index += 1) ids.push(loaded.items[index].id);
  live?.watch(ids);
  drawEmpty();
  const total = loaded.items.length || loaded.complete ? counted(loaded.total, "console") : "";
  byId("found", HTMLSpanElement).textContent = view.filter || view.states.length ? total : "";
}

function drawEmpty() {
  empty.hidden = !(loaded.complete && loaded.total === 0);
  if (empty.hidden) return;
  if (view.filter || view.states.length) fill(empty, "No console is like that. ", h("button", { type: "button", onclick: clear }, "Show all"));
  else fill(empty, "There is no console yet. A console appears here as soon as the host of its VM connects.");
}

function clear() {
  filter.value = "";
  look({ filter: "", states: [] });
  filter.focus();
}

/** @param {Record<string, number>} counts */
function drawStates(counts) {
  for (const state of STATES) {
    const number = stateButtons.get(state)?.querySelector("b");
    if (number) number.textContent = count(counts[state] ?? 0);
  }
  known = STATES.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  const number = allButton.querySelector("b");
  if (number) number.textContent = count(known);
  checkTotal();
}

/** Consoles may have come or gone since the list was asked for: then it is asked for again, once for each number. */
function checkTotal() {
  const all = !view.filter && !view.states.length;
  const there = all && loaded.items.length ? loaded.total : knownThen;
  if (known !== knownThen && known !== there && there >= 0) refreshLater();
}

/** @type {ReturnType<typeof setTimeout>|undefined} */
let refresh;

function refreshLater() {
  refresh ??= setTimeout(() => {
    refresh = undefined;
    void reload();
  }, REFRESH_MS);
}

// What is shown.

/** @param {Partial<import("./query.js").View>} change */
function look(change) {
  view = { ...view, ...change };
  history.replaceState(null, "", toAddress(view));
  grid.scrollTop = 0;
  active = 0;
  drawView();
  void reload();
}

function drawView() {
  for (const [state, button] of stateButtons) button.setAttribute("aria-pressed", String(view.states.includes(state)));
  allButton.setAttribute("aria-pressed", String(view.states.length === 0));
  for (const button of grid.querySelectorAll("[data-sort]")) {
    const on = button.getAttribute("data-sort") === view.sort;
    const order = view.sort === "name" ? "ascending" : "descending";
    button.parentElement?.setAttribute("aria-sort", on ? order : "none");
  }
}

const allButton = h("button", { type: "button", onclick: () => look({ states: [] }) }, "all ", h("b", {}));
/** @type {Map<string, HTMLButtonElement>} */
const stateButtons = new Map(
  STATES.map((state) => [
    state,
    h("button", { type: "button", onclick: () => toggleState(state) }, h("i", { class: `dot ${state}`, "aria-hidden": "true" }), `${stateWord(state)} `, h("b", {})),
  ]),
);

/** @param {string} state */
function toggleState(state) {
  const states = view.states.includes(state) ? view.states.filter((one) => one !== state) : [...view.states, state];
  look({ states: states.length === STATES.length ? [] : states });
}

/** @type {ReturnType<typeof setTimeout>|undefined} */
let typing;

filter.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => look({ filter: filter.value }), TYPING_MS);
});

filter.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") {
    event.preventDefault();
    grid.focus();
  } else if (event.key === "Enter") open(active, event.ctrlKey || event.metaKey);
  else if (event.key === "Escape") {
    event.preventDefault();
    if (filter.value) {
      filter.value = "";
      look({ filter: "" });
    } else grid.focus();
  }
});

// Rows.

/**
 * @param {number} index
 * @param {boolean} apart in a tab of its own
 */
function open(index, apart) {
  const row = loaded.items[index];
  if (row === undefined) return;
  const path = `/c/${encodeURIComponent(row.id)}`;
  if (apart) window.open(path, "_blank", "noopener");
  else location.assign(path);
}

/** @param {number} index */
function choose(index) {
  const row = loaded.items[index];
  if (row === undefined) return;
  if (chosen.has(row.id)) chosen.delete(row.id);
  else if (chosen.size < CHOSEN_LIMIT) chosen.set(row.id, row.name);
  else notice(`The wall has ${CHOSEN_LIMIT} consoles at most.`, { key: "wall" });
  wall.disabled = chosen.size === 0;
  wall.textContent = chosen.size ? `Wall of ${chosen.size}` : "Wall";
  wall.title = [...chosen.values()].join(", ");
  draw();
}

function openWall() {
  if (chosen.size) location.assign(`/wall?c=${[...chosen.keys()].join(",")}`);
}

/** @param {number} index */
function move(index) {
  active = Math.max(0, Math.min(index, loaded.total - 1));
  const row = rowHeight();
  const top = active * row;
  const page = grid.clientHeight - head.offsetHeight;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + row > grid.scrollTop + page) grid.scrollTop = top + row - page;
  draw();
}

grid.addEventListener("scroll", drawSoon, { passive: true });
grid.addEventListener("keydown", (event) => {
  if (event.target !== grid) return;
  const page = Math.max(1, Math.floor((grid.clientHeight - head.offsetHeight) / rowHeight()) - 1);
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowDown: () => move(active + 1),
    ArrowUp: () => move(active - 1),
    PageDown: () => move(active + page),
    PageUp: () => move(active - page),
    Home: () => move(0),
    End: () => move(loaded.total - 1),
    Enter: () => open(active, event.ctrlKey || event.metaKey),
    " ": () => choose(active),
  };
  const run = keys[event.key];
  if (run === undefined || event.altKey) return;
  event.preventDefault();
  run();
});
grid.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const sort = target.closest("[data-sort]")?.getAttribute("data-sort");
  if (sort) look({ sort: /** @type {typeof view.sort} */ (sort) });
  const element = target.closest(".grid-body .row");
  if (element === null) return;
  const index = Number(element.getAttribute("data-index"));
  active = index;
  if (target.closest(".c-choice")) {
    if (target instanceof HTMLInputElement) target.checked = !target.checked; // it is painted from what is chosen
    forget(/** @type {HTMLElement} */ (element));
    choose(index);
    grid.focus({ preventScroll: true });
  } else if (!target.closest("a") && !getSelection()?.toString()) open(index, event.ctrlKey || event.metaKey);
});

document.addEventListener("keydown", (event) => {
  const target = /** @type {Element} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, dialog")) return;
  if (event.key === "/") {
    event.preventDefault();
    filter.select();
    filter.focus();
  } else if (event.key === "w") openWall();
  else if (event.key === "?") showKeys();
});

function showKeys() {
  const dialog = h(
    "dialog",
    { "aria-labelledby": "keys-title", onclose: () => dialog.remove() },
    h("h2", { id: "keys-title" }, "Keys of the list"),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [h("dt", {}, ...key.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, what)])),
    h("form", { method: "dialog" }, h("div", { class: "buttons" }, h("button", {}, "Close"))),
  );
  document.body.append(dialog);
  dialog.showModal();
}

byId("keys", HTMLButtonElement).addEventListener("click", showKeys);
wall.addEventListener("click", openWall);
addEventListener("resize", () => {
  height = 0;
  drawSoon();
});
addEventListener("popstate", () => {
  view = fromAddress(location.search);
  filter.value = view.filter;
  drawView();
  void reload();
});

// The start.

start();
fill(byId("states", HTMLDivElement), allButton, ...stateButtons.values());
filter.value = view.filter;
drawView();
void reload();
onIdentity(() => {
  live ??= new Live({
    rows: (rows) => {
      if (loaded.update(rows).length) drawSoon();
    },
    counts: drawStates,
    alerts: (message) => showAlerts(message.open ?? 0),
    connected: (on) => {
      byId("lost", HTMLSpanElement).hidden = on;
    },
  });
});
