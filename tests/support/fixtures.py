"""The fixtures that several folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.fakes import Disk, Logged
from tests.support.ssh import SSHWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The directory and all below it, with no consoles."""
    world = World(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def w(tmp_path: Path) -> Iterator[SSHWorld]:
    """A front with one operator, alice, and no consoles."""
    world = SSHWorld(tmp_path)
    yield world
    for transport in list(world.front.transports):
        tcp = transport.transport
        assert tcp is not None
        tcp.closed()  # type: ignore[attr-defined]  # a Pipe
    world.front.deadline.stop()
    world.stop()


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The lines of the process's own log."""
    with Logged() as lines:
        yield lines


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that runs full when the test says so."""
    return Disk(monkeypatch)
