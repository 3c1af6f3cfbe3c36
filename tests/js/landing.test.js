import assert from "node:assert/strict";
import { test } from "node:test";

import { landing } from "../../vmproxy/web/pages/landing.js";

test("a login leads to a path of this site only", () => {
  const to = (next) => landing(`?next=${encodeURIComponent(next)}`);
  assert.equal(landing(""), "/");
  assert.equal(to("/c/web01?x=1#y"), "/c/web01?x=1#y");
  for (const evil of ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "\t//evil", "/\t/evil", "c/x"]) {
    assert.equal(to(evil), "/", evil);
  }
});
