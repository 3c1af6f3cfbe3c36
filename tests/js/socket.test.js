import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { ACK_BYTES, HIDDEN, KEYS_LONGEST, KEYS_SLICE, ConsoleSocket, backOff } from "../../vmproxy/web/pages/socket.js";

/** A clock, timers, and sockets that remember what they were told. */
class World {
  time = 1_000_000;
  timers = [];
  wires = [];
  verdict = "other";
  chance = 0.5;

  now = () => this.time;
  random = () => this.chance;
  probe = async () => this.verdict;
  later = (call, pause) => {
    const timer = { call, at: this.time + pause };
    this.timers.push(timer);
    return timer;
  };
  cancel = (timer) => {
    this.timers = this.timers.filter((one) => one !== timer);
  };
  open = (query) => {
    const wire = {
      query,
      sent: [],
      bufferedAmount: 0,
      closed: false,
      send: (data) => wire.sent.push(typeof data === "string" ? JSON.parse(data) : Uint8Array.from(data)),
      close: () => (wire.closed = true),
    };
    this.wires.push(wire);
    return wire;
  };

  /** Let time pass, timer by timer. */
  pass(milliseconds) {
    const end = this.time + milliseconds;
    for (;;) {
      const next = this.timers.filter((one) => one.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((one) => one !== next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
  }

  /** The computer sleeps: timers do not run meanwhile. */
  sleep(milliseconds) {
    this.time += milliseconds;
  }

  get wire() {
    return this.wires.at(-1);
  }
}

/** A page: what it was told, and what a terminal would show. */
class Page {
  statuses = [];
  messages = [];
  hellos = [];
  lost = 0;
  shown = [];
  pending = [];
  processes = true;

  status = (status) => this.statuses.push(status);
  output = (bytes, taken) => {
    this.shown.push(...bytes);
    if (this.processes) taken();
    else this.pending.push(taken);
  };
  replay = () => {};
  hello = (hello, again) => this.hellos.push({ ...hello, again });
  message = (message) => this.messages.push(message);
  lost = (bytes) => (this.lostKeys = (this.lostKeys ?? 0) + bytes);

  get text() {
    return String.fromCharCode(...this.shown);
  }
  get names() {
    return this.statuses.map((status) => status.name).filter((name, i, all) => name !== all[i - 1]);
  }
}

let world;
let page;
let socket;

function say(message) {
  world.wire.onmessage({ data: JSON.stringify(message) });
}

function output(text) {
  world.wire.onmessage({ data: Uint8Array.from(text, (one) => one.charCodeAt(0)).buffer });
}

function close(code, reason = "") {
  world.wire.onclose({ code, reason });
}

function attach(hello = {}) {
  world.wire.onopen();
  say({ type: "hello", mode: "write", resumed: false, window: 524288, ...hello });
}

const settle = () => new Promise((done) => setImmediate(done));

beforeEach(() => {
  world = new World();
  page = new Page();
  socket = new ConsoleSocket(world, page, { mode: "write", replay: 20 });
  socket.start();
});

describe("attaching", () => {
  test("asks for what was wished, and is live with the hello", () => {
    assert.deepEqual(world.wire.query, { mode: "write", replay: "20" });
    attach();
    assert.equal(socket.live, true);
    assert.equal(socket.pen, "write");
    assert.deepEqual(page.names, ["connecting", "live"]);
    assert.equal(page.hellos[0].again, false);
  });

  test("a server that never says hello is given up", () => {
    world.wire.onopen();
    world.pass(25_000);
    assert.equal(world.wires[0].closed, true);
    assert.ok(world.wires.length > 1);
  });
});

describe("resuming", () => {
  test("drops what was shown after the cursor, byte for byte", () => {
    attach();
    output("one ");
    say({ type: "cursor", cursor: "c4" });
    output("two t");
    close(1006);
    world.pass(0);
    assert.equal(world.wire.query.from, "c4");
    attach({ resumed: true });
    output("two ");
    output("three");
    assert.equal(page.text, "one two three");
    assert.equal(page.hellos[1].again, true);
  });

  test("a cursor within what is sent again counts from there", () => {
    attach();
    output("ab");
    say({ type: "cursor", cursor: "c2" });
    output("cdef");
    close(1006);
    world.pass(0);
    attach({ resumed: true });
    output("cd");
    say({ type: "cursor", cursor: "c4" });
    close(1006);
    world.pass(15_000);
    assert.equal(world.wire.query.from, "c4");
    attach({ resumed: true });
    output("efgh");
    assert.equal(page.text, "abcdefgh");
  });

  test("skipped bytes have their place, and do not come twice", () => {
    attach();
    output("ab");
    say({ type: "cursor", cursor: "c2" });
    say({ type: "skipped", bytes: 3 });
    output("fg");
    close(1006);
    world.pass(0);
    attach({ resumed: true });
    output("cdefghi");
    assert.equal(page.text, "abfghi");
    assert.deepEqual(page.messages, [{ type: "skipped", bytes: 3 }]);
  });

  test("from where nothing is left, everything that comes is shown", () => {
    attach();
    say({ type: "cursor", cursor: "c0" });
    output("abc");
    close(1006);
    world.pass(0);
    attach({ resumed: false });
    output("xyz");
    assert.equal(page.text, "abcxyz");
  });

  test("every cut of a stream gives the same", () => {
    const stream = "0123456789";
    for (let cursor = 0; cursor <= 10; cursor++) {
      for (let cut = cursor; cut <= 10; cut++) {
        world = new World();
        page = new Page();
        socket = new ConsoleSocket(world, page, { mode: "write" });
        socket.start();
        attach();
        output(stream.slice(0, cursor));
        say({ type: "cursor", cursor: String(cursor) });
        output(stream.slice(cursor, cut));
        close(1006);
        world.pass(0);
        attach({ resumed: true });
        for (const one of stream.slice(Number(world.wire.query.from))) output(one);
        assert.equal(page.text, stream, `cursor ${cursor}, cut ${cut}`);
      }
    }
  });

  test("asks for write access again, and as a spy for none", () => {
    attach();
    say({ type: "pen", mode: "waits", writers: ["bob"] });
    close(1006);
    world.pass(0);
    assert.equal(world.wire.query.mode, "write");
    attach({ mode: "write", pen: "waits" });
    say({ type: "pen", mode: "spy", by: "bob" });
    world.pass(11_000);
    close(1006);
    world.pass(0);
    assert.equal(world.wire.query.mode, "spy");
  });
});

describe("the window", () => {
  test("acknowledges at once when nothing is pending", () => {
    attach();
    output("abc");
    assert.deepEqual(world.wire.sent, [{ type: "ack", bytes: 3 }]);
  });

  test("acknowledges each 32 KiB, but not more than 33 times a second", () => {
    attach();
    page.processes = false;
    for (let i = 0; i < 100; i++) output("x".repeat(ACK_BYTES));
    page.pending.splice(0, 99).forEach((taken) => taken());
    world.pass(1000);
    const acks = world.wire.sent;
    assert.ok(acks.length <= 34);
    assert.equal(acks.reduce((sum, ack) => sum + ack.bytes, 0), 99 * ACK_BYTES);
  });

  test("acknowledges dropped bytes too", () => {
    attach();
    say({ type: "cursor", cursor: "c0" });
    output("abc");
    close(1006);
    world.pass(0);
    attach({ resumed: true });
    output("abc");
    world.pass(100);
    assert.deepEqual(world.wire.sent, [{ type: "ack", bytes: 3 }]);
  });

  test("what a former connection sent is not acknowledged on the next", () => {
    attach();
    page.processes = false;
    output("abc");
    close(1006);
    world.pass(0);
    attach();
    page.pending.forEach((taken) => taken());
    world.pass(1000);
    assert.deepEqual(world.wire.sent, []);
  });
});

describe("when the connection goes", () => {
  test("tries at once, then after 0.5 to 15 s, for ever", () => {
    const pauses = Array.from({ length: 9 }, (_, attempt) => [backOff(attempt, 0), backOff(attempt, 1)]);
    assert.deepEqual(pauses[0], [0, 0]);
    assert.deepEqual(pauses[1], [500, 1000]);
    assert.deepEqual(pauses[8], [7500, 15000]);
    attach();
    close(1006);
    world.pass(0);
    assert.equal(world.wires.length, 2);
    for (let i = 0; i < 50; i++) {
      world.wire.onopen();
      close(1006);
      assert.equal(socket.status.name, "waiting");
      world.pass(15_000);
      assert.equal(world.wires.length, 3 + i);
    }
  });

  test("a server that stops is not asked at once", () => {
    attach();
    close(1001, "stopping");
    assert.equal(socket.status.why, "stopping");
    world.pass(499);
    assert.equal(world.wires.length, 1);
    world.pass(501);
    assert.equal(world.wires.length, 2);
  });

  test("too many: it waits long", () => {
    attach();
    close(4429);
    assert.equal(socket.status.why, "too-many");
    world.pass(3999);
    assert.equal(world.wires.length, 1);
  });

  test("does not go on by itself where that is no use", () => {
    for (const [code, why] of [[4403, "rights"], [4404, "absent"], [4407, "sent-off"], [4409, "impossible"]]) {
      attach();
      close(code, "bob: maintenance");
      assert.deepEqual(socket.status, { name: "ended", why, reason: "bob: maintenance" });
      const wires = world.wires.length;
      world.pass(600_000);
      socket.online();
      assert.equal(world.wires.length, wires);
      socket.retry();
      assert.equal(world.wires.length, wires + 1);
    }
  });

  test("login ended: it goes on when somebody has logged in", () => {
    attach();
    close(4401);
    assert.equal(socket.status.name, "login");
    world.pass(60_000);
    assert.equal(world.wires.length, 1);
    socket.retry();
    assert.equal(world.wires.length, 2);
  });

  test("a handshake that fails may be the login's end", async () => {
    world.verdict = "login";
    close(1006);
    await settle();
    assert.equal(socket.status.name, "login");
    socket.retry();
    world.verdict = "other";
    close(1006);
    await settle();
    assert.equal(socket.status.name, "waiting");
  });

  test("60 s without a beat is a dead connection", () => {
    attach();
    for (let i = 0; i < 5; i++) {
      world.pass(50_000);
      say({ type: "beat" });
    }
    assert.equal(world.wires.length, 1);
    world.pass(62_000);
    assert.equal(world.wires[0].closed, true);
    assert.equal(world.wires.length, 2);
  });

  test("a gap in the clock: what has come meanwhile is heard first", () => {
    attach();
    world.sleep(120_000);
    world.pass(1000);
    say({ type: "beat" });
    world.pass(10_000);
    assert.equal(world.wires.length, 1);
    world.sleep(120_000);
    world.pass(5000);
    assert.equal(world.wires.length, 2);
  });

  test("online, visible again, or a gap in the clock: it tries at once", () => {
    const tries = [() => socket.online(), () => (socket.visibility(true), socket.visibility(false)), () => (world.sleep(100_000), world.pass(1))];
    for (const again of tries) {
      attach();
      close(4429);
      const wires = world.wires.length;
      again();
      assert.equal(world.wires.length, wires + 1);
    }
  });

  test("left is left", () => {
    attach();
    socket.stop();
    assert.equal(world.wires[0].closed, true);
    world.pass(600_000);
    socket.retry();
    assert.equal(world.wires.length, 1);
    assert.equal(world.timers.length, 0);
  });
});

describe("a hidden page", () => {
  test("pauses after 30 s, and resumes from its cursor", () => {
    attach();
    output("ab");
    say({ type: "cursor", cursor: "c2" });
    output("cd");
    socket.visibility(true);
    world.pass(HIDDEN - 1);
    assert.equal(socket.live, true);
    world.pass(1);
    assert.equal(socket.status.name, "paused");
    output("ef");
    assert.deepEqual(world.wire.sent.filter((one) => one.type !== "ack"), [{ type: "pause" }]);
    socket.visibility(false);
    assert.deepEqual(world.wire.sent.at(-1), { type: "resume", id: 1, from: "c2" });
    output("gh");
    say({ type: "done", id: 1, resumed: true });
    output("cdefghij");
    assert.equal(page.text, "abcdefghij");
    assert.equal(world.wires.length, 1);
  });

  test("does not pause while what it has asked for is about to come", () => {
    attach();
    output("ab");
    say({ type: "cursor", cursor: "c2" });
    socket.visibility(true);
    world.pass(HIDDEN);
    socket.visibility(false);
    socket.visibility(true);
    world.pass(HIDDEN);
    socket.visibility(false);
    assert.deepEqual(world.wire.sent.filter((one) => one.type !== "ack").map(({ type }) => type), ["pause", "resume"]);
    say({ type: "done", id: 1, resumed: true });
    output("cd");
    assert.equal(page.text, "abcd");
    socket.visibility(true);
    world.pass(HIDDEN);
    assert.equal(socket.status.name, "paused");
  });

  test("that is shown again within 30 s never paused", () => {
    attach();
    socket.visibility(true);
    world.pass(20_000);
    socket.visibility(false);
    world.pass(40_000);
    assert.equal(socket.live, true);
    assert.deepEqual(world.wire.sent, []);
  });

  test("whose connection goes meanwhile connects when it is shown", () => {
    attach();
    socket.visibility(true);
    world.pass(HIDDEN);
    close(1006);
    world.pass(600_000);
    assert.equal(world.wires.length, 1);
    socket.visibility(false);
    assert.equal(world.wires.length, 2);
  });
});

describe("keys", () => {
  const bytes = (length) => new Uint8Array(length).fill(120);

  test("go in order, in slices, as the network takes them", () => {
    attach();
    world.wire.bufferedAmount = 100_000;
    assert.equal(socket.type(bytes(3 * KEYS_SLICE + 1)), "");
    assert.equal(world.wire.sent.length, 0);
    world.wire.bufferedAmount = 0;
    world.pass(20);
    assert.deepEqual(world.wire.sent.map((one) => one.length), [KEYS_SLICE, KEYS_SLICE, KEYS_SLICE, 1]);
    assert.equal(socket.waiting, 0);
  });

  test("wait while the host takes none", () => {
    attach();
    say({ type: "hold", on: true });
    socket.type(bytes(5));
    assert.equal(socket.waiting, 5);
    assert.equal(world.wire.sent.length, 0);
    say({ type: "hold", on: false });
    assert.equal(world.wire.sent.length, 1);
  });

  test("go nowhere without a connection or write access, and say so", () => {
    assert.equal(socket.type(bytes(1)), "away");
    attach({ pen: "spy" });
    assert.equal(socket.type(bytes(1)), "read-only");
    say({ type: "pen", mode: "write" });
    assert.equal(socket.type(bytes(KEYS_LONGEST + 1)), "too-much");
    assert.equal(socket.type(bytes(1)), "");
  });

  test("that were waiting when the connection went are not typed later", () => {
    attach();
    say({ type: "hold", on: true });
    socket.type(bytes(7));
    close(1006);
    world.pass(0);
    attach();
    assert.equal(page.lostKeys, 7);
    assert.equal(world.wire.sent.length, 0);
  });

  test("that were waiting when write access went are not typed later", () => {
    attach();
    say({ type: "hold", on: true });
    socket.type(bytes(7));
    say({ type: "pen", mode: "spy", by: "bob" });
    say({ type: "hold", on: false });
    assert.equal(page.lostKeys, 7);
    assert.equal(world.wire.sent.length, 0);
  });
});

describe("requests", () => {
  test("are answered by their id", async () => {
    attach();
    const first = socket.request("break");
    const second = socket.request("force", { reason: "disk" });
    assert.deepEqual(world.wire.sent[1], { type: "force", id: 2, reason: "disk" });
    say({ type: "reject", id: 2, problem: { type: "/problems/reason-needed", title: "A reason is needed" } });
    say({ type: "done", id: 1 });
    await first;
    await assert.rejects(second, (error) => error.kind === "reason-needed" && error.message === "A reason is needed");
  });

  test("end with the connection", async () => {
    attach();
    const request = socket.request("take");
    close(1006);
    await assert.rejects(request, { kind: "away" });
    await assert.rejects(new ConsoleSocket(world, page, { mode: "spy" }).request("take"), { kind: "away" });
  });
});
