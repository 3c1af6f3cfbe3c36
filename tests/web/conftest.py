"""Fixtures: a front with two operators, alice and bob."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import w
from tests.support.web import WebWorld

__all__ = ["w", "web"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebWorld]:
    """A front, and no consoles."""
    world = WebWorld(tmp_path)
    yield world
    world.stop()
