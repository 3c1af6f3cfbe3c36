"""Fixture: a concentrator without sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vm import VMWorld


@pytest.fixture
def w(tmp_path: Path) -> Iterator[VMWorld]:
    """A concentrator with the default settings."""
    world = VMWorld(tmp_path)
    yield world
    world.stop()
