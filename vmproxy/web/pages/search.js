// Search in the logs: hits as they come; each leads to its place in the player.

import { consoleId, objects } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { start } from "./shell.js";
import { counted, long, time, wrong } from "./words.js";

const LIMIT = 500;

const form = byId("search", HTMLFormElement);
const hits = byId("hits", HTMLOListElement);
const state = byId("search-state", HTMLParagraphElement);
const stop = byId("stop", HTMLButtonElement);
const go = byId("go", HTMLButtonElement);

/** @type {AbortController|null} */
let running = null;

/** The query that the form has, with what is not said left out. */
function query() {
  const fields = new FormData(form);
  return {
    q: String(fields.get("q")),
    on: String(fields.get("on")).split(/[\s,]+/).filter(Boolean),
    since: String(fields.get("since")).trim(),
    ignore_case: fields.has("ignore_case"),
    fixed: fields.has("fixed"),
  };
}

async function run() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  stop.hidden = false;
  fill(hits);
  state.textContent = "Searching\u2026";
  let found = 0;
  /** @type {any} */
  let end = null;
  try {
    for await (const hit of objects("search", { query: { ...query(), limit: LIMIT }, signal: mine.signal })) {
      if (running !== mine) return;
      if (hit.line === undefined) {
        end = hit;
        continue;
      }
      const id = consoleId(hit);
      hits.append(h("li", {}, h("a", { class: "hit", href: `/c/${encodeURIComponent(id)}/play?t=${encodeURIComponent(hit.at)}` }, ...parts(hit))));
      found += 1;
      if (found % 20 === 0) state.textContent = `Searching\u2026 ${counted(found, "line")} so far`;
    }
    state.textContent = ended(found, end);
  } catch (error) {
    if (running !== mine) return;
    const stopped = error instanceof DOMException && error.name === "AbortError";
    state.textContent = stopped ? `Stopped: ${counted(found, "line")} so far.` : wrong(error);
  } finally {
    if (running === mine) {
      running = null;
      stop.hidden = true;
    }
  }
}

/** @param {any} hit */
function parts(hit) {
  const at = time(hit.at);
  return [h("time", { datetime: hit.at, class: "muted" }, long(at)), h("strong", {}, hit.console), h("span", { class: "mono" }, hit.text ?? hit.line)];
}

/**
 * @param {number} found
 * @param {any} end the last object
 */
function ended(found, end) {
  const cut = end?.cut ? ` The search was cut; ${end.reason ?? end.cut}.` : "";
  return `${found ? counted(found, "line") : "No line is like that"}.${cut}`;
}

function toAddress() {
  const words = new URLSearchParams();
  const wanted = query();
  words.set("q", wanted.q);
  if (wanted.on.length) words.set("on", wanted.on.join(" "));
  if (wanted.since) words.set("since", wanted.since);
  if (wanted.ignore_case) words.set("ignore_case", "1");
  if (wanted.fixed) words.set("fixed", "1");
  history.replaceState(null, "", `/search?${words}`);
}

function fromAddress() {
  const words = new URLSearchParams(location.search);
  for (const name of ["q", "on", "since"]) /** @type {HTMLInputElement} */ (form.elements.namedItem(name)).value = words.get(name) ?? "";
  for (const name of ["ignore_case", "fixed"]) /** @type {HTMLInputElement} */ (form.elements.namedItem(name)).checked = words.has(name);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  toAddress();
  void run();
});
stop.addEventListener("click", () => {
  running?.abort();
  go.focus();
});

start();
fromAddress();
if (query().q) void run();
