// The player: the log of a console over time.

import { address, ask, consolePath, json, objects } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { copy } from "./keys.js";
import { Player, RATES, heights, nextLink, nextOf, parse } from "./recording.js";
import { load as settings, onChange } from "./settings.js";
import { notice, start } from "./shell.js";
import { ConsoleTerminal, SIZES, load } from "./terminal.js";
import { counted, long, size as sizeWords, wrong } from "./words.js";

const BUCKETS = 600;
const WINDOW = 262144;
const STEP = 10_000;
const TICK = 50;
const HITS = 500;
const PENDING = 1024 * 1024;
const SPANS = /** @type {const} */ ([
  ["all", "Whole log", 0],
  ["week", "A week", 7 * 86400_000],
  ["day", "A day", 86400_000],
  ["hour", "An hour", 3600_000],
  ["minutes", "Ten minutes", 600_000],
]);

/** @type {readonly (readonly [string, string])[]} */
const KEYS = [
  ["Space, K", "Play, or pause"],
  ["\u2190, \u2192", "Ten seconds back, or forth"],
  ["N", "To what the VM says next"],
  ["M", "To the next marker"],
  ["H", "To the next hit"],
  ["-, +", "Slower, faster"],
  ["?", "This list"],
];

/**
 * @typedef {object} Timeline
 * @property {number} since milliseconds since the epoch
 * @property {number} until
 * @property {number[]} buckets bytes
 * @property {{at: number, text: string}[]} markers
 */

start();

const query = new URLSearchParams(location.search);
const wanted = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const parts = {
  name: byId("play-name", HTMLHeadingElement),
  time: byId("play-time", HTMLSpanElement),
  canvas: byId("density", HTMLCanvasElement),
  scrubber: byId("scrubber", HTMLInputElement),
  from: byId("scale-from", HTMLSpanElement),
  to: byId("scale-to", HTMLSpanElement),
  note: byId("scale-note", HTMLSpanElement),
  tools: byId("play-tools", HTMLDivElement),
  host: byId("terminal", HTMLDivElement),
  find: byId("play-find", HTMLFormElement),
  title: byId("marks-title", HTMLHeadingElement),
  marks: byId("marks", HTMLOListElement),
  said: byId("play-said", HTMLParagraphElement),
};

/** @type {Timeline} */
let timeline = { since: 0, until: 0, buckets: [], markers: [] };
/** @type {{at: number, text: string}[]} */
let hits = [];
/** @type {ConsoleTerminal|null} */
let terminal = null;
let pending = 0;
let alias = "console";
parts.name.textContent = wanted;
document.title = `${wanted}, player - vmproxy`;

const player = new Player(
  async (wish) => {
    const from = "next" in wish ? wish.next : address(consolePath(wanted, "recording"), { since: new Date(wish.since).toISOString(), window: WINDOW });
    const response = await ask(from);
    return parse(await response.text(), nextLink(response.headers.get("link")));
  },
  {
    output: write,
    reset: (before) => {
      terminal?.reset();
      write(before);
    },
    changed: render,
    failed: (error) => say(wrong(error), true),
  },
);

/** @param {string} text */
function write(text) {
  if (terminal === null || text === "") return;
  pending += text.length;
  terminal.write(text, () => (pending -= text.length));
}

/**
 * @param {string} text
 * @param {boolean} [bad]
 */
function say(text, bad = false) {
  parts.said.textContent = text;
  if (bad) notice(text, { kind: "bad", key: text });
}

const play = h("button", { type: "button", class: "primary play", onclick: toggle }, "Play");
const rate = h("select", { "aria-label": "Pace", onchange: () => setRate(Number(rate.value)) });
for (const one of RATES) rate.append(h("option", { value: one, selected: one === 1 }, `${one}\u00d7`));
const cut = h("input", { type: "checkbox", checked: true, onchange: () => (player.cut = cut.checked) });
const spans = h("select", { "aria-label": "What the line above shows", onchange: () => void look(spans.value) });
for (const [value, label] of SPANS) spans.append(h("option", { value }, label));
const toHit = h("button", { type: "button", onclick: () => jump(nextOf(hits.map(({ at }) => at), player.position), "There is no hit after this.") }, "Next hit");

function tools() {
  const sizes = h("select", { class: "sizes", "aria-label": "Size of the terminal", onchange: () => terminal?.resize(sizes.value) });
  for (const one of SIZES) sizes.append(h("option", { value: one }, one.replace("x", "\u00d7")));
  parts.note.after(spans);
  parts.tools.append(
    play,
    h("div", { class: "group" },
      h("button", { type: "button", onclick: () => move(-STEP), title: "Ten seconds back" }, "\u221210 s"),
      h("button", { type: "button", onclick: () => move(STEP), title: "Ten seconds forth" }, "+10 s"),
    ),
    rate,
    h("div", { class: "group" },
      h("button", { type: "button", onclick: () => jump(player.nextOutput, "The VM says nothing after this.") }, "Next output"),
      h("button", { type: "button", onclick: nextMarker }, "Next marker"),
      toHit,
    ),
    h("label", { class: "check", title: "To two seconds" }, cut, "Cut silence"),
    h("div", { class: "group push" },
      sizes,
      h("button", { type: "button", onclick: () => void copy(link(), say) }, "Copy link"),
      h("button", { type: "button", onclick: () => void download() }, "Download\u2026"),
      h("a", { class: "button", href: `/c/${encodeURIComponent(wanted)}` }, "Live"),
    ),
  );
}

async function download() {
  const { showDownload } = await import("./dialogs.js");
  showDownload(alias, (what, parameters) => address(consolePath(wanted, what), parameters));
}

function toggle() {
  if (player.playing) player.pause();
  else if (player.ended) void player.seek(timeline.since).then(() => player.play());
  else player.play();
}

/** @param {number} step */
function move(step) {
  void player.seek(Math.min(timeline.until, Math.max(timeline.since, player.position + step)));
}

/** @param {number} next */
function setRate(next) {
  player.rate = next;
  rate.value = String(next);
}

/**
 * @param {number|null} time
 * @param {string} none
 */
function jump(time, none) {
  if (time === null) say(none);
  else void player.seek(time);
}

function nextMarker() {
  jump(nextOf(timeline.markers.map(({ at }) => at), player.position), "There is no marker after this.");
}

function link() {
  const url = new URL(location.href);
  url.searchParams.set("t", new Date(player.position).toISOString());
  return url.href;
}

function render() {
  const { since, until } = timeline;
  play.textContent = player.playing ? "Pause" : "Play";
  parts.time.textContent = player.position ? `${long(new Date(player.position))}${player.loading ? " \u2026" : player.ended ? ", the end" : ""}` : "";
  const place = until > since ? Math.round((1000 * (player.position - since)) / (until - since)) : 0;
  if (document.activeElement !== parts.scrubber || !dragging) parts.scrubber.value = String(Math.min(1000, Math.max(0, place)));
  parts.scrubber.setAttribute("aria-valuetext", long(new Date(player.position)));
  toHit.hidden = hits.length === 0;
}

// -- the line over time

let dragging = false;

/** @param {string} [span] one of SPANS, around the place where it is */
async function look(span = "all") {
  const wide = SPANS.find(([value]) => value === span)?.[2] ?? 0;
  /** @type {Record<string, string|number>} */
  const asked = { buckets: BUCKETS };
  if (wide) {
    asked.since = new Date(player.position - wide / 2).toISOString();
    asked.until = new Date(player.position + wide / 2).toISOString();
  }
  try {
    const answer = await json(consolePath(wanted, "timeline"), { query: asked });
    timeline = {
      since: Date.parse(asked.since ? String(asked.since) : answer.since) || 0,
      until: Date.parse(asked.until ? String(asked.until) : answer.until) || 0,
      buckets: answer.buckets,
      markers: answer.markers.map((/** @type {any} */ one) => ({ at: Date.parse(one.at), text: one.label })),
    };
  } catch (error) {
    say(wrong(error), true);
    return false;
  }
  parts.from.textContent = long(new Date(timeline.since));
  parts.to.textContent = long(new Date(timeline.until));
  parts.note.textContent = `${sizeWords(timeline.buckets.reduce((sum, bytes) => sum + bytes, 0))}, ${counted(timeline.markers.length, "marker")}`;
  draw();
  list();
  render();
  return timeline.until > 0;
}

function draw() {
  const { canvas } = parts;
  /** @param {string} name of a property */
  const colour = (name) => {
    canvas.style.color = `var(${name})`;
    return getComputedStyle(canvas).color;
  };
  const scale = devicePixelRatio || 1;
  const width = (canvas.width = Math.round(canvas.clientWidth * scale));
  const height = (canvas.height = Math.round(canvas.clientHeight * scale));
  const context = canvas.getContext("2d");
  if (context === null || width === 0) return;
  const bars = heights(timeline.buckets);
  context.fillStyle = colour("--line-strong");
  const step = width / Math.max(1, bars.length);
  bars.forEach((bar, i) => bar && context.fillRect(i * step, height * (1 - bar), Math.max(scale, step - (step > 3 ? 1 : 0)), height * bar));
  const x = (/** @type {number} */ at) => ((at - timeline.since) / Math.max(1, timeline.until - timeline.since)) * width;
  for (const [marks, name] of /** @type {const} */ ([[timeline.markers, "--warn"], [hits, "--accent"]])) {
    context.fillStyle = colour(name);
    for (const { at } of marks) if (at >= timeline.since && at <= timeline.until) context.fillRect(x(at) - scale, 0, 2 * scale, height);
  }
}

/** Hits and markers, each a place to go to. */
function list() {
  const marks = hits.length ? hits : timeline.markers;
  parts.title.textContent = hits.length ? counted(hits.length, "hit") : "What happened";
  fill(
    parts.marks,
    ...marks.slice(0, HITS).map(({ at, text }) =>
      h("li", {}, h("button", { type: "button", class: "link-button place", onclick: () => void player.seek(at) }, h("time", { class: "muted" }, long(new Date(at))), ` ${text}`)),
    ),
  );
  if (marks.length === 0) fill(parts.marks, h("li", { class: "muted" }, "No markers in this part."));
}

function find() {
  const input = h("input", { type: "search", "aria-label": "Find in the log", placeholder: "Find in the log", value: query.get("q") ?? "" });
  parts.find.append(input, h("button", { type: "submit" }, "Find"));
  const search = async () => {
    hits = [];
    if (input.value) {
      say("Searching\u2026");
      try {
        for await (const one of objects("search", { query: { q: input.value, on: wanted, limit: HITS } })) {
          if (one.at && one.line !== undefined) hits.push({ at: Date.parse(one.at), text: one.text ?? one.line });
        }
        hits.sort((one, other) => one.at - other.at);
        say(hits.length ? `${counted(hits.length, "hit")}.` : "Nothing was found.");
      } catch (error) {
        say(wrong(error), true);
      }
    }
    draw();
    list();
    render();
  };
  parts.find.addEventListener("submit", (event) => {
    event.preventDefault();
    void search();
  });
  if (input.value) void search();
}

parts.scrubber.addEventListener("pointerdown", () => (dragging = true));
parts.scrubber.addEventListener("change", () => {
  dragging = false;
  void player.seek(timeline.since + ((timeline.until - timeline.since) * Number(parts.scrubber.value)) / 1000);
});

addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
  const pressing = target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement;
  switch (event.key) {
    case " ":
      if (pressing) return;
      toggle();
      break;
    case "k":
      toggle();
      break;
    case "ArrowLeft":
      move(-STEP);
      break;
    case "ArrowRight":
      move(STEP);
      break;
    case "n":
      jump(player.nextOutput, "The VM says nothing after this.");
      break;
    case "m":
      nextMarker();
      break;
    case "h":
      toHit.click();
      break;
    case "-":
    case "+":
      setRate(RATES[Math.min(RATES.length - 1, Math.max(0, RATES.findIndex((one) => one === player.rate) + (event.key === "+" ? 1 : -1)))]);
      break;
    case "?":
      void import("./dialogs.js").then(({ showKeys }) => showKeys(KEYS));
      break;
    default:
      return;
  }
  event.preventDefault();
});

new ResizeObserver(draw).observe(parts.canvas);
onChange((changed) => {
  terminal?.configure(changed);
  draw();
});
tools();
find();
const [modules, there] = await Promise.all([load(), look()]);
if (modules === null) fill(parts.host, h("p", {}, "The terminal is not installed on this server. The log can be downloaded."));
else terminal = new ConsoleTerminal(modules, parts.host, { ...settings(), still: true }, { copy: (text) => void copy(text, say) });
if (matchMedia("(max-width: 45rem)").matches) terminal?.resize("fit");
void json(consolePath(wanted), { quiet: true }).then(
  (info) => {
    parts.name.textContent = info.name;
    document.title = `${info.name}, player - vmproxy`;
    alias = info.alias ?? alias;
  },
  () => {},
);
if (there) {
  const asked = Date.parse(query.get("t") ?? "");
  await player.seek(Number.isNaN(asked) ? Math.max(timeline.since, timeline.until - 60_000) : asked);
} else if (!parts.said.textContent) say("There is nothing in this log yet.");
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  if (pending < PENDING) player.advance(Math.min(1000, now - last));
  last = now;
}, TICK);
