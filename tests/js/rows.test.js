import assert from "node:assert/strict";
import { test } from "node:test";

import { Loaded, inView } from "../../vmproxy/web/pages/rows.js";

test("what is in view lies in the list, wherever it is scrolled", () => {
  assert.deepEqual(inView(0, 100, 10, 1000, 2), [0, 12]);
  assert.deepEqual(inView(500, 100, 10, 1000, 2), [48, 62]);
  assert.deepEqual(inView(9990, 100, 10, 1000, 2), [997, 1000]);
  assert.deepEqual(inView(-30, 100, 10, 3, 2), [0, 3]);
  assert.deepEqual(inView(5000, 100, 10, 3, 2), [3, 3]);
  assert.deepEqual(inView(0, 100, 10, 0, 2), [0, 0]);
});

/** A list of so many on a server; the limits that it was asked for. */
function server(many, total) {
  const limits = [];
  const fetchPart = async (after, limit) => {
    limits.push(limit);
    const from = Number(after ?? 0);
    const items = Array.from({ length: Math.min(limit, many - from) }, (_, place) => ({ id: String(from + place), name: "old" }));
    return { items, next: from + limit < many ? String(from + limit) : null, total };
  };
  return { limits, fetchPart };
}

test("a list is loaded as far as it is wanted, in long pages if that is far", async () => {
  const { limits, fetchPart } = server(16000, 16000);
  const list = new Loaded(fetchPart);
  await list.load(50);
  assert.deepEqual([list.items.length, list.total, list.complete], [200, 16000, false]);
  await list.load(200);
  assert.deepEqual(limits, [200]);
  await list.load(16000);
  assert.deepEqual([list.items.length, list.complete], [16000, true]);
  assert.ok(limits.length < 20);
  assert.equal(new Set(list.items.map((item) => item.id)).size, 16000);
});

test("two who want more at a time load nothing twice", async () => {
  const { limits, fetchPart } = server(1000, undefined);
  const list = new Loaded(fetchPart);
  await Promise.all([list.load(10), list.load(300)]);
  assert.deepEqual(limits, [200, 200]);
  assert.equal(list.total, 401);
});

test("an empty list is complete", async () => {
  const list = new Loaded(server(0, undefined).fetchPart);
  await list.load(10);
  assert.deepEqual([list.total, list.complete], [0, true]);
});

test("what is newer takes the place of what it is about; what is not there is left", async () => {
  const list = new Loaded(server(300, 300).fetchPart);
  await list.load(10);
  assert.deepEqual(list.update([{ id: "7", name: "new" }, { id: "250", name: "new" }]), [7]);
  assert.equal(list.items[7].name, "new");
});
