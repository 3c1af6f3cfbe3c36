import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { listed, penWords, recordingWords, statusWords, whyNot } from "../../vmproxy/web/pages/actions.js";

const info = { state: "up", logging: true, log_problem: null, rights: ["see", "spy", "write", "force"], sequences: ["sysrq"], viewers: [] };
const now = { info, live: true, pen: "write", writers: [], others: 0, shared: false };

describe("what cannot be done says why", () => {
  const table = [
    ["take", {}, ""],
    ["take", { writers: ["bob"] }, ""],
    ["take", { info: { ...info, rights: ["see", "spy"] } }, /may read/],
    ["force", { pen: "spy", writers: ["bob"] }, ""],
    ["force", { pen: "spy" }, /Nobody else/],
    ["force", { pen: "spy", writers: ["bob"], info: { ...info, rights: ["write"] } }, /may not take over/],
    ["join", { pen: "spy", writers: ["bob"] }, /one writer/],
    ["join", { pen: "spy", writers: ["bob"], shared: true }, ""],
    ["break", {}, ""],
    ["break", { pen: "spy" }, /read-only/],
    ["break", { info: { ...info, state: "down" } }, /not connected/],
    ["break", { info: { ...info, state: "migrating" } }, ""],
    ["sequence", { info: { ...info, sequences: [] } }, /No sequences/],
    ["message", {}, /Nobody else/],
    ["message", { others: 1 }, ""],
    ["disconnect", { others: 1 }, /administrators/],
    ["disconnect", { others: 1, live: false, info: { ...info, rights: ["admin"] } }, ""],
    ["note", { info: null }, /right to write/],
  ];
  for (const [action, situation, expected] of table) {
    test(`${action}, ${JSON.stringify(situation).slice(0, 60)}`, () => {
      const reason = whyNot(action, { ...now, ...situation });
      if (expected === "") assert.equal(reason, "");
      else assert.match(reason, expected);
    });
  }

  test("nothing can be done without a connection", () => {
    for (const action of ["take", "drop", "force", "join", "break", "sequence", "keys", "paste", "stty", "message", "note"]) {
      assert.match(whyNot(action, { ...now, live: false }), /no connection/);
    }
  });
});

test("who writes, in words", () => {
  assert.equal(penWords("write", []), "You write");
  assert.equal(penWords("write", ["bob"]), "You write, and bob");
  assert.equal(penWords("waits", ["bob"]), "bob writes, you wait");
  assert.equal(penWords("spy", []), "Read-only");
  assert.equal(penWords("spy", ["a", "b", "c"]), "Read-only, a and 2 others write");
  assert.equal(listed(["a", "b"]), "a and b");
});

test("whether it is recorded, in words", () => {
  assert.deepEqual(recordingWords(info), { text: "Recorded", good: true });
  assert.equal(recordingWords({ ...info, log_problem: "No space left on device" }).text, "NOT being recorded: No space left on device");
  assert.equal(recordingWords({ ...info, logging: false }).good, false);
});

test("each status of the connection has its words", () => {
  assert.equal(statusWords({ name: "live" }, 0, true), null);
  assert.equal(statusWords({ name: "waiting", why: "lost", until: 4100 }, 1000, true).text, "Reconnecting in 4 s.");
  assert.equal(statusWords({ name: "waiting", why: "stopping", until: 500 }, 1000, true).title, "The server stops");
  assert.equal(statusWords({ name: "ended", why: "sent-off", reason: "bob: maintenance" }, 0, true).title, "Disconnected by bob: maintenance");
  for (const why of ["rights", "absent", "sent-off", "impossible"]) assert.equal(statusWords({ name: "ended", why }, 0, true).button, "Attach again");
  assert.equal(statusWords({ name: "login" }, 0, true).button, "Log in");
});
