import assert from "node:assert/strict";
import { after, afterEach, mock, test } from "node:test";

/** The connections that were made, the newest last. */
let sockets = [];

class FakeSocket extends EventTarget {
  static OPEN = 1;

  constructor(url, protocol) {
    super();
    Object.assign(this, { url, protocol, readyState: 0, sent: [] });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 2;
  }

  opens() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  says(message) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
  }

  ends(code) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
after(() => mock.timers.reset());
const listeners = new EventTarget();
Object.assign(globalThis, {
  WebSocket: FakeSocket,
  location: { origin: "https://vmproxy.example" },
  document: Object.assign(new EventTarget(), { hidden: false }),
  addEventListener: listeners.addEventListener.bind(listeners),
});
const { Live, delay } = await import("../../vmproxy/web/pages/live.js");

let live;

/** The page's connection, the only one there is. */
function begin(told = {}) {
  live = new Live(told);
  return live;
}

afterEach(() => {
  live?.close();
  sockets = [];
});

test("tries are at once first, then further apart, 15 s at most, and never all at the same moment", () => {
  assert.equal(delay(0), 0);
  for (let tries = 1; tries < 100; tries += 1) {
    assert.ok(delay(tries, () => 0) >= 0.25);
    assert.ok(delay(tries, () => 1) <= 15);
    assert.ok(delay(tries, () => 0) < delay(tries, () => 1));
  }
});

test("what is in view is said when the connection opens, when it changes, and again on the next one", () => {
  begin();
  assert.equal(sockets[0].url, "wss://vmproxy.example/api/v1/live");
  live.watch(["a", "b"]);
  assert.deepEqual(sockets[0].sent, []);
  sockets[0].opens();
  live.watch(["a", "b"]);
  live.watch(["b"]);
  assert.deepEqual(sockets[0].sent.map((message) => message.ids), [["a", "b"], ["b"]]);
  sockets[0].ends(1006);
  mock.timers.tick(0);
  sockets[1].opens();
  assert.deepEqual(sockets[1].sent, [{ type: "watch", ids: ["b"] }]);
});

test("of more than the server takes, the first are watched", () => {
  begin();
  sockets[0].opens();
  live.watch(Array.from({ length: 500 }, (_, number) => String(number)));
  assert.equal(sockets[0].sent.at(-1).ids.length, 200);
});

test("rows, counts and alerts are passed on; what is not known is left", () => {
  const told = [];
  begin({ rows: (rows) => told.push(rows), counts: (counts) => told.push(counts), alerts: (alerts) => told.push(alerts.open) });
  for (const message of [{ type: "rows", rows: [{ id: "a" }] }, { type: "counts", counts: { up: 1 }, total: 1 }, { type: "alerts", open: 2 }, { type: "later" }]) {
    sockets[0].says(message);
  }
  assert.deepEqual(told, [[{ id: "a" }], { up: 1 }, 2]);
});

test("a connection that is silent for a minute is dead, and one that never opens is tried again", () => {
  const connected = [];
  begin({ connected: (on) => connected.push(on) });
  sockets[0].opens();
  mock.timers.tick(50_000);
  sockets[0].says({ type: "beat" });
  mock.timers.tick(50_000);
  assert.equal(sockets.length, 1);
  mock.timers.tick(15_000);
  assert.ok(sockets.length >= 2);
  assert.deepEqual(connected, [true, false]);
  sockets[0].ends(1006);
  const made = sockets.length;
  mock.timers.tick(0);
  assert.equal(sockets.length, made);
});

test("when the machine is online again it is tried at once", () => {
  begin();
  for (let tries = 0; tries < 8; tries += 1) {
    sockets.at(-1).ends(1006);
    if (tries < 7) mock.timers.tick(15_000);
  }
  const made = sockets.length;
  listeners.dispatchEvent(new Event("online"));
  assert.ok(sockets.length > made);
});
