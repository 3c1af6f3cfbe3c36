// What the list shows, as its address has it and as the API takes it.

import { STATES } from "./words.js";

export const SORTS = /** @type {const} */ (["name", "since", "last_output"]);

/**
 * @typedef {object} View
 * @property {string} filter as typed: a part of the name, a GLOB, "uuid:GLOB", "query:GLOB", words about columns
 * @property {string[]} states none: all
 * @property {typeof SORTS[number]} sort
 */

const FILTER_LIMIT = 256;

/**
 * @param {string} search of the page's address
 * @returns {View}
 */
export function fromAddress(search) {
  const words = new URLSearchParams(search);
  const states = words.getAll("state");
  const sort = SORTS.find((one) => one === words.get("sort"));
  return {
    filter: (words.get("filter") ?? "").slice(0, FILTER_LIMIT),
    states: STATES.filter((state) => states.includes(state)),
    sort: sort ?? "name",
  };
}

/**
 * The address of a view, with nothing in it that goes without saying.
 * @param {View} view
 */
export function toAddress(view) {
  const words = new URLSearchParams();
  if (view.filter) words.set("filter", view.filter);
  for (const state of view.states) words.append("state", state);
  if (view.sort !== "name") words.set("sort", view.sort);
  const text = words.toString();
  return text ? `/?${text}` : "/";
}

/**
 * What the API is asked for. A GLOB stands for the whole name, other words for a part of it; a uuid may be its beginning.
 * @param {View} view
 * @returns {import("./api.js").Query}
 */
export function toQuery(view) {
  const text = view.filter.trim();
  const sort = view.sort;
  const state = view.states.length ? view.states.join(",") : null;
  const begins = /^(uuid|query):(.+)$/i.exec(text);
  if (begins) {
    const glob = begins[1].toLowerCase() === "uuid" && !/[*?[]/.test(begins[2]) ? `${begins[2]}*` : begins[2];
    return { on: `${begins[1].toLowerCase()}:${glob}`, state, sort };
  }
  if (/[*?[]/.test(text) && !/(^| )\w+:/.test(text)) return { on: text, state, sort };
  return { q: text, state, sort };
}
