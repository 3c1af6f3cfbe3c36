"""Logs whose files somebody moves, and more logs than can be open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, Listener
from vmproxy.log import store as log_module
from vmproxy.log.store import (
    ConsoleLog,
)


def listened(world: World, name: str = "vm.log") -> ConsoleLog:
    log = world.log(name)
    log.listener = Listener()
    return log


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
