// A list of thousands of which a few are in view: which those are, and what of it has been loaded.

/**
 * The rows to draw: those in view and some around them, as [first, last + 1].
 * @param {number} top how far it is scrolled
 * @param {number} height of the view
 * @param {number} row height of one
 * @param {number} total
 * @param {number} [around]
 * @returns {[number, number]}
 */
export function inView(top, height, row, total, around = 8) {
  const first = Math.floor(Math.max(0, top) / row) - around;
  const last = Math.ceil((Math.max(0, top) + height) / row) + around;
  return [Math.max(0, Math.min(first, total)), Math.max(0, Math.min(last, total))];
}

export const PAGE = 200;
const LONG_PAGE = 1000;

/**
 * @template T
 * @typedef {object} Part a page of a list, as the API answers
 * @property {T[]} items
 * @property {string|null} next
 * @property {number} [total] of the whole list
 */

/**
 * A list of which the beginning has been loaded. The API gives pages one after another, so whoever wants to see the end
 * waits for what is before it; far away, pages are longer.
 * @template {{id: string}} T
 */
export class Loaded {
  /** @param {(after: string|null, limit: number, signal: AbortSignal) => Promise<Part<T>>} fetchPart */
  constructor(fetchPart) {
    /** @type {T[]} */
    this.items = [];
    this.total = 0;
    this.complete = false;
    this._fetch = fetchPart;
    /** @type {string|null} */
    this._next = null;
    this._wanted = 0;
    /** @type {Promise<void>|null} */
    this._loading = null;
    this._abort = new AbortController();
    /** @type {Map<string, number>} */
    this._places = new Map();
  }

  /**
   * Load until there are so many, or all.
   * @param {number} many
   * @param {() => void} [grown] called after each page
   * @returns {Promise<void>}
   */
  load(many, grown = () => {}) {
    this._wanted = Math.max(this._wanted, many);
    this._loading ??= this._load(grown).finally(() => (this._loading = null));
    return this._loading;
  }

  /** @param {() => void} grown */
  async _load(grown) {
    while (!this.complete && this.items.length < Math.max(this._wanted, 1)) {
      const limit = this._wanted - this.items.length > 2 * PAGE ? LONG_PAGE : PAGE;
      const part = await this._fetch(this._next, limit, this._abort.signal);
      for (const item of part.items) {
        if (this._places.has(item.id)) continue;
        this._places.set(item.id, this.items.length);
        this.items.push(item);
      }
      this._next = part.next;
      this.complete = part.next === null;
      // Without a total, as much as one page is more than what there is.
      this.total = this.complete ? this.items.length : Math.max(part.total ?? 0, this.items.length + 1);
      grown();
    }
  }

  /**
   * Put newer items in the place of those with their ids.
   * @param {T[]} items
   * @returns {number[]} their indices
   */
  update(items) {
    const changed = [];
    for (const item of items) {
      const place = this._places.get(item.id);
      if (place === undefined) continue;
      this.items[place] = { ...this.items[place], ...item };
      changed.push(place);
    }
    return changed;
  }

  /** Give up what is under way. */
  abandon() {
    this._abort.abort();
  }
}
