import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Player, heights, nextLink, nextOf, parse } from "../../vmproxy/web/pages/recording.js";

const settle = () => new Promise((done) => setImmediate(done));

/** A log with a piece "<n>" each second, in windows of ten. */
const LENGTH = 100;
const at = (n) => 1_000_000 + 1000 * n;
const text = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, i) => `<${from + i}>`).join("");

function window(from) {
  const to = Math.min(LENGTH, from + 10);
  const pieces = Array.from({ length: to - from }, (_, i) => ({ at: at(from + i), text: `<${from + i}>` }));
  return { start: at(from), end: at(to - 1), before: text(0, from), pieces, next: to < LENGTH ? `/w/${to}` : null };
}

let screen;
let loads;
let player;
let broken;

beforeEach(() => {
  screen = "";
  loads = [];
  broken = null;
  player = new Player(
    async (wish) => {
      const from = "next" in wish ? Number(wish.next.slice(3)) : Math.max(0, Math.floor((wish.since - at(0)) / 1000));
      loads.push(from);
      if (broken === from) throw new Error("gone");
      return window(from);
    },
    { output: (one) => (screen += one), reset: (before) => (screen = before), changed: () => {}, failed: (error) => (broken = error.message) },
  );
});

async function run(milliseconds, step = 100) {
  for (let passed = 0; passed < milliseconds; passed += step) {
    player.advance(step);
    await settle();
  }
}

describe("a player", () => {
  test("shows what stood before the time it goes to", async () => {
    await player.seek(at(42));
    assert.equal(screen, text(0, 43));
    assert.deepEqual(loads, [42]);
    assert.equal(player.playing, false);
  });

  test("plays at its pace, over the windows, and holds two at most", async () => {
    await player.seek(at(0));
    player.play();
    for (let second = 1; second <= 60; second++) {
      await run(1000);
      assert.equal(screen, text(0, second + 1));
      assert.ok(player.held <= 2);
    }
    player.rate = 8;
    await run(2000);
    assert.equal(screen, text(0, 77));
    await run(10_000);
    assert.equal(screen, text(0, LENGTH));
    assert.equal(player.ended, true);
    assert.equal(player.playing, false);
  });

  test("pauses", async () => {
    await player.seek(at(0));
    player.play();
    await run(2000);
    player.pause();
    await run(60_000);
    assert.equal(screen, text(0, 3));
  });

  test("goes back within a window without asking for it again", async () => {
    await player.seek(at(20));
    player.play();
    await run(5000);
    const asked = loads.length;
    await player.seek(at(22));
    assert.equal(screen, text(0, 23));
    assert.equal(loads.length, asked);
    await player.seek(at(3));
    assert.equal(screen, text(0, 4));
  });

  test("of two seeks the later one counts, whichever is there first", async () => {
    const answers = [];
    player.load = (wish) => new Promise((done) => answers.push(() => done(window(Math.floor((wish.since - at(0)) / 1000)))));
    const first = player.seek(at(10));
    const second = player.seek(at(50));
    answers[1]();
    await second;
    answers[0]();
    await first;
    assert.equal(screen, text(0, 51));
  });

  test("cuts silence to two seconds, or not", async () => {
    player.load = async () => ({ start: at(0), end: at(90), before: "", pieces: [{ at: at(0), text: "a" }, { at: at(90), text: "b" }], next: null });
    await player.seek(at(0));
    player.play();
    await run(1900);
    assert.equal(screen, "a");
    await run(200);
    assert.equal(screen, "ab");
    await player.seek(at(0));
    player.cut = false;
    player.play();
    await run(89_000);
    assert.equal(screen, "a");
    await run(1100);
    assert.equal(screen, "ab");
  });

  test("knows when the VM says something next", async () => {
    await player.seek(at(5) + 300);
    player.load = async () => window(20);
    assert.equal(player.nextOutput, at(6));
  });

  test("stops where a part cannot be read, and says so", async () => {
    await player.seek(at(0));
    broken = 10;
    player.play();
    await run(30_000);
    assert.equal(screen, text(0, 10).slice(0, screen.length));
    assert.equal(broken, "gone");
    assert.equal(player.playing, false);
  });
});

describe("a recording", () => {
  test("is read as a window: to the millisecond, and its first output may be what stood before", () => {
    const header = { version: 2, width: 80, height: 24, timestamp: 1000, vmproxy: { start: 1000.501, lead: true } };
    const lines = [header, [0, "o", "before"], [0, "m", "line up"], [0.25, "o", "a"], [2, "o", "b"]];
    const one = parse(`${lines.map((line) => JSON.stringify(line)).join("\n")}\n`, "/next");
    assert.deepEqual(one, {
      start: 1_000_501, end: 1_002_501, before: "before", next: "/next",
      pieces: [{ at: 1_000_751, text: "a" }, { at: 1_002_501, text: "b" }],
    });
    const first = [{ ...header, vmproxy: { start: 1000.501, lead: false } }, [0, "m", "line up"], [0.25, "o", "a"]];
    const { before, pieces } = parse(first.map((line) => JSON.stringify(line)).join("\n"), null);
    assert.deepEqual([before, pieces], ["", [{ at: 1_000_751, text: "a" }]]);
    assert.deepEqual(parse('{"version":2}\n', null), { start: 0, end: 0, before: "", pieces: [], next: null });
  });

  test("leads to its next window", () => {
    assert.equal(nextLink('</api/v1/consoles/x/recording?from=a&window=1>; rel="next"'), "/api/v1/consoles/x/recording?from=a&window=1");
    assert.equal(nextLink(null), null);
  });
});

test("markers and hits after a place", () => {
  assert.equal(nextOf([1000, 2000, 3000], 1000), 2000);
  assert.equal(nextOf([1000], 1000), null);
});

test("bars: nothing is nothing, little can be seen beside much", () => {
  const [none, little, much] = heights([0, 1, 1_000_000]);
  assert.equal(none, 0);
  assert.ok(little > 0.15 && little < 0.3);
  assert.equal(much, 1);
});
