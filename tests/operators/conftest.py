"""Fixtures: the SSH front without sockets; what people read has the times of one zone."""

from __future__ import annotations

import time

import pytest

from tests.support.fixtures import w

__all__ = ["w"]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
