import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ANSWERS_A_SECOND, Answers } from "../../vmproxy/web/pages/answers.js";
import { SlowTyping, control, meaning, paste } from "../../vmproxy/web/pages/keys.js";

const key = (name, modifiers = "") => ({
  key: name,
  ctrlKey: modifiers.includes("c"),
  shiftKey: modifiers.includes("s"),
  altKey: modifiers.includes("a"),
  metaKey: modifiers.includes("m"),
});

describe("keys of the page", () => {
  const plain = { selection: false, copyOnControlC: false };
  const table = [
    ["F6", "", plain, "leave"],
    ["F6", "s", plain, "leave"],
    ["C", "cs", plain, "copy"],
    ["V", "cs", plain, "paste"],
    ["Insert", "c", plain, "copy"],
    ["Insert", "s", plain, "paste"],
    ["Insert", "", plain, "type"],
    ["c", "c", plain, "type"],
    ["c", "c", { selection: true, copyOnControlC: false }, "type"],
    ["c", "c", { selection: true, copyOnControlC: true }, "copy"],
    ["c", "c", { selection: false, copyOnControlC: true }, "type"],
    ["v", "c", plain, "type"],
    ["v", "m", plain, "paste"],
    ["?", "s", plain, "type"],
  ];
  for (const [name, modifiers, state, expected] of table) {
    test(`${modifiers} ${name} is for: ${expected}`, () => assert.equal(meaning(key(name, modifiers), state), expected));
  }

  test("Ctrl and a character", () => {
    assert.deepEqual(["c", "C", "[", " ", "?", "1", "@"].map(control), ["\x03", "\x03", "\x1b", "\x00", "\x7f", "", "\x00"]);
  });
});

describe("a paste", () => {
  test("of a short line goes as it is", () => {
    const one = paste("ls -l");
    assert.deepEqual([one.ask, one.lines, one.bytes, one.text], [false, 1, 5, "ls -l"]);
  });

  test("of a line with its end, or of several, is shown first", () => {
    assert.equal(paste("reboot\n").ask, true);
    assert.deepEqual([paste("a\r\nb\n").text, paste("a\r\nb\n").lines], ["a\rb\r", 2]);
  });

  test("of more than 256 bytes is shown first, counted in bytes", () => {
    assert.equal(paste("x".repeat(256)).ask, false);
    assert.equal(paste("\u00e4".repeat(129)).ask, true);
  });

  test("with control characters is shown first, with these visible", () => {
    const one = paste("a\x1b[6n\x7f\x9b\tb");
    assert.equal(one.ask, true);
    assert.equal(one.controls, 3);
    assert.equal(one.preview, "a\u241b[6n\u2421\ufffd\tb");
  });

  test("that is long is shown in part", () => {
    const one = paste("line\n".repeat(100_000));
    assert.equal(one.lines, 100_000);
    assert.ok(one.preview.length < 20_010);
    assert.ok(one.preview.endsWith("\n..."));
    assert.equal(paste("a\nb\n").preview, "a\nb\n");
  });
});

describe("a slow paste", () => {
  class Timers {
    time = 0;
    next = null;
    later = (call, pause) => (this.next = { call, at: this.time + pause });
    cancel = () => (this.next = null);
    run(until = Infinity) {
      while (this.next !== null && this.next.at <= until) {
        const { call, at } = this.next;
        this.next = null;
        this.time = at;
        call();
      }
    }
  }

  test("keeps to its rate, and types every byte once", () => {
    for (const rate of [10, 100, 960, 11520]) {
      const world = new Timers();
      const typed = [];
      const all = Uint8Array.from({ length: 2000 }, (_, i) => i % 251);
      let done = 0;
      new SlowTyping(world, all, rate, (bytes) => (typed.push(...bytes), true), (sent) => (done = sent));
      world.run();
      assert.deepEqual(Uint8Array.from(typed), all);
      assert.equal(done, 2000);
      assert.ok(Math.abs(world.time / 1000 - 2000 / rate) < 0.2, `${rate}: ${world.time}`);
    }
  });

  test("ends when it is cancelled, or nobody takes it", () => {
    const world = new Timers();
    let typed = 0;
    let last = 0;
    const slow = new SlowTyping(world, new Uint8Array(100), 50, (bytes) => ((typed += bytes.length), typed < 20), (sent) => (last = sent));
    world.run(100);
    slow.cancel();
    world.run();
    assert.equal(last, -1);
    assert.ok(typed < 10);
    new SlowTyping(world, new Uint8Array(100), 50, (bytes) => ((typed += bytes.length), typed < 20), (sent) => (last = sent));
    world.run();
    assert.equal(typed, 20);
  });
});

describe("answers of the terminal", () => {
  const good = { live: true, writes: true, focused: true };

  test("are given live, with write access, in front", () => {
    const given = [];
    const answers = new Answers(() => 0, () => good, (answer) => given.push(answer));
    answers.cursor(24, 80);
    answers.attributes();
    answers.other();
    assert.deepEqual(given, ["\x1b[24;80R", "\x1b[?1;2c"]);
    assert.equal(answers.swallowed, 1);
  });

  for (const lacking of Object.keys(good)) {
    test(`are not given without ${lacking}`, () => {
      const answers = new Answers(() => 0, () => ({ ...good, [lacking]: false }), () => assert.fail("given"));
      answers.cursor(1, 1);
      answers.attributes();
      assert.equal(answers.swallowed, 2);
    });
  }

  test("are five a second, whatever is asked", () => {
    let now = 0;
    const given = [];
    const answers = new Answers(() => now, () => good, () => given.push(now));
    for (; now < 10_000; now++) answers.cursor(1, 1);
    assert.equal(given.length, 10 * ANSWERS_A_SECOND);
    for (let i = ANSWERS_A_SECOND; i < given.length; i++) assert.ok(given[i] - given[i - ANSWERS_A_SECOND] >= 1000);
  });
});
