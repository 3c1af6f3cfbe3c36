// One row of the list.

import { fill, h } from "./dom.js";
import { count, long, short, span, stateWord, time } from "./words.js";

/**
 * @typedef {object} Row a console, as the list has it
 * @property {string} id
 * @property {string} name
 * @property {string} [port]
 * @property {string} state
 * @property {string|null} [since]
 * @property {string|null} [reason] why it is down
 * @property {string|null} [host]
 * @property {string[]} [writers]
 * @property {number} [viewer_count]
 * @property {string|null} [last_output]
 * @property {string|null} [last_line]
 * @property {string|null} [log_problem]
 * @property {boolean} [logging]
 * @property {{critical: number, warning: number, info: number}} [alerts]
 */

/**
 * An empty row.
 * @param {number} index
 * @returns {HTMLElement}
 */
export function newRow(index) {
  const cell = (/** @type {string} */ name, /** @type {import("./dom.js").Child[]} */ ...children) =>
    h("span", { role: "gridcell", class: name }, ...children);
  return h(
    "div",
    { role: "row", class: "row", id: `row-${index}`, "aria-rowindex": index + 2, "data-index": index },
    cell("c-choice", h("input", { type: "checkbox", tabindex: -1 })),
    cell("c-state", h("i", { class: "dot", "aria-hidden": "true" }), h("span", { class: "word" })),
    cell("c-name", h("a", { tabindex: -1 })),
    cell("c-writer"),
    cell("c-viewers number"),
    cell("c-host"),
    cell("c-since"),
    cell("c-line"),
    cell("c-alerts"),
  );
}

/** @type {WeakMap<HTMLElement, string>} what a row was painted from */
const painted = new WeakMap();

/**
 * Show a console in a row; does nothing if the row shows it as it is.
 * @param {HTMLElement} element
 * @param {Row|undefined} row undefined: it has not been loaded
 * @param {boolean} isChosen
 */
export function paint(element, row, isChosen) {
  const from = row === undefined ? "" : `${isChosen} ${JSON.stringify(row)}`;
  if (painted.get(element) === from) return;
  painted.set(element, from);
  const cells = /** @type {HTMLCollectionOf<HTMLElement>} */ (element.children);
  const [choice, state, name, writer, viewers, host, since, line, alerts] = cells;
  element.classList.toggle("waiting", row === undefined);
  if (row === undefined) {
    for (const cell of [writer, viewers, host, since, line, alerts]) fill(cell);
    fill(/** @type {HTMLElement} */ (state.lastElementChild));
    fill(/** @type {HTMLElement} */ (name.firstElementChild));
    return;
  }
  element.classList.toggle("down", row.state === "down");
  element.setAttribute("aria-selected", String(isChosen));
  const box = /** @type {HTMLInputElement} */ (choice.firstElementChild);
  box.checked = isChosen;
  box.setAttribute("aria-label", `Choose ${row.name} for the wall`);
  /** @type {HTMLElement} */ (state.firstElementChild).className = `dot ${row.state}`;
  /** @type {HTMLElement} */ (state.lastElementChild).textContent = stateWord(row.state);
  const link = /** @type {HTMLAnchorElement} */ (name.firstElementChild);
  link.href = `/c/${encodeURIComponent(row.id)}`;
  link.textContent = row.name;
  name.title = row.name;
  writer.textContent = row.writers?.join(", ") ?? "";
  writer.title = writer.textContent;
  viewers.textContent = row.viewer_count ? count(row.viewer_count) : "";
  host.textContent = row.host ?? "";
  const when = time(row.since);
  since.textContent = short(when);
  since.title = when ? `${long(when)}, ${span((Date.now() - when.getTime()) / 1000)}${row.reason ? `: ${row.reason}` : ""}` : "";
  line.textContent = row.last_line ?? "";
  const said = time(row.last_output);
  line.title = row.last_line ? `${row.last_line}${said ? `\n${long(said)}` : ""}` : "";
  fill(alerts, ...tags(row));
}

/**
 * @param {Row} row
 * @returns {HTMLElement[]}
 */
function tags(row) {
  const found = [];
  const { critical = 0, warning = 0, info = 0 } = row.alerts ?? {};
  if (critical) found.push(h("span", { class: "tag bad", title: `${critical} critical` }, `${critical} critical`));
  else if (warning) found.push(h("span", { class: "tag warn" }, `${warning} warning`));
  else if (info) found.push(h("span", { class: "tag" }, `${info} info`));
  if (row.log_problem) found.push(h("span", { class: "tag bad", title: row.log_problem }, "not recorded"));
  return found;
}

/**
 * Have a row painted again, whatever it shows.
 * @param {HTMLElement} element
 */
export function forget(element) {
  painted.delete(element);
}
