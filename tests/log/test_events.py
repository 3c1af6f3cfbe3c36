"""The event trail's lines: JSON on one line, in UTC, whatever is in them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import HOSTILE
from vmproxy.log.events import AND, Event, event, time_mark, timestamp


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.123, "2023-11-14T22:13:20.123Z"),
        (1_700_000_000.9999, "2023-11-14T22:13:20.999Z"),
        (1_700_000_000.0004, "2023-11-14T22:13:20.000Z"),
        (4_102_444_800, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


def test_the_local_time_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(0, 4e9))
def test_a_time_read_back_is_the_time_to_the_millisecond(seconds: float) -> None:
    back = datetime.fromisoformat(timestamp(seconds))
    assert back.tzinfo == UTC
    assert abs(back.timestamp() - seconds) <= 0.0011


@given(st.lists(st.floats(1.7e9, 1.7e9 + 3), min_size=2))
def test_times_in_order_read_in_order(times: list[float]) -> None:
    assert [timestamp(t) for t in sorted(times)] == sorted(timestamp(t) for t in times)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_breaks_out_of_its_line(name: str) -> None:
    line = event(0, "name", {"name": name, "was": name}).line(17)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert not any(byte < 0x20 for byte in line[:-1])
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:00.000Z",
        "offset": 17,
        "event": "name",
        "name": name,
        "was": name,
    }


@given(
    st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["who", "reason", "bytes"]), st.none() | st.booleans() | st.integers() | st.text(max_size=30)
    ),
    st.integers(0, 2**63),
)
def test_what_goes_in_comes_out(kind: str, fields: dict[str, Any], offset: int) -> None:
    read = json.loads(event(5, kind, fields).line(offset))
    assert read == {"at": "1970-01-01T00:00:05.000Z", "offset": offset, "event": kind, **fields}


def test_a_time_mark_says_which_byte_came_when() -> None:
    assert json.loads(time_mark(60, 5)) == {"at": "1970-01-01T00:01:00.000Z", "offset": 5, "event": "time"}
    assert time_mark(60, 5).endswith(b"}\n")


@given(st.text(), st.text(), st.floats(0, 4e9), st.integers(0, 1 << 60))
def test_two_events_in_one_are_the_lines_of_both(host: str, name: str, at: float, offset: int) -> None:
    one, other = event(at, "up", {"host": host}), event(at, "name", {"name": name})
    both = Event(at, one.body + AND + other.body)
    assert both.line(offset) == one.line(offset) + other.line(offset)
