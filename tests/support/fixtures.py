"""The fixtures that several folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import globalLogPublisher

from tests.support.ssh import Logged, World


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


@pytest.fixture
def logged() -> Iterator[Logged]:
    found = Logged()
    globalLogPublisher.addObserver(found.events.append)
    yield found
    globalLogPublisher.removeObserver(found.events.append)
