// The dialogs of consoles: what is about to be pasted, where a link leads, what is downloaded, which keys there are.

import { h } from "./dom.js";
import { load, save } from "./settings.js";
import { counted, size, span } from "./words.js";

/**
 * A dialog with a form. It is gone when it closes, and the focus is where it was.
 * @param {string} title
 * @param {import("./dom.js").Child[]} content
 * @param {{label: string, run: () => void, primary?: boolean}[]} buttons besides "Cancel"
 * @param {{cancel?: string, wide?: boolean}} [options]
 * @returns {HTMLDialogElement}
 */
export function dialog(title, content, buttons, { cancel = "Cancel", wide = false } = {}) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const element = h("dialog", { "aria-labelledby": id, class: wide ? "wide" : null });
  const close = () => element.close();
  const main = buttons.find((button) => button.primary);
  element.append(
    h(
      "form",
      {
        class: "fields",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          close();
          main?.run();
        },
      },
      h("h2", { id }, title),
      ...content,
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", onclick: close }, cancel),
        ...buttons.map(({ label, run, primary }) =>
          h("button", { type: primary ? "submit" : "button", class: primary ? "primary" : null, onclick: primary ? null : () => (close(), run()) }, label),
        ),
      ),
    ),
  );
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}

/**
 * Show what is about to be pasted.
 * @param {import("./keys.js").Paste} paste
 * @param {(rate: number) => void} go with bytes a second; 0: as fast as it goes
 */
export function showPaste(paste, go) {
  const { pasteRate } = load();
  const rate = h("input", { type: "number", min: 10, max: 100000, value: pasteRate, "aria-label": "Bytes a second", class: "short" });
  const slow = h("input", { type: "checkbox" });
  const seconds = paste.bytes / pasteRate;
  const facts = `${counted(paste.lines, "line")}, ${size(paste.bytes)}`;
  dialog(
    "Paste this?",
    [
      h("p", {}, facts, paste.controls > 0 && h("strong", {}, `, with ${counted(paste.controls, "control character")}`)),
      h("pre", { class: "preview", tabindex: 0, "aria-label": "What is pasted" }, paste.preview),
      h("label", { class: "check" }, slow, "Slowly, at", rate, h("span", {}, `bytes a second (${span(seconds)})`)),
    ],
    [
      {
        label: "Paste",
        primary: true,
        run: () => {
          const wanted = Math.min(100000, Math.max(10, Math.round(Number(rate.value)) || pasteRate));
          if (slow.checked) save({ pasteRate: wanted });
          go(slow.checked ? wanted : 0);
        },
      },
    ],
    { wide: true },
  );
}

/**
 * A place to paste, where the browser does not let the page read the clipboard.
 * @param {(clipboard: string) => void} pasted
 */
export function askPaste(pasted) {
  const area = h("textarea", { rows: 8, "aria-label": "Text to paste", autofocus: true, spellcheck: "false" });
  dialog("Paste here", [area], [{ label: "Go on", primary: true, run: () => pasted(area.value) }], { wide: true });
}

/**
 * Show where a link leads, then open it.
 * @param {string} address
 */
export function showLink(address) {
  dialog(
    "Open this address?",
    [h("p", {}, "The VM has written it. Nobody has looked at where it leads."), h("pre", { class: "preview" }, address)],
    [{ label: "Open in a new tab", primary: true, run: () => void open(address, "_blank", "noopener,noreferrer") }],
    { wide: true },
  );
}

/**
 * What to download of a log.
 * @param {string} name of the file, without its kind
 * @param {(what: "log"|"recording", query: Record<string, string>) => string} address
 */
export function showDownload(name, address) {
  const since = h("input", { type: "datetime-local", step: 1 });
  const until = h("input", { type: "datetime-local", step: 1 });
  const kind = h(
    "select",
    {},
    h("option", { value: "raw" }, "The bytes, as the VM sent them (.log)"),
    h("option", { value: "text" }, "Text, as a terminal would show it (.txt)"),
    h("option", { value: "timed" }, "Text with times (.txt)"),
    h("option", { value: "cast" }, "Recording for asciinema (.cast)"),
  );
  dialog(
    "Download the log",
    [
      h("label", {}, "As", kind),
      h("label", {}, "From (the beginning, if empty)", since),
      h("label", {}, "To (the end, if empty)", until),
    ],
    [
      {
        label: "Download",
        primary: true,
        run: () => {
          /** @type {Record<string, string>} */
          const query = {};
          if (since.value) query.since = new Date(since.value).toISOString();
          if (until.value) query.until = new Date(until.value).toISOString();
          if (kind.value === "cast") save_as(address("recording", query), `${name}.cast`);
          else save_as(address("log", { ...query, format: kind.value }), `${name}.${kind.value === "raw" ? "log" : "txt"}`);
        },
      },
    ],
  );
}

/**
 * @param {string} href
 * @param {string} file
 */
function save_as(href, file) {
  const link = h("a", { href, download: file });
  document.body.append(link);
  link.click();
  link.remove();
}

/**
 * Last lines of a log, as text.
 * @param {string} title
 * @param {string} text
 */
export function showText(title, text) {
  const area = h("pre", { class: "preview tall", tabindex: 0 }, text || "There is nothing yet.");
  dialog(title, [area], [], { cancel: "Close", wide: true });
  area.scrollTop = area.scrollHeight;
}

/** @type {readonly (readonly [string, string])[]} */
export const CONSOLE_KEYS = [
  ["F6", "From the terminal to the page, and back"],
  ["Ctrl-Shift-C, Ctrl-Insert", "Copy what is selected"],
  ["Ctrl-Shift-V, Shift-Insert", "Paste; more than a line is shown first"],
  ["Shift-Page Up, Shift-Page Down", "Scroll back and forth"],
  ["Ctrl-F", "Search what has scrolled by (outside the terminal)"],
  ["?", "This list (outside the terminal)"],
];

/**
 * The list of keys.
 * @param {readonly (readonly [string, string])[]} keys
 */
export function showKeys(keys) {
  const rows = keys.map(([names, what]) => [h("dt", {}, ...names.split(", ").map((name) => h("kbd", {}, name))), h("dd", {}, what)]);
  dialog("Keys", [h("dl", { class: "keys" }, ...rows.flat())], [], { cancel: "Close" });
}

/**
 * Show the command that tells the guest the terminal's size.
 * @param {number} columns
 * @param {number} rows
 * @param {(command: string) => void} type
 */
export function showStty(columns, rows, type) {
  const command = `stty rows ${rows} cols ${columns}`;
  dialog(
    "Tell the guest the size?",
    [
      h("p", {}, "A serial line has no size: the guest takes 80 by 24, if it is not told. At the prompt of a shell, this is typed, with Enter:"),
      h("pre", { class: "preview" }, command),
    ],
    [{ label: "Type it", primary: true, run: () => type(`${command}\r`) }],
  );
}
