"""Moments as people write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.timeparse import BadTime, parse_when


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def local(*parts: int) -> float:
    return datetime(*parts).timestamp()  # type: ignore[arg-type]  # numbers, and no zone


@each(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d12h", 129600),
        ("1w1d1h1m1s", 694861),
        ("0s", 0),
        ("10m ago", 600),
        (" 10M ", 600),
        ("now", 0),
        ("2 min ago", 120),
        ("2 minutes ago", 120),
        ("1 hour 30 min ago", 5400),
        ("1 day, 2 hours and 3 seconds ago", 93603),
        ("5sec", 5),
        ("1 week", 604800),
        ("0 seconds ago", 0),
        ("now UTC", 0),
    ],
)
def test_spans_count_back(text: str, seconds: int) -> None:
    now = 1_795_363_753.5
    assert parse_when(text, now) == now - seconds


@each(
    ("text", "moment"),
    [
        ("16:00", (2026, 11, 22, 16)),
        ("16:00:30", (2026, 11, 22, 16, 0, 30)),
        ("16:00:30.5", (2026, 11, 22, 16, 0, 30, 500_000)),
        ("9:05", (2026, 11, 22, 9, 5)),
        ("17:00", (2026, 11, 22, 17)),
        ("17:00:01", (2026, 11, 21, 17, 0, 1)),
        ("23:59", (2026, 11, 21, 23, 59)),
        ("today", (2026, 11, 22)),
        ("yesterday", (2026, 11, 21)),
        ("2026-11-22", (2026, 11, 22)),
        ("2026-11-22 16:00", (2026, 11, 22, 16)),
        ("2026-11-22T16:00:30", (2026, 11, 22, 16, 0, 30)),
        ("2026-11-22 16:00:30.25", (2026, 11, 22, 16, 0, 30, 250_000)),
        ("1999-01-02", (1999, 1, 2)),
        ("2030-01-02 03:04", (2030, 1, 2, 3, 4)),
    ],
)
def test_times_are_local(zone: str, text: str, moment: Any) -> None:
    assert parse_when(text, local(2026, 11, 22, 17)) == local(*moment)


@each(
    "text",
    [
        *("2026-11-22T16:00:30Z", "2026-11-22 16:00:30z", "2026-11-22T18:00:30+02:00", "2026-11-22T11:30:30-0430"),
        *("2026-11-22 16:00:30 UTC", "2026-11-22 16:00:30 GMT", "2026-11-22T18:00:30 +0200", "@1795363230"),
        *("2026-11-22T16:00:30.000000000Z", "2026-11-22T17:00:30,000000000+01:00", "@1795363230.000"),
        *("2026-11-22 16:00:30.000000000 +0000 UTC", "2026-11-22T16:00:30.0000000+00:00"),
    ],
)
def test_a_time_may_say_its_zone(zone: str, text: str) -> None:
    assert parse_when(text, 0) == datetime(2026, 11, 22, 16, 0, 30, tzinfo=UTC).timestamp()


def test_nanoseconds_and_the_day_of_another_zone(zone: str) -> None:
    now = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()
    assert parse_when("2026-11-22T15:00:00.123456789Z", now) == pytest.approx(now - 3600 + 0.123456789, abs=1e-6)
    assert parse_when("15:30 UTC", now) == now - 1800
    assert parse_when("16:30 UTC", now) == now - 23.5 * 3600
    assert parse_when("today UTC", now) == now - 16 * 3600
    assert parse_when("2026-11-21 UTC", now) == now - 40 * 3600


@each(
    "text",
    [
        *("", " ", "soon", "10", "10 m", "m", "-10m", "10m5h", "1.5h", "9999999w", "24:00", "16:60", "1600", "16:"),
        *(
            "2026-13-01",
            "2026-02-30",
            "2026-11-22 25:00",
            "@",
            "@x",
            "@-5",
            "@999999999999",
            "2 min and",
            "min ago",
            "UTC",
            "2026-11-22T16",
            "2026-11-22 16:00 Z",
            "0001-01-01",
        ),
        *(
            "9999-12-31",
            "22.11.2026",
            "2026-11-22Z",
            "\u0661\u0660m",
            "\x1b[31m",
            "10m\0",
            "x" * 1000,
            "999999w",
            "1:2",
            "é:ab",
        ),
    ],
)
def test_what_means_nothing_is_told_with_what_would(text: str) -> None:
    with pytest.raises(BadTime, match=r"no such time.*such as 16:00.*2026-11-22") as caught:
        parse_when(text, 1_795_363_753.5)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(8000, 1, 1)),
    st.sampled_from(["{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%d %H:%M:%S} utc", "{:%Y-%m-%d %H:%M:%S}+00:00", "@"]),
    st.floats(0, 4e9),
)
def test_a_moment_is_read_as_it_is_written_whenever_that_is(moment: datetime, spelling: str, now: float) -> None:
    at = moment.replace(microsecond=0, tzinfo=UTC).timestamp()
    text = f"@{at:.0f}" if spelling == "@" else spelling.format(moment)
    assert parse_when(text, now) == at


@given(
    st.one_of(st.text(), st.text("0123456789:-TZ wdhms+.@", max_size=25), st.from_regex(r"\A[0-9]{1,2}:[0-6][0-9]\Z")),
    st.floats(86400, 4e9),
)
def test_anything_is_a_moment_of_the_years_that_are_known_or_refused(text: str, now: float) -> None:
    with suppress(BadTime):
        assert 1970 <= datetime.fromtimestamp(parse_when(text, now)).year < 9000
