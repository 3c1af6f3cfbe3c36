"""Fixtures: a concentrator without sockets, and what it logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.support.vm import World


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """A concentrator with the default settings."""
    world = World(tmp_path)
    yield world
    world.scribe.close()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the process's own log says, line by line."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
