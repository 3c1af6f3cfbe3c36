"""Rotation: whatever is cut, moved and renamed, no byte of a log is lost."""

from __future__ import annotations

import errno
import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, VM_A, InlineRunner, Logged
from tests.support.log_files import _raise, content, in_order, names, say, segments, set_time, whole, write
from vmproxy.log.files import LogFiles
from vmproxy.log.rotation import PER_TURN, RotationPolicy
from vmproxy.log.writer import LogWriter

DAY = 86400.0


class TestBySize:
    def test_a_log_that_is_large_enough_is_put_aside_with_its_trail(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=10))
        log = world.log()
        say(world, log, b"123456789")
        assert names(log.path.parent) == ["vm.log", "vm.log.events"]
        say(world, log, b"0", b"next")
        assert names(log.path.parent) == ["vm.log", "vm.log.1", "vm.log.events", "vm.log.events.1"]
        assert log.path.with_name("vm.log.1").read_bytes() == b"1234567890"
        assert log.path.read_bytes() == b"next"
        assert world.writer.rotation.rotated == 1

    def test_without_a_policy_nothing_is_rotated(self, world: World) -> None:
        log = world.log()
        say(world, log, b"x" * 1_000_000)
        world.tick(1_000_000_000)
        assert names(log.path.parent) == ["vm.log", "vm.log.events"]

    def test_the_new_trail_begins_with_the_rotation_and_the_first_byte_has_its_time(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=5))
        log = world.log()
        write(world, log, b"12345")
        world.writer.tick()
        write(world, log, b"ab")  # less than a second after the last mark
        log.event("note")
        world.store.flush()
        rotated, mark, note = trail(log)
        assert (rotated["event"], rotated["offset"], rotated["to"], rotated["bytes"]) == ("rotated", 5, "vm.log.1", 5)
        assert (mark["event"], mark["offset"]) == ("time", 5)
        assert (note["event"], note["offset"]) == ("note", 7)
        assert rotated["at"] <= mark["at"] <= note["at"]

    def test_the_newest_is_1(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1))
        log = world.log()
        say(world, log, b"a", b"b", b"c")
        assert [file.read_bytes() for file in segments(log.path)] == [b"a", b"b", b"c", b""]
        assert [file.name for file in segments(log.path)] == ["vm.log.3", "vm.log.2", "vm.log.1", "vm.log"]
        marks = [
            [json.loads(line) for line in file.read_bytes().splitlines()]
            for file in segments(Path(log.file.trail_path))
        ]
        assert [[e["offset"] for e in lines if e["event"] == "time"] for lines in marks] == [[0], [1], [2], []]

    def test_a_log_without_a_suffix_as_nova_reads_it(self, world: World) -> None:
        world.writer.use(RotationPolicy(size=1, compress=True), plain=True)
        log = world.log(VM_A.hex)
        say(world, log, b"a\n", b"b\n")
        for _ in range(6):
            world.tick(1)
        assert names(log.path.parent) == sorted(
            [VM_A.hex, f"{VM_A.hex}.events"]
            + [f"{VM_A.hex}{kind}.{n}.gz" for kind in ("", ".events", ".txt") for n in (1, 2)]
        )
        assert whole(log.path) == b"a\nb\n"

    def test_a_trail_that_grows_though_the_vm_says_nothing_is_rotated_too(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1000))
        log = world.log()
        for n in range(100):
            log.event("note", text="n" * 700, n=n)
        world.store.flush()
        world.tick(1)
        assert len(trail(log)) < 100
        assert log.path.with_name("vm.log.1").read_bytes() == b""
        assert len(log.path.with_name("vm.log.events.1").read_bytes().splitlines()) == 1 + 100

    def test_a_turn_on_a_slow_disk_ends_earlier(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vmproxy.log.rotation.TURN_SECONDS", 0.0)
        world.writer.rotation.use(RotationPolicy(size=1))
        for n in range(3):
            world.log(f"{n}.log").append(b"x")
        world.store.flush()
        for turn in range(1, 4):
            world.writer.tick()
            assert world.writer.rotation.rotated == turn

    def test_a_few_are_rotated_in_a_turn(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vmproxy.log.rotation.TURN_SECONDS", math.inf)
        world.writer.rotation.use(RotationPolicy(size=1))
        logs = [world.log(f"{n}.log") for n in range(3 * PER_TURN + 1)]
        for log in logs:
            log.append(b"x")
        world.store.flush()
        for turn in range(1, 4):
            assert world.writer.next_tick() == 0
            world.writer.tick()
            assert world.writer.rotation.rotated == turn * PER_TURN
        world.writer.tick()
        assert world.writer.rotation.rotated == len(logs)
        assert world.writer.next_tick() > 0  # type: ignore[operator]  # a number by now

    def test_the_files_put_aside_hold_no_descriptor(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1))
        log = world.log()
        say(world, log, b"x")
        before = len(os.listdir("/proc/self/fd"))
        say(world, log, *[b"x"] * 50)
        assert len(os.listdir("/proc/self/fd")) == before

    def test_one_that_cannot_be_rotated_goes_on_growing_is_told_once_and_tried_again_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.writer.rotation.use(RotationPolicy(size=4))
        log = world.log()
        rename = os.rename

        def refuse(source: Any, target: Any) -> None:
            raise OSError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "rename", refuse)
        with Logged() as lines:
            say(world, log, b"1234", b"5678", b"9")
        assert len([line for line in lines if "cannot rotate" in line and "Permission denied" in line]) == 1
        monkeypatch.setattr(os, "rename", rename)
        assert log.path.read_bytes() == b"123456789"
        world.tick(60)
        say(world, log, b"0")
        assert whole(log.path) == b"1234567890"
        assert log.path.read_bytes() == b""

    @pytest.mark.parametrize("which", ["vm.log", "vm.log.1", "vm.log.events", "vm.log.events.1", "vm.txt.1"])
    def test_one_that_fails_half_way_leaves_each_log_with_its_trail(
        self, world: World, monkeypatch: pytest.MonkeyPatch, which: str
    ) -> None:
        world.writer.use(RotationPolicy(size=4), plain=True)
        log = world.log()
        say(world, log, b"123\n")
        rename = os.rename

        def refuse(source: Any, target: Any) -> None:
            if Path(source).name == which:
                raise OSError(errno.EIO, "Input/output error")
            rename(source, target)

        monkeypatch.setattr(os, "rename", refuse)
        say(world, log, b"456\n", b"7")
        in_order(log.path)
        assert {file.name for file in log.path.parent.iterdir()} in (
            {"vm.log", "vm.log.events", "vm.txt", "vm.log.1", "vm.log.events.1", "vm.txt.1"},
            {"vm.log", "vm.log.events", "vm.txt", "vm.log.2", "vm.log.events.2", "vm.txt.2"},
        )
        assert whole(log.path) == b"123\n456\n7"

    def test_a_trail_without_a_log_is_not_written_over(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=4))
        log = world.log()
        log.path.parent.mkdir()
        beside = log.path.with_name("vm.log.events.1")
        beside.write_bytes(b"precious")
        say(world, log, b"1234")
        assert log.path.with_name("vm.log.events.2").read_bytes() == b"precious"

    def test_the_log_of_another_console_is_not_taken_for_an_old_one(self, world: World) -> None:
        # Names made by an earlier version may stand in each other's way.
        world.writer.rotation.use(RotationPolicy(size=4))
        log, other = world.log("web"), world.log("web.1")
        write(world, other, b"o")
        with Logged() as lines:
            say(world, log, b"12345")
        assert any("web.1 is the log of another console" in line for line in lines)
        assert (log.path.read_bytes(), other.path.read_bytes()) == (b"12345", b"o")

    def test_a_log_that_fails_is_rotated_and_goes_on_where_it_was(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.writer.rotation.use(RotationPolicy(size=4))
        log = world.log()
        write(world, log, b"1234")
        log.append(b"56")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: _raise(errno.ENOSPC))
            world.store.flush()
        world.tick(1)
        assert whole(log.path) == b"123456"


class TestByAge:
    def test_counted_from_the_first_byte_and_not_from_the_last(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(age=100))
        log = world.log()
        world.clock.advance(5000)
        for n in range(99):
            say(world, log, b"%02d," % n)
        assert len(segments(log.path)) == 1
        for _ in range(20):
            world.tick(1)
        assert [len(file.read_bytes()) for file in segments(log.path)] == [297, 0]

    def test_an_empty_log_stays(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(age=100))
        log = world.log()
        log.event("up")
        world.store.flush()
        say(world, log, b"x")
        for _ in range(100):
            world.tick(50)
        assert [content(file) for file in segments(log.path)] == [b"x", b""]

    def test_the_event_is_as_old_as_the_rotation(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(age=100))
        log = world.log()
        say(world, log, b"x")
        world.tick(500)
        world.tick(0)
        at = datetime.fromisoformat(trail(log, "rotated")[0]["at"]).timestamp()
        assert at == world.clock.seconds()
        assert trail(log, "rotated")[0]["reason"] == "age"

    def test_logs_of_consoles_that_are_not_open_any_more_or_not_known(self, world: World) -> None:
        log = world.log("deep/er/vm.log")
        say(world, log, b"x")
        again = world.restarted()
        again.writer.rotation.use(RotationPolicy(age=100))
        again.clock.advance(101)
        for _ in range(3):
            again.tick(1)
        assert [content(file) for file in segments(log.path)] == [b"x", b""]
        again.stop()

    def test_at_most_a_few_in_a_turn_though_all_come_due_at_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmproxy.log.rotation.TURN_SECONDS", math.inf)
        world.writer.rotation.use(RotationPolicy(age=DAY))
        logs = [world.log(f"{n}.log") for n in range(200)]
        for log in logs:
            log.append(b"x")
        world.store.flush()
        while world.writer.next_tick() <= 0.1:  # type: ignore[operator]  # the first sweep, in which none is old enough
            world.tick(0.1)
        world.clock.advance(2 * DAY)
        done, turns = 0, 0
        while done < len(logs):
            world.tick(0.05)
            assert world.writer.rotation.rotated - done <= PER_TURN
            assert world.writer.rotation.waiting <= 2 * PER_TURN
            done = world.writer.rotation.rotated
            turns += 1
            assert turns < 100
        assert {whole(log.path) for log in logs} == {b"x"}

    def test_a_trail_that_nobody_can_read_leaves_the_time_of_the_file(self, world: World) -> None:
        log = world.log()
        say(world, log, b"x")
        Path(log.file.trail_path).write_bytes(
            b'\xff\xff{"at":\n[]\n{"at":"never","event":"time"}\n{"at":7,"event":"time"}\ntorn'
        )
        set_time(log.path, EPOCH)
        again = world.restarted()
        again.writer.rotation.use(RotationPolicy(age=100))
        again.tick(50)
        assert len(segments(log.path)) == 1
        again.tick(60)
        again.tick(20)
        assert len(segments(log.path)) == 2
        again.stop()

    def test_files_that_are_no_logs_are_left_alone(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1, age=1, keep=1, compress=True, console_total=1, folder_total=1))
        folder = world.store.folder
        (folder / "by-name").mkdir(parents=True)
        (folder / "by-name" / "x.log.events").write_bytes(b"x")
        (folder / "by-name" / "x.log").write_bytes(b"x")
        (folder / "notes").write_bytes(b"n")
        (folder / "notes.1").write_bytes(b"n")
        (folder / "notes.2.gz").write_bytes(b"n")
        (folder / "link.log").symlink_to("notes")
        (folder / "link.log.events").write_bytes(b"")
        before = names(folder)
        for _ in range(10):
            world.tick(100)
        assert names(folder) == before

    def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_done(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = world.log("good/vm.log")
        bad = world.log("bad/vm.log")
        say(world, log, b"x")
        say(world, bad, b"x")
        scandir = os.scandir

        def refuse(path: Path) -> Any:
            if Path(path).name == "bad":
                raise OSError(errno.EIO, "Input/output error")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        world.writer.rotation.use(RotationPolicy(age=10))
        with Logged() as lines:
            world.tick(20)
            world.tick(1)
        assert len(segments(log.path)) == 2
        assert any("bad" in line and "Input/output error" in line for line in lines)


class TestSomebodyElseRotates:
    def test_renames_and_our_own_rotation_together_lose_nothing(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=50))
        log = world.log()
        fed = b""
        for n in range(40):
            piece = b"%03d," % n
            write(world, log, piece)
            fed += piece
            if n % 7 == 3:
                LogFiles(log.path).shift()  # as logrotate does it
                os.rename(log.path, log.path.with_name("vm.log.1"))
            if n % 7 == 5:
                world.store.reopen()
            world.tick(0.3)
        assert whole(log.path) == fed

    def test_copytruncate_is_no_reason_to_rotate(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=100))
        log = world.log()
        write(world, log, b"x" * 99)
        os.truncate(log.path, 0)
        write(world, log, b"new")  # with what we thought was there, it is too large
        world.tick(0.1)
        assert names(log.path.parent) == ["vm.log", "vm.log.events"]
        assert log.path.read_bytes() == b"new"

    def test_after_a_rename_the_first_byte_has_its_time(self, world: World) -> None:
        log = world.log()
        write(world, log, b"x")
        os.rename(log.path, log.path.with_name("vm.log.1"))
        os.rename(Path(log.file.trail_path), log.path.with_name("vm.log.events.1"))
        world.store.reopen()
        write(world, log, b"y")
        assert [(e["event"], e["offset"]) for e in trail(log)] == [("time", 1)]


class TestOnTheWritersSide:
    def test_it_is_done_behind_everything_appended_before(self, world: World) -> None:
        log = world.log()
        log.append(b"12345")
        seen: list[bytes] = []
        log.on_writer(lambda path: path.read_bytes()).addCallback(seen.append)
        log.append(b"6")
        assert seen == [b"12345"]

    def test_what_goes_wrong_comes_back(self, world: World) -> None:
        failed = []
        world.log().on_writer(lambda path: path.read_bytes()).addErrback(lambda f: failed.append(f.type))
        assert failed == [FileNotFoundError]

    def test_what_was_opened_is_read_whatever_becomes_of_it(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=6, keep=1))
        log = world.log()
        log.append(b"before")
        files: list[Any] = []
        log.on_writer(lambda path: path.open("rb")).addCallback(files.append)
        world.tick(1)
        say(world, log, b"aaaaaa", b"bbbbbb", b"cccccc")
        with files[0] as file:
            assert file.read() == b"before"

    def test_the_default_is_what_was_before(self) -> None:
        writer = LogWriter(4)
        assert writer.rotation.policy == RotationPolicy()
        assert writer.next_tick() is None
        assert InlineRunner(writer).writer.plain is False
