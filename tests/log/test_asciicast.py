"""Recordings, stamps and paces. The recordings are played by asciinema itself, where it is installed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.archive import T0, Archive
from vmproxy.log.asciicast import cast
from vmproxy.log.reader import open_segments
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import Stamper, local_time, paced

TEXT = "grün € \U0001f4a9\r\n\x1b[1;31mred\x1b[0m\x1b]0;t\x07\t\0\x7f\\\"'\n".encode()


def stamped(pieces: Iterable[tuple[float, bytes]]) -> bytes:
    stamper = Stamper()
    return b"".join(stamper.feed(data, at) for at, data in pieces)


def recorded(items: list[Any], **options: Any) -> tuple[dict[str, Any], list[Any]]:
    header, *events = [json.loads(line) for line in cast(items, "web01", **options)]
    return header, events


def test_the_header_says_what_a_player_must_know() -> None:
    header, events = recorded([(T0 + 0.5, b"x")], width=132, height=50, idle=5)
    assert header == {
        "version": 2,
        "width": 132,
        "height": 50,
        "timestamp": int(T0),
        "vmproxy": {"start": T0 + 0.5, "lead": False},
        "idle_time_limit": 5,
        "title": "web01",
    }
    assert events == [[0.0, "o", "x"]]


def test_a_recording_of_nothing_has_its_header() -> None:
    assert recorded([]) == ({"version": 2, "width": 80, "height": 24, "idle_time_limit": 2.0, "title": "web01"}, [])


def test_a_hostile_title_is_made_safe() -> None:
    (line,) = cast([], 'a\x1b[31m\n"\u202e' + "x" * 10_000)
    assert line.count(b"\n") == 1
    title = json.loads(line)["title"]
    assert title.isprintable()
    assert len(title) <= 128


@given(st.lists(st.one_of(st.binary(max_size=6), st.sampled_from([TEXT, "€".encode(), b"\xe2", b"\x82\xac"]))))
def test_the_text_is_that_of_the_whole_wherever_it_was_cut(pieces: list[Any]) -> None:
    lines = list(cast(enumerate(pieces), "t"))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii() for line in lines)
    events = [json.loads(line) for line in lines[1:]]
    assert "".join(event[2] for event in events) == b"".join(pieces).decode("utf-8", "replace")
    assert all(event[1] == "o" and event[2] for event in events)


def test_what_happened_to_the_line_becomes_markers() -> None:
    items = [
        (T0, {"event": "up"}),
        (T0 + 1, b"a"),
        (T0 + 1.5, {"event": "attach", "who": "alice"}),
        (T0 + 2, {"event": "vmotion-complete"}),
        (T0 + 3, {"event": "down"}),
        (T0 + 4, {"event": 7}),
    ]
    _, events = recorded(items)
    assert events == [[0.0, "m", "line up"], [1.0, "o", "a"], [2.0, "m", "vMotion complete"], [3.0, "m", "line down"]]


def test_a_recording_does_not_go_back() -> None:
    _, events = recorded([(T0, b"a"), (T0 + 5, b"b"), (T0 - 100, b"c"), (T0 + 6, b"d")])
    assert [event[0] for event in events] == [0.0, 5.0, 5.0, 6.0]


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, bytes]:
    """A recording of a log in several files, and what the VM said."""
    archive = Archive(tmp_path)
    at = T0
    archive.happen(at, "up")
    for n in range(30):
        at += 0.3 if n % 7 else 3600.0
        archive.say(at, b"%d " % n + TEXT)
        if n % 10 == 5:
            archive.rotate(n == 5)
    archive.say(at + 10, "half a character €".encode()[:-1])
    archive.say(at + 20, "€".encode()[-1:] + b"\n")
    archive.happen(at + 30, "down")
    path = tmp_path / "x.cast"
    with open_segments(archive.path) as segments:
        path.write_bytes(b"".join(cast(Timeline(segments).items(), "web01")))
    return path, b"".join(data for _, data in archive.said)


def on_a_terminal(*arguments: str) -> bytes:
    """What a command writes to a terminal that changes nothing."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "ASCIINEMA_CONFIG_HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    script = "import os, sys, tty; tty.setraw(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "-m", "asciinema", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(ours, 65536):
            output += piece
    except OSError:
        pass  # Linux: the other side is closed
    finally:
        os.close(ours)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    return output


@pytest.mark.parametrize("command", [["cat"], ["play", "-i", "0.01", "-s", "100"]])
def test_asciinema_plays_what_the_vm_said(recording: tuple[Path, bytes], command: list[str]) -> None:
    pytest.importorskip("asciinema")
    path, said = recording
    assert said in on_a_terminal(*command, str(path))


# Stamps and paces.


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_utc")
def test_stamps_stand_in_front_of_each_line() -> None:
    pieces = [(T0, b"one\r\ntw"), (T0 + 1.5, b"o\n"), (T0 + 2, b""), (T0 + 3.25, b"\nthree\n\x1b[0m")]
    assert stamped(pieces) == (
        b"2026-11-22 15:56:40.000Z one\r\n"
        b"2026-11-22 15:56:40.000Z two\n"
        b"2026-11-22 15:56:43.250Z \n"
        b"2026-11-22 15:56:43.250Z three\n"
        b"2026-11-22 15:56:43.250Z \x1b[0m"
    )


@pytest.mark.usefixtures("_utc")
def test_999_and_a_half_milliseconds_are_not_a_second() -> None:
    assert local_time(T0 + 0.9996) == "2026-11-22 15:56:40.999Z"
    assert local_time(-0.001) == "1969-12-31 23:59:59.999Z"


@given(st.lists(st.binary(max_size=9)))
def test_without_its_stamps_a_stamped_log_is_what_it_was(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    out = stamped((T0, piece) for piece in pieces)
    lines = out.split(b"\n")
    assert b"\n".join(line[25:] for line in lines) == data
    assert all(len(line) >= 25 for line in lines[:-1])


def test_the_pace_is_that_of_the_vm_made_faster_with_silence_cut_short() -> None:
    pieces = [(T0, b"a"), (T0 + 1, b"b"), (T0 + 1, b"c"), (T0 + 3601, b"d"), (T0, b"e"), (T0 + 0.5, b"f")]
    assert list(paced(pieces)) == [(0, b"a"), (1, b"b"), (0, b"c"), (2, b"d"), (0, b"e"), (0.5, b"f")]
    assert list(paced(pieces, speed=4, idle=0.2)) == [
        *((0, b"a"), (0.2, b"b"), (0, b"c"), (0.2, b"d"), (0, b"e"), (0.125, b"f"))
    ]
