/**
 * Where a login leads: to the path that "next" has, if it is one of this site; else to the list.
 * @param {string} search the query of the login page
 */
export function landing(search) {
  const next = new URLSearchParams(search).get("next") ?? "";
  // What browsers take for another host begins with two strokes, of either kind; blanks and controls they drop.
  return /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(next) ? next : "/";
}
