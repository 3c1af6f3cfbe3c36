// Words for people: times, spans, sizes, numbers, states, problems.

const NUMBER = new Intl.NumberFormat("en");
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {number} number */
export function count(number) {
  return NUMBER.format(number);
}

/**
 * "1 console", "2 consoles".
 * @param {number} number
 * @param {string} noun
 * @param {string} [many]
 */
export function counted(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}

/**
 * "482 bytes", "12.3 KiB".
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1024) return counted(bytes, "byte");
  let value = bytes;
  let unit = "";
  for (unit of ["KiB", "MiB", "GiB", "TiB"]) {
    value /= 1024;
    if (value < 1023.95) break;
  }
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/**
 * How long: "12 s", "5 min", "3 h 05 min", "4 d 7 h".
 * @param {number} seconds
 */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${two(Math.floor((whole % HOUR) / MINUTE))} min`;
  return `${Math.floor(whole / DAY)} d ${Math.floor((whole % DAY) / HOUR)} h`;
}

/** @param {number} number */
function two(number) {
  return String(number).padStart(2, "0");
}

/**
 * A time of the API, or null; nothing that is no time.
 * @param {string|null|undefined} text
 * @returns {Date|null}
 */
export function time(text) {
  if (!text) return null;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? null : date;
}

/**
 * A time in few characters, in the browser's zone: the time of day of today, else the day: "16:09", "22 Nov", "2025-11-22".
 * @param {Date|null} date
 * @param {Date} [now]
 */
export function short(date, now = new Date()) {
  if (date === null) return "";
  if (date.toDateString() === now.toDateString()) return `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (date.getFullYear() === now.getFullYear()) return `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  return iso(date).slice(0, 10);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * A time to the second, in the browser's zone: "2026-11-22 16:09:13".
 * @param {Date|null} date
 */
export function long(date) {
  return date === null ? "" : iso(date).slice(0, 19).replace("T", " ");
}

/** @param {Date} date */
function iso(date) {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString();
}

/**
 * How long ago: "12 s ago"; "now" for the future, too: clocks differ.
 * @param {Date|null} date
 * @param {Date} [now]
 */
export function ago(date, now = new Date()) {
  if (date === null) return "";
  const seconds = (now.getTime() - date.getTime()) / 1000;
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

/** The states of a console, each in words. */
export const STATES = /** @type {const} */ (["up", "down", "migrating"]);

/** @typedef {typeof STATES[number]} State */

/** @param {string} state */
export function stateWord(state) {
  return state === "migrating" ? "vMotion" : state;
}

/**
 * What is wrong, for the person in front of it.
 * @param {unknown} error
 * @returns {string}
 */
export function wrong(error) {
  const fields = /** @type {{fields?: import("./api.js").ProblemFields, retryAfter?: number}} */ (error).fields;
  if (!fields) return error instanceof Error ? error.message : String(error);
  const parts = [fields.detail || fields.title];
  for (const one of fields.errors ?? []) parts.push(`${one.parameter}: ${one.reason}`);
  if (fields.writers?.length) parts.push(`Write access: ${fields.writers.join(", ")}`);
  const retry = /** @type {{retryAfter?: number}} */ (error).retryAfter;
  if (retry) parts.push(`Try again in ${span(retry)}`);
  return parts.map((part) => part.replace(/\.$/, "")).join(". ") + ".";
}
