// Playing the log of a console: windows of a recording, a place in time, a pace. Without a page or a clock of its own.

/**
 * @typedef {object} Piece
 * @property {number} at milliseconds since the epoch
 * @property {string} text
 */

/**
 * @typedef {object} Window a part of a recording
 * @property {number} start milliseconds since the epoch
 * @property {number} end of its last piece
 * @property {string} before what stood before it
 * @property {Piece[]} pieces
 * @property {string|null} next where the next one is; null: it is the last
 */

/**
 * @typedef {object} PlayerEvents
 * @property {(text: string) => void} output
 * @property {(before: string) => void} reset the screen is empty, then this is on it
 * @property {() => void} changed place, pace, or whether it plays
 * @property {(error: unknown) => void} failed
 */

/** @typedef {(wish: {since: number}|{next: string}) => Promise<Window>} Load */

export const RATES = /** @type {const} */ ([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]);
export const SILENCE = 2000;
const TICK_CHARACTERS = 256 * 1024;

/**
 * A window from an asciicast. Its header has the start to the millisecond, and whether the first output is what stood
 * before it.
 * @param {string} text
 * @param {string|null} next
 * @returns {Window}
 */
export function parse(text, next) {
  const lines = text.split("\n");
  const header = JSON.parse(lines[0]);
  const start = Math.round(1000 * (header.vmproxy?.start ?? 0));
  /** @type {string|null} */
  let before = header.vmproxy?.lead ? null : "";
  /** @type {Piece[]} */
  const pieces = [];
  for (const line of lines.slice(1)) {
    if (line === "") continue;
    const [at, kind, data] = JSON.parse(line);
    if (kind !== "o") continue;
    if (before === null) before = data;
    else pieces.push({ at: start + Math.round(1000 * at), text: data });
  }
  return { start, end: pieces.at(-1)?.at ?? start, before: before ?? "", pieces, next };
}

export class Player {
  /** @type {Window|null} */
  #window = null;
  /** @type {Window|null} */
  #ahead = null;
  #fetching = false;
  #index = 0;
  #seek = 0;

  playing = false;
  loading = false;
  ended = false;
  /** @type {number} */
  rate = 1;
  cut = true;
  position = 0;

  /**
   * @param {Load} load
   * @param {PlayerEvents} events
   */
  constructor(load, events) {
    this.load = load;
    this.events = events;
  }

  play() {
    if (this.ended || this.#window === null) return;
    this.playing = true;
    this.events.changed();
  }

  pause() {
    this.playing = false;
    this.events.changed();
  }

  /**
   * Go to a time: within a window that is there from its beginning, else by another one.
   * @param {number} time
   */
  async seek(time) {
    this.#seek += 1;
    const seek = this.#seek;
    this.ended = false;
    const window = [this.#window, this.#ahead].find((one) => one !== null && one.start <= time && time <= one.end);
    if (window) {
      if (window === this.#ahead) this.#ahead = null;
      this.loading = false;
      this.#show(window, time);
      return;
    }
    this.loading = true;
    this.position = time;
    this.events.changed();
    try {
      const loaded = await this.load({ since: time });
      if (seek !== this.#seek) return;
      this.#ahead = null;
      this.loading = false;
      this.#show(loaded, time);
    } catch (error) {
      if (seek !== this.#seek) return;
      this.loading = this.playing = false;
      this.events.failed(error);
      this.events.changed();
    }
  }

  /**
   * @param {Window} window
   * @param {number} time
   */
  #show(window, time) {
    this.#window = window;
    this.#index = 0;
    this.position = time;
    let text = window.before;
    while (this.#index < window.pieces.length && window.pieces[this.#index].at <= time) {
      text += window.pieces[this.#index].text;
      this.#index += 1;
    }
    this.events.reset(text);
    this.#lookAhead();
    this.events.changed();
  }

  /**
   * Time goes by.
   * @param {number} elapsed milliseconds
   */
  advance(elapsed) {
    if (!this.playing || this.loading) return;
    let budget = elapsed * this.rate;
    let characters = 0;
    while (characters < TICK_CHARACTERS) {
      const piece = this.#peek();
      if (piece === null) break;
      if (this.cut && piece.at - this.position > SILENCE) this.position = piece.at - SILENCE;
      const gap = Math.max(0, piece.at - this.position);
      if (gap > budget) {
        this.position += budget;
        break;
      }
      budget -= gap;
      this.position = Math.max(this.position, piece.at);
      this.#index += 1;
      characters += piece.text.length;
      this.events.output(piece.text);
    }
    this.#lookAhead();
    this.events.changed();
  }

  /** The piece that comes next; null at the end, or when it is not there yet. @returns {Piece|null} */
  #peek() {
    const window = this.#window;
    if (window === null) return null;
    if (this.#index < window.pieces.length) return window.pieces[this.#index];
    if (window.next === null) {
      this.playing = false;
      this.ended = true;
      return null;
    }
    if (this.#ahead === null) return null;
    this.#window = this.#ahead;
    this.#ahead = null;
    this.#index = 0;
    return this.#peek();
  }

  /** Get the next window when half of this one is played. No more than two are held. */
  async #lookAhead() {
    const window = this.#window;
    if (window === null || window.next === null || this.#ahead !== null || this.#fetching) return;
    if (this.#index < window.pieces.length / 2) return;
    this.#fetching = true;
    try {
      const ahead = await this.load({ next: window.next });
      if (this.#window === window) this.#ahead = ahead;
    } catch (error) {
      this.playing = false;
      this.events.failed(error);
      this.events.changed();
    } finally {
      this.#fetching = false;
    }
  }

  /** When the VM says something next; null if that is not known, or never. @returns {number|null} */
  get nextOutput() {
    for (const window of [this.#window, this.#ahead]) {
      const piece = window?.pieces.find((one) => one.at > this.position + 1);
      if (piece) return piece.at;
    }
    return null;
  }

  /** How many windows are held. */
  get held() {
    return Number(this.#window !== null) + Number(this.#ahead !== null);
  }
}

/**
 * The first of some times after one; null if there is none.
 * @param {readonly number[]} times in order
 * @param {number} position
 * @returns {number|null}
 */
export function nextOf(times, position) {
  return times.find((one) => one > position + 1) ?? null;
}

/**
 * The address in a Link header with rel="next".
 * @param {string|null} header
 * @returns {string|null}
 */
export function nextLink(header) {
  const found = /<([^>]+)>\s*;\s*rel="?next"?/.exec(header ?? "");
  return found ? found[1] : null;
}

/**
 * How high the bar of each bucket is, 0 to 1: by the logarithm, for a burst says nothing about the rest.
 * @param {readonly number[]} buckets
 */
export function heights(buckets) {
  const most = Math.max(1, ...buckets);
  return buckets.map((bytes) => (bytes === 0 ? 0 : 0.15 + (0.85 * Math.log1p(bytes)) / Math.log1p(most)));
}
