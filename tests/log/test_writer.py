"""A disk that fails: what can be written is, in order; what cannot is counted, and stands in the trail as a gap."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import Disk, Listener, Logged
from tests.support.properties import examples
from vmproxy.log import file_state, store
from vmproxy.log.file_pool import FilePool
from vmproxy.log.name_links import AT_ONCE, SECONDS
from vmproxy.log.retry import BACKLOG_PER_LOG, RETRY_SECONDS
from vmproxy.log.settings import LogSettings
from vmproxy.log.store import LINKS_AT_ONCE, ConsoleLog
from vmproxy.log.writer import FOLLOW_SECONDS, LogWriter

FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def log(world: World) -> ConsoleLog:
    log = world.log()
    log.listener = Listener()
    return log


def write(world: World, log: ConsoleLog, data: bytes) -> None:
    log.append(data)
    world.store.flush()


class TestAFullDisk:
    def test_it_is_announced_retried_and_nothing_is_lost_that_fits_the_backlog(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        write(world, log, b"before ")
        disk.room = 0
        write(world, log, b"during ")
        assert log.listener.told == [("failed", FULL)]
        assert log.problem == FULL
        for n in range(5):
            write(world, log, b"%d " % n)
            world.tick(1)
        assert log.listener.told == [("failed", FULL)]  # told once, not at each retry
        disk.room = None
        world.tick(1)
        assert log.listener.told == [("failed", FULL), ("recovered", 0)]
        assert log.problem == ""
        write(world, log, b"after")
        assert log.path.read_bytes() == b"before during 0 1 2 3 4 after"
        assert trail(log, "gap") == []
        assert world.writer.retry.lost == 0

    def test_it_is_retried_within_about_a_second_without_new_data(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        disk.room = 0
        write(world, log, b"x")
        assert world.writer.next_tick() <= 1  # type: ignore[operator]  # a number by now
        world.tick(0.9)
        disk.room = None
        world.tick(0.2)
        assert log.path.read_bytes() == b"x"

    def test_the_part_that_still_fitted_is_not_written_twice(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        write(world, log, b"before ")
        disk.room = 3
        write(world, log, b"abcdefgh")
        assert log.path.read_bytes() == b"before abc"
        disk.room = 2
        world.tick(1)
        assert log.path.read_bytes() == b"before abcde"
        disk.room = None
        world.tick(1)
        assert log.path.read_bytes() == b"before abcdefgh"
        assert world.writer.retry.lost == 0

    def test_short_writes_are_no_failure(self, world: World, log: ConsoleLog, monkeypatch: pytest.MonkeyPatch) -> None:
        write_ = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write_(fd, data[:3]))
        write(world, log, b"abcdefgh")
        log.event("note", text="n" * 100)
        world.store.flush()
        assert log.path.read_bytes() == b"abcdefgh"
        assert trail(log, "note")[0]["text"] == "n" * 100
        assert log.listener.told == []

    def test_what_is_over_the_bound_is_one_gap_of_that_size_where_it_is_missing(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        write(world, log, b"before")
        disk.room = 0
        kept = b"k" * (BACKLOG_PER_LOG - 10)
        write(world, log, kept)
        write(world, log, b"0123456789lost")
        write(world, log, b"x" * 1000)
        disk.room = None
        world.tick(1)
        assert log.listener.told == [("failed", FULL), ("recovered", 1004)]
        write(world, log, b"after")
        assert log.path.read_bytes() == b"before" + kept + b"0123456789" + b"after"
        (gap,) = trail(log, "gap")
        assert gap["bytes"] == 1004
        assert gap["offset"] == 6 + BACKLOG_PER_LOG
        assert gap["reason"] == FULL
        assert world.writer.retry.lost == 1004

    def test_once_bytes_are_missing_what_follows_is_missing_too(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        disk.room = 0
        write(world, log, b"k" * (BACKLOG_PER_LOG - 1))
        write(world, log, b"ab")
        write(world, log, b"c")
        disk.room = None
        world.tick(1)
        assert log.path.read_bytes() == b"k" * (BACKLOG_PER_LOG - 1) + b"a"
        assert [gap["bytes"] for gap in trail(log, "gap")] == [2]

    def test_it_may_fail_again_and_each_gap_counts_for_itself(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        for size in (100, 7):
            disk.room = 0
            write(world, log, b"k" * BACKLOG_PER_LOG + b"x" * size)
            disk.room = None
            world.tick(1)
        assert [gap["bytes"] for gap in trail(log, "gap")] == [100, 7]
        assert world.writer.retry.lost == 107

    def test_a_gap_that_cannot_be_written_itself_is_written_later_and_once(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        disk.room = 0
        write(world, log, b"k" * BACKLOG_PER_LOG + b"xyz")
        disk.room = BACKLOG_PER_LOG + 5  # the backlog fits, the gap's line only begins to
        world.tick(1)
        assert log.listener.told == [("failed", FULL), ("recovered", 3)]
        assert trail(log) == []
        disk.room = None
        world.tick(1)
        assert [gap["bytes"] for gap in trail(log, "gap")] == [3]

    def test_events_keep_their_place_among_the_bytes(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        write(world, log, b"123")
        disk.room = 0
        log.append(b"45")
        log.event("attach", who="alice")
        log.append(b"678")
        world.store.flush()
        log.event("down")
        world.store.flush()
        disk.room = None
        world.tick(1)
        assert [(e["event"], e["offset"]) for e in trail(log) if e["event"] != "time"] == [("attach", 5), ("down", 8)]
        assert log.path.read_bytes() == b"12345678"

    @pytest.mark.parametrize("room", range(0, 60, 7))
    def test_a_line_of_the_trail_is_never_torn(self, world: World, disk: Disk, log: ConsoleLog, room: int) -> None:
        log.event("one")
        world.store.flush()
        disk.room = room
        log.event("two", text="t" * 50)
        log.append(b"data")
        world.store.flush()
        assert [e["event"] for e in trail(log) if e["event"] != "time"] == ["one"]
        disk.room = None
        world.tick(1)
        assert [e["event"] for e in trail(log) if e["event"] != "time"] == ["one", "two"]
        assert log.path.read_bytes() == b"data"

    def test_events_survive_an_outage_in_which_the_vm_says_little_often(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        # Twenty seconds of a boot, line by line: far from the backlog's bytes.
        disk.room = 0
        for _ in range(1500):
            write(world, log, b"line\n")
        log.event("down", reason="power failure")
        world.store.flush()
        disk.room = None
        world.tick(1)
        assert log.path.stat().st_size == 7500
        assert [(e["reason"], e["offset"]) for e in trail(log, "down")] == [("power failure", 7500)]

    def test_a_flood_of_events_is_bounded(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        disk.room = 0
        for _ in range(5000):
            log.event("guest-break")
        world.store.flush()
        disk.room = None
        world.tick(1)
        assert 500 <= len(trail(log, "guest-break")) <= 2000

    def test_other_logs_go_on(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        other = world.log("other.log")
        other.listener = Listener()
        disk.refuse = lambda path: "/other.log" not in path
        disk.room = 0
        log.append(b"x")
        other.append(b"y")
        world.store.flush()
        assert other.path.read_bytes() == b"y"
        assert other.listener.told == []
        assert log.listener.told == [("failed", FULL)]

    def test_a_trail_that_cannot_be_written_is_told_to_the_administrator_and_written_later(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        # Not to the viewers: the VM's bytes are being recorded.
        disk.refuse = lambda path: path.endswith(".events")
        disk.room = 0
        log.event("note")
        with Logged() as lines:
            world.store.flush()
        assert any(".events" in line and FULL in line for line in lines)
        assert log.listener.told == []
        disk.room = None
        world.tick(1)
        assert len(trail(log, "note")) == 1

    def test_the_vms_bytes_are_not_held_back_by_a_trail_that_cannot_be_written(
        self, world: World, log: ConsoleLog
    ) -> None:
        # The log itself is fine: losing its bytes is more than must be lost.
        log.path.parent.mkdir()
        Path(log.file.trail_path).mkdir()
        for _ in range(3):
            write(world, log, b"x" * BACKLOG_PER_LOG)
            write(world, log, b"y" * BACKLOG_PER_LOG)
            world.tick(1)
        assert log.path.stat().st_size == 6 * BACKLOG_PER_LOG

    def test_all_failing_logs_together_are_bounded(
        self, world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmproxy.log.retry.BACKLOG_IN_ALL", 1000)
        disk.room = 0
        logs = [world.log(f"{n}.log") for n in range(5)]
        for log in logs:
            write(world, log, b"x" * 300)
        disk.room = None
        world.tick(1)
        assert [log.path.stat().st_size if log.path.exists() else 0 for log in logs] == [300, 300, 300, 100, 0]
        assert [sum(gap["bytes"] for gap in trail(log, "gap")) for log in logs] == [0, 0, 0, 200, 300]
        # The room is given back.
        disk.room = 0
        write(world, logs[4], b"y" * 900)
        disk.room = None
        world.tick(1)
        assert logs[4].path.read_bytes() == b"y" * 900

    def test_at_the_stop_it_is_tried_once_more(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        disk.room = 0
        write(world, log, b"x")
        disk.room = None
        world.store.stop()
        assert log.path.read_bytes() == b"x"

    def test_what_cannot_be_written_at_the_stop_is_told_with_its_size(
        self, world: World, disk: Disk, log: ConsoleLog
    ) -> None:
        disk.room = 0
        write(world, log, b"k" * BACKLOG_PER_LOG + b"x" * 77)
        with Logged() as lines:
            world.store.stop()
        assert any(str(BACKLOG_PER_LOG + 77) in line and str(log.path) in line for line in lines)
        assert world.writer.retry.lost == BACKLOG_PER_LOG + 77

    def test_settled_fires_while_it_is_full(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        write(world, log, b"123")
        disk.room = 0
        log.append(b"45")
        sizes: list[int] = []
        log.settled().addCallback(sizes.append)
        assert sizes == [3]

    def test_retries_go_on_if_the_clock_is_set_back(self, world: World, disk: Disk, log: ConsoleLog) -> None:
        disk.room = 0
        write(world, log, b"x")
        world.clock.rightNow -= 3600
        disk.room = None
        assert world.writer.next_tick() <= 2  # type: ignore[operator]  # a number by now
        world.tick(2)
        assert log.path.read_bytes() == b"x"

    @examples(60)
    @given(
        st.lists(
            st.one_of(
                st.binary(min_size=1, max_size=60),
                st.just("event"),
                st.tuples(st.just("room"), st.none() | st.integers(0, 60)),
                st.just("tick"),
            ),
            max_size=50,
        )
    )
    @example([b"in time", ("room", 3), b"x" * 30, "tick", b"y" * 30, ("room", None), "tick", b"behind the gap"])
    @example([("room", 0), b"x" * 41, "event", ("room", 20), "tick", b"y", "tick", ("room", None), b"z", "tick"])
    def test_whatever_fails_when_bytes_and_events_are_in_order_and_gaps_exact(self, steps: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr("vmproxy.log.retry.BACKLOG_PER_LOG", 40)
            disk = Disk(patch)
            world = World(Path(folder))
            log = world.log()
            log.listener = Listener()
            fed: list[bytes] = []
            events = 0
            for step in steps:
                match step:
                    case bytes():
                        fed.append(step)
                        log.append(step)
                    case "event":
                        events += 1
                        log.event("note", n=events)
                    case ("room", room):
                        disk.room = room
                    case "tick":
                        world.store.flush()
                        world.tick(1)
            disk.room = None
            world.store.flush()
            world.tick(1)
            world.stop()
            data = log.path.read_bytes() if log.path.exists() else b""
            # With what is missing put back at the gaps, it is exactly what was fed.
            whole = b"".join(fed)
            at = taken = 0
            for gap in trail(log, "gap"):
                piece = data[taken : gap["offset"]]
                assert whole[at : at + len(piece)] == piece
                at += len(piece) + gap["bytes"]
                taken = gap["offset"]
            assert whole[at:] == data[taken:]
            assert [e["n"] for e in trail(log, "note")] == list(range(1, events + 1))
            states = [kind for kind, _ in log.listener.told]
            assert states == ["failed", "recovered"] * (len(states) // 2)


class TestThingsInTheWay:
    @pytest.mark.parametrize("which", ["log", "trail", "folder"])
    def test_it_is_told_and_when_it_is_gone_everything_is_written(
        self, world: World, log: ConsoleLog, which: str
    ) -> None:
        place = {"log": log.path, "trail": Path(log.file.trail_path), "folder": log.path.parent}[which]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if which != "folder" else place.write_bytes(b"")
        log.event("up")
        write(world, log, b"x" * 100)
        if which != "trail":
            assert log.listener.told[0][0] == "failed"
            assert log.listener.told[0][1]
        world.tick(1)
        place.rmdir() if which != "folder" else place.unlink()
        world.tick(1)
        assert log.listener.told[1:] == ([("recovered", 0)] if which != "trail" else [])
        assert log.path.read_bytes() == b"x" * 100
        assert len(trail(log, "up")) == 1

    def test_a_descriptor_limit_does_not_lose_a_byte(
        self, world: World, log: ConsoleLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_ = os.open

        def none_left(path: Path, *args: object, **kwargs: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(os, "open", none_left)
        write(world, log, b"x")
        assert log.listener.told == [("failed", "Too many open files")]
        monkeypatch.setattr(os, "open", open_)
        world.tick(1)
        assert log.path.read_bytes() == b"x"

    def test_nothing_is_due_while_nothing_is_open_and_nothing_fails(self) -> None:
        assert LogWriter(4).next_tick() is None


class TestLinks:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "logs" / "by-name"

    def links(self, folder: Path, *suffixes: str) -> dict[str, str]:
        """What is there; of some kinds only."""
        there = folder.iterdir() if folder.exists() else ()
        return {link.name: os.readlink(link) for link in there if link.name.endswith(suffixes or ("",))}

    def link(self, world: World, name: str, log: ConsoleLog) -> None:
        world.store.link(name, log)
        world.store.flush()
        world.tick(1)

    @pytest.mark.parametrize(("path", "txt"), [("x/u.log", "x/u.txt"), ("x/u", "x/u.txt")])
    def test_each_file_of_a_log_has_one_that_leads_there_from_wherever_the_folder_is_mounted(
        self, world: World, folder: Path, path: str, txt: str
    ) -> None:
        log = world.log(path)
        self.link(world, "web", log)
        wanted = {"web.log": f"../{path}", "web.log.events": f"../{path}.events"}
        assert self.links(folder) == wanted
        world.store.reconfigure(LogSettings(dir=folder.parent, plain=True))
        world.tick(1)
        assert self.links(folder) == {**wanted, "web.txt": f"../{txt}"}
        log.append(b"hello\n")
        world.store.flush()
        assert (folder / "web.log").read_bytes() == b"hello\n"
        assert (folder / "web.txt").read_bytes().endswith(b" hello\n")
        assert b'"event":"time"' in (folder / "web.log.events").read_bytes()

    def test_a_rename_takes_the_former_ones_away(self, world: World, folder: Path) -> None:
        world.writer.plain = True
        log = world.log("u.log")
        self.link(world, "web", log)
        self.link(world, "db", log)
        assert self.links(folder) == {
            "db.log": "../u.log",
            "db.log.events": "../u.log.events",
            "db.txt": "../u.txt",
        }
        world.store.forget(log, False)
        assert self.links(folder) == {}

    def test_of_two_logs_that_have_a_name_in_turn_the_last_keeps_it(self, world: World, folder: Path) -> None:
        one, two = world.log("1.log"), world.log("2.log")
        self.link(world, "web", one)
        for log, name in ((one, "web~1"), (two, "web"), (two, "web~2"), (one, "web")):
            world.store.link(name, log)
        world.store.flush()
        world.tick(1)
        assert self.links(folder, "log") == {"web.log": "../1.log", "web~2.log": "../2.log"}
        for log, name in ((two, "web"), (one, "web~1"), (one, "web")):
            world.store.link(name, log)
        world.store.forget(two, False)
        world.tick(1)
        assert self.links(folder, "log", "events") == {"web.log": "../1.log", "web.log.events": "../1.log.events"}

    def test_former_ones_that_are_another_logs_by_now_are_left(self, world: World, folder: Path) -> None:
        world.writer.plain = True
        log = world.log("u.log")
        self.link(world, "web", log)
        self.link(world, "web", world.log("v.log"))
        self.link(world, "db", log)
        assert self.links(folder, "log", "txt") == {
            "web.log": "../v.log",
            "web.txt": "../v.txt",
            "db.log": "../u.log",
            "db.txt": "../u.txt",
        }

    def test_plain_lines_of_the_former_log_of_a_name_are_not_those_of_the_present_one(
        self, world: World, folder: Path
    ) -> None:
        world.writer.plain = True
        self.link(world, "web", world.log("u.log"))
        world.writer.plain = False
        self.link(world, "db", world.log("v.log"))
        assert self.links(folder, "txt") == {"web.txt": "../u.txt"}
        self.link(world, "web", world.log("w.log"))
        assert self.links(folder, "txt") == {}

    def test_a_file_of_that_name_is_never_replaced(self, world: World, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in ("web.log", "web.txt"):
            (folder / name).write_bytes(b"precious")
        with Logged() as lines:
            self.link(world, "web", world.log("u.log"))
        assert (folder / "web.log").read_bytes() == (folder / "web.txt").read_bytes() == b"precious"
        assert (folder / "web.log.events").is_symlink()
        assert any("web.log" in line for line in lines)

    def test_what_was_left_of_one_half_made_does_not_matter(self, world: World, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "web.log").symlink_to("../old.log")
        (folder / ".web.log.new").symlink_to("nowhere")
        self.link(world, "web", world.log("u.log"))
        assert self.links(folder, "log", "new") == {"web.log": "../u.log"}

    def test_a_folder_that_cannot_be_made_is_told_once_and_tried_again(self, world: World, folder: Path) -> None:
        folder.parent.write_bytes(b"")
        log = world.log("u.log")
        with Logged() as lines:
            world.store.link("web", log)
            for _ in range(5):
                world.tick(RETRY_SECONDS)
        assert len([line for line in lines if "cannot link" in line]) == 1
        folder.parent.unlink()
        world.tick(RETRY_SECONDS)
        assert self.links(folder, "log") == {"web.log": "../u.log"}

    def test_links_come_back_when_the_log_folder_was_removed(self, world: World, folder: Path) -> None:
        for name in ("web", "db"):
            world.store.link(name, world.log(f"{name}1.log"))
        world.tick(FOLLOW_SECONDS)
        shutil.rmtree(folder.parent)
        world.tick(FOLLOW_SECONDS)
        world.tick(FOLLOW_SECONDS)
        world.tick(1)
        assert self.links(folder, "log") == {"web.log": "../web1.log", "db.log": "../db1.log"}
        assert len(self.links(folder, "events")) == 2

    def test_logs_are_written_between_the_links_of_thousands(
        self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs: list[Callable[[], object]] = []
        monkeypatch.setattr(world.runner, "submit", jobs.append)
        for n in range(3 * LINKS_AT_ONCE):
            world.store.link(f"vm{n}", world.log(f"{n}.log"))
        world.store.flush()
        log = world.log("0.log")
        log.append(b"while links are made")
        world.store.flush()
        made = [0]
        while jobs:
            jobs.pop(0)()
            made.append(len(self.links(folder, "log")))
            if made[-1] > LINKS_AT_ONCE:
                assert log.path.read_bytes() == b"while links are made"
        assert made[-1] == 3 * LINKS_AT_ONCE
        assert max(after - before for before, after in pairwise(made)) == LINKS_AT_ONCE

    def test_a_link_that_keeps_failing_keeps_no_other_from_being_made(
        self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        symlink = os.symlink

        def refuse(target: str, link: str) -> None:
            if "bad.log.events" in link:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            symlink(target, link)

        monkeypatch.setattr(os, "symlink", refuse)
        for name in ("bad", "good"):
            self.link(world, name, world.log(f"{name}-1.log"))
        for _ in range(5):
            world.tick(1)
        assert set(self.links(folder, ".log.events")) == {"good.log.events"}

    def test_links_of_other_files_follow_at_a_bounded_rate_and_are_tried_again(
        self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for n in range(3 * AT_ONCE):
            world.store.link(f"vm{n}", world.log(f"{n}.log"))
        world.store.flush()
        while len(self.links(folder, "log")) < 3 * AT_ONCE:
            world.store.flush()
        seen = [len(self.links(folder, "events"))]
        for _ in range(10):
            world.tick(SECONDS)
            seen.append(len(self.links(folder, "events")))
        assert seen[-1] == 3 * AT_ONCE
        assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE
        assert world.writer._links.wait() is None
        symlink = os.symlink

        def failing(target: str, link: str) -> None:
            if link.endswith(".events"):
                raise OSError(errno.ENOSPC, FULL)
            symlink(target, link)

        monkeypatch.setattr(os, "symlink", failing)
        with Logged() as lines:
            self.link(world, "full", world.log("full.log"))
            for _ in range(5):
                world.tick(RETRY_SECONDS)
        assert len([line for line in lines if "cannot link full.log.events" in line]) == 1
        assert "full.log" in self.links(folder, "log")
        monkeypatch.setattr(os, "symlink", symlink)
        world.tick(RETRY_SECONDS)
        assert self.links(folder)["full.log.events"] == "../full.log.events"


class TestTheFirstLinesOfATrail:
    """They go a shorter way, which leads to what the long way leads to, whatever stands there already."""

    there = st.sampled_from([b"", b'{"at":"2026-01-01T00:00:00.000Z","offset":0,"event":"up"}\n', b'{"at":"2026', None])

    @staticmethod
    def outcome(folder: Path, script: list[str], trail_there: bytes | None, kind: str, room: int | None) -> list[Any]:
        found: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            runs = itertools.count(1)
            for module in (file_state, store):  # both ways are to call their runs alike
                patch.setattr(module, "new_run", lambda: f"{next(runs):012x}")
            world = World(folder)
            log = world.log("a.log")
            if kind != "no folder":
                log.path.parent.mkdir(parents=True)
            if kind == "taken":
                Path(f"{log.path}.events").symlink_to(folder / "elsewhere")
            elif kind == "file" and trail_there is not None:
                Path(f"{log.path}.events").write_bytes(trail_there)
            disk.room = room
            for step in script:
                if step == "bytes":
                    log.append(b"0123456789")
                elif step == "two":
                    log.arrival("10.0.0.1", "web")
                elif step == "gap":
                    log.gap(3, "for the test")
                elif step == "batch":
                    world.store.flush()
                else:
                    log.event("up", host="10.0.0.1")
            world.store.flush()
            disk.room = None
            for _ in range(3):
                world.tick(RETRY_SECONDS)
            world.store.flush()
            log.event("down")
            world.store.flush()
            world.stop()
        for path in sorted(folder.rglob("a.*")):
            found.append((path.name, path.is_symlink(), path.read_bytes() if path.is_file() else None))
        return [*found, log.offset]

    @given(
        script=st.lists(st.sampled_from(["one", "two", "bytes", "gap", "batch"]), max_size=6),
        trail_there=there,
        kind=st.sampled_from(["file", "file", "no folder", "taken"]),
        room=st.none() | st.integers(0, 200),
    )
    @examples(150)
    def test_are_those_of_the_long_way(
        self, script: list[str], trail_there: bytes | None, kind: str, room: int | None
    ) -> None:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            short = self.outcome(Path(one), script, trail_there, kind, room)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LogWriter, "_begin_trail", lambda self, file, lines: False)
                assert self.outcome(Path(two), script, trail_there, kind, room) == short

    def test_take_no_place_in_the_pool(self, world: World, log: ConsoleLog, monkeypatch: pytest.MonkeyPatch) -> None:
        log.path.parent.mkdir(parents=True)
        monkeypatch.setattr(FilePool, "borrow", None)
        log.arrival("10.0.0.1", "web")
        world.store.flush()
        assert [event["event"] for event in trail(log)] == ["up", "name"]
