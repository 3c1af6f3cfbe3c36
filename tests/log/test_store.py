"""A console's log: the exact bytes, in time, with its trail; and what happens when the disk is slow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, Listener
from tests.support.properties import examples
from vmproxy.log import store as log_module
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


class TestBytes:
    def test_they_are_with_the_system_within_100_ms(self, world: World) -> None:
        log = world.log()
        log.append(b"first ")
        world.clock.advance(0.05)
        log.append(b"second")
        world.clock.advance(0.05)
        assert log.path.read_bytes().startswith(b"first ")
        world.clock.advance(0.05)
        assert log.path.read_bytes() == b"first second"

    def test_a_steady_stream_does_not_put_writing_off(self, world: World) -> None:
        log = world.log()
        for count in range(1, 51):
            log.append(b"x")
            world.clock.advance(0.01)
            written = log.path.stat().st_size if log.path.exists() else 0
            assert written >= count - 10

    def test_an_orderly_stop_writes_them_at_once(self, world: World) -> None:
        log = world.log()
        log.append(b"last words")
        log.event("down", reason="stopped")
        stopped: list[None] = []
        world.store.stop().addCallback(stopped.append)
        assert stopped == [None]
        assert log.path.read_bytes() == b"last words"
        assert [e["event"] for e in trail(log)] == ["time", "down"]
        assert world.clock.getDelayedCalls() == []

    def test_they_are_appended_to_what_was_there_before(self, world: World) -> None:
        log = world.log()
        log.path.parent.mkdir(parents=True)
        log.path.write_bytes(b"before\n")
        log.append(b"after\n")
        log.event("up")
        world.store.flush()
        assert log.path.read_bytes() == b"before\nafter\n"
        assert trail(log, "up")[0]["offset"] == 13
        assert trail(log, "time")[0]["offset"] == 7

    def test_nothing_is_made_before_the_first_byte_or_event(self, world: World) -> None:
        log = world.log("some/where/vm.log")
        world.store.flush()
        world.tick(10)
        assert not world.store.folder.exists()
        log.event("up")
        world.store.flush()
        assert not log.path.exists()
        assert Path(log.file.trail_path).exists()

    def test_every_byte_value_is_kept_as_it_is(self, world: World) -> None:
        log = world.log()
        data = bytes(range(256)) + b"\r\n\0\r\xff\xff\n\r\x1a"
        log.append(data)
        world.store.flush()
        assert log.path.read_bytes() == data

    def test_nobody_else_may_read_them(self, world: World) -> None:
        log = world.log()
        log.append(b"secret")
        world.store.flush()
        assert log.path.stat().st_mode & 0o007 == 0
        assert Path(log.file.trail_path).stat().st_mode & 0o007 == 0

    def test_settled_tells_the_size_of_what_was_appended_before(self, world: World) -> None:
        log = world.log()
        log.append(b"12345")
        sizes: list[int] = []
        log.settled().addCallback(sizes.append)
        log.append(b"678")
        assert sizes == [5]
        assert log.path.read_bytes() == b"12345"

    def test_settled_fires_for_a_log_without_anything(self, world: World) -> None:
        sizes: list[int] = []
        world.log().settled().addCallback(sizes.append)
        assert sizes == [0]

    @examples(40)
    @given(
        st.lists(
            st.tuples(st.integers(0, 4), st.binary(max_size=20) | st.none(), st.sampled_from([0, 0.001, 0.05, 1.5])),
            max_size=60,
        ),
        st.integers(2, 6),
    )
    def test_many_logs_share_few_descriptors_and_each_keeps_order_and_offsets(
        self, steps: list[Any], open_files: int
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), open_files=open_files)
            before = len(os.listdir("/proc/self/fd"))
            logs = [world.log(f"{n}/vm.log") for n in range(5)]
            expected = [b""] * 5
            offsets: list[list[int]] = [[] for _ in logs]
            for which, data, seconds in steps:
                if data is None:
                    logs[which].event("note")
                    offsets[which].append(len(expected[which]))
                else:
                    logs[which].append(data)
                    expected[which] += data
                world.clock.advance(seconds)
                world.writer.tick()
                assert len(os.listdir("/proc/self/fd")) - before <= open_files
            world.store.stop()
            for log, data, at in zip(logs, expected, offsets, strict=True):
                assert (log.path.read_bytes() if log.path.exists() else b"") == data
                assert [e["offset"] for e in trail(log, "note")] == at
                every = [e["offset"] for e in trail(log)]
                assert every == sorted(every)
                notes = [e["at"] for e in trail(log, "note")]
                assert notes == sorted(notes)
                # A mark may be a little early, it is that of a batch; it is never later than what stands behind it.
                lines = trail(log)
                for n, line in enumerate(lines):
                    assert line["event"] != "time" or all(line["at"] <= later["at"] for later in lines[n:])
            assert len(os.listdir("/proc/self/fd")) == before


class TestTrail:
    def test_an_event_stands_at_the_byte_at_which_it_happened(self, world: World) -> None:
        log = world.log()
        log.event("up", host="10.0.0.1")
        log.append(b"12345")
        log.event("attach", who="alice")
        log.append(b"67")
        log.event("detach", who="alice")
        world.store.flush()
        assert [(e["event"], e["offset"]) for e in trail(log) if e["event"] != "time"] == [
            ("up", 0),
            ("attach", 5),
            ("detach", 7),
        ]

    def test_events_beyond_the_bound_are_dropped_and_counted(self, hung: World) -> None:
        log = hung.log()
        told = 0
        while not hung.store.events_lost:
            log.event("note", text="x" * 60_000, number=told)
            told += 1
            assert told < 1000
        for _ in range(4):
            log.event("note", text="x" * 60_000, number=told)
            told += 1
        assert hung.store.events_lost == 5
        hung.store.flush()
        hung.runner.go_on()
        assert [line["number"] for line in trail(log, "note")] == list(range(told - 5))

    def test_its_time_is_that_of_the_event_and_not_of_the_writing(self, hung: World) -> None:
        log = hung.log()
        log.event("up")
        hung.clock.advance(7)
        hung.runner.go_on()
        assert trail(log, "up")[0]["at"] == "2023-11-14T22:13:20.000Z"

    def test_a_mark_tells_the_time_of_whatever_comes_by_itself(self, world: World) -> None:
        log = world.log()
        for _ in range(100):
            log.append(b"x" * 10)
            world.clock.advance(0.1)
        marks = trail(log, "time")
        assert [mark["offset"] for mark in marks] == list(range(0, 1000, 10))
        assert marks[1]["at"] == "2023-11-14T22:13:20.100Z"
        assert marks[0] == {"at": "2023-11-14T22:13:20.000Z", "offset": 0, "event": "time"}
        # What a mark says is true: the byte at that offset is the first that came after that time.
        assert [m["offset"] % 10 for m in marks] == [0] * len(marks)

    def test_silence_leaves_no_marks(self, world: World) -> None:
        log = world.log()
        log.append(b"x")
        world.clock.advance(1)
        for _ in range(50):
            world.tick(1)
        assert len(trail(log, "time")) == 1

    def test_a_clock_that_is_set_back_does_not_silence_the_marks(self, world: World) -> None:
        log = world.log()
        log.append(b"x")
        world.clock.advance(1)
        world.clock.rightNow -= 3600
        for _ in range(5):
            log.append(b"x")
            world.clock.advance(1)
        assert len(trail(log, "time")) >= 4


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


class TestFilesMovedUnderUs:
    def write(self, world: World, log: ConsoleLog, data: bytes) -> None:
        log.append(data)
        world.store.flush()

    @pytest.mark.parametrize("which", ["log", "trail"])
    def test_one_that_was_renamed_is_made_anew_within_5_s_without_a_signal(self, world: World, which: str) -> None:
        log = world.log()
        self.write(world, log, b"old")
        path = log.path if which == "log" else Path(log.file.trail_path)
        path.rename(path.with_name("rotated"))
        for _ in range(5):
            world.tick(1)
        assert path.exists()
        assert path.stat().st_size == 0 or (which == "trail" and trail(log) == [])

    def test_a_rename_loses_no_byte(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"one ")
        rotated = log.path.rename(log.path.with_name("rotated"))
        self.write(world, log, b"two ")
        world.tick(5)
        self.write(world, log, b"three")
        assert rotated.read_bytes() + log.path.read_bytes() == b"one two three"
        assert log.path.read_bytes() == b"three"

    def test_one_that_was_removed_is_made_anew(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"old")
        log.path.unlink()
        world.tick(5)
        self.write(world, log, b"new")
        log.event("note")
        world.store.flush()
        assert log.path.read_bytes() == b"new"
        assert trail(log, "note")[0]["offset"] == 6

    def test_its_folder_may_go_too(self, world: World) -> None:
        log = world.log("deep/er/vm.log")
        self.write(world, log, b"old")
        for file in log.path.parent.iterdir():
            file.unlink()
        log.path.parent.rmdir()
        log.path.parent.parent.rmdir()
        world.tick(5)
        self.write(world, log, b"new")
        assert log.path.read_bytes() == b"new"

    def test_copytruncate(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"x" * 1000)
        os.truncate(log.path, 0)
        world.tick(5)
        self.write(world, log, b"new")
        log.event("note")
        world.store.flush()
        assert log.path.read_bytes() == b"new"  # and not a thousand NULs before it
        assert trail(log, "note")[0]["offset"] == 1003

    def test_bytes_right_after_copytruncate_leave_no_hole(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"x" * 1000)
        os.truncate(log.path, 0)
        self.write(world, log, b"new")
        assert log.path.read_bytes() == b"new"

    def test_copytruncate_of_the_trail_leaves_no_torn_line(self, world: World) -> None:
        log = world.log()
        log.event("one")
        world.store.flush()
        os.truncate(Path(log.file.trail_path), 0)
        log.event("two")
        world.store.flush()
        assert [e["event"] for e in trail(log)] == ["two"]

    def test_another_file_in_its_place_is_appended_to(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"old")
        log.path.rename(log.path.with_name("rotated"))
        log.path.write_bytes(b"theirs ")
        world.tick(5)
        self.write(world, log, b"ours")
        assert log.path.read_bytes() == b"theirs ours"

    def test_reopen_takes_effect_at_once(self, world: World) -> None:
        log = world.log()
        log.append(b"before the signal")
        rotated = log.path.with_name("rotated")
        world.store.flush()
        log.append(b", also before it")
        log.path.rename(rotated)
        world.store.reopen()
        self.write(world, log, b"after")
        assert rotated.read_bytes() == b"before the signal, also before it"
        assert log.path.read_bytes() == b"after"

    def test_reopen_of_a_thousand_logs_is_cheap_and_opens_only_what_is_written(self, world: World) -> None:
        logs = [world.log(f"{n}.log") for n in range(1000)]
        for log in logs:
            log.append(b"x")
        world.store.flush()
        world.store.reopen()
        before = len(os.listdir("/proc/self/fd"))
        logs[0].append(b"y")
        world.store.flush()
        # The log; its trail only when a time mark is due.
        assert len(os.listdir("/proc/self/fd")) - before <= 2

    def test_a_link_in_the_place_of_a_log_is_not_followed(self, world: World, tmp_path: Path) -> None:
        target = tmp_path / "precious"
        target.write_bytes(b"precious")
        log = listened(world)
        log.path.parent.mkdir()
        log.path.symlink_to(target)
        self.write(world, log, b"x")
        assert target.read_bytes() == b"precious"
        assert log.listener.told[0][0] == "failed"
        # And once it is out of the way, nothing is missing.
        log.path.unlink()
        world.tick(5)
        assert log.path.read_bytes() == b"x"
        assert log.listener.told[1:] == [("recovered", 0)]

    def test_following_moved_files_is_due_within_5_s_even_if_the_clock_is_set_back(self, world: World) -> None:
        log = world.log()
        self.write(world, log, b"old")
        world.tick(5)
        world.clock.rightNow = EPOCH - 3600
        assert world.writer.next_tick() <= 5  # type: ignore[operator]  # a number by now
        log.path.rename(log.path.with_name("rotated"))
        world.tick(5)
        assert log.path.exists()


class TestCrowd:
    """Many logs, none of which has much to wait for, and all of them together have."""

    @pytest.fixture
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_module, "LIMIT_IN_ALL", 400_000)
        monkeypatch.setattr(log_module, "CROWDED_AT", 200_000)
        monkeypatch.setattr(log_module, "RELIEVED_IN_ALL", 100_000)

    def crowd(self, tmp_path: Path) -> tuple[World, list[ConsoleLog], list[Listener]]:
        world = World(tmp_path, held=True)
        world.runner.go_on()
        logs = [world.log(f"{n}.log") for n in range(100)]
        listeners = [Listener() for _ in logs]
        for log, listener in zip(logs, listeners, strict=True):
            log.listener = listener
        return world, logs, listeners

    def test_every_vm_that_says_something_waits_before_anything_is_dropped(self, small: None, tmp_path: Path) -> None:
        world, logs, listeners = self.crowd(tmp_path)
        said = 0
        for _ in range(10):
            for log, listener in zip(logs, listeners, strict=True):
                if listener.told[-1:] != [("congested", True)]:
                    log.append(b"x" * 1000)
                    said += 1000
        assert all(listener.told[-1:] == [("congested", True)] for listener in listeners)
        assert world.store.dropped == 0
        assert not world.store.dropping
        world.clock.advance(0.02)
        world.runner.go_on()
        assert all(listener.told[-1:] == [("congested", False)] for listener in listeners)
        assert sum(log.path.stat().st_size for log in logs) == said

    def test_they_wait_as_long_as_the_writer_gets_on_with_any_of_them(self, small: None, tmp_path: Path) -> None:
        world, logs, listeners = self.crowd(tmp_path)
        for n, log in enumerate(logs, 1):
            log.append(b"x" * 2500)
            if n % 20 == 0:
                world.store.flush()  # five batches
        last = listeners[-1]
        assert last.told == [("congested", True)]
        for _ in range(2):
            world.clock.advance(0.7)
            world.runner.go_on(1)
        world.clock.advance(0.7)
        assert last.told == [("congested", True)]  # for more than two seconds, but the writer gets on
        world.runner.go_on(1)
        assert last.told == [("congested", True), ("congested", False)]
        world.runner.go_on()
        assert world.store.dropped == 0

    def test_after_a_second_without_progress_they_go_on(self, small: None, tmp_path: Path) -> None:
        world, logs, listeners = self.crowd(tmp_path)
        for log in logs:
            log.append(b"x" * 2500)
        assert ("congested", True) in listeners[-1].told
        world.clock.advance(0.02)
        world.clock.pump([0.25] * 8)
        assert listeners[-1].told[-1] == ("congested", False)
        assert world.store.dropped == 0
        for log in logs:
            log.append(b"y" * 2500)
        assert world.store.dropping
        world.runner.go_on()
        world.clock.pump([0.25] * 2)
        world.runner.go_on()
        assert world.store.dropped > 0
