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
