"""Who follows the event trails is told the events."""

from __future__ import annotations

from pathlib import Path

from tests.support.consoles import World
from vmproxy.log.file_state import LogFile


def test_followers_are_told_events_and_no_time_marks(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.log()
    told: list[tuple[LogFile, bytes]] = []
    world.store.event_followers.add(lambda file, lines: told.append((file, lines)))
    log.append(b"output")
    world.store.flush()
    assert b'"event":"time"' in Path(log.file.trail_path).read_bytes()
    assert told == []
    log.event("hello")
    world.store.flush()
    assert [(file, b'"event":"hello"' in lines) for file, lines in told] == [(log.file, True)]


def test_a_gap_is_written_together_with_where_the_output_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.log()
    told: list[bytes] = []
    world.store.event_followers.add(lambda _file, lines: told.append(lines))
    log.gap(7, "test")
    world.store.flush()
    (lines,) = told
    assert [b'"event":"gap"' in line for line in lines.splitlines()] == [True, False]
    assert b'"offset":7,"event":"format"' in lines
