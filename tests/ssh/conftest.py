"""Fixtures: the front without sockets, and what it logged."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshkit import World
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """A front with one operator, alice, and no consoles."""
    world = World(tmp_path)
    yield world
    for transport in list(world.front.transports):
        tcp = transport.transport
        assert tcp is not None
        tcp.closed()
    world.front.deadline.stop()
    world.stop()


class Logged:
    """What the process's own log has been told."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    @property
    def tracebacks(self) -> list[str]:
        """Events that carry a failure: noise that a client must not be able to make."""
        gc.collect()  # a Deferred's unhandled error is logged when it is collected
        return [
            formatEvent(e) + str(e["log_failure"].value) for e in self.events if e.get("log_failure") is not None
        ] + [formatEvent(e) for e in self.events if e["log_level"] is LogLevel.critical and "log_failure" not in e]

    @property
    def size(self) -> int:
        """Bytes that would have been written above the debug level."""
        return sum(len(formatEvent(e)) for e in self.events if e["log_level"] > LogLevel.debug)


@pytest.fixture
def logged() -> Iterator[Logged]:
    found = Logged()
    globalLogPublisher.addObserver(found.events.append)
    yield found
    globalLogPublisher.removeObserver(found.events.append)
