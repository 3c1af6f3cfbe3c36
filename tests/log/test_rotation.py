"""Rotation: whatever is cut, moved, compressed and removed, the segments and the live file are what the VM sent."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, VM_A, InlineRunner, Logged
from tests.support.properties import examples
from vmproxy.log.compression import Work, compress
from vmproxy.log.files import LogFiles, plain_of, trail_of
from vmproxy.log.rotation import PER_TURN, Rotation, RotationPolicy, compress_here
from vmproxy.log.settings import LogSettings
from vmproxy.log.store import ConsoleLog
from vmproxy.log.writer import LogWriter

DAY = 86400.0


def write(world: World, log: ConsoleLog, data: bytes) -> None:
    log.append(data)
    world.store.flush()


def say(world: World, log: ConsoleLog, *pieces: bytes) -> None:
    """Write pieces, a second after each other; what is due is done in between."""
    for piece in pieces:
        write(world, log, piece)
        world.tick(1)


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def segments(path: Path) -> list[Path]:
    """The files of a log, or of a trail, oldest first, the live one last; of two of one number, that as it was."""
    found: dict[int, Path] = {}
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name.removeprefix(f"{path.name}.").removesuffix(".gz")
        if number.isdecimal() and (file.suffix != ".gz" or int(number) not in found):
            found[int(number)] = file
    return [found[number] for number in sorted(found, reverse=True)] + ([path] if path.exists() else [])


def whole(path: Path) -> bytes:
    return b"".join(content(file) for file in segments(path))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def set_time(path: Path, at: float) -> None:
    os.utime(path, (at, at))


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


def _raise(number: int) -> int:
    raise OSError(number, os.strerror(number))


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


class TestHowMuchIsKept:
    def test_a_number_of_segments(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1, keep=2))
        log = world.log()
        with Logged() as lines:
            say(world, log, b"a", b"b", b"c", b"d")
        assert [file.read_bytes() for file in segments(log.path)] == [b"c", b"d", b""]
        assert len(segments(Path(log.file.trail_path))) == 3
        assert len([line for line in lines if "removed" in line and "only 2 are kept" in line]) == 2
        assert world.writer.rotation.removed == 2
        assert world.writer.rotation.removed_bytes > 2

    def test_a_lower_number_counts_for_what_is_there_already(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1))
        log = world.log()
        say(world, log, b"a", b"b", b"c", b"d")
        world.store.reconfigure(LogSettings(rotation=RotationPolicy(size=1, keep=1), plain=False))
        world.tick(1)
        assert [file.read_bytes() for file in segments(log.path)] == [b"d", b""]
        assert len(segments(Path(log.file.trail_path))) == 2

    def test_bytes_of_a_log_trails_included(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1000, console_total=4000))
        log = world.log()
        other = world.log("other.log")
        say(world, other, b"x" * 3500)
        for n in range(10):
            say(world, log, b"%d" % n * 1000)
            total = sum(file.stat().st_size for file in log.path.parent.glob("vm.log*"))
            assert total <= 4000 or n == 0
        kept = whole(log.path)
        assert len(kept) >= 2000
        assert b"".join(b"%d" % n * 1000 for n in range(10)).endswith(kept)
        assert len(whole(other.path)) == 3500

    def test_the_live_file_of_a_connected_console_is_never_removed(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(age=100, keep=1, console_total=1, folder_total=1))
        log = world.log()
        world.store.spare(lambda: {str(log.path)})
        say(world, log, b"x" * 100, b"y" * 100)
        for _ in range(5):
            world.tick(15)
        assert log.path.read_bytes() == b"x" * 100 + b"y" * 100

    @pytest.mark.parametrize("compressed", [False, True])
    def test_bytes_of_the_folder_the_oldest_of_all_logs_goes_first(self, world: World, compressed: bool) -> None:
        world.writer.rotation.use(RotationPolicy(size=2000, compress=compressed))
        logs = [world.log(name) for name in ("a.log", "b/b.log", "c.log")]
        for n in range(4):
            for which, log in enumerate(logs):
                write(world, log, os.urandom(2000))
                for _ in range(3):
                    world.tick(1)
                for kind in (".1", ".1.gz"):
                    with suppress(FileNotFoundError):
                        set_time(log.path.with_name(log.path.name + kind), EPOCH + 10 * n + which)
        sizes = [file.stat().st_size for file in world.store.folder.rglob("*") if file.is_file()]
        one = sum(sizes) // 12
        with Logged() as lines:
            world.writer.rotation.use(
                RotationPolicy(size=2000, compress=compressed, folder_total=sum(sizes) - 7 * one // 2)
            )
            for _ in range(20):
                world.tick(1)
        assert [len(segments(log.path)) - 1 for log in logs] == [2, 3, 3]
        assert [len(segments(Path(log.file.trail_path))) - 1 for log in logs] == [2, 3, 3]
        assert [file.name.removesuffix(".gz") for file in segments(logs[0].path)] == ["a.log.2", "a.log.1", "a.log"]
        assert len([line for line in lines if "the log folder may have" in line]) == 4

    def test_a_file_that_was_renamed_a_moment_ago_and_is_removed_takes_nothing_with_it(self, world: World) -> None:
        # logrotate has renamed it, its signal is on the way: we still write to it.
        world.writer.rotation.use(RotationPolicy(folder_total=10))
        log = world.log()
        write(world, log, b"x" * 1000)
        os.rename(log.path, log.path.with_name("vm.log.1"))
        os.rename(Path(log.file.trail_path), log.path.with_name("vm.log.events.1"))
        world.writer.rotation.remove(LogFiles(log.path), 1, "test")
        write(world, log, b"new")
        assert log.path.read_bytes() == b"new"

    def test_one_that_cannot_be_removed_is_told_and_costs_nothing_else(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.writer.rotation.use(RotationPolicy(size=1, keep=1))
        log = world.log()
        monkeypatch.setattr(os, "unlink", lambda path: _raise(errno.EROFS))
        with Logged() as lines:
            say(world, log, b"a", b"b", b"c")
        assert whole(log.path) == b"abc"
        assert any("cannot remove old log" in line and "Read-only" in line for line in lines)

    def test_what_logrotate_has_made_is_left_to_it_where_nothing_is_rotated_here(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(keep=1, compress=True))
        log = world.log()
        say(world, log, b"live")
        for n in range(1, 5):
            log.path.with_name(f"vm.log.{n}").write_bytes(b"old")
            log.path.with_name(f"vm.log.events.{n}").write_bytes(b"")
        before = names(log.path.parent)
        assert len(before) == 10
        for _ in range(10):
            world.tick(400)
        assert names(log.path.parent) == before
        # Unless the log, or the folder, may have so many bytes only.
        world.writer.rotation.use(RotationPolicy(keep=1, compress=True, console_total=75))
        world.tick(1)
        world.tick(1)
        assert len(names(log.path.parent)) < 10
        assert log.path.read_bytes() == b"live"


class Later:
    """A compressor that takes its time."""

    def __init__(self, rotation: Rotation) -> None:
        self.work: list[tuple[Work, Callable[[Exception | None], object]]] = []
        rotation.compressor = lambda work, done: self.work.append((work, done))

    def go_on(self) -> None:
        compress_here(*self.work.pop(0))


class TestCompression:
    def test_old_ones_are_compressed_one_at_a_time(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=4, compress=True))
        log = world.log()
        say(world, log, b"1234")
        say(world, log, b"5678", b"9")
        for _ in range(4):
            world.tick(1)
        assert names(log.path.parent) == sorted(
            ["vm.log", "vm.log.events", "vm.log.1.gz", "vm.log.2.gz", "vm.log.events.1.gz", "vm.log.events.2.gz"]
        )
        assert [content(file) for file in segments(log.path)] == [b"1234", b"5678", b"9"]
        assert b"rotated" in content(log.path.with_name("vm.log.events.1.gz"))

    def test_time_and_mode_are_kept(self, world: World) -> None:
        later = Later(world.writer.rotation)
        world.writer.rotation.use(RotationPolicy(size=4, compress=True))
        log = world.log()
        say(world, log, b"123")
        os.chmod(log.path, 0o604)
        say(world, log, b"4")
        before = log.path.with_name("vm.log.1").stat()
        while later.work:
            later.go_on()
            world.tick(1)
        after = log.path.with_name("vm.log.1.gz").stat()
        assert after.st_mtime_ns == before.st_mtime_ns
        assert after.st_mode == before.st_mode
        assert not log.path.with_name("vm.log.1").exists()

    def test_numbers_may_grow_meanwhile(self, world: World) -> None:
        later = Later(world.writer.rotation)
        world.writer.rotation.use(RotationPolicy(size=1, compress=True))
        log = world.log()
        say(world, log, b"a", b"b", b"c")
        while later.work:
            say(world, log, b"x")
            assert len(later.work) == 1
            if len(segments(log.path)) > 8:
                world.writer.rotation.use(RotationPolicy(age=1000 * DAY, compress=True))
            later.go_on()
            world.tick(1)
            assert whole(log.path).startswith(b"abcx")
        assert {file.suffix for file in segments(log.path)[:-1]} == {".gz"}
        assert whole(log.path).strip(b"x") == b"abc"
        assert not list(log.path.parent.glob("*.tmp"))

    def test_one_that_is_removed_meanwhile_stays_removed(self, world: World) -> None:
        later = Later(world.writer.rotation)
        world.writer.rotation.use(RotationPolicy(size=1, compress=True, keep=1))
        log = world.log()
        say(world, log, b"a")
        say(world, log, b"b")
        later.go_on()
        assert [file.read_bytes() for file in segments(log.path)] == [b"b", b""]
        assert not list(log.path.parent.glob("*.tmp"))

    def test_one_that_somebody_appended_to_meanwhile_is_not_replaced(self, world: World) -> None:
        later = Later(world.writer.rotation)
        world.writer.rotation.use(RotationPolicy(size=1, compress=True))
        log = world.log()
        say(world, log, b"a")
        with log.path.with_name("vm.log.1").open("ab") as file:
            file.write(b"bc")
        later.go_on()
        assert log.path.with_name("vm.log.1").read_bytes() == b"abc"
        world.tick(1)
        later.go_on()
        assert content(log.path.with_name("vm.log.1.gz")) == b"abc"

    def test_a_failure_is_told_leaves_it_as_it_is_and_is_made_good_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.writer.rotation.use(RotationPolicy(size=4, compress=True))
        log = world.log()
        with monkeypatch.context() as patch, Logged() as lines:
            patch.setattr(os, "fsync", lambda fd: _raise(errno.ENOSPC))
            say(world, log, b"1234")
            world.tick(1)
        assert any("cannot compress" in line and "No space left" in line for line in lines)
        assert names(log.path.parent) == ["vm.log", "vm.log.1", "vm.log.events", "vm.log.events.1"]
        world.tick(400)
        for _ in range(5):
            world.tick(1)
        assert names(log.path.parent) == ["vm.log", "vm.log.1.gz", "vm.log.events", "vm.log.events.1.gz"]
        assert whole(log.path) == b"1234"

    def test_what_a_crash_left_is_removed_and_what_was_not_compressed_is(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=4))
        log = world.log()
        say(world, log, b"1234", b"5678")
        folder = log.path.parent
        (folder / "vm.log.gz.tmp").write_bytes(b"\x1f\x8b half of it")
        (folder / "vm.log.events.gz.tmp").write_bytes(b"")
        (folder / "vm.log.2.gz").write_bytes(gzip.compress(b"1234")[:-5])  # in place, but it never reached the disk
        again = world.restarted()
        again.writer.rotation.use(RotationPolicy(age=1000 * DAY, compress=True))
        for _ in range(10):
            again.tick(1)
        assert names(folder) == sorted(
            ["vm.log", "vm.log.events", "vm.log.1.gz", "vm.log.2.gz", "vm.log.events.1.gz", "vm.log.events.2.gz"]
        )
        assert whole(log.path) == b"12345678"
        again.stop()

    def test_a_file_renamed_by_somebody_else_that_we_still_write_to_loses_nothing(self, world: World) -> None:
        later = Later(world.writer.rotation)
        log = world.log()
        write(world, log, b"before ")
        os.rename(log.path, log.path.with_name("vm.log.1"))
        os.rename(Path(log.file.trail_path), log.path.with_name("vm.log.events.1"))
        world.writer.rotation.use(RotationPolicy(age=1000 * DAY, compress=True))
        world.writer.rotation.to_compress(log.path)
        world.writer.rotation.step()
        write(world, log, b"meanwhile")
        while later.work:
            later.go_on()
            world.writer.rotation.step()
        assert whole(log.path) == b"before meanwhile"
        assert content(log.path.with_name("vm.log.1.gz")) == b"before "

    def test_a_stop_gives_up_and_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(os.urandom(3_000_000))
        fd = os.open(tmp_path / "x", os.O_RDONLY)
        asked: list[float] = []

        def pause(seconds: float) -> bool:
            asked.append(seconds)
            return len(asked) > 3

        with pytest.raises(OSError, match="the process stops"):
            compress(Work(fd, tmp_path / "x.tmp", 3_000_000, 0, 0o640), pause)
        assert names(tmp_path) == ["x"]
        assert len(asked) == 4
        assert all(seconds >= 0 for seconds in asked)

    def test_descriptors_are_given_back(self, world: World) -> None:
        world.writer.rotation.use(RotationPolicy(size=1, compress=True))
        log = world.log()
        say(world, log, b"x")
        before = len(os.listdir("/proc/self/fd"))
        say(world, log, *[b"x"] * 20)
        assert len(os.listdir("/proc/self/fd")) == before


class Crash(BaseException):
    """The power fails."""


class Faults:
    """Stands before what rotation asks of the system: each call may fail, or be the last."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.plan: list[str] = []
        self.dead = False
        for name in ("rename", "unlink", "open", "fsync"):
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            if self.dead:
                raise Crash
            step = self.plan.pop(0) if self.plan else "ok"
            if step == "fail":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if step == "crash":
                self.dead = True
                raise Crash
            return call(*args, **kwargs)

        return wrapped


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in whole(trail_of(path)).splitlines()]


def in_order(path: Path) -> None:
    """Each segment's marks fit its bytes, wherever its trail is."""
    for file in segments(path):
        number = file.name.removeprefix(path.name).removesuffix(".gz")
        for suffix in ("", ".gz") if number else ("",):
            beside = path.with_name(f"{path.name}.events{number}{suffix}")
            if beside.exists():
                lines = [json.loads(line) for line in content(beside).splitlines()]
                size = len(content(file))
                shift = 0
                for line in lines:
                    shift = line["offset"] - line["byte"] if line["event"] == "format" else shift
                    assert 0 <= line["offset"] - shift <= size


STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.sampled_from(["tick", "event", "age", "reopen"]),
        st.lists(st.sampled_from(["ok", "ok", "ok", "fail"]), max_size=12).map(tuple),
    ),
    max_size=40,
)


class TestWhateverFails:
    @examples(60)
    @given(STEPS, st.booleans(), st.booleans())
    def test_no_byte_is_lost_or_doubled(self, steps: list[Any], packed: bool, plain: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            world.writer.rotation.use(RotationPolicy(size=8, age=50, compress=packed))
            world.writer.plain = plain
            log = world.log()
            fed = b""
            notes = 0
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch)
                for step in steps:
                    match step:
                        case bytes():
                            fed += step
                            log.append(step)
                        case "event":
                            notes += 1
                            log.event("note", n=notes)
                        case "tick":
                            world.store.flush()
                            world.tick(1)
                        case "age":
                            world.tick(70)
                        case "reopen":
                            world.store.reopen()
                        case tuple():
                            faults.plan = list(step)
                faults.plan = []
                world.tick(1)
                assert whole(log.path) == fed  # also before what failed is tried again
                for _ in range(5):
                    world.store.flush()
                    world.tick(61)
            world.stop()
            assert whole(log.path) == fed
            assert not list(log.path.parent.glob("*.tmp"))
            assert [event["n"] for event in events(log.path) if event["event"] == "note"] == list(range(1, notes + 1))

    @examples(60)
    @given(
        st.lists(
            st.tuples(st.lists(st.binary(min_size=1, max_size=12), max_size=6), st.integers(0, 40), st.booleans()),
            min_size=1,
            max_size=6,
        )
    )
    def test_nor_if_the_process_ends_at_any_step(self, lives: list[tuple[list[bytes], int, bool]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fed = b""
            at = EPOCH
            for pieces, fate, packed in lives:
                world = World(Path(folder))
                world.clock.rightNow = at
                world.writer.rotation.use(RotationPolicy(size=8, compress=packed))
                log = world.log()
                with pytest.MonkeyPatch.context() as patch:
                    faults = Faults(patch)
                    faults.plan = ["ok"] * fate + ["crash"]
                    with suppress(Crash):
                        for piece in pieces:
                            log.append(piece)
                            world.store.flush()
                            fed += piece
                            world.tick(1)
                at = world.clock.seconds() + 1
                world.writer._pool.close()
                assert whole(log.path) == fed
            world = World(Path(folder))
            world.clock.rightNow = at
            world.writer.rotation.use(RotationPolicy(size=8, compress=True))
            for _ in range(30):
                world.tick(1)
            log = world.log()
            assert whole(log.path) == fed
            in_order(log.path)
            assert not list(log.path.parent.glob("*.tmp"))
            world.stop()


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


class TestPlainText:
    @pytest.fixture
    def plain(self, world: World) -> World:
        world.writer.plain = True
        return world

    def lines(self, log: ConsoleLog) -> list[str]:
        path = plain_of(log.path)
        text = path.read_text() if path.exists() else ""
        assert not text or text.endswith("\n")
        return text.splitlines()

    def test_lines_have_their_time_and_no_escapes(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"\x1b[1mone\x1b[m\r\ntw")
        plain.clock.advance(1.5)
        write(plain, log, b"o\r\n")
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z one", "2023-11-14T22:13:20.000Z two"]
        assert log.path.read_bytes() == b"\x1b[1mone\x1b[m\r\ntwo\r\n"
        assert plain_of(log.path).name == "vm.txt"
        assert plain_of(log.path).stat().st_mode & 0o007 == 0

    def test_it_is_off_by_default(self, world: World) -> None:
        log = world.log()
        say(world, log, b"one\n")
        assert not plain_of(log.path).exists()

    def test_a_prompt_is_a_line_after_a_while(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"login: ")
        plain.writer.tick()
        assert 0 < plain.writer.next_tick() <= 5  # type: ignore[operator]  # a number by now
        for _ in range(4):
            plain.tick(1)
        assert self.lines(log) == []
        plain.tick(1)
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z login: "]
        write(plain, log, b"root\n")
        assert self.lines(log)[1:] == ["2023-11-14T22:13:25.000Z root"]

    def test_each_prompt_of_many_logs_has_its_own_while(self, plain: World) -> None:
        logs = [plain.log(f"{n}.log") for n in range(10)]
        for log in logs:
            write(plain, log, b"login: ")
            plain.clock.advance(1)
        plain.writer.tick()
        assert [len(self.lines(log)) for log in logs] == [1] * 6 + [0] * 4

    def test_a_stop_writes_what_is_unfinished(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"login: ")
        plain.store.stop()
        assert self.lines(log) == ["2023-11-14T22:13:20.000Z login: "]

    def test_it_is_rotated_with_the_log(self, plain: World) -> None:
        plain.writer.rotation.use(RotationPolicy(size=4, keep=1))
        log = plain.log()
        say(plain, log, b"one\n", b"two\n", b"x")
        assert plain_of(log.path).with_name("vm.txt.1").read_text().endswith(" two\n")
        assert not plain_of(log.path).with_name("vm.txt.2").exists()

    def test_it_can_be_turned_on_and_off(self, plain: World) -> None:
        log = plain.log()
        write(plain, log, b"one\n")
        plain.store.reconfigure(LogSettings(rotation=RotationPolicy(), plain=False))
        write(plain, log, b"two\n")
        plain.store.reconfigure(LogSettings(rotation=RotationPolicy(), plain=True))
        write(plain, log, b"three\n")
        assert [line.split()[1] for line in self.lines(log)] == ["one", "three"]

    def test_that_it_cannot_be_written_never_hurts_the_log(self, plain: World) -> None:
        log = plain.log()
        log.path.parent.mkdir()
        plain_of(log.path).mkdir()
        with Logged() as lines:
            for n in range(20):
                write(plain, log, b"%d\n" % n)
                plain.tick(0.3)
        assert len(lines) == 1
        assert "vm.txt" in lines[0]
        plain_of(log.path).rmdir()
        plain.tick(2)
        write(plain, log, b"later\n")
        assert log.path.read_bytes() == b"".join(b"%d\n" % n for n in range(20)) + b"later\n"
        assert log.problem == ""
        missing, later = self.lines(log)
        assert "[-- 20 lines are missing here: Is a directory --]" in missing
        assert later.endswith("later")

    def test_nor_does_a_mistake_in_making_it(self, plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
        log = plain.log()
        monkeypatch.setattr("vmproxy.log.plaintext.PlainLines.feed", lambda *args: 1 / 0)
        with Logged():
            write(plain, log, b"one\n")
            write(plain, log, b"two\n")
        assert log.path.read_bytes() == b"one\ntwo\n"
        assert log.problem == ""

    def test_what_waited_for_the_disk_is_in_it_too(self, plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
        log = plain.log()
        write_ = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: write_(fd, data[:5]) if len(data) > 5 else _raise(errno.ENOSPC))
            write(plain, log, b"one\ntwo\n")
        plain.tick(1)
        assert log.path.read_bytes() == b"one\ntwo\n"
        plain.tick(6)
        text = "\n".join(self.lines(log))
        assert "two" in text


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


def test_half_a_segment_that_a_crash_left_is_brought_together(tmp_path: Path) -> None:
    log = tmp_path / "vm.log"
    for name, data in {"vm.log": b"3", "vm.log.events": b"t3", "vm.log.1": b"2", "vm.log.events.2": b"t2"}.items():
        (tmp_path / name).write_bytes(data)
    files = LogFiles(log)
    files.shift()
    files.put_aside()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == {
        "vm.log.1": b"3",
        "vm.log.events.1": b"t3",
        "vm.log.2": b"2",
        "vm.log.events.2": b"t2",
    }
    assert trail_of(log).name == "vm.log.events"


def test_both_halves_of_a_compression_that_a_crash_left_do_not_keep_the_log_from_being_rotated(tmp_path: Path) -> None:
    log = tmp_path / "vm.log"
    whole_one = {"vm.log": b"2", "vm.log.events": b"t2", "vm.log.1": b"1", "vm.log.events.1": b"t1"}
    for name, data in {**whole_one, "vm.log.1.gz": b"half of it"}.items():
        (tmp_path / name).write_bytes(data)
    files = LogFiles(log)
    files.shift()
    files.put_aside()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == {
        "vm.log.1": b"2",
        "vm.log.events.1": b"t2",
        "vm.log.2": b"1",
        "vm.log.events.2": b"t1",
    }
