// Keys that the page takes before the terminal does, and what is pasted.

/**
 * @typedef {object} Key what is used of a KeyboardEvent
 * @property {string} key
 * @property {boolean} ctrlKey
 * @property {boolean} shiftKey
 * @property {boolean} altKey
 * @property {boolean} metaKey
 */

/** @typedef {"copy"|"paste"|"leave"|"type"} Meaning */

/**
 * What a key in the terminal is for.
 * @param {Key} key
 * @param {{selection: boolean, copyOnControlC: boolean}} state
 * @returns {Meaning} "type": it is the VM's; "paste": the browser's, which then says what is pasted
 */
export function meaning(key, state) {
  const { ctrlKey, shiftKey, altKey, metaKey } = key;
  if (key.key === "F6" && !ctrlKey && !altKey && !metaKey) return "leave";
  const letter = key.key.toLowerCase();
  if (ctrlKey && shiftKey && !altKey && !metaKey && letter === "c") return "copy";
  if (ctrlKey && shiftKey && !altKey && !metaKey && letter === "v") return "paste";
  if (key.key === "Insert" && ctrlKey && !shiftKey && !altKey) return "copy";
  if (key.key === "Insert" && shiftKey && !ctrlKey && !altKey) return "paste";
  if (metaKey && !ctrlKey && !altKey && letter === "c" && state.selection) return "copy";
  if (metaKey && !ctrlKey && !altKey && letter === "v") return "paste";
  if (ctrlKey && !shiftKey && !altKey && !metaKey && letter === "c" && state.selection && state.copyOnControlC) return "copy";
  return "type";
}

export const SHOWN_FROM = 256;
const PREVIEW_LINES = 200;
const PREVIEW_CHARACTERS = 20000;

/**
 * @typedef {object} Paste
 * @property {string} text as it is typed: a line ends with CR
 * @property {number} bytes
 * @property {number} lines
 * @property {boolean} ask whether it is shown first
 * @property {string} preview with control characters made visible, and not all of what is long
 * @property {number} controls how many control characters it has, without the ends of lines and tabs
 */

/**
 * What is about to be pasted.
 * @param {string} clipboard
 * @returns {Paste}
 */
export function paste(clipboard) {
  const text = clipboard.replace(/\r\n|\n/g, "\r");
  const bytes = new TextEncoder().encode(text).length;
  const ends = text.split("\r").length - 1;
  const lines = ends + (text.endsWith("\r") || text === "" ? 0 : 1);
  const controls = (text.match(CONTROL) ?? []).length;
  return { text, bytes, lines, ask: ends > 0 || bytes > SHOWN_FROM || controls > 0, preview: preview(text), controls };
}

// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]/g;

/** @param {string} text */
function preview(text) {
  let shown = text.slice(0, PREVIEW_CHARACTERS).split("\r").slice(0, PREVIEW_LINES).join("\n");
  if (shown.length < text.length && text.slice(shown.length).replace("\r", "") !== "") shown += "\n...";
  return shown.replace(CONTROL, (one) => {
    const code = one.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : "\ufffd";
  });
}

/**
 * Bytes in small portions at an even pace, for hosts that lose what comes too fast.
 */
export class SlowTyping {
  #at = 0;
  /** @type {any} */
  #timer = null;

  /**
   * @param {{later: (call: () => void, milliseconds: number) => any, cancel: (timer: any) => void}} world
   * @param {Uint8Array} bytes
   * @param {number} rate bytes a second
   * @param {(bytes: Uint8Array) => boolean} type whether they were taken; if not, it ends
   * @param {(sent: number, all: number) => void} progress at the end with both equal, or with -1 if it was broken off
   */
  constructor(world, bytes, rate, type, progress) {
    this.world = world;
    this.bytes = bytes;
    this.portion = Math.max(1, Math.round(rate / 50));
    this.pause = (1000 * this.portion) / rate;
    this.type = type;
    this.progress = progress;
    this.#step();
  }

  #step() {
    const portion = this.bytes.subarray(this.#at, this.#at + this.portion);
    if (!this.type(portion)) {
      this.progress(-1, this.bytes.length);
      return;
    }
    this.#at += portion.length;
    this.progress(this.#at, this.bytes.length);
    if (this.#at < this.bytes.length) this.#timer = this.world.later(() => this.#step(), this.pause);
  }

  cancel() {
    this.world.cancel(this.#timer);
    if (this.#at < this.bytes.length) this.progress(-1, this.bytes.length);
  }
}

/** What the buttons of a touch screen type. */
export const TOUCH_KEYS = /** @type {const} */ ([
  ["Esc", "\x1b", ""],
  ["Tab", "\t", ""],
  ["\u2191", "\x1b[A", "Up"],
  ["\u2193", "\x1b[B", "Down"],
  ["\u2190", "\x1b[D", "Left"],
  ["\u2192", "\x1b[C", "Right"],
  ["^C", "\x03", "Control C"],
]);

/** Keys that browsers keep for themselves. */
export const KEPT_KEYS = /** @type {const} */ ([
  ["^W", "\x17"],
  ["^T", "\x14"],
  ["^N", "\x0e"],
  ["^Q", "\x11"],
]);

/**
 * A key together with Ctrl: "c" is 3.
 * @param {string} character
 * @returns {string} "" if there is none such
 */
export function control(character) {
  const code = character.toUpperCase().charCodeAt(0);
  if (character === " ") return "\x00";
  if (character === "?") return "\x7f";
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code - 0x40) : "";
}

/**
 * Copy a text.
 * @param {string} text
 * @param {(text: string) => void} say
 */
export async function copy(text, say) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("This browser does not let the page copy. Use its own menu.");
  }
}
