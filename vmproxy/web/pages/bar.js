// The bar of a console: what it is, who writes, and buttons. A button that cannot be used says why.

import { penWords, recordingWords, whyNot } from "./actions.js";
import { fill, h } from "./dom.js";
import { long, short, span, stateWord, time } from "./words.js";

/**
 * @typedef {object} Button
 * @property {string|(() => string)} label
 * @property {import("./actions.js").Action} [action] asks whether it can be used
 * @property {() => void} run
 * @property {() => boolean} [shown]
 * @property {string} [hint]
 */

export class Bar {
  /** @type {{button: Button, element: HTMLButtonElement}[]} */
  #buttons = [];

  /**
   * @param {HTMLElement} place
   * @param {() => import("./actions.js").Situation} situation
   * @param {(text: string) => void} say
   */
  constructor(place, situation, say) {
    this.place = place;
    this.situation = situation;
    this.say = say;
    place.addEventListener("keydown", (event) => this.#arrows(event));
  }

  /**
   * Buttons that stand together.
   * @param {Button[]} buttons
   */
  group(buttons) {
    this.place.append(h("div", { class: "group" }, ...buttons.map((button) => this.#button(button))));
  }

  /**
   * Buttons behind one.
   * @param {string} label
   * @param {() => Button[]} buttons when it is opened
   * @param {{end?: boolean}} [options] end: it opens to the left
   */
  menu(label, buttons, { end = false } = {}) {
    const list = h("div", { class: `menu-list${end ? " end" : ""}` });
    const summary = h("summary", {}, label);
    const menu = h("details", { class: "menu" }, summary, list);
    // Filled before it opens: the next key may be there before its event is.
    summary.addEventListener("click", () => {
      if (menu.open) return;
      this.#buttons = this.#buttons.filter(({ element }) => !list.contains(element));
      fill(list, ...buttons().map((button) => this.#button(button, () => this.#close(menu))));
      this.render();
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      event.stopPropagation();
      this.#close(menu);
    });
    document.addEventListener("pointerdown", (event) => {
      if (menu.open && event.target instanceof Node && !menu.contains(event.target)) menu.open = false;
    });
    menu.addEventListener("focusout", (event) => {
      if (menu.open && event.relatedTarget instanceof Node && !menu.contains(event.relatedTarget)) menu.open = false;
    });
    this.place.append(menu);
  }

  /** @param {HTMLDetailsElement} menu */
  #close(menu) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }

  /**
   * @param {Button} button
   * @param {() => void} [before]
   */
  #button(button, before) {
    const element = h("button", { type: "button", title: button.hint }, typeof button.label === "string" ? button.label : "");
    element.addEventListener("click", () => {
      const reason = button.action ? whyNot(button.action, this.situation()) : "";
      if (reason) {
        this.say(reason);
        return;
      }
      before?.();
      button.run();
    });
    this.#buttons.push({ button, element });
    return element;
  }

  render() {
    const now = this.situation();
    for (const { button, element } of this.#buttons) {
      element.hidden = button.shown ? !button.shown() : false;
      if (typeof button.label === "function") element.textContent = button.label();
      const reason = button.action ? whyNot(button.action, now) : "";
      if (reason) element.setAttribute("aria-disabled", "true");
      else element.removeAttribute("aria-disabled");
      element.title = reason || button.hint || "";
    }
  }

  /** Arrow keys go from button to button, as in all toolbars. @param {KeyboardEvent} event */
  #arrows(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
    const all = [...this.place.querySelectorAll("button, summary, select")].filter(
      (one) => one instanceof HTMLElement && one.offsetParent !== null,
    );
    const next = all[all.indexOf(/** @type {Element} */ (document.activeElement)) + step];
    if (next instanceof HTMLElement) {
      next.focus();
      event.preventDefault();
    }
  }

  focus() {
    const first = this.place.querySelector("button:not([hidden]), summary");
    if (first instanceof HTMLElement) first.focus();
  }
}

/**
 * What a console is and how it is, beside its name.
 * @param {import("./actions.js").ConsoleInfo} info
 * @returns {Node[]}
 */
export function facts(info) {
  const recording = recordingWords(info);
  const since = time(info.since);
  const how = info.state === "down" && info.reason ? ` (${info.reason})` : "";
  const when = since ? ` ${span((Date.now() - since.getTime()) / 1000)}` : "";
  return [
    h("span", { class: "fact", title: since ? `since ${since.toLocaleString()}` : null }, h("span", { class: `dot ${info.state}` }), ` ${stateWord(info.state)}${when}${how}`),
    ...(info.host ? [h("span", { class: "fact muted" }, `from ${info.host}`)] : []),
    h("span", { class: recording.good ? "tag" : "tag bad" }, recording.text),
    ...(info.input_recorded ? [h("span", { class: "tag warn" }, "What is typed is recorded")] : []),
  ];
}

/**
 * Who writes, and who else is here.
 * @param {import("./actions.js").Situation} now
 * @returns {Node[]}
 */
export function people(now) {
  const kind = now.pen === "write" ? "pen writes" : "pen";
  const parts = [h("strong", { class: kind }, penWords(now.pen, now.writers))];
  if (now.others > 0) parts.push(h("span", { class: "muted" }, now.others === 1 ? "1 other is here" : `${now.others} others are here`));
  return parts;
}

/**
 * Who is on a console: "carol@10.1.2.9, spy since 16:09".
 * @param {import("./actions.js").ConsoleInfo["viewers"][number]} viewer
 */
export function viewerLine(viewer) {
  const skipped = viewer.skipped ? `, ${viewer.skipped} bytes skipped` : "";
  return h("li", {}, h("span", {}, viewer.who), h("span", { class: "muted" }, `${viewer.mode}${viewer.since ? ` since ${short(time(viewer.since))}` : ""}${skipped}`));
}

/**
 * What happened, with the time.
 * @param {string} text
 */
export function eventLine(text) {
  const now = new Date();
  return h("li", {}, h("time", { class: "muted", datetime: now.toISOString() }, long(now).slice(11)), ` ${text}`);
}
