"""Old logs are compressed, and nothing is lost by that."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.fakes import Logged
from tests.support.log_files import _raise, content, names, say, segments, whole, write
from vmproxy.log.compression import Work, compress
from vmproxy.log.files import LogFiles, trail_of
from vmproxy.log.rotation import Rotation, RotationPolicy, compress_here

DAY = 86400.0


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
