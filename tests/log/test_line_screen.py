"""Whole lines that are looked at together: nothing that is looked for is missed, however it is cut."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.test_line_feed import Subscriber
from tests.support.consoles import World
from vmproxy.log import line_feed, line_screen
from vmproxy.log.file_state import LogFile
from vmproxy.log.line_screen import WholeLines
from vmproxy.log.lines import ConsoleLines
from vmproxy.log.store import ConsoleLog


class Looking(Subscriber):
    """A subscriber who looks for a word."""

    def __init__(self, word: bytes = b"panic") -> None:
        super().__init__()
        self.word = word
        self.asked: list[bytes] = []

    def screen(self, text: bytes) -> bool:
        self.asked.append(text)
        return self.word in text

    @property
    def found(self) -> list[tuple[int, bytes]]:
        return [(offset, text) for offset, text in self.told if self.word in text]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def looking(world: World) -> Looking:
    one = Looking()
    world.store.line_feed.subscribe(one, one.screen)
    return one


def say(world: World, log: ConsoleLog, *pieces: bytes) -> None:
    for piece in pieces:
        log.append(piece)
        world.store.flush()


def test_lines_in_which_nothing_is_are_not_made(world: World) -> None:
    log, one = world.log(), looking(world)
    say(
        world,
        log,
        b"first\n",
        b"second\r\n",
        b"\x1b[1mthi\x1b[0mrd\r\n",
        b"kernel pa\x1b[31mnic\x1b[0m\r\n",
        b"fifth\n",
    )
    assert one.told == [(0, b"first"), (29, b"kernel panic")]  # whether the first is a whole line is not known before
    assert b"second\n" in one.asked
    assert b"third\n" in one.asked


def test_a_line_that_is_cut_or_painted_is_found(world: World) -> None:
    log, one = world.log(), looking(world)
    say(world, log, b"a\n", b"b\n", b"kernel p", b"anic\n", b"c\n", b"\x1b[5;1Hkernel panic\n", b"xanic\rp\n", b"d\n")
    assert [text for _, text in one.found] == [b"kernel panic", b"kernel panic", b"panic"]
    assert one.found[0][0] == 4


def test_many_are_looked_at_at_once(world: World) -> None:
    logs = [world.store.open(f"{n}.log") for n in range(100)]
    one = looking(world)
    for _ in range(2):
        for log in logs:
            log.append(b"line of %b\n" % log.name.encode())
        world.store.flush()
        one.told.clear()
        one.asked.clear()
    world.store.line_feed.wake_with(lambda: None)
    for log in logs:
        log.append(b"panic\n" if log is logs[77] else b"line of %b\n" % log.name.encode())
    world.store.flush()
    assert len(world.store.line_feed._whole) == 100
    while world.store.line_feed.wait() == 0:
        world.store.line_feed.work()
    assert [text for _, text in one.told] == [b"panic"]
    assert len(one.asked) < 20


def test_what_a_console_prints_keeps_its_order_however_much_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, one = world.store.line_feed, looking(world)
    log, other = world.log(), world.store.open("other.log")
    for some in (log, other):
        say(world, some, b"first\n")
    feed.wake_with(lambda: None)
    say(world, other, b"panic\n")
    say(world, log, b"BUG panic\n", b"kernel p")
    ticks = itertools.count()
    monkeypatch.setattr(line_screen, "TOGETHER", 1)
    monkeypatch.setattr(line_feed, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    monkeypatch.setattr(line_feed, "SLICE", 1.5)  # one piece, and one console, at a time
    feed.work()
    say(world, log, b"anic\n")
    while feed.wait() == 0:
        feed.work()
    assert [text for _, text in one.found] == [b"panic", b"BUG panic", b"kernel panic"]


def test_not_too_much_is_looked_at_in_one_piece(world: World) -> None:
    feed, one = world.store.line_feed, looking(world)
    logs = [world.store.open(f"{n}.log") for n in range(100)]
    for log in logs:
        say(world, log, b"first\n")
    feed.wake_with(lambda: None)
    one.asked.clear()
    for log in logs:
        say(world, log, b"x" * 4000 + b"\n")
    assert len(feed._whole) == 100
    while feed.wait() == 0:
        feed.work()
    assert sum(map(len, one.asked)) == 100 * 4001
    assert max(map(len, one.asked)) < line_screen.TOGETHER_SIZE + line_screen.LONGEST


def test_one_that_floods_does_not_put_the_others_off(world: World) -> None:
    feed, one = world.store.line_feed, looking(world)
    loud, other = world.log(), world.store.open("other.log")
    for log in (loud, other):
        say(world, log, b"first\n")
    feed.wake_with(lambda: None)
    for number in range(1, 4):
        one.asked.clear()
        say(world, loud, *[b"x" * 4000 + b"\n"] * 40)
        say(world, other, b"panic\n")
        while feed.wait() == 0 and len(one.found) < number:
            feed.work()
        assert sum(map(len, one.asked)) < 4 * line_screen.OF_ONE
        while feed.wait() == 0:
            feed.work()
        say(world, loud, b"y\n")
        assert len(feed._whole) == 1  # as any other again
        feed.work()
    assert len(one.found) == 3


def test_who_wants_all_lines_gets_them_beside_one_who_looks_for_something(world: World) -> None:
    log, one, all_lines = world.log(), looking(world), Subscriber()
    say(world, log, b"one\n", b"two\n")
    world.store.line_feed.subscribe(all_lines)
    say(world, log, b"three\n", b"four panic\n")
    world.store.line_feed.unsubscribe(all_lines)
    say(world, log, b"five\n", b"six panic\n")
    assert [text for _, text in all_lines.told] == [b"three", b"four panic"]
    assert [text for _, text in one.found] == [b"four panic", b"six panic"]


def test_nothing_is_kept_of_a_console_that_is_between_two_lines(world: World) -> None:
    feed, one = world.store.line_feed, looking(world)
    logs = [world.store.open(f"{n}.log") for n in range(10)]
    for log in logs:
        say(world, log, b"first\n", b"kernel ", b"panic\n", b"\x1b[5;1Hpainted panic\n")
    assert len(feed._sources) == 0
    say(world, logs[0], b"login: ")
    assert len(feed._sources) == 1
    world.clock.advance(1)
    feed.work()
    assert one.told[-1][1] == b"login: "
    assert len(feed._sources) == 1  # what follows may change what was told
    say(world, logs[0], b"panic\n")
    assert one.told[-1][1] == b"panic"
    assert len(feed._sources) == 0


def test_what_is_long_in_another_encoding_or_too_much_goes_another_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, one = world.log(), looking(world)
    say(world, log, b"a\n", b"x" * line_screen.LONGEST + b"\n", b"panic\n")
    log.file.use("latin-1")
    say(world, log, b"panic \xe4\n")
    monkeypatch.setattr(line_screen, "MOST", 0)
    say(world, log, b"b\n", b"panic\n")
    assert [text for _, text in one.found] == [b"panic", "panic ä".encode(), b"panic"]
    assert world.store.line_feed._whole._ends == {log.file: one.found[2][0] + 6}
    world.store.line_feed.forget(log.file)
    assert world.store.line_feed._whole._ends == {}


PIECES = st.lists(
    st.sampled_from([b"pa", b"nic", b"panic", b"\n", b"\r\n", b"\r", b"\x1b[1m", b"\x1b[2;2H", b"x", b"\xff"])
)


@given(PIECES, st.lists(st.integers(1, 7)))
def test_however_it_is_cut_the_same_is_found(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces) + b"\n"
    wanted = [row for block in ConsoleLines().feed(stream, 0.0) for row in block.text.split(b"\n") if b"panic" in row]
    found: list[bytes] = []
    whole, lines = WholeLines(), ConsoleLines()

    def make(data: bytes) -> None:
        found.extend(row for block in lines.feed(data, 0.0) for row in block.text.split(b"\n") if b"panic" in row)

    at, sizes = 0, iter([*cuts, *([3] * len(stream))])
    file = LogFile("", "", Nobody())
    whole.pass_by(file, 0, b"\n")
    while at < len(stream):
        data = stream[at : at + next(sizes)]
        at += len(data)
        file.offset = at + 1
        if whole.take(file, data, 0.0):
            for _, _, piece, _ in whole.interesting([lambda text: b"panic" in text]):
                make(piece)
        else:
            whole.pass_by(file, file.offset - len(data), data)
            make(data)
    assert found == wanted


class Nobody:
    """A reporter."""

    def report(self, problem: str, lost: int) -> None: ...
