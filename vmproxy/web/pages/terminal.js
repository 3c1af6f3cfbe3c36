// The terminal: xterm.js, set up so that a VM can draw and do nothing else.
//
// What it must not do is taken from it here: no clipboard, no title, no window, no reports of focus or mouse, and no
// answers but by the rule of answers.js. Style elements that it makes get the page's nonce, for the policy of the
// page allows no other.

import { Answers } from "./answers.js";
import { meaning } from "./keys.js";

/** @typedef {import("@xterm/xterm").Terminal} XTerm */
/** @typedef {import("@xterm/xterm").IMarker} Marker */

/**
 * @typedef {object} Modules what `make web' brings
 * @property {typeof import("@xterm/xterm").Terminal} Terminal
 * @property {typeof import("@xterm/addon-unicode11").Unicode11Addon} Unicode11Addon
 * @property {typeof import("@xterm/addon-web-links").WebLinksAddon} WebLinksAddon
 */

/**
 * @typedef {object} Hooks
 * @property {(text: string) => void} [typed]
 * @property {(answer: string) => void} [answer]
 * @property {() => {writes: boolean, focused: boolean}} [place] for the rule of answers
 * @property {(clipboard: string) => void} [pasted]
 * @property {(text: string) => void} [copy]
 * @property {() => void} [leave] F6
 * @property {(address: string) => void} [link]
 * @property {() => void} [bell]
 */

/**
 * @typedef {object} Options
 * @property {number} fontSize
 * @property {boolean} screenReader
 * @property {boolean} copyOnControlC
 * @property {number} [scrollback]
 * @property {boolean} [still] nothing is typed here: a player
 */

const THEME = {
  background: "#11151a",
  foreground: "#d7dde4",
  cursor: "#f0b429",
  cursorAccent: "#11151a",
  selectionBackground: "#33507a",
  black: "#2a3038",
  red: "#f2777a",
  green: "#8fcf7f",
  yellow: "#e8c46a",
  blue: "#78a9ff",
  magenta: "#d9a0e6",
  cyan: "#66cfd6",
  white: "#d7dde4",
  brightBlack: "#7c8794",
  brightRed: "#ff9a9c",
  brightGreen: "#b0e8a2",
  brightYellow: "#ffe08f",
  brightBlue: "#a6c8ff",
  brightMagenta: "#ecc3f5",
  brightCyan: "#98e8ee",
  brightWhite: "#ffffff",
};

/** The colours of lines that are not the VM's, by what they are about. */
const LINES = { bad: ["#5c1f22", "#ffd9da"], good: ["#1d4a2b", "#d6f5dd"], note: ["#4a3a10", "#ffecc0"] };

/** Modes in which a terminal reports what it was not asked for: mouse and focus. */
const REPORTS = new Set([9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016]);

export const SIZES = /** @type {const} */ (["80x24", "80x25", "80x43", "100x30", "132x24", "132x43"]);

/** @type {Promise<Modules|null>|null} */
let loading = null;

/**
 * The modules of xterm.js; null where the installation has none.
 * @returns {Promise<Modules|null>}
 */
export function load() {
  loading ??= Promise.all(
    ["xterm", "unicode11", "web-links"].map(vendor),
  ).then(
    (modules) => Object.assign({}, ...modules),
    () => null,
  );
  return loading;
}

/** @param {string} name */
function vendor(name) {
  return import(new URL(`../vendor/${name}.mjs`, import.meta.url).href);
}

/** The nonce of this page for style elements. */
function nonce() {
  const meta = document.querySelector('meta[property="csp-nonce"]');
  return meta instanceof HTMLElement ? meta.nonce || meta.getAttribute("nonce") || "" : "";
}

/**
 * Make elements obey the policy of the page: style elements get the nonce, and styles of spans are set through the object
 * model, for as attributes they would be refused.
 * @param {() => void} open
 */
function withinPolicy(open) {
  HTMLSpanElement.prototype.setAttribute = function (/** @type {string} */ name, /** @type {string} */ value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
  const make = document.createElement;
  document.createElement = /** @type {typeof make} */ (
    (/** @type {string} */ tag, /** @type {ElementCreationOptions} */ options) => {
      const element = make.call(document, tag, options);
      if (element instanceof HTMLStyleElement) element.nonce = nonce();
      return element;
    }
  );
  try {
    open();
  } finally {
    document.createElement = make;
  }
}

export class ConsoleTerminal {
  #live = false;
  /** @type {Promise<import("@xterm/addon-search").SearchAddon>|null} */
  #search = null;
  #encoder = new TextEncoder();

  /**
   * @param {Modules} modules
   * @param {HTMLElement} host
   * @param {Options} options
   * @param {Hooks} hooks
   */
  constructor(modules, host, options, hooks) {
    this.host = host;
    this.options = options;
    this.hooks = hooks;
    const terminal = new modules.Terminal({
      cols: 80,
      rows: 24,
      scrollback: options.scrollback ?? 10000,
      fontFamily: '"DejaVu Sans Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace',
      fontSize: options.fontSize,
      lineHeight: 1.1,
      theme: THEME,
      minimumContrastRatio: 4.5,
      screenReaderMode: options.screenReader,
      disableStdin: options.still ?? false,
      cursorInactiveStyle: "outline",
      allowProposedApi: true,
      linkHandler: { activate: (_event, address) => this.#link(address), allowNonHttpProtocols: false },
    });
    this.terminal = terminal;
    this.answers = new Answers(
      () => performance.now(),
      () => ({ live: this.#live, ...(hooks.place?.() ?? { writes: false, focused: false }) }),
      (answer) => hooks.answer?.(answer),
    );
    this.#restrict();
    terminal.loadAddon(new modules.Unicode11Addon());
    terminal.unicode.activeVersion = "11";
    terminal.loadAddon(new modules.WebLinksAddon((_event, address) => this.#link(address)));
    withinPolicy(() => terminal.open(host));
    this.#keys();
  }

  /** Take from it what a VM is not to have. */
  #restrict() {
    const { parser } = this.terminal;
    const { answers } = this;
    const swallow = () => {
      answers.other();
      return true;
    };
    parser.registerCsiHandler({ final: "c" }, (params) => {
      if ((params[0] ?? 0) === 0) answers.attributes();
      return true;
    });
    parser.registerEscHandler({ final: "Z" }, () => {
      answers.attributes();
      return true;
    });
    parser.registerCsiHandler({ final: "n" }, (params) => {
      const { active } = this.terminal.buffer;
      if (params[0] === 6) answers.cursor(active.cursorY + 1, Math.min(active.cursorX + 1, this.terminal.cols));
      else answers.other();
      return true;
    });
    for (const prefix of [">", "="]) parser.registerCsiHandler({ prefix, final: "c" }, swallow);
    parser.registerCsiHandler({ prefix: "?", final: "n" }, swallow);
    parser.registerCsiHandler({ prefix: ">", final: "q" }, swallow);
    parser.registerCsiHandler({ final: "t" }, swallow);
    parser.registerCsiHandler({ final: "x" }, swallow);
    parser.registerCsiHandler({ intermediates: "$", final: "p" }, swallow);
    parser.registerCsiHandler({ prefix: "?", intermediates: "$", final: "p" }, swallow);
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, swallow);
    parser.registerDcsHandler({ intermediates: "+", final: "q" }, swallow);
    for (const code of [0, 1, 2, 52]) parser.registerOscHandler(code, () => true);
    for (const code of [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]) {
      parser.registerOscHandler(code, (data) => data.includes("?") && swallow());
    }
    parser.registerCsiHandler({ prefix: "?", final: "h" }, (params) => {
      const kept = params.filter((mode) => typeof mode !== "number" || !REPORTS.has(mode));
      if (kept.length === params.length) return false;
      if (kept.length > 0) this.terminal.write(`\x1b[?${kept.join(";")}h`);
      return true;
    });
  }

  #keys() {
    const { terminal, hooks } = this;
    terminal.onData((text) => hooks.typed?.(text));
    terminal.onBell(() => hooks.bell?.());
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.type !== "keydown") return meaning(event, this.#state()) === "type";
      const what = meaning(event, this.#state());
      if (what === "leave") {
        event.preventDefault();
        event.stopPropagation();
        hooks.leave?.();
      } else if (what === "copy") {
        event.preventDefault();
        this.copy();
      }
      return what === "type";
    });
    // A paste is looked at before the terminal has it.
    this.host.addEventListener(
      "paste",
      (event) => {
        event.preventDefault();
        event.stopPropagation();
        hooks.pasted?.(event.clipboardData?.getData("text/plain") ?? "");
      },
      true,
    );
  }

  #state() {
    return { selection: this.terminal.hasSelection(), copyOnControlC: this.options.copyOnControlC };
  }

  /** @param {string} address */
  #link(address) {
    if (/^https?:\/\//i.test(address)) this.hooks.link?.(address);
  }

  /** Copy the selection, if there is one. */
  copy() {
    const text = this.terminal.getSelection();
    if (text) this.hooks.copy?.(text);
  }

  /**
   * @param {string|Uint8Array} data
   * @param {() => void} [done] when it is processed
   */
  write(data, done) {
    this.terminal.write(data, done);
  }

  /**
   * From here on in what is written it is live, or from the log.
   * @param {boolean} live
   */
  live(live) {
    this.terminal.write("", () => {
      this.#live = live;
    });
  }

  /** At once: what is still to be processed is not live either. */
  stop() {
    this.#live = false;
  }

  /**
   * A line of the page itself, in a colour of its own. The attributes of the text and the place in a sequence stay the
   * VM's; what draws on the whole screen is left alone.
   * @param {string} text
   * @param {keyof LINES} kind
   */
  line(text, kind) {
    const { terminal } = this;
    terminal.write("", () => {
      if (terminal.buffer.active.type === "alternate") return;
      const before = terminal.buffer.active.cursorX > 0 ? "\r\n" : "";
      terminal.write(`${before}${text.replace(/[\x00-\x1f\x7f-\x9f]/g, " ")}`, () => {
        const rows = Math.max(1, Math.ceil(text.length / terminal.cols));
        const [backgroundColor, foregroundColor] = LINES[kind];
        for (let row = 0; row < rows; row++) {
          const marker = terminal.registerMarker(-row);
          terminal.registerDecoration({ marker, width: terminal.cols, backgroundColor, foregroundColor });
        }
      });
      terminal.write("\r\n");
    });
  }

  /**
   * What is typed, as bytes.
   * @param {string} text
   */
  encode(text) {
    return this.#encoder.encode(text);
  }

  /** What a paste is as keys: in brackets where the VM has asked for them. @param {string} text */
  bracketed(text) {
    if (!this.terminal.modes.bracketedPasteMode) return text;
    return `\x1b[200~${text.replaceAll("\x1b", "\u241b")}\x1b[201~`;
  }

  /**
   * "80x24", or "fit".
   * @param {string} size
   * @returns {boolean} whether it has changed
   */
  resize(size) {
    const { cols, rows } = this.terminal;
    const wanted = size === "fit" ? this.#room() : { cols: Number.parseInt(size, 10), rows: Number(size.split("x")[1]) };
    if (!(wanted.cols >= 2) || !(wanted.rows >= 2) || (wanted.cols === cols && wanted.rows === rows)) return false;
    this.terminal.resize(Math.min(wanted.cols, 400), Math.min(wanted.rows, 200));
    return true;
  }

  /** How many columns and rows there is room for. */
  #room() {
    const { cols, rows, element } = this.terminal;
    const cells = element?.querySelector(".xterm-screen");
    if (!element || !cells) return { cols, rows };
    const host = getComputedStyle(this.host);
    const own = getComputedStyle(element);
    const wide = this.host.clientWidth - parseFloat(host.paddingLeft) - parseFloat(host.paddingRight) - parseFloat(own.paddingRight);
    const high = this.host.clientHeight - parseFloat(host.paddingTop) - parseFloat(host.paddingBottom);
    return { cols: Math.floor((wide * cols) / cells.clientWidth), rows: Math.floor((high * rows) / cells.clientHeight) };
  }

  /** What finds text that has scrolled by. */
  search() {
    this.#search ??= vendor("search").then(({ SearchAddon }) => {
      const addon = new SearchAddon({ highlightLimit: 2000 });
      this.terminal.loadAddon(addon);
      return addon;
    });
    return this.#search;
  }

  /** @param {Options} options */
  configure(options) {
    this.options = options;
    this.terminal.options.fontSize = options.fontSize;
    this.terminal.options.screenReaderMode = options.screenReader;
  }

  focus() {
    this.terminal.focus();
  }

  reset() {
    this.terminal.reset();
  }

  dispose() {
    this.terminal.dispose();
  }
}
