// The HTTP API as the pages use it: JSON, problems as exceptions, lists page by page, streams of objects.

export const PREFIX = "/api/v1/";

/**
 * @typedef {object} ProblemFields RFC 9457
 * @property {string} type
 * @property {string} title
 * @property {number} status
 * @property {string} [detail]
 * @property {{parameter: string, reason: string}[]} [errors]
 * @property {string[]} [writers]
 * @property {{id: string, name: string}[]} [candidates]
 */

/** What the server has refused, or that it cannot be reached (status 0). */
export class Problem extends Error {
  /**
   * @param {ProblemFields} fields
   * @param {number} [retryAfter] seconds; 0 if the server has not said
   */
  constructor(fields, retryAfter = 0) {
    super(fields.detail || fields.title);
    this.name = "Problem";
    this.fields = fields;
    this.status = fields.status;
    /** The NAME of its type: "not-found", say; "unreachable" without an answer. */
    this.kind = fields.type.slice(fields.type.lastIndexOf("/") + 1);
    this.retryAfter = retryAfter;
  }
}

/** @typedef {string|number|boolean|null|undefined} Plain */
/** @typedef {Record<string, Plain|readonly Plain[]>} Query */

/**
 * A path with its query; null, undefined, false and "" leave a parameter out, a list has commas between.
 * @param {string} path
 * @param {Query} [query]
 */
export function address(path, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    const text = Array.isArray(value) ? value.join(",") : value === true ? "1" : String(value ?? "");
    if (text !== "" && value !== false) words.append(name, text);
  }
  const text = words.toString();
  return (path.startsWith("/") ? path : PREFIX + path) + (text && `?${text}`);
}

/**
 * Asks for the password in place: resolves to true when somebody has logged in, to false when they will not.
 * @type {() => Promise<boolean>}
 */
let login = async () => false;

/**
 * What is done when a session has ended; the shell sets it.
 * @param {() => Promise<boolean>} ask
 */
export function onUnauthenticated(ask) {
  login = ask;
}

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {Query} [query]
 * @property {unknown} [json] a body
 * @property {BodyInit} [body] a body of bytes
 * @property {AbortSignal} [signal]
 * @property {Record<string, string>} [headers]
 * @property {boolean} [quiet] no login in place: 401 is a problem like others
 */

/**
 * Ask, and get the answer, if it is a good one.
 * @param {string} path under the prefix, or from the root
 * @param {Options} [options]
 * @returns {Promise<Response>}
 * @throws {Problem}
 */
export async function ask(path, options = {}) {
  for (;;) {
    const response = await once(path, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status !== 401 || options.quiet || !(await login())) throw problem;
  }
}

/**
 * @param {string} path
 * @param {Options} options
 */
async function once(path, options) {
  const headers = { ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(options.json);
  } else if (body !== undefined) headers["content-type"] ??= "application/octet-stream";
  try {
    return await fetch(address(path, options.query), {
      method: options.method ?? (body === undefined ? "GET" : "POST"),
      headers,
      body,
      signal: options.signal,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem({ type: "/problems/unreachable", title: "The server cannot be reached", status: 0 });
  }
}

/**
 * The problem that an answer tells.
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
export async function problemOf(response) {
  const retry = Number(response.headers.get("retry-after")) || 0;
  try {
    const fields = await response.json();
    if (typeof fields.type === "string" && typeof fields.title === "string") return new Problem(fields, retry);
  } catch {
    // Not from vmproxy: a proxy, perhaps.
  }
  return new Problem({ type: "/problems/unknown", title: `The answer was ${response.status}`, status: response.status }, retry);
}

/**
 * The JSON of an answer; undefined if it has none.
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function json(path, options = {}) {
  const response = await ask(path, options);
  return response.status === 204 ? undefined : response.json();
}

/**
 * All pages of a list, one after another.
 * @template T
 * @param {string} path
 * @param {Query} [query] "limit" is how many a page has at most
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<T[]>}
 */
export async function* pages(path, query = {}, signal) {
  let after = null;
  do {
    const page = await json(path, { query: { ...query, after }, signal });
    yield page.items;
    after = page.next;
  } while (after !== null);
}

/**
 * The objects of a stream (application/x-ndjson), as they come.
 * @param {string} path
 * @param {Options} [options]
 * @returns {AsyncGenerator<any>}
 */
export async function* objects(path, options = {}) {
  const response = await ask(path, options);
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = /** @type {string} */ (lines.pop());
      for (const line of lines) if (line) yield JSON.parse(line);
    }
    if (rest) yield JSON.parse(rest);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * The id of the console that an event, a hit or a session names.
 * @param {{id?: string, uuid: string, port?: string|null}} named
 */
export function consoleId(named) {
  return !named.port || named.port === "1" ? named.uuid : `${named.uuid}.${named.port}`;
}

/**
 * The path of something of a console under the prefix.
 * @param {string} id
 * @param {string} [rest]
 */
export function consolePath(id, rest = "") {
  return `consoles/${encodeURIComponent(id)}${rest && `/${rest}`}`;
}
