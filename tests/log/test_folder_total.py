"""The size of the log folder holds, by the logs of consoles that are down too, or the log says that it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.consoles import World
from tests.support.fakes import FakeLink, Logged
from vmproxy.log.events import timestamp
from vmproxy.log.retention import SLICE_SECONDS
from vmproxy.log.rotation import RotationPolicy

PIECE = 50_000
TOTAL = 6 * PIECE


def used(world: World) -> int:
    return sum(
        file.stat().st_size for file in world.store.folder.rglob("*") if file.is_file() and not file.is_symlink()
    )


def settle(world: World) -> None:
    world.store.flush()
    for _ in range(400):
        world.tick(0.5)


def came_and_went(world: World, number: int) -> None:
    for n in range(number):
        console = world.claim(f"vm{n}", uuid4(), link=FakeLink())
        console.feed(b"x" * PIECE)
        world.store.flush()
        world.tick(2)
        world.lose(console)


def test_logs_of_consoles_that_are_down_are_rotated_out_oldest_first(world: World, logged: Logged) -> None:
    came_and_went(world, 12)
    settle(world)
    assert used(world) > 12 * PIECE
    began = timestamp(world.clock.seconds())
    world.writer.rotation.use(RotationPolicy(size=1_000_000, folder_total=TOTAL))
    settle(world)
    assert used(world) <= TOTAL
    left = [console for console in world.directory if console.log.path.exists() and console.log.path.stat().st_size]
    assert [console.name for console in left] == [f"vm{n}" for n in range(12 - len(left), 12)]
    assert len(left) >= 4
    assert not any("cannot" in line or "what is left" in line for line in logged)
    rotated = [event for console in world.directory for event in world.trail(console, "rotated")]
    assert {event["reason"] for event in rotated} == {"folder"}
    # Of then, and not of the last batch that was written: there is none after a start.
    assert all(str(event["at"]) >= began for event in rotated)


def test_it_also_holds_where_nothing_else_is_rotated(world: World) -> None:
    came_and_went(world, 12)
    world.writer.rotation.use(RotationPolicy(folder_total=TOTAL))
    settle(world)
    assert used(world) <= TOTAL


def test_what_belongs_to_consoles_that_are_connected_stays_and_the_log_says_so_once(
    world: World, logged: Logged
) -> None:
    connected = [world.claim(f"up{n}", uuid4(), link=FakeLink()) for n in range(8)]
    for console in connected:
        console.feed(b"x" * PIECE)
    came_and_went(world, 4)
    world.writer.rotation.use(RotationPolicy(folder_total=TOTAL))
    settle(world)
    assert all(console.log.path.stat().st_size == PIECE for console in connected)
    assert used(world) < 9 * PIECE
    assert len([line for line in logged if "log.folder-total is 300000" in line]) == 1
    world.lose(connected[0])
    world.lose(connected[1])
    world.lose(connected[2])
    settle(world)
    assert used(world) <= TOTAL


def test_where_they_cannot_be_rotated_it_is_not_tried_without_a_pause(
    world: World, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    passes: list[object] = []
    scandir = os.scandir

    def counted(path: Path) -> object:
        passes.extend([path] if path == world.store.folder else [])
        return scandir(path)

    came_and_went(world, 12)
    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(os, "scandir", counted)
    world.writer.rotation.use(RotationPolicy(folder_total=TOTAL))
    for _ in range(1000):
        world.tick(SLICE_SECONDS)
    assert any("cannot rotate" in line for line in logged)
    assert 1 <= len(passes) <= 3
    monkeypatch.undo()
    settle(world)
    assert used(world) <= TOTAL


def test_a_console_that_comes_back_goes_on_where_its_log_ended(world: World) -> None:
    came_and_went(world, 12)
    world.writer.rotation.use(RotationPolicy(folder_total=TOTAL))
    settle(world)
    gone = next(console for console in world.directory if console.name == "vm0")
    world.claim("vm0", gone.uuid, link=FakeLink())
    gone.feed(b"again")
    settle(world)
    assert gone.log.path.read_bytes() == b"again"
    assert gone.bytes_out >= len(b"again")
