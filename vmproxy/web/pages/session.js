// A console in a page: its connection, its terminal, and what is known of it. The console page and the wall have it.

import { address, ask, consolePath, json, Problem } from "./api.js";
import { SlowTyping, copy, paste } from "./keys.js";
import { load as settings } from "./settings.js";
import { loginInPlace, onIdentity } from "./shell.js";
import { ConsoleSocket } from "./socket.js";
import { ConsoleTerminal } from "./terminal.js";
import { count, long, size } from "./words.js";

/**
 * @typedef {object} SessionEvents
 * @property {() => void} changed anything that a bar shows
 * @property {(text: string, lasting?: boolean) => void} say a line for whoever is there
 * @property {(text: string) => void} [happened] a notice
 * @property {() => void} [output] the VM said something, live
 * @property {() => void} [leave] F6 in the terminal
 * @property {() => void} [again] somebody has asked for the connection, or has logged in for it
 */

/** Notices after which what is known of the console is asked for again. */
const QUIET = new Set(["message", "alerted", "guest-break", "not-sent", "input-lost"]);
/**
 * What a notice says of the console, at once.
 * @type {Record<string, (notice: Record<string, any>) => Partial<import("./actions.js").ConsoleInfo>>}
 */
const CHANGES = {
  "line-down": ({ reason, at }) => ({ state: "down", reason, since: at }),
  "line-up": ({ host, vmotion }) => ({ state: "up", reason: null, host, ...(!vmotion && { since: new Date().toISOString() }) }),
  "log-failed": ({ reason }) => ({ log_problem: reason }),
  "log-recovered": () => ({ log_problem: null }),
  "logging-off": () => ({ logging: false }),
  "logging-on": () => ({ logging: true }),
  "input-recorded": ({ on }) => ({ input_recorded: on }),
};
const REFRESH_PAUSE = 300;
const HINT_PAUSE = 5000;
/** For so long after a key somebody is at work. */
const RECENT = 10 * 60 * 1000;

export class ConsoleSession {
  /** @type {import("./actions.js").ConsoleInfo|null} */
  info = null;
  /** @type {string[]} */
  writers = [];
  /** @type {Record<string, any>} */
  hello = {};
  attached = false;
  held = false;
  typed = 0;
  /** @type {SlowTyping|null} */
  slow = null;
  /** @type {any} */
  #refreshing = null;
  #hinted = 0;
  #past = false;
  #asked = false;

  /**
   * @param {string} console its id, or a name
   * @param {{mode: "write"|"spy", replay: number, scrollback?: number}} wish
   * @param {SessionEvents} events
   */
  constructor(console, wish, events) {
    this.console = console;
    this.wish = wish;
    this.events = events;
    /** @type {ConsoleTerminal|null} */
    this.terminal = null;
    this.socket = new ConsoleSocket(
      browserWorld(console),
      {
        status: () => this.#status(),
        output: (bytes, taken) => this.#output(bytes, taken),
        replay: (on) => this.#replay(on),
        hello: (hello, again) => this.#hello(hello, again),
        message: (message) => this.#message(message),
        lost: (bytes) => this.events.say(`${count(bytes)} typed bytes were not sent.`, true),
      },
      wish,
    );
  }

  /**
   * Begin, with a terminal, or without one where the installation has none.
   * @param {import("./terminal.js").Modules|null} modules
   * @param {HTMLElement} host
   * @param {{size?: string}} [options]
   */
  start(modules, host, options = {}) {
    if (modules !== null) {
      const terminal = new ConsoleTerminal(modules, host, { ...settings(), scrollback: this.wish.scrollback }, {
        typed: (text) => this.type(text),
        answer: (answer) => void this.socket.type(terminal.encode(answer)),
        place: () => ({ writes: this.socket.pen === "write", focused: document.hasFocus() && !document.hidden }),
        pasted: (clipboard) => this.paste(clipboard),
        copy: (text) => void copy(text, this.events.say),
        leave: () => this.events.leave?.(),
        link: async (address) => (await import("./dialogs.js")).showLink(address),
      });
      this.terminal = terminal;
      if (options.size) terminal.resize(options.size);
    }
    this.socket.start();
  }

  /** Whether to ask before the page is left: somebody types here. */
  get atWork() {
    const recently = this.typed > 0 && Date.now() - this.typed < RECENT;
    return recently && this.socket.live && this.socket.pen === "write" && settings().askBeforeLeaving;
  }

  stop() {
    this.slow?.cancel();
    this.socket.stop();
    this.terminal?.dispose();
    clearTimeout(this.#refreshing);
  }

  /** Ask again what is known of the console, soon. */
  refresh() {
    this.#refreshing ??= setTimeout(async () => {
      this.#refreshing = null;
      try {
        this.info = await json(consolePath(this.console), { quiet: true });
      } catch {
        return; // The connection says what is wrong.
      }
      this.events.changed();
    }, REFRESH_PAUSE);
  }

  /** @returns {import("./actions.js").Situation} */
  get situation() {
    const { info } = this;
    return {
      info,
      live: this.socket.live,
      pen: this.socket.pen,
      writers: this.#others(),
      others: Math.max(0, (info?.viewer_count ?? 1) - 1),
      shared: this.hello.shared ?? true,
    };
  }

  /** Who else writes: the server names everybody. */
  #others() {
    const me = this.hello.viewers?.find((/** @type {{you: boolean}} */ one) => one.you)?.who;
    const mine = this.socket.pen === "write" ? this.writers.indexOf(me) : -1;
    return this.writers.filter((_, place) => place !== mine);
  }

  #status() {
    if (!this.socket.live) {
      this.terminal?.stop();
      this.slow?.cancel();
    } else this.#asked = false;
    this.events.changed();
    if (this.socket.status.name === "login" && !this.#asked) {
      this.#asked = true;
      void this.again();
    }
  }

  /** Connect again, at once, if that is possible without a login or somebody logs in. */
  async again() {
    if (this.socket.status.name === "login" && !(await loginInPlace())) return;
    this.socket.retry();
    this.events.again?.();
  }

  /**
   * @param {Uint8Array} bytes
   * @param {() => void} taken
   */
  #output(bytes, taken) {
    if (this.terminal === null) taken();
    else this.terminal.write(bytes, taken);
    if (!this.#past) this.events.output?.();
  }

  /** @param {boolean} on what comes is from the log */
  #replay(on) {
    this.#past = on;
    this.terminal?.live(!on);
  }

  /**
   * @param {Record<string, any>} hello
   * @param {boolean} again
   */
  #hello(hello, again) {
    this.hello = hello;
    this.held = false;
    this.writers = hello.writers ?? [];
    if (hello.console) this.info = { ...hello.console, viewers: hello.viewers ?? [] };
    this.terminal?.live(true);
    if (again && !hello.resumed) this.terminal?.line("Some output is missing here. The last lines of the log follow.", "note");
    if (!again && hello.message) this.events.say(hello.message);
    this.attached = true;
    this.refresh();
    this.events.changed();
  }

  /** @param {Record<string, any>} message */
  #message(message) {
    switch (message.type) {
      case "pen":
        this.writers = message.writers ?? [];
        if (this.socket.pen !== "write") this.slow?.cancel();
        this.refresh();
        break;
      case "hold":
        this.held = message.on;
        break;
      case "skipped":
        this.terminal?.line(`${count(message.bytes)} bytes skipped: this browser is too slow. They are in the log.`, "note");
        break;
      case "notice":
        this.#notice(message);
        break;
    }
    this.events.changed();
  }

  /** @param {Record<string, any>} notice */
  #notice(notice) {
    const text = plain(notice.text);
    const at = long(new Date()).slice(11);
    if (notice.event === "line-down") this.terminal?.line(`${text || "The VM is disconnected."}`, "bad");
    else if (notice.event === "line-up" && !notice.vmotion) this.terminal?.line(`${text || "The VM is connected."} ${at}`, "good");
    const changes = CHANGES[notice.event]?.(notice);
    if (this.info && changes) this.info = { ...this.info, ...changes };
    if (this.info && notice.event === "joined") {
      this.info.viewers.push({ who: notice.who, mode: notice.writing ? "write" : "spy", since: new Date().toISOString(), skipped: 0 });
      this.info.viewer_count += 1;
    }
    if (this.info && notice.event === "left") {
      const place = this.info.viewers.findIndex(({ who }) => who === notice.who);
      if (place >= 0) this.info.viewers.splice(place, 1); // not all are named
      this.info.viewer_count -= 1;
    }
    if (!QUIET.has(notice.event)) this.refresh();
    this.events.happened?.(text);
    // The bar says who writes. What is essential stays until somebody has seen it.
    if (notice.event !== "promoted") this.events.say(text, notice.essential && notice.event !== "input-recorded");
  }

  // -- what goes

  /**
   * Type, as if it came from the keyboard.
   * @param {string} text
   * @returns {boolean} whether it goes
   */
  type(text) {
    const refused = this.socket.type(new TextEncoder().encode(text));
    if (refused === "") {
      this.typed = Date.now();
      return true;
    }
    this.#hint(refused);
    return false;
  }

  /**
   * Say why keys go nowhere, but not with each.
   * @param {"away"|"read-only"|"too-much"} why
   */
  #hint(why) {
    const now = Date.now();
    if (now - this.#hinted < HINT_PAUSE) return;
    this.#hinted = now;
    const texts = {
      away: "There is no connection: what you type goes nowhere.",
      "read-only": "You are read-only: what you type goes nowhere.",
      "too-much": "That is too much at once: 4 MiB may wait.",
    };
    this.events.say(texts[why]);
  }

  /** @param {string} clipboard */
  paste(clipboard) {
    if (clipboard === "") return;
    const what = paste(clipboard);
    if (!this.socket.live || this.socket.pen !== "write") this.#hint(this.socket.live ? "read-only" : "away");
    else if (what.ask) void import("./dialogs.js").then(({ showPaste }) => showPaste(what, (rate) => this.#paste(what.text, rate)));
    else this.#paste(what.text, 0);
  }

  /**
   * @param {string} text
   * @param {number} rate
   */
  #paste(text, rate) {
    const whole = this.terminal?.bracketed(text) ?? text;
    this.terminal?.focus();
    if (rate === 0) {
      this.type(whole);
      return;
    }
    this.slow?.cancel();
    this.slow = new SlowTyping(
      this.socket.world,
      new TextEncoder().encode(whole),
      rate,
      (bytes) => this.socket.waiting < 4096 && this.socket.type(bytes) === "",
      (sent, all) => {
        if (sent < 0 || sent === all) this.slow = null;
        this.events.say(pasteProgress(sent, all));
        this.events.changed();
      },
    );
  }
}

/**
 * A notice in the words of SSH without its brackets.
 * @param {string} [text]
 */
export function plain(text = "") {
  return text.replace(/^\[(-- )?/, "").replace(/( --)?\]$/, "");
}

/**
 * The world of a socket in a browser.
 * @param {string} console its id, or a name
 * @returns {import("./socket.js").World}
 */
function browserWorld(console) {
  return {
    now: () => Date.now(),
    later: (call, milliseconds) => setTimeout(call, milliseconds),
    cancel: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    open: (query) => {
      const url = new URL(address(consolePath(console, "attach"), query), location.href);
      url.protocol = url.protocol.replace("http", "ws");
      return new WebSocket(url, "vmproxy.v1");
    },
    probe: async () => {
      try {
        await ask("whoami", { quiet: true, signal: AbortSignal.timeout(5000) });
      } catch (error) {
        if (error instanceof Problem && error.status === 401) return "login";
      }
      return "other";
    },
  };
}

/**
 * Tell a socket what happens to the page and to its network.
 * @param {import("./socket.js").ConsoleSocket} socket
 */
export function follow(socket) {
  addEventListener("online", () => socket.online());
  onIdentity(() => {
    if (socket.status.name === "login") socket.retry();
  });
  document.addEventListener("visibilitychange", () => socket.visibility(document.hidden));
  addEventListener("pagehide", () => socket.stop());
}

/**
 * How far a slow paste is.
 * @param {number} sent
 * @param {number} all
 */
function pasteProgress(sent, all) {
  if (sent < 0) return "The paste was broken off.";
  return sent === all ? `Pasted ${size(all)}.` : `Pasting: ${count(sent)} of ${count(all)} bytes.`;
}
