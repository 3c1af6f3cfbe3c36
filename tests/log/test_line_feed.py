"""Lines as they come: whole, once, with offsets, bounded, and nothing at all while nobody wants any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.fakes import Disk, Logged
from vmproxy.log import line_feed
from vmproxy.log.file_state import LogFile
from vmproxy.log.lines import ConsoleLines, Lines


class Subscriber:
    """Keeps what it is given: offsets and texts."""

    def __init__(self, *files: LogFile) -> None:
        self.files = files
        self.told: list[tuple[int, bytes]] = []
        self.blocks: list[Lines] = []
        self.missing = 0
        self.flushed = 0

    def wants(self, file: LogFile) -> bool:
        return not self.files or file in self.files

    def lines(self, file: LogFile, blocks: Sequence[Lines]) -> None:
        self.blocks += blocks
        for block in blocks:
            self.told += zip(block.offsets(), block.text.split(b"\n"), strict=True)

    def skipped(self, file: LogFile, count: int) -> None:
        self.missing += count

    def flush(self) -> None:
        self.flushed += 1


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def subscribed(world: World, *files: LogFile) -> Subscriber:
    subscriber = Subscriber(*files)
    world.store.line_feed.subscribe(subscriber)
    return subscriber


def test_lines_have_their_offsets_however_they_are_made() -> None:
    stream = b"one\r\ntwo\x1b[1m!\x1b[m\nthree\rTHR\n\x1b[1;1Htop\x1b[2;1Hbelow\nlast\n"
    wanted = [(0, b"one"), (5, b"two!"), (17, b"THRee"), (27, b"top"), (27, b"below"), (48, b"last")]
    for size in (1, 3, len(stream)):
        made = ConsoleLines()
        found = [
            pair
            for at in range(0, len(stream), size)
            for block in made.feed(stream[at : at + size], 0.0, at)
            for pair in zip(block.offsets(), block.text.split(b"\n"), strict=True)
        ]
        assert found == wanted


def test_a_subscriber_gets_lines_whole_though_it_came_in_the_middle_of_one(world: World) -> None:
    log = world.log()
    log.append(b"first\nsec")
    world.store.flush()
    subscriber = subscribed(world)
    log.append(b"ond\r\nthird\nfour")
    world.store.flush()
    assert subscriber.told == [(6, b"second"), (14, b"third")]
    assert subscriber.flushed


def test_a_prompt_is_a_line_after_a_second(world: World) -> None:
    log, subscriber = world.log(), subscribed(world)
    log.append(b"login: ")
    world.store.flush()
    feed = world.store.line_feed
    assert feed.wait() == pytest.approx(1.0)
    feed.work()
    assert subscriber.told == []
    world.clock.advance(1)
    feed.work()
    assert subscriber.told == [(0, b"login: ")]
    assert feed.wait() is None
    log.append(b"root\r\n")
    world.store.flush()
    assert subscriber.told[1:] == [(7, b"root")]


def test_a_line_is_not_cut_by_what_others_print_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = world.store.line_feed
    slow, loud = world.log(), world.store.open("loud.log")
    looking = Subscriber()
    feed.subscribe(looking, lambda text: b"panic" in text)
    loud.append(b"first\n")
    world.store.flush()
    feed.wake_with(lambda: None)

    def meanwhile(file: LogFile, blocks: Sequence[Lines]) -> None:
        loud.append(b"more\n")  # while lines are made
        world.store.flush()

    slow.append(b"one\nkernel pa")
    world.store.flush()
    monkeypatch.setattr(looking, "lines", meanwhile)
    feed.work()
    monkeypatch.undo()
    slow.append(b"nic\n")
    world.store.flush()
    while feed.wait() == 0:
        feed.work()
    assert looking.told[-1] == (4, b"kernel panic")


def test_a_prompt_is_told_while_another_console_floods(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, loud, prompt = world.store.line_feed, world.log(), world.store.open("prompt.log")
    subscriber = subscribed(world, prompt.file, loud.file)
    prompt.append(b"login: ")
    world.store.flush()
    feed.wake_with(lambda: None)
    world.clock.advance(1)
    monkeypatch.setattr(line_feed, "SLICE", 0.0)
    loud.append(b"x\n" * line_feed.PIECE * 4)
    world.store.flush()
    feed.work()
    assert subscriber.told[-1] == (0, b"login: ")
    prompt.append(b"ro")
    world.store.flush()
    while feed.wait() == 0:
        feed.work()
    world.clock.advance(1)
    prompt.append(b"ot\n")  # it is late, but this comes first
    world.store.flush()
    while feed.wait() == 0:
        feed.work()
    assert subscriber.told[-1] == (7, b"root")


def test_only_what_is_wanted_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, other = world.log(), world.store.open("other.log")
    subscriber = subscribed(world, wanted.file)
    monkeypatch.setattr(world.store.line_feed, "put", put := Spy(world.store.line_feed.put))
    wanted.append(b"this\n")
    other.append(b"that\n")
    world.store.flush()
    assert (subscriber.told, put.calls) == ([(0, b"this")], 1)
    world.store.line_feed.unsubscribe(subscriber)
    wanted.append(b"more\n")
    world.store.flush()
    assert put.calls == 1


class Spy:
    """Counts calls."""

    def __init__(self, call: object) -> None:
        self.call = call
        self.calls = 0

    def __call__(self, *args: object) -> None:
        self.calls += 1
        self.call(*args)  # type: ignore[operator]  # whoever sets it gives a function


def test_what_is_too_much_is_left_out_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_feed, "EACH", 20)
    world.store.line_feed.wake_with(lambda: None)  # nobody works
    loud, quiet = world.log(), world.store.open("quiet.log")
    subscriber = subscribed(world)
    for text in (b"0123456789\n", b"is too much\nand more\nhalf", b" a line\n"):
        loud.append(text)
        world.store.flush()
    quiet.append(b"heard\n")
    world.store.flush()
    feed = world.store.line_feed
    while feed.wait() == 0:
        feed.work()
    assert [text for _, text in subscriber.told] == [b"0123456789", b"heard"]
    assert subscriber.missing == 3
    loud.append(b"unfin")
    world.store.flush()
    feed.work()
    loud.append(b"ished\n")
    world.store.flush()
    feed.work()
    assert subscriber.told[2:] == [(44, b"unfinished")]


def test_many_that_flood_leave_room_for_each_of_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_feed, "IN_ALL", 40_000)
    feed, prompt, subscriber = world.store.line_feed, world.store.open("prompt.log"), subscribed(world)
    feed.wake_with(lambda: None)
    for number in range(10):
        world.log(f"{number}.log").append(b"x" * 9999 + b"\n")
        world.store.flush()
    prompt.append(b"Give root password")
    world.store.flush()
    while feed.wait() == 0:
        feed.work()
    world.clock.advance(1)
    feed.work()
    assert subscriber.told[-1] == (0, b"Give root password")
    assert (len(subscriber.told), subscriber.missing) == (5, 6)


def test_after_what_was_left_out_a_line_is_whole_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_feed, "EACH", 16)
    feed = world.store.line_feed
    feed.wake_with(lambda: None)
    log, subscriber = world.log(), subscribed(world)
    log.append(b"0123456789\n")
    world.store.flush()
    log.append(b"left out\nhalf ")
    world.store.flush()
    feed.work()
    log.append(b"a line\n")
    world.store.flush()
    feed.work()
    assert ([text for _, text in subscriber.told], subscriber.missing) == ([b"0123456789", b"half a line"], 1)


def test_lines_come_though_the_disk_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log, subscriber = world.log(), subscribed(world)
    log.append(b"before\n")
    world.store.flush()
    disk = Disk(monkeypatch)
    disk.room = 0
    log.append(b"I/O er")
    world.store.flush()
    log.append(b"ror\n")
    world.store.flush()
    assert subscriber.told == [(0, b"before"), (7, b"I/O error")]


def test_who_fails_is_removed_and_the_others_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log, bad, good = world.log(), subscribed(world), subscribed(world)
    monkeypatch.setattr(bad, "lines", lambda *args: 1 / 0)
    with Logged() as logged:
        log.append(b"one\n")
        world.store.flush()
    assert len(logged.tracebacks) == 1
    assert world.store.line_feed.subscribers == (good,)
    assert good.told == [(0, b"one")]
