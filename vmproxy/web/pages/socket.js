// A console over a websocket: the client of `vmproxy.v1', without a page, a clock or a network of its own.
//
// It counts the bytes of the console's output. A cursor of the server names a place in them, so that a lost connection
// goes on at the byte where it ended: what came after the last cursor is sent again, and dropped here.

/**
 * @typedef {object} Wire what is used of a WebSocket
 * @property {string} binaryType
 * @property {number} bufferedAmount
 * @property {((event: any) => void)|null} onopen
 * @property {((event: any) => void)|null} onmessage
 * @property {((event: any) => void)|null} onclose
 * @property {(data: any) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * @typedef {object} World what is around it: clock, timers, chance, network
 * @property {() => number} now milliseconds, of a clock that goes on while the computer sleeps
 * @property {(call: () => void, milliseconds: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {() => number} random 0 to 1
 * @property {(query: Record<string, string>) => Wire} open
 * @property {() => Promise<"login"|"absent"|"other">} probe why a handshake failed: pages are not told
 */

/** @typedef {"write"|"spy"|"waits"} Pen */

/**
 * @typedef {object} Status
 * @property {"connecting"|"live"|"paused"|"waiting"|"login"|"ended"} name
 * @property {"lost"|"stopping"|"too-many"|"rights"|"absent"|"sent-off"|"impossible"|"left"} [why] of waiting and ended
 * @property {string} [reason] the server's words
 * @property {number} [until] of waiting: when it tries again
 */

/**
 * @typedef {object} Events what it tells
 * @property {(status: Status) => void} status
 * @property {(bytes: Uint8Array, taken: () => void) => void} output call `taken' when the terminal has processed them
 * @property {(on: boolean) => void} replay what comes is from the log, until it is not
 * @property {(hello: Record<string, any>, again: boolean) => void} hello `again': it was attached before
 * @property {(message: Record<string, any>) => void} message notice, pen, hold, skipped
 * @property {(bytes: number) => void} lost so many typed bytes were not sent
 */

/** A request that the server has refused, or that was under way when the connection went. */
export class Refused extends Error {
  /** @param {Record<string, any>} problem */
  constructor(problem) {
    super(problem.detail || problem.title || "refused");
    this.name = "Refused";
    /** @type {Record<string, any>} */
    this.fields = problem;
    this.kind = String(problem.type ?? "").replace(/^.*\//, "");
  }
}

export const ACK_BYTES = 32 * 1024;
export const ACK_PAUSE = 30;
export const KEYS_SLICE = 16 * 1024;
export const KEYS_UNDER_WAY = 64 * 1024;
export const KEYS_LONGEST = 4 * 1024 * 1024;
const KEYS_PAUSE = 20;
const TICK = 1000;
const GAP = 10 * 1000;
const GRACE = 3 * 1000;
const DEAD = 60 * 1000;
const HANDSHAKE = 20 * 1000;
const STEADY = 10 * 1000;
export const HIDDEN = 30 * 1000;
const LONGEST = 15 * 1000;

/** @type {Record<number, NonNullable<Status["why"]>>} */
const ENDS = { 4403: "rights", 4404: "absent", 4407: "sent-off", 4409: "impossible" };

/**
 * How long to wait before a try: none, then 0.5 to 15 s, half of it by chance.
 * @param {number} attempt
 * @param {number} chance 0 to 1
 */
export function backOff(attempt, chance) {
  return attempt === 0 ? 0 : Math.min(LONGEST, 500 * 2 ** attempt) * (0.5 + chance / 2);
}

export class ConsoleSocket {
  /** @type {Wire|null} */
  #wire = null;
  /** @type {Status} */
  #status = { name: "connecting" };
  #attempt = 0;
  #opened = false;
  #attached = false;
  #greeted = 0;
  /** @type {any} */
  #retry = null;
  /** @type {any} */
  #ticker = null;
  #ticked = 0;
  #heard = 0;
  #grace = 0;
  #hidden = false;
  /** @type {any} */
  #hiding = null;

  // Output: how much of it there was up to here, and at the last cursor.
  #count = 0;
  /** @type {string|null} */
  #cursor = null;
  #cursorAt = 0;
  /** Where the stream goes on if the server can do so; -1: nowhere; null: it is not asked. @type {number|null} */
  #resumeAt = null;
  #resuming = 0;
  #shown = 0;

  #unacknowledged = 0;
  #pending = 0;
  #acked = 0;
  /** @type {any} */
  #acking = null;

  /** @type {Uint8Array[]} */
  #keys = [];
  #keysWaiting = 0;
  #held = false;
  /** @type {any} */
  #typing = null;

  #number = 0;
  /** @type {Map<number, {done: (value: any) => void, failed: (why: Error) => void}>} */
  #requests = new Map();

  /** @type {Pen} */
  pen = "spy";

  /**
   * @param {World} world
   * @param {Events} events
   * @param {{mode: "write"|"spy", replay?: number, from?: string}} wish
   */
  constructor(world, events, wish) {
    this.world = world;
    this.events = events;
    this.mode = wish.mode;
    this.replay = wish.replay;
    this.#cursor = wish.from ?? null;
  }

  get status() {
    return this.#status;
  }

  get live() {
    return this.#status.name === "live";
  }

  /** Bytes that were typed and are not sent yet. */
  get waiting() {
    return this.#keysWaiting;
  }

  /** Whether the host takes no keys for the time being. */
  get held() {
    return this.#held;
  }

  // -- the connection

  start() {
    this.#ticked = this.world.now();
    this.#tick();
    this.#connect();
  }

  /** Leave. Nothing comes any more. */
  stop() {
    this.#become({ name: "ended", why: "left" });
    this.#drop();
    this.world.cancel(this.#ticker);
    this.world.cancel(this.#hiding);
  }

  /** Try at once: because somebody asks for it, or has logged in, or there is a network again. */
  retry() {
    if (this.#wire !== null || this.#status.why === "left") return;
    this.#attempt = 0;
    this.#connect();
  }

  /** The browser has a network again. */
  online() {
    if (this.#status.name === "waiting") this.retry();
  }

  /** @param {boolean} hidden whether the page is */
  visibility(hidden) {
    if (hidden === this.#hidden) return;
    this.#hidden = hidden;
    this.world.cancel(this.#hiding);
    if (hidden) {
      this.#hiding = this.world.later(() => this.#pause(), HIDDEN);
      return;
    }
    this.#ticked = this.world.now();
    if (this.#status.name === "paused") {
      if (this.#wire === null) {
        this.retry();
        return;
      }
      this.#resumeAt = this.#cursor === null ? -1 : this.#cursorAt;
      this.#resuming = this.#number += 1;
      this.#say({ type: "resume", id: this.#resuming, ...(this.#cursor !== null && { from: this.#cursor }) });
      this.#become({ name: "live" });
    } else if (this.#status.name === "waiting") this.retry();
  }

  #pause() {
    if (this.#status.name === "live") {
      if (this.#resumeAt !== null) return; // the server is about to go on: the two would miss each other
      this.#say({ type: "pause" });
    } else if (this.#status.name !== "waiting") return;
    this.world.cancel(this.#retry);
    this.#become({ name: "paused" });
  }

  #connect() {
    this.world.cancel(this.#retry);
    this.#become({ name: "connecting" });
    /** @type {Record<string, string>} */
    const query = { mode: this.mode };
    if (this.#cursor !== null) query.from = this.#cursor;
    if (this.replay !== undefined) query.replay = String(this.replay);
    this.#resumeAt = this.#cursor === null ? -1 : this.#cursorAt;
    this.#opened = false;
    this.#heard = this.world.now();
    const wire = this.world.open(query);
    this.#wire = wire;
    wire.binaryType = "arraybuffer";
    wire.onopen = () => {
      if (this.#wire !== wire) return;
      this.#opened = true;
      this.#heard = this.world.now();
    };
    wire.onmessage = (/** @type {{data: unknown}} */ event) => {
      if (this.#wire === wire) this.#received(event.data);
    };
    wire.onclose = (/** @type {{code: number, reason: string}} */ event) => {
      if (this.#wire === wire) this.#closed(event.code, event.reason);
    };
  }

  /** Be done with the connection there is, and with all that was under way on it. */
  #drop() {
    const wire = this.#wire;
    this.#wire = null;
    this.#greeted = 0;
    if (wire !== null) {
      wire.onopen = wire.onmessage = wire.onclose = null;
      wire.close(1000);
    }
    this.world.cancel(this.#retry);
    this.world.cancel(this.#acking);
    this.world.cancel(this.#typing);
    this.#acking = this.#typing = null;
    this.#unacknowledged = this.#pending = 0;
    this.#held = false;
    this.#forgetKeys();
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { failed } of requests) failed(new Refused({ type: "away", title: "The connection went" }));
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    const steady = this.#greeted && this.world.now() - this.#greeted > STEADY;
    const failed = !this.#opened;
    if (steady) this.#attempt = 0;
    this.#drop();
    if (code === 4401) this.#become({ name: "login", reason });
    else if (code in ENDS) this.#become({ name: "ended", why: ENDS[code], reason });
    else if (this.#status.name === "paused") this.#become({ name: "paused" });
    else if (failed) this.#ask(reason);
    else this.#again(code === 1001 ? "stopping" : code === 4429 ? "too-many" : "lost", reason);
  }

  /**
   * A handshake failed: is it that the login has ended?
   * @param {string} reason
   */
  async #ask(reason) {
    const why = await this.world.probe().catch(() => /** @type {const} */ ("other"));
    if (this.#wire !== null || this.#status.name !== "connecting") return;
    if (why === "login") this.#become({ name: "login", reason });
    else if (why === "absent") this.#become({ name: "ended", why: "absent", reason });
    else this.#again("lost", reason);
  }

  /**
   * @param {NonNullable<Status["why"]>} why
   * @param {string} reason
   */
  #again(why, reason) {
    // A server that stops, or has too many, is not helped by all of its pages at once.
    if (why === "stopping") this.#attempt = Math.max(this.#attempt, 1);
    if (why === "too-many") this.#attempt = Math.max(this.#attempt, 4);
    const pause = backOff(this.#attempt, this.world.random());
    this.#attempt += 1;
    this.#become({ name: "waiting", why, reason, until: this.world.now() + pause });
    this.#retry = this.world.later(() => this.#connect(), pause);
  }

  #tick() {
    const now = this.world.now();
    const gap = now - this.#ticked > GAP && !this.#hidden;
    this.#ticked = now;
    this.#ticker = this.world.later(() => this.#tick(), TICK);
    if (gap) {
      // The computer slept. What the socket has received meanwhile comes in a moment.
      this.#grace = now + GRACE;
      if (this.#status.name === "waiting") this.retry();
    }
    const silence = this.#status.name === "connecting" ? HANDSHAKE : DEAD;
    if (this.#wire !== null && now - this.#heard > silence && now >= this.#grace) this.#closed(1006, "no answer");
    else if (this.#status.name === "waiting") this.events.status(this.#status);
  }

  /** @param {Status} status */
  #become(status) {
    if (this.#status.why === "left") return;
    this.#status = status;
    this.events.status(status);
  }

  // -- what comes

  /** @param {unknown} data */
  #received(data) {
    this.#heard = this.world.now();
    if (typeof data !== "string") {
      this.#output(new Uint8Array(/** @type {ArrayBuffer} */ (data)));
      return;
    }
    const message = JSON.parse(data);
    switch (message.type) {
      case "hello":
        this.#hello(message);
        break;
      case "replay":
        this.events.replay(message.on);
        break;
      case "cursor":
        this.#cursor = message.cursor;
        this.#cursorAt = this.#count;
        break;
      case "skipped":
        this.#count += message.bytes;
        this.events.message(message);
        break;
      case "pen":
        this.#penIs(message.mode);
        this.events.message(message);
        break;
      case "hold":
        this.#held = message.on;
        this.events.message(message);
        this.#flush();
        break;
      case "notice":
        this.events.message(message);
        break;
      case "done":
        if (message.id === this.#resuming) this.#goesOn(message.resumed);
        this.#requests.get(message.id)?.done(message);
        this.#requests.delete(message.id);
        break;
      case "reject":
        if (message.id === undefined || message.id === null) this.events.message(message);
        else this.#requests.get(message.id)?.failed(new Refused(message.problem));
        this.#requests.delete(message.id);
        break;
    }
  }

  /** @param {Record<string, any>} message */
  #hello(message) {
    const again = this.#attached;
    this.#attached = true;
    this.#greeted ||= this.world.now();
    this.#goesOn(message.resumed);
    this.#penIs(message.pen ?? message.mode);
    this.#become(this.#status.name === "paused" ? this.#status : { name: "live" });
    this.events.hello(message, again);
  }

  /** @param {boolean} resumed from the cursor; if not, with the last lines */
  #goesOn(resumed) {
    const at = this.#resumeAt;
    if (at === null) return;
    this.#resumeAt = null;
    if (resumed && at >= 0) {
      // From the cursor on it comes again: the bytes that were shown after it are dropped.
      this.#shown = Math.max(this.#shown, this.#count);
      this.#count = at;
      this.#cursorAt = at;
    } else this.#shown = this.#count;
  }

  /** @param {Pen} pen */
  #penIs(pen) {
    this.pen = pen;
    // The next connection asks for write access if this one had it or waited for it, and forces nobody.
    this.mode = pen === "spy" ? "spy" : "write";
    if (pen !== "write") this.#forgetKeys();
  }

  /** @param {Uint8Array} bytes */
  #output(bytes) {
    const wire = this.#wire;
    this.#unacknowledged += bytes.length;
    const doubled = Math.min(bytes.length, Math.max(0, this.#shown - this.#count));
    this.#count += bytes.length;
    if (doubled > 0) this.#taken(doubled);
    const fresh = doubled > 0 ? bytes.subarray(doubled) : bytes;
    if (fresh.length === 0) return;
    this.events.output(fresh, () => {
      if (this.#wire === wire) this.#taken(fresh.length);
    });
  }

  /** @param {number} bytes that the terminal has processed */
  #taken(bytes) {
    this.#pending += bytes;
    if (this.#acking !== null) return;
    if (this.#pending < ACK_BYTES && this.#pending < this.#unacknowledged) return;
    const pause = this.#acked + ACK_PAUSE - this.world.now();
    if (pause <= 0) this.#acknowledge();
    else this.#acking = this.world.later(() => this.#acknowledge(), pause);
  }

  #acknowledge() {
    this.#acking = null;
    if (this.#pending === 0) return;
    this.#acked = this.world.now();
    this.#say({ type: "ack", bytes: this.#pending });
    this.#unacknowledged -= this.#pending;
    this.#pending = 0;
  }

  // -- what goes

  /**
   * Type bytes, after what was typed before.
   * @param {Uint8Array} bytes
   * @returns {""|"away"|"read-only"|"too-much"} why they go nowhere
   */
  type(bytes) {
    if (!this.live) return "away";
    if (this.pen !== "write") return "read-only";
    if (this.#keysWaiting + bytes.length > KEYS_LONGEST) return "too-much";
    this.#keys.push(bytes);
    this.#keysWaiting += bytes.length;
    this.#flush();
    return "";
  }

  /** Forget what is typed and not sent yet. */
  cancelKeys() {
    const waiting = this.#keysWaiting;
    this.#keys = [];
    this.#keysWaiting = 0;
    return waiting;
  }

  #forgetKeys() {
    const lost = this.cancelKeys();
    if (lost > 0) this.events.lost(lost);
  }

  #flush() {
    while (this.#keys.length > 0 && this.#wire !== null && !this.#held) {
      if (this.#wire.bufferedAmount > KEYS_UNDER_WAY) {
        this.#typing ??= this.world.later(() => {
          this.#typing = null;
          this.#flush();
        }, KEYS_PAUSE);
        return;
      }
      const first = this.#keys[0];
      const slice = first.subarray(0, KEYS_SLICE);
      if (slice.length === first.length) this.#keys.shift();
      else this.#keys[0] = first.subarray(KEYS_SLICE);
      this.#keysWaiting -= slice.length;
      this.#wire.send(slice);
    }
  }

  /**
   * Ask for something: take, drop, join, force, break, sequence, message, note.
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<Record<string, any>>}
   */
  request(type, fields = {}) {
    if (!this.live) return Promise.reject(new Refused({ type: "away", title: "There is no connection" }));
    this.#number += 1;
    const id = this.#number;
    return new Promise((done, failed) => {
      this.#requests.set(id, { done, failed });
      this.#say({ type, id, ...fields });
    });
  }

  /** @param {Record<string, unknown>} message */
  #say(message) {
    this.#wire?.send(JSON.stringify(message));
  }
}
