// The settings of this browser: kept in localStorage, the same in all of its pages.

/**
 * @typedef {object} Settings
 * @property {"system"|"light"|"dark"} theme
 * @property {boolean} screenReader the terminal's mode for screen readers
 * @property {boolean} copyOnControlC Ctrl-C copies a selection instead of being typed
 * @property {boolean} askBeforeLeaving ask before a page with write access is left
 * @property {number} fontSize of terminals, in pixels
 * @property {number} pasteRate bytes a second of a slow paste
 */

const KEY = "vmproxy-settings";

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  theme: "system",
  screenReader: false,
  copyOnControlC: false,
  askBeforeLeaving: true,
  fontSize: 14,
  pasteRate: 1000,
});

/** @type {Record<keyof Settings, (value: unknown) => boolean>} */
const VALID = {
  theme: (value) => value === "system" || value === "light" || value === "dark",
  screenReader: (value) => typeof value === "boolean",
  copyOnControlC: (value) => typeof value === "boolean",
  askBeforeLeaving: (value) => typeof value === "boolean",
  fontSize: (value) => Number.isInteger(value) && Number(value) >= 8 && Number(value) <= 32,
  pasteRate: (value) => Number.isInteger(value) && Number(value) >= 10 && Number(value) <= 100000,
};

/**
 * What a text from the store says; what is missing or wrong is the default.
 * @param {string|null} text
 * @returns {Settings}
 */
export function parse(text) {
  /** @type {Record<string, unknown>} */
  let kept = {};
  try {
    kept = Object(JSON.parse(text || "{}"));
  } catch {
    // Nothing of it can be read.
  }
  /** @type {Record<string, unknown>} */
  const result = { ...DEFAULTS };
  for (const [name, valid] of Object.entries(VALID)) if (valid(kept[name])) result[name] = kept[name];
  return /** @type {Settings} */ (/** @type {unknown} */ (result));
}

/** @returns {Settings} */
export function load() {
  try {
    return parse(localStorage.getItem(KEY));
  } catch {
    return { ...DEFAULTS };
  }
}

/**
 * Change some of them. Other pages of this browser hear of it; see {@link onChange}.
 * @param {Partial<Settings>} changes
 * @returns {Settings}
 */
export function save(changes) {
  const settings = parse(JSON.stringify({ ...load(), ...changes }));
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // They last as long as this page.
  }
  applyTheme(settings);
  return settings;
}

/** @param {Settings} settings */
export function applyTheme(settings) {
  const root = document.documentElement;
  if (settings.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = settings.theme;
}

/**
 * Be told when another page of this browser has changed them.
 * @param {(settings: Settings) => void} changed
 */
export function onChange(changed) {
  addEventListener("storage", (event) => {
    if (event.key === KEY) changed(parse(event.newValue));
  });
}
