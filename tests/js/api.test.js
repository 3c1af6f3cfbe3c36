import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { Problem, address, ask, consoleId, consolePath, json, objects, onUnauthenticated, pages } from "../../vmproxy/web/pages/api.js";

const fetched = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = fetched;
  onUnauthenticated(async () => false);
});

/** Answers, one for each request; returns the addresses that were asked for. */
function answers(...responses) {
  const asked = [];
  globalThis.fetch = async (url, options) => {
    asked.push(`${options.method} ${url}`);
    const next = responses.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  return asked;
}

const problem = (status, name) =>
  new Response(JSON.stringify({ type: `/problems/${name}`, title: name, status }), { status });

test("an address leaves out what is not said, and repeats lists", () => {
  assert.equal(address("consoles", { on: ["a*", "b c"], q: "", after: null, follow: true, fixed: false }), "/api/v1/consoles?on=a*%2Cb+c&follow=1");
  assert.equal(address("/healthz"), "/healthz");
  assert.equal(consolePath("web 01/x", "log"), "consoles/web%2001%2Fx/log");
});

test("only further ports are a part of an id", () => {
  assert.deepEqual(
    [{ uuid: "u" }, { uuid: "u", port: "1" }, { uuid: "u", port: "2" }].map(consoleId),
    ["u", "u", "u.2"],
  );
});

test("what is refused is a problem with its name", async () => {
  answers(problem(404, "not-found"));
  await assert.rejects(json("consoles/x"), (error) => error instanceof Problem && error.kind === "not-found" && error.status === 404);
});

test("an answer that is no problem of ours is one with its status", async () => {
  answers(new Response("<h1>Bad gateway</h1>", { status: 502 }));
  await assert.rejects(ask("x"), (error) => error.status === 502 && error.kind === "unknown");
});

test("no answer is a problem of its own", async () => {
  answers(new TypeError("network"));
  await assert.rejects(ask("x"), (error) => error.status === 0 && error.kind === "unreachable");
});

test("after a login in place the request is made again", async () => {
  const asked = answers(problem(401, "unauthenticated"), Response.json({ operator: "alice" }));
  onUnauthenticated(async () => true);
  assert.deepEqual(await json("whoami"), { operator: "alice" });
  assert.equal(asked.length, 2);
});

test("without a login, or if it is not wanted, 401 is a problem", async () => {
  answers(problem(401, "unauthenticated"), problem(401, "unauthenticated"));
  await assert.rejects(json("whoami"), (error) => error.status === 401);
  onUnauthenticated(() => assert.fail("asked"));
  await assert.rejects(json("whoami", { quiet: true }), (error) => error.status === 401);
});

test("a list is read page by page to its end", async () => {
  const asked = answers(Response.json({ items: [1, 2], next: "x" }), Response.json({ items: [3], next: null }));
  const found = [];
  for await (const items of pages("consoles", { limit: 2 })) found.push(items);
  assert.deepEqual(found, [[1, 2], [3]]);
  assert.deepEqual(asked, ["GET /api/v1/consoles?limit=2", "GET /api/v1/consoles?limit=2&after=x"]);
});

test("objects of a stream may be cut anywhere", async () => {
  const bytes = new TextEncoder().encode('{"line":"ä"}\n\n{"line":2}\n{"end":true}');
  for (let cut = 1; cut < bytes.length; cut += 1) {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(bytes.slice(0, cut));
        controller.enqueue(bytes.slice(cut));
        controller.close();
      },
    });
    answers(new Response(body));
    const found = [];
    for await (const one of objects("search")) found.push(one);
    assert.deepEqual(found, [{ line: "ä" }, { line: 2 }, { end: true }]);
  }
});
