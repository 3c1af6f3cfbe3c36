// The websocket of the pages: what is in view is kept up to date, and how many there are of everything.

import { PREFIX } from "./api.js";
import { loginInPlace } from "./shell.js";

/**
 * @typedef {object} Told
 * @property {(rows: any[]) => void} [rows] consoles that have changed
 * @property {(counts: Record<string, number>) => void} [counts] how many consoles are in which state
 * @property {(alerts: any) => void} [alerts]
 * @property {(connected: boolean) => void} [connected]
 */

const PROTOCOL = "vmproxy.v1";
const WATCHED = 200;
const DEAD_SECONDS = 60;
const LONGEST_SECONDS = 15;
const LOGIN_ENDED = 4401;

/**
 * How long to wait before a try; at once first, then longer each time, never two pages at the same moment.
 * @param {number} tries that have failed
 * @param {() => number} [random]
 */
export function delay(tries, random = Math.random) {
  if (tries === 0) return 0;
  return Math.min(LONGEST_SECONDS, 0.5 * 2 ** (tries - 1)) * (0.5 + random() / 2);
}

/** One connection, made again whenever it goes. */
export class Live {
  /** @param {Told} told */
  constructor(told) {
    this._told = told;
    /** @type {string[]} */
    this._ids = [];
    /** @type {WebSocket|null} */
    this._socket = null;
    this._tries = 0;
    this._heard = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this._timer = undefined;
    this._over = new AbortController();
    this._connect();
    const { signal } = this._over;
    addEventListener("online", () => this._now(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this._now(), { signal });
    this._beat = setInterval(() => this._check(), 5000);
  }

  /** End it for good. */
  close() {
    this._over.abort();
    clearInterval(this._beat);
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    socket?.close();
  }

  /**
   * What is in view now.
   * @param {string[]} ids
   */
  watch(ids) {
    const wanted = ids.slice(0, WATCHED);
    if (wanted.length === this._ids.length && wanted.every((id, place) => id === this._ids[place])) return;
    this._ids = wanted;
    this._send();
  }

  _send() {
    if (this._socket?.readyState === WebSocket.OPEN) this._socket.send(JSON.stringify({ type: "watch", ids: this._ids }));
  }

  _connect() {
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${PREFIX}live`, PROTOCOL);
    this._socket = socket;
    this._heard = Date.now();
    socket.addEventListener("open", () => {
      this._tries = 0;
      this._told.connected?.(true);
      this._send();
    });
    socket.addEventListener("message", (event) => {
      this._heard = Date.now();
      if (typeof event.data !== "string") return;
      const message = JSON.parse(event.data);
      if (message.type === "rows") this._told.rows?.(message.rows ?? message.items);
      else if (message.type === "counts") this._told.counts?.(message.counts ?? message);
      else if (message.type === "alerts") this._told.alerts?.(message);
    });
    socket.addEventListener("close", (event) => void this._closed(socket, event.code));
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  async _closed(socket, code) {
    if (socket !== this._socket) return;
    this._socket = null;
    this._told.connected?.(false);
    if (code === LOGIN_ENDED && !(await loginInPlace())) return;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._connect(), delay(this._tries) * 1000);
    this._tries += 1;
  }

  _now() {
    if (this._socket !== null) {
      this._check();
      return;
    }
    this._tries = 0;
    clearTimeout(this._timer);
    this._connect();
  }

  _check() {
    const socket = this._socket;
    if (socket === null || Date.now() - this._heard < DEAD_SECONDS * 1000) return;
    socket.close();
    // Without an answer the browser would wait for the other side.
    void this._closed(socket, 0);
  }
}
