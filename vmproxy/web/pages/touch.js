// Keys for hands without a keyboard: a line that is typed with Enter, and a row of keys that glass does not have.

import { h } from "./dom.js";
import { TOUCH_KEYS, control } from "./keys.js";

/**
 * @param {HTMLElement} form
 * @param {(text: string) => void} type
 */
export function touchKeys(form, type) {
  let held = false;
  const line = h("input", {
    type: "text",
    "aria-label": "A line to type",
    placeholder: "Type a line, then Enter",
    autocomplete: "off",
    autocapitalize: "none",
    autocorrect: "off",
    spellcheck: "false",
    enterkeyhint: "send",
  });
  const ctrl = h("button", { type: "button", "aria-pressed": "false", onclick: () => hold(!held) }, "Ctrl");

  /** @param {boolean} on */
  function hold(on) {
    held = on;
    ctrl.setAttribute("aria-pressed", String(on));
  }

  line.addEventListener("input", () => {
    // With Ctrl, one character is typed at once, and not with Enter.
    if (!held || line.value === "") return;
    const key = control(line.value.at(-1) ?? "");
    line.value = line.value.slice(0, -1);
    hold(false);
    if (key) type(key);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    type(`${line.value}\r`);
    line.value = "";
  });
  const keys = TOUCH_KEYS.map(([label, text, name]) =>
    h("button", { type: "button", "aria-label": name || null, onclick: () => type(text) }, label),
  );
  form.append(
    h("div", { class: "row" }, line, h("button", { type: "submit", class: "primary" }, "Enter")),
    h("div", { class: "row keys" }, keys[0], keys[1], ctrl, ...keys.slice(2)),
  );
}
