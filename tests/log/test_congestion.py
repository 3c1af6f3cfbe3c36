"""Logs in a storm, and on a disk that does not keep up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import Listener
from tests.support.properties import examples
from vmproxy.log.store import (
    CONGESTED_AT,
    FLUSH_SECONDS,
    LIMIT_IN_ALL,
    LIMIT_PER_LOG,
    PATIENCE_SECONDS,
    RELIEVED_AT,
    STORM_LOGS,
    STORM_SECONDS,
    ConsoleLog,
)

KB = 1024


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, held=True)
    yield world
    world.stop()


def listened(world: World, name: str = "vm.log") -> ConsoleLog:
    log = world.log(name)
    log.listener = Listener()
    return log


class TestStorm:
    """Many events at once: they wait for fewer batches, bytes do not, and each log keeps its order."""

    @staticmethod
    def written(log: ConsoleLog) -> list[str]:
        return [e["event"] for e in trail(log)]

    def storm(self, world: World) -> list[ConsoleLog]:
        logs = [world.log(f"vm{n}.log") for n in range(2 * STORM_LOGS)]
        for log in logs:
            log.event("up")
        world.clock.advance(FLUSH_SECONDS)
        assert all(self.written(log) == ["up"] for log in logs)
        return logs

    def test_few_events_are_written_within_100_ms(self, world: World) -> None:
        log = world.log()
        for _ in range(5):
            log.event("up")
            world.clock.advance(0.1)
            assert self.written(log)[-1] == "up"

    def test_in_a_storm_they_and_the_journal_wait_for_half_a_second(self, world: World) -> None:
        first, *others = self.storm(world)
        jobs: list[str] = []
        for log in others:
            log.event("down")
            world.store.soon(lambda: jobs.append("done"))
            world.clock.advance(0.001)
        assert self.written(others[0]) == ["up"]
        assert not jobs
        world.clock.advance(STORM_SECONDS)
        assert all(self.written(log) == ["up", "down"] for log in others)
        assert len(jobs) == len(others)
        world.clock.advance(STORM_SECONDS)  # the last batch
        first.event("down")
        world.clock.advance(STORM_SECONDS)
        assert self.written(first) == ["up", "down"]
        first.event("up")  # it is over
        world.clock.advance(FLUSH_SECONDS)
        assert self.written(first) == ["up", "down", "up"]

    def test_bytes_do_not_wait_and_take_the_events_before_them_along(self, world: World) -> None:
        first, second, *_ = self.storm(world)
        first.event("down")
        second.event("down")
        first.append(b"last words")
        first.event("up")
        first.append(b"first words")
        world.clock.advance(FLUSH_SECONDS)
        assert first.path.read_bytes() == b"last wordsfirst words"
        assert [(e["event"], e["offset"]) for e in trail(first) if e["event"] != "time"] == [
            ("up", 0),
            ("down", 0),
            ("up", 10),
        ]
        assert self.written(second) == ["up"]
        world.clock.advance(STORM_SECONDS)
        assert self.written(second) == ["up", "down"]

    def test_whoever_asks_for_what_is_written_gets_it_at_once(self, world: World) -> None:
        first, *_ = self.storm(world)
        first.event("down")
        first.settled()
        assert self.written(first) == ["up", "down"]

    @given(
        st.lists(
            st.tuples(st.sampled_from(["event", "bytes", "time"]), st.integers(0, 2 * STORM_LOGS - 1)), max_size=300
        )
    )
    @examples(50)
    def test_order_and_offsets_are_those_of_one_batch_for_each(self, steps: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            logs = [world.log(f"vm{n}.log") for n in range(2 * STORM_LOGS)]
            expected: list[list[tuple[str, int]]] = [[] for _ in logs]
            sizes = [0] * len(logs)
            for number, (what, which) in enumerate([*steps, *(("event", n) for n in range(len(logs)))]):
                if what == "time":
                    world.clock.advance(which * 0.01)
                elif what == "bytes":
                    logs[which].append(b"x%d" % number)
                    sizes[which] += len(b"x%d" % number)
                else:
                    logs[which].event(f"e{number}")
                    expected[which].append((f"e{number}", sizes[which]))
            world.store.flush()
            for log, size, events in zip(logs, sizes, expected, strict=True):
                found = [e for e in trail(log) if e["event"] != "time"]
                assert [(e["event"], e["offset"]) for e in found] == events
                assert [e["at"] for e in trail(log)] == sorted(e["at"] for e in trail(log))
                assert (log.path.stat().st_size if log.path.exists() else 0) == size
            world.stop()


class TestCongestion:
    def fill(self, log: ConsoleLog, size: int, chunk: int = 64 * KB) -> None:
        for _ in range(size // chunk):
            log.append(b"x" * chunk)

    def test_above_the_mark_the_vm_waits_and_below_the_other_one_it_goes_on(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, CONGESTED_AT)
        assert log.listener.told == []
        log.append(b"x")
        assert log.listener.told == [("congested", True)]
        log.append(b"x" * KB)
        assert log.listener.told == [("congested", True)]
        hung.store.flush()
        hung.runner.go_on()
        assert log.listener.told == [("congested", True), ("congested", False)]
        assert log.path.stat().st_size == CONGESTED_AT + 1 + KB

    def test_it_is_relieved_only_at_the_low_mark(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, CONGESTED_AT - RELIEVED_AT)
        hung.store.flush()
        self.fill(log, RELIEVED_AT + 64 * KB)
        hung.store.flush()
        assert log.listener.told == [("congested", True)]
        hung.runner.go_on(1)
        assert log.listener.told == [("congested", True)]  # 320 KiB are still unwritten
        hung.runner.go_on()
        assert log.listener.told == [("congested", True), ("congested", False)]

    def test_it_can_happen_again(self, hung: World) -> None:
        log = listened(hung)
        for _ in range(3):
            self.fill(log, CONGESTED_AT + 64 * KB)
            hung.store.flush()
            hung.runner.go_on()
        assert log.listener.told == [("congested", True), ("congested", False)] * 3
        hung.clock.advance(10)
        assert hung.clock.getDelayedCalls() == []

    def test_a_disk_that_hangs_does_not_hold_the_vm_for_longer_than_a_second(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, CONGESTED_AT + 64 * KB)
        hung.clock.advance(PATIENCE_SECONDS - 0.01)
        assert log.listener.told == [("congested", True)]
        hung.clock.advance(0.27)
        assert log.listener.told == [("congested", True), ("congested", False)]
        # From then on it is not asked again until the disk has caught up: what does not fit is dropped.
        self.fill(log, LIMIT_PER_LOG)
        hung.clock.advance(5)
        assert len(log.listener.told) == 2
        assert hung.store.unwritten <= LIMIT_PER_LOG

    def test_each_log_has_a_second_of_its_own(self, hung: World) -> None:
        first, second = listened(hung, "1.log"), listened(hung, "2.log")
        self.fill(first, CONGESTED_AT + 64 * KB)
        hung.clock.advance(0.9)
        self.fill(second, CONGESTED_AT + 64 * KB)
        hung.clock.advance(0.9)
        assert first.listener.told[-1] == ("congested", False)
        assert second.listener.told[-1] == ("congested", True)
        hung.clock.advance(0.4)
        assert second.listener.told[-1] == ("congested", False)

    def test_a_disk_that_is_slow_but_works_keeps_the_vm_waiting_and_nothing_is_lost(self, hung: World) -> None:
        # Patience is for a disk without progress. One that writes 64 KiB every 0.2 s only needs time.
        log = listened(hung)
        for _ in range(CONGESTED_AT // (64 * KB) + 1):
            log.append(b"x" * 64 * KB)
            hung.store.flush()
        for _ in range(11):
            hung.clock.advance(0.2)
            assert log.listener.told == [("congested", True)]
            hung.runner.go_on(1)
        hung.runner.go_on()
        assert log.listener.told == [("congested", True), ("congested", False)]

    def test_what_does_not_fit_is_dropped_and_becomes_a_gap_where_it_is_missing(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, LIMIT_PER_LOG)
        log.append(b"y" * 1000)
        log.append(b"y" * 500)
        assert hung.store.dropped == 1500
        hung.store.flush()
        hung.runner.go_on()
        log.append(b"after")
        hung.store.flush()
        hung.runner.go_on()
        assert log.path.read_bytes() == b"x" * LIMIT_PER_LOG + b"after"
        (gap,) = trail(log, "gap")
        assert (gap["offset"], gap["bytes"]) == (LIMIT_PER_LOG, 1500)
        assert gap["reason"]
        assert hung.store.dropped == 1500
        assert hung.store.unwritten == 0

    def test_a_gap_is_recorded_when_the_disk_works_again_and_the_vm_says_nothing_more(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, LIMIT_PER_LOG)
        log.append(b"y" * 1000)
        hung.store.flush()
        hung.runner.go_on()
        hung.clock.advance(0.1)
        hung.runner.go_on()
        assert [gap["bytes"] for gap in trail(log, "gap")] == [1000]

    def test_a_gap_is_recorded_on_an_orderly_stop(self, hung: World) -> None:
        log = listened(hung)
        self.fill(log, LIMIT_PER_LOG)
        log.append(b"y" * 1000)
        stopped: list[None] = []
        hung.store.stop().addCallback(stopped.append)
        hung.runner.go_on()
        assert stopped == [None]
        assert [gap["bytes"] for gap in trail(log, "gap")] == [1000]

    def test_a_gap_of_a_log_that_had_nothing_waiting_is_recorded_when_there_is_room_again(self, hung: World) -> None:
        # All others together took the room: this one's own queue is empty, nothing of it comes back from the disk.
        for n in range(LIMIT_IN_ALL // LIMIT_PER_LOG):
            self.fill(hung.log(f"{n}.log"), LIMIT_PER_LOG, chunk=LIMIT_PER_LOG)
        log = listened(hung)
        log.append(b"y" * 1000)
        assert hung.store.unwritten == LIMIT_IN_ALL
        hung.runner.writer.write = lambda file, items, at: None  # 256 MiB need not be written for this
        hung.store.flush()
        hung.runner.go_on()
        del hung.runner.writer.write
        assert hung.store.unwritten < KB  # nothing but the event that tells of the gap
        stopped: list[None] = []
        hung.store.stop().addCallback(stopped.append)
        hung.runner.go_on()
        assert stopped == [None]
        assert [gap["bytes"] for gap in trail(log, "gap")] == [1000]

    def test_one_log_that_is_behind_does_not_stop_another(self, hung: World) -> None:
        flooded, other = listened(hung, "1.log"), listened(hung, "2.log")
        self.fill(flooded, LIMIT_PER_LOG + 64 * KB)
        other.append(b"small")
        hung.store.flush()
        hung.runner.go_on()
        assert other.path.read_bytes() == b"small"
        assert other.listener.told == []

    @examples(25)
    @given(st.lists(st.sampled_from(["small", "large", "flush", "disk", "wait"]), max_size=60))
    def test_every_byte_is_written_or_in_a_gap(self, steps: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), held=True)
            log = listened(world)
            fed = 0
            for step in steps:
                match step:
                    case "small":
                        log.append(b"s")
                        fed += 1
                    case "large":
                        log.append(b"L" * 900 * KB)
                        fed += 900 * KB
                    case "flush":
                        world.store.flush()
                    case "disk":
                        world.runner.go_on(1)
                    case "wait":
                        world.clock.advance(0.3)
            for _ in range(3):
                world.clock.advance(2)
                world.runner.go_on()
            world.stop()
            size = log.path.stat().st_size if log.path.exists() else 0
            assert size + sum(gap["bytes"] for gap in trail(log, "gap")) == fed
            assert world.store.unwritten == 0
            # Whoever was asked to wait was told to go on, and the two alternate.
            asked = [on for _, on in log.listener.told]
            assert asked == [True, False] * (len(asked) // 2)
