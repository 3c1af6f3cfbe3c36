// Elements made from data. Text is only ever text: nothing here parses HTML.

/** @typedef {Node|string|number|null|undefined|false} Child */

/**
 * Make an element. A property that begins with "on" is a listener, "class" and "data-" and "aria-" are attributes; null,
 * undefined and false leave an attribute out, true sets it empty.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

/**
 * @param {Child[]} children
 * @returns {(Node|string)[]}
 */
function flat(children) {
  /** @type {(Node|string)[]} */
  const result = [];
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    result.push(typeof child === "number" ? String(child) : child);
  }
  return result;
}

/**
 * Put children in the place of what an element has.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
}

/**
 * The element with an id that has to be there.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {{ new (): T }} kind
 * @returns {T}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`no ${kind.name} #${id}`);
  return element;
}
