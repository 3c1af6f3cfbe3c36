// What a terminal answers by itself. An answer is input that nobody typed, so there is a rule for it: live, with write
// access, from the page in front, two kinds only, and few.

/** @typedef {{live: boolean, writes: boolean, focused: boolean}} Place */

export const ANSWERS_A_SECOND = 5;

/** What a VT100 with advanced video says of itself. */
export const ATTRIBUTES = "\x1b[?1;2c";

export class Answers {
  /** @type {number[]} */
  #given = [];
  /** How many were asked for and not given. */
  swallowed = 0;

  /**
   * @param {() => number} now milliseconds
   * @param {() => Place} place
   * @param {(answer: string) => void} give
   */
  constructor(now, place, give) {
    this.now = now;
    this.place = place;
    this.give = give;
  }

  /**
   * The VM asks where the cursor is.
   * @param {number} row from 1
   * @param {number} column from 1
   */
  cursor(row, column) {
    this.#answer(`\x1b[${row};${column}R`);
  }

  /** The VM asks what terminal this is. */
  attributes() {
    this.#answer(ATTRIBUTES);
  }

  /** The VM asks anything else. */
  other() {
    this.swallowed += 1;
  }

  /** @param {string} answer */
  #answer(answer) {
    const { live, writes, focused } = this.place();
    const now = this.now();
    this.#given = this.#given.filter((at) => now - at < 1000);
    if (!live || !writes || !focused || this.#given.length >= ANSWERS_A_SECOND) {
      this.swallowed += 1;
      return;
    }
    this.#given.push(now);
    this.give(answer);
  }
}
