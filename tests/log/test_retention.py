"""How much is kept of old logs."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.fakes import EPOCH, Logged
from tests.support.log_files import _raise, names, say, segments, set_time, whole, write
from vmproxy.log.files import LogFiles
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.settings import LogSettings


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
