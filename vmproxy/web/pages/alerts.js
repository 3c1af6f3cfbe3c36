// What is wrong now, and what somebody has taken care of.

import { consoleId, json, pages } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { Live } from "./live.js";
import { confirmed, notice, onIdentity, showAlerts, start } from "./shell.js";
import { ago, counted, long, time, wrong } from "./words.js";

/**
 * @typedef {object} Alert
 * @property {number} alert its number
 * @property {string} at
 * @property {string} watch
 * @property {"critical"|"warning"|"info"} severity
 * @property {string|null} console
 * @property {string|null} uuid
 * @property {string|null} port
 * @property {string|null} host
 * @property {string} line
 * @property {number} repeated
 * @property {{at: string, who: string, note: string|null}|null} acknowledged
 */

const SHOWN = 500;
const DAY = 86400;
const TAGS = { critical: "tag bad", warning: "tag warn", info: "tag" };
const ORDER = ["critical", "warning", "info"];

const list = byId("alerts", HTMLUListElement);
const ended = byId("ended", HTMLInputElement);

async function load() {
  /** @type {Alert[]} */
  const found = [];
  let more = false;
  try {
    // Of those that have ended, what the last day had.
    for await (const items of pages("alerts", ended.checked ? { all: true, since: `${DAY}s` } : {})) {
      found.push(.../** @type {Alert[]} */ (items));
      more = found.length > SHOWN;
      if (more) break;
    }
  } catch (error) {
    notice(wrong(error), { kind: "bad", key: "alerts", action: { label: "Try again", run: () => void load() } });
    return;
  }
  draw(found.slice(0, SHOWN), more);
}

/**
 * @param {Alert[]} alerts
 * @param {boolean} more than are shown
 */
function draw(alerts, more) {
  const open = alerts.filter((alert) => alert.acknowledged === null);
  const rest = alerts.filter((alert) => alert.acknowledged !== null);
  open.sort((one, other) => ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity) || other.alert - one.alert);
  rest.sort((one, other) => other.alert - one.alert);
  fill(list, ...open.map(item), ...rest.map(item));
  byId("alerts-count", HTMLSpanElement).textContent = `${counted(open.length, "alert")}${more ? ", and more" : ""}`;
  showAlerts(open.length);
  const empty = byId("alerts-empty", HTMLParagraphElement);
  empty.hidden = alerts.length > 0;
  empty.textContent = "Nothing is wrong that nobody knows of.";
}

/** @param {Alert} alert */
function item(alert) {
  const at = time(alert.at);
  const id = alert.uuid && encodeURIComponent(consoleId({ uuid: alert.uuid, port: alert.port }));
  const acknowledged = alert.acknowledged;
  const place = id ? h("a", { href: `/c/${id}` }, alert.console ?? "") : h("strong", {}, "vmproxy");
  return h(
    "li",
    { class: acknowledged ? "alert ended" : "alert" },
    h("span", { class: TAGS[alert.severity] }, alert.severity),
    h(
      "div",
      { class: "what" },
      h("p", {}, place, " ", h("span", { class: "muted" }, alert.watch)),
      h("p", { class: "mono line" }, alert.line),
      alert.repeated > 0 && h("p", { class: "muted" }, `${counted(alert.repeated, "line")} like it before`),
      acknowledged &&
        h("p", { class: "muted" }, `Acknowledged by ${acknowledged.who}, ${ago(time(acknowledged.at))}${acknowledged.note ? `: ${acknowledged.note}` : ""}`),
    ),
    h("time", { class: "muted", datetime: alert.at, title: long(at) }, ago(at)),
    h(
      "div",
      { class: "bar" },
      id && h("a", { class: "button", href: `/c/${id}/play?t=${encodeURIComponent(alert.at)}` }, "Replay"),
      !acknowledged && h("button", { type: "button", onclick: () => void acknowledge(alert) }, "Acknowledge\u2026"),
    ),
  );
}

/** @param {Alert} alert */
async function acknowledge(alert) {
  const note = await confirmed({
    title: `Acknowledge ${alert.watch}${alert.console ? ` of ${alert.console}` : ""}?`,
    button: "Acknowledge",
    field: { label: "Note, for those who look at it later", maxlength: 500 },
  });
  if (note === null) return;
  try {
    await json(`alerts/${alert.alert}/acknowledge`, { json: { note } });
  } catch (error) {
    notice(wrong(error), { kind: "bad" });
  }
  await load();
}

/** @type {ReturnType<typeof setTimeout>|undefined} */
let soon;

function loadSoon() {
  soon ??= setTimeout(() => {
    soon = undefined;
    void load();
  }, 500);
}

start();
ended.addEventListener("change", () => void load());
void load();
let live = /** @type {Live|null} */ (null);
onIdentity(() => (live ??= new Live({ alerts: loadSoon })));
