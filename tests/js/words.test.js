import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, count, counted, long, short, size, span, stateWord, time, wrong } from "../../vmproxy/web/pages/words.js";

test("numbers have groups of three", () => {
  assert.equal(count(16000), "16,000");
  assert.equal(counted(1, "console"), "1 console");
  assert.equal(counted(2, "entry", "entries"), "2 entries");
});

test("sizes have the unit that suits", () => {
  assert.deepEqual([1, 1023, 1024, 1024 ** 2 - 1, 1024 ** 2, 300 * 1024 ** 3].map(size), [
    "1 byte", "1,023 bytes", "1.0 KiB", "1.0 MiB", "1.0 MiB", "300 GiB",
  ]);
});

test("spans have two units at most", () => {
  assert.deepEqual([-5, 59, 60, 3599, 3660, 86400 * 4 + 3600 * 7].map(span), [
    "0 s", "59 s", "1 min", "59 min", "1 h 01 min", "4 d 7 h",
  ]);
});

test("what is no time is null, and null has no words", () => {
  assert.equal(time("yesterday?"), null);
  assert.equal(time(null), null);
  assert.deepEqual([short(null), long(null), ago(null)], ["", "", ""]);
});

test("a time of today is a time of day, of this year a day, else a date", () => {
  const now = new Date(2026, 10, 22, 18, 0, 0);
  assert.equal(short(new Date(2026, 10, 22, 4, 5), now), "04:05");
  assert.equal(short(new Date(2026, 0, 2), now), "2 Jan");
  assert.equal(short(new Date(2025, 11, 31, 12), now), "2025-12-31");
  assert.equal(long(new Date(2026, 10, 22, 4, 5, 6)), "2026-11-22 04:05:06");
});

test("the future is now: clocks differ", () => {
  const now = new Date();
  assert.equal(ago(new Date(now.getTime() + 5000), now), "now");
  assert.equal(ago(new Date(now.getTime() - 90000), now), "1 min ago");
});

test("a vMotion is called so", () => {
  assert.deepEqual(["up", "down", "migrating"].map(stateWord), ["up", "down", "vMotion"]);
});

test("a problem says which parameters are wrong, who writes, and when to try again", () => {
  const fields = { type: "/problems/bad-request", title: "Bad request", status: 400 };
  assert.equal(wrong({ fields: { ...fields, errors: [{ parameter: "since", reason: "no time" }] } }), "Bad request. since: no time.");
  assert.equal(wrong({ fields: { ...fields, detail: "In use.", writers: ["alice"] } }), "In use. Write access: alice.");
  assert.equal(wrong({ fields, retryAfter: 5 }), "Bad request. Try again in 5 s.");
  assert.equal(wrong(new Error("other")), "other");
});
