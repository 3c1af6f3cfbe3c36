"""A passage of a log has exactly the bytes that were asked for, each piece with its place in the output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.log_files import say, write
from vmproxy.log.passage import Passage
from vmproxy.log.place import PlaceGone
from vmproxy.log.reader import open_segments
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.store import ConsoleLog


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.writer.rotation.use(RotationPolicy(size=4000))
    return world


def long_log(world: World) -> tuple[ConsoleLog, bytes]:
    """A log of many files, of lines a second apart."""
    log = world.log()
    said = b""
    for number in range(100):
        line = b"line %03d %s\n" % (number, b"." * 100)
        write(world, log, line)
        world.tick(1)
        said += line
    return log, said


def taken(log: ConsoleLog, timed: bool = False, **of: object) -> tuple[bytes, list[int | None]]:
    with open_segments(log.path) as files:
        pieces = list(Passage(files, **of).pieces(timed))  # type: ignore[arg-type]  # by name
        assert files.problems == []
    return b"".join(piece.data for piece in pieces), [piece.end for piece in pieces]


@pytest.mark.parametrize("timed", [False, True])
def test_from_each_offset_on_there_is_what_was_said_behind_it(world: World, timed: bool) -> None:
    log, said = long_log(world)
    assert len(list(log.path.parent.glob("*.log.*"))) > 4
    for start in range(0, len(said) + 1, 97):
        data, ends = taken(log, timed, start=start)
        assert data == said[start:]
        assert ends[-1:] == ([len(said)] if data else [])


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("lines", [0, 1, 7, 60, 100, 1000])
def test_the_last_lines_end_where_the_output_does(world: World, timed: bool, lines: int) -> None:
    log, said = long_log(world)
    data, ends = taken(log, timed, lines=lines)
    assert data == (b"".join(said.splitlines(True)[-lines:]) if lines else b"")
    assert ends[-1:] == ([len(said)] if data else [])


def test_what_came_between_two_moments_has_its_places(world: World) -> None:
    log, said = long_log(world)
    now = world.clock.seconds()
    data, ends = taken(log, since=now - 40, until=now - 20)
    at = said.index(data)
    assert 19 <= data.count(b"\n") <= 21
    assert ends[-1] == at + len(data)
    with open_segments(log.path) as files:
        assert Passage(files, until=now - 20).end() == at + len(data)
        assert Passage(files, until=now + 20).end() is None


def test_a_gap_is_left_out_and_seen_in_the_places(world: World) -> None:
    log = world.log()
    say(world, log, b"before")
    log.gap(1000, "test")
    say(world, log, b"behind")
    data, ends = taken(log, start=3)
    assert (data, ends) == (b"orebehind", [6, 1012])
    assert taken(log, start=500) == (b"behind", [1012])
    assert taken(log, start=1012) == (b"", [])


def test_what_is_gone_and_what_has_not_come_is_told(world: World) -> None:
    log, said = long_log(world)
    oldest = max(log.path.parent.glob("*.log.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    size = oldest.stat().st_size
    os.unlink(oldest)
    assert taken(log, start=size)[0] == said[size:]
    for start in (size - 1, 0, len(said) + 1):
        with pytest.raises(PlaceGone):
            taken(log, start=start)
