"""The offset of the output: one count of bytes, kept over files, restarts and what could not be recorded."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import Disk
from vmproxy.log.retry import BACKLOG_PER_LOG
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.store import ConsoleLog

# As version 0.1.0 wrote them: with rotation at 10 bytes, and compression.
LEGACY = {
    "vm.log": b"third",
    "vm.log.events": b'{"at":"2023-11-14T22:13:22.000Z","offset":0,"event":"rotated","to":"vm.log.1","bytes":12,'
    b'"reason":"size"}\n{"at":"2023-11-14T22:13:24.000Z","offset":0,"event":"note","n":2}\n'
    b'{"at":"2023-11-14T22:13:24.000Z","offset":0,"event":"time"}\n'
    b'{"at":"2023-11-14T22:13:26.000Z","offset":5,"event":"down","reason":"gone"}\n',
    "vm.log.1.gz": b"second line\n",
    "vm.log.events.1.gz": b'{"at":"2023-11-14T22:13:20.000Z","offset":0,"event":"rotated","to":"vm.log.1","bytes":11,'
    b'"reason":"size"}\n{"at":"2023-11-14T22:13:22.000Z","offset":0,"event":"note","n":1}\n'
    b'{"at":"2023-11-14T22:13:22.000Z","offset":0,"event":"time"}\n',
    "vm.log.2.gz": b"first line\n",
    "vm.log.events.2.gz": b'{"at":"2023-11-14T22:13:20.000Z","offset":0,"event":"note","n":0}\n'
    b'{"at":"2023-11-14T22:13:20.000Z","offset":0,"event":"time"}\n',
}


def say(world: World, log: ConsoleLog, data: bytes) -> None:
    log.append(data)
    world.store.flush()
    world.writer.tick()


def restarted(folder: Path, **policy: Any) -> tuple[World, ConsoleLog]:
    """What a new process finds, however the one before it ended."""
    world = World(folder)
    world.writer.rotation.use(RotationPolicy(**policy))
    log = world.log("vm.log")
    log.mend()
    return world, log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_it_begins_at_nothing_and_counts_what_comes(folder: Path) -> None:
    world, log = restarted(folder)
    assert log.offset == 0
    log.append(b"12345")
    assert log.offset == 5  # before anything is written
    say(world, log, b"67")
    assert (log.offset, log.file.offset) == (7, 7)


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_a_restart_continues_it(folder: Path, clean: bool) -> None:
    world, log = restarted(folder)
    say(world, log, b"12345")
    log.event("note")
    say(world, log, b"678")
    if clean:
        world.store.stop()
    world, log = restarted(folder)
    assert log.offset == 8
    say(world, log, b"9")
    assert log.offset == 9


def test_a_torn_last_line_of_a_trail_is_mended_before_another_follows(folder: Path) -> None:
    world, log = restarted(folder)
    say(world, log, b"12345")
    log.event("note")
    world.store.flush()
    trail = Path(log.file.trail_path)
    with trail.open("ab") as file:
        file.write(b'{"at":"2026-')
    world, log = restarted(folder)
    assert log.offset == 5
    log.event("note")
    say(world, log, b"6")
    events = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [event["event"] for event in events].count("note") == 2


def test_times_in_a_trail_do_not_go_back_though_events_wait_for_the_writer(folder: Path) -> None:
    world = World(folder)
    world.runner.held = True
    log = world.log("vm.log")
    log.event("first")
    world.tick(5)
    log.event("second")
    world.runner.release()
    world.tick(5)
    times = [json.loads(line)["at"] for line in Path(log.file.trail_path).read_bytes().splitlines()]
    assert len(times) == 3
    assert times == sorted(times)


def test_rotation_continues_it_and_so_does_a_restart_behind_it(folder: Path) -> None:
    world, log = restarted(folder, size=4)
    for piece in (b"1234", b"5678", b"9"):
        say(world, log, piece)
    assert log.offset == 9
    assert [(e["event"], e["offset"]) for e in trail(log)] == [("rotated", 8), ("time", 8)]
    _, log = restarted(folder)
    assert log.offset == 9


def test_a_crash_in_the_middle_of_a_rotation_continues_it(folder: Path) -> None:
    world, log = restarted(folder)
    say(world, log, b"12345")
    for kind in (log.path, Path(log.file.trail_path)):
        os.rename(kind, kind.with_name(kind.name + ".1"))
    _, log = restarted(folder)
    assert log.offset == 5


def test_a_gap_counts_with_its_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    world, log = restarted(folder)
    say(world, log, b"before")
    disk.room = 0
    say(world, log, b"k" * BACKLOG_PER_LOG + b"lost")
    disk.room = None
    world.tick(1)
    say(world, log, b"after")
    whole = len(b"before") + BACKLOG_PER_LOG + len(b"lost") + len(b"after")
    assert (log.offset, log.file.offset) == (whole, whole)
    _, log = restarted(folder)
    assert log.offset == whole


def test_what_is_not_recorded_on_purpose_counts_too(folder: Path) -> None:
    world, log = restarted(folder)
    say(world, log, b"123")
    log.pass_over(100)
    assert log.resume("logging-on", who="alice") == 100
    say(world, log, b"45")
    log.pass_over(1000)
    world.store.stop()
    _, log = restarted(folder)
    assert log.offset == 1105
    assert [(e["event"], e["offset"], e["bytes"]) for e in trail(log, "logging-on", "gap")] == [
        ("logging-on", 3, 100),
        ("gap", 105, 1000),
    ]


@pytest.mark.parametrize("which", [("log", "trail"), ("log",), ("trail",)])
@pytest.mark.parametrize("how", ["rename", "truncate"])
def test_it_goes_on_whatever_somebody_else_does_to_the_files(folder: Path, which: tuple[str, ...], how: str) -> None:
    world, log = restarted(folder)
    say(world, log, b"12345")
    for path in [{"log": log.path, "trail": Path(log.file.trail_path)}[name] for name in which]:
        if how == "rename":
            os.rename(path, path.with_name(path.name + ".1"))
        else:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
    world.store.reopen() if how == "rename" else world.tick(2)
    say(world, log, b"67")
    log.event("note")
    world.store.flush()
    assert log.offset == log.file.offset == 7
    assert [e["offset"] for e in trail(log, "note")] == [7]
    _, log = restarted(folder)
    assert log.offset == 7


def test_where_the_file_holds_less_than_its_trail_tells_of_it_says_so_and_does_not_go_back(folder: Path) -> None:
    world, log = restarted(folder)
    say(world, log, b"12345")
    log.event("note")
    world.store.stop()
    os.truncate(log.path, 2)
    world, log = restarted(folder)
    assert log.offset == 5
    assert [(e["offset"], e["size"]) for e in trail(log, "truncated")] == [(5, 2)]
    say(world, log, b"6")
    _, log = restarted(folder)
    assert log.offset == 6
    assert len(trail(log, "truncated")) == 1


def test_a_trail_that_cannot_be_read_at_the_start_is_looked_at_again(folder: Path) -> None:
    world, log = restarted(folder, size=4)
    for piece in (b"1234", b"5678"):
        say(world, log, piece)
    trail_path = Path(log.file.trail_path)
    aside = trail_path.rename(trail_path.with_name("aside"))
    trail_path.mkdir()
    world, log = restarted(folder)
    say(world, log, b"9")
    trail_path.rmdir()
    aside.rename(trail_path)
    world.tick(1)
    assert log.offset == 9


def test_what_version_0_1_0_wrote_is_continued_behind_all_of_its_files(folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir()
    for name, content in LEGACY.items():
        (logs / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    world, log = restarted(folder)
    whole = sum(len(content) for name, content in LEGACY.items() if "events" not in name)
    assert log.offset == whole
    say(world, log, b"more")
    log.event("note")
    world.store.flush()
    lines = [json.loads(line) for line in Path(log.file.trail_path).read_bytes().splitlines()]
    assert [(line["event"], line["offset"]) for line in lines][-4:] == [
        ("down", 5),
        ("format", whole),
        ("time", whole),
        ("note", whole + 4),
    ]
    assert lines[-3]["byte"] == 5
    _, log = restarted(folder)
    assert log.offset == whole + 4


def test_the_place_in_the_file_is_said_again_so_that_the_end_of_a_long_trail_is_enough(folder: Path) -> None:
    world, log = restarted(folder)
    for n in range(3000):
        log.event("note", n=n, text="n" * 100)
        log.append(b"x")
        world.store.flush()
    text = Path(log.file.trail_path).read_bytes()
    assert text[-40 * 1024 :].count(b'"event":"format"') >= 1
    _, log = restarted(folder)
    assert log.offset == 3000


STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=30),
        st.sampled_from(["event", "flush", "tick", "kill", "stop", "truncate", "rename", "full", "room", "off", "gap"]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(STEPS)
def test_whatever_happens_each_event_says_how_many_bytes_came_before_it(steps: list[bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmproxy.log.retry.BACKLOG_PER_LOG", 40)
        folder = Path(name)
        disk = Disk(patch)
        world, log = restarted(folder, size=50)
        count = 0
        told: dict[int, int] = {}
        off = full = False
        for number, step in enumerate(steps):
            match step:
                case bytes() if off:
                    log.pass_over(len(step))
                    count += len(step)
                case bytes():
                    log.append(step)
                    count += len(step)
                case "event" if not off:
                    log.event("note", n=number)
                    if not full:  # one that comes while bytes are lost is told where the gap begins
                        told[number] = count
                case "flush":
                    world.store.flush()
                case "tick":
                    world.store.flush()
                    world.tick(2)
                case "kill" | "stop" if not full:
                    if off:
                        log.resume("gap", reason="off")
                        off = False
                    world.store.flush()
                    world.tick(2)
                    if step == "stop":
                        world.store.stop()
                    world, log = restarted(folder, size=50)
                case "truncate" | "rename" if not full and log.path.exists():
                    world.store.flush()
                    for path in (log.path, Path(log.file.trail_path)):
                        if step == "truncate":
                            os.truncate(path, 0)
                        else:
                            path.unlink()
                    world.store.reopen() if step == "rename" else world.tick(2)
                    log.event("moved")  # all that told the offset is gone
                    world.store.flush()
                    told.clear()
                case "full":
                    world.store.flush()
                    disk.room, full = 3, True
                case "room":
                    disk.room, full = None, False
                case "off":
                    off = not off
                    if not off:
                        log.resume("logging-on", who="alice")
                case "gap":
                    log.gap(7, "early")
                    count += 7
            assert log.offset in (None, count)
        disk.room = None
        if off:
            log.resume("logging-on", who="alice")
        world.store.flush()
        world.tick(2)
        world.tick(2)
        assert log.file.offset in (-1, count)
        notes: dict[int, int] = {}
        for path in log.path.parent.glob("vm.log.events*") if log.path.parent.exists() else ():
            for line in path.read_bytes().splitlines():
                if (entry := json.loads(line))["event"] == "note":
                    notes[entry["n"]] = entry["offset"]
        assert {n: notes.get(n) for n in told} == told
        world.writer.close()


def test_a_log_that_is_forgotten_and_stays_goes_on_where_it_ended(world: World) -> None:
    first = world.log("web.log")
    first.append(b"before")
    world.store.flush()
    world.store.forget(first, False)
    again = world.log("web.log")
    again.event("up")
    again.append(b"after")
    world.store.flush()
    assert again.path.read_bytes() == b"beforeafter"
    assert [e["offset"] for e in trail(again, "up")] == [6]
    assert again.offset == 11


def test_logs_of_others_that_appear_later_do_not_begin_at_0(world: World) -> None:
    first = world.log("web.log")
    first.event("up")
    world.store.flush()  # the folder has been read
    second = world.log("db.log")
    second.path.write_bytes(b"from elsewhere")
    second.mend()
    second.event("up")
    world.store.flush()
    assert [e["offset"] for e in trail(second, "up")] == [14]
