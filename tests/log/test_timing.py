"""Local times: with their zone, as ``--since`` takes it back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vmproxy.base.timeparse import parse_when
from vmproxy.log.timing import Stamper, local_time
from vmproxy.operators import messages

SUMMER, WINTER = 1_690_000_000.25, 1_700_000_000.25


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of the server."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("at", [SUMMER, WINTER])
def test_what_is_shown_can_be_given_back(place: str, at: float) -> None:
    assert parse_when(local_time(at), 0) == at
    assert parse_when(messages.local_time(at), 0) == int(at)
    assert messages.local_time(at).endswith(messages.clock_time(at))


def test_the_zone_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert local_time(SUMMER) == "2023-07-22 06:26:40.250+02:00"
        assert local_time(WINTER) == "2023-11-14 23:13:20.250+01:00"
        assert Stamper().feed(b"x", WINTER) == b"2023-11-14 23:13:20.250+01:00 x"
    finally:
        monkeypatch.undo()
        time.tzset()
