"""A console's log: the exact bytes, in time, with its trail."""

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
from tests.support.properties import examples


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, held=True)
    yield world
    world.stop()


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
