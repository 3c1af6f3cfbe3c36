import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULTS, load, parse } from "../../vmproxy/web/pages/settings.js";

test("without a store, or with nonsense in it, settings are the defaults", () => {
  assert.deepEqual(load(), DEFAULTS);
  for (const text of [null, "", "{", "null", "[]", "7"]) assert.deepEqual(parse(text), DEFAULTS);
});

test("what is wrong is the default, what is right is kept, what is unknown is dropped", () => {
  const kept = parse('{"theme": "dark", "fontSize": 400, "copyOnControlC": "yes", "other": 1}');
  assert.deepEqual(kept, { ...DEFAULTS, theme: "dark" });
});
