import assert from "node:assert/strict";
import { test } from "node:test";

import { fromAddress, toAddress, toQuery } from "../../vmproxy/web/pages/query.js";

const view = (filter, rest = {}) => ({ filter, states: [], sort: "name", ...rest });

test("an address holds the whole view, and nothing that goes without saying", () => {
  for (const [seen, address] of [
    [view(""), "/"],
    [view("web & db", { states: ["up", "down"], sort: "last_output" }), "/?filter=web+%26+db&state=up&state=down&sort=last_output"],
  ]) {
    assert.equal(toAddress(seen), address);
    assert.deepEqual(fromAddress(address.slice(1)), seen);
  }
});

test("what an address should not have is left out", () => {
  assert.deepEqual(fromAddress("?state=dead&state=up&sort=size&filter="), view("", { states: ["up"] }));
  assert.equal(fromAddress(`?filter=${"x".repeat(5000)}`).filter.length, 256);
});

test("a part of a name is looked for as it is, and words about columns are the server's", () => {
  assert.deepEqual(toQuery(view(" web01 ", { states: ["up", "down"] })), { q: "web01", state: "up,down", sort: "name" });
  assert.deepEqual(toQuery(view("host:10.1.*")), { q: "host:10.1.*", state: null, sort: "name" });
});

test("a GLOB stands for the whole name; of a uuid its beginning will do", () => {
  assert.equal(toQuery(view("web*")).on, "web*");
  assert.equal(toQuery(view("web[12]")).on, "web[12]");
  assert.equal(toQuery(view("uuid:564d")).on, "uuid:564d*");
  assert.equal(toQuery(view("UUID:*9f")).on, "uuid:*9f");
  assert.equal(toQuery(view("query:dept=web")).on, "query:dept=web");
});
