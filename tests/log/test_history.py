"""A log as one text to move about in, compared with the obvious way to do it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.test_tail import build
from tests.support.archive import T0, Archive
from vmproxy.log.history import BLOCK, MARK_SIZE, SEARCH_BLOCK, History, Place, Window
from vmproxy.log.pattern import Pattern
from vmproxy.log.reader import open_segments
from vmproxy.log.shown import LINE_LIMIT

END = 1_000_000_000  # what comes behind the last byte: any number, as positions are only compared
LINES = st.lists(st.sampled_from([b"\n", b"one\r\n", b"two two\n", b"\x1b[31mred\x1b[m\n", b"no end"]), max_size=30)
FILES = st.lists(st.tuples(LINES.map(b"".join), st.booleans()), min_size=1, max_size=4)


def texts(window: Window) -> list[bytes]:
    return [row.text for row in window.rows]


def shown(content: bytes) -> list[bytes]:
    """The rows, where nothing paints."""
    rows = content.replace(b"\x1b[31m", b"").replace(b"\x1b[m", b"").replace(b"\r", b"").split(b"\n")
    return rows if rows[-1] else rows[:-1]


@given(FILES, st.integers(1, 9), st.lists(st.integers(-12, 12), max_size=6))
def test_rows_are_those_of_all_files_wherever_one_moves(files: Any, height: int, moves: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, files)
        rows = shown(b"".join(data for _, data in archive.said))
        with open_segments(archive.path) as segments:
            history = History(segments, END)
            window = history.last(height)
            place = max(0, len(rows) - height)
            assert texts(window) == rows[place:]
            assert window.is_last
            for move in moves if rows else ():
                window = history.window(window.rows[0].place, height, move)
                place = max(0, min(place + move, len(rows) - height))
                assert texts(window) == rows[place : place + height]
                assert window.is_last == (place + height >= len(rows))


@given(FILES, st.booleans())
def test_each_match_is_found_once_in_either_direction(files: Any, back: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, files)
        rows = shown(b"".join(data for _, data in archive.said))
        with open_segments(archive.path) as segments:
            history = History(segments, END)
            position = history.end if back else history.start
            found: list[bytes] = []
            while (seen := history.seek(Pattern("tw."), position, back)).found is not None:
                window = history.window(Place(seen.found), 1)
                found.append(texts(window)[0])
                position = seen.found if back else window.end
            assert seen.done
            assert found == [row for row in rows[:: -1 if back else 1] if b"tw" in row]


def numbered(count: int) -> bytes:
    return b"".join(b"line %07d\n" % number for number in range(count))


@pytest.mark.parametrize("compressed", [False, True])
def test_large_files_are_read_where_one_looks(tmp_path: Path, compressed: bool) -> None:
    count = 4 * MARK_SIZE // 13
    archive = build(tmp_path, [(numbered(count), compressed), (b"now\n", False)])
    with open_segments(archive.path) as segments:
        history = History(segments, END)
        for number in (count - 1, 0, count // 2, count // 3, count // 3 + SEARCH_BLOCK // 13):
            position = history.line_at(history.start + number * 13 + 5)
            assert texts(history.window(Place(position), 1)) == [b"line %07d" % number]
        seen = history.seek(Pattern("0100000$"), history.end, back=True, seconds=60)
        assert seen.found == history.start + 100_000 * 13


def test_what_cannot_be_unpacked_is_empty_and_the_rest_stays_where_it_is(tmp_path: Path) -> None:
    archive = build(tmp_path, [(numbered(50_000), True), (b"now\n", False)])
    packed = tmp_path / "vm.log.1.gz"
    data = bytearray(packed.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    packed.write_bytes(data)
    with open_segments(archive.path) as segments:
        history = History(segments, END)
        assert texts(history.window(Place(history.start), 1)) == [b"line 0000000"]
        assert texts(history.last(1)) == [b"now"]
        assert history.end - history.start == 50_000 * 13 + 4
        assert len(history.window(Place(history.start + 49_000 * 13), 10).rows) <= 10


def test_a_line_without_an_end_is_broken_into_pieces(tmp_path: Path) -> None:
    archive = build(tmp_path, [(b"first\n" + b"x" * 10 * BLOCK + b"\nlast\n", False)])
    with open_segments(archive.path) as segments:
        history = History(segments, END)
        window = history.window(Place(history.start), 5)
        assert [len(text) for text in texts(window)] == [5, *[LINE_LIMIT] * 4]
        assert texts(history.last(2))[1] == b"last"
        down = history.window(Place(history.start), 5, 1_000_000)
        assert 1 <= len(down.rows) <= 5  # as far as is looked at for one screen
        place, steps = history.last(2).rows[0].place, 0
        while place.position > history.start:
            place, steps = history.window(place, 2, -20).rows[0].place, steps + 1
            assert steps < 10
        assert history.seek(Pattern("last"), history.start, seconds=60).found == history.end - 5


def test_what_paints_has_several_rows_of_which_the_first_may_be_above(tmp_path: Path) -> None:
    archive = build(tmp_path, [(b"before\n\x1b[2J\x1b[1;1Htop\x1b[2;1Hmiddle\x1b[3;1Hbottom\nbehind\n", False)])
    with open_segments(archive.path) as segments:
        history = History(segments, END)
        everything = texts(history.window(Place(history.start), 50))
        assert [text for text in everything if text] == [b"before", b"top", b"middle", b"bottom", b"behind"]
        for skip in range(len(everything)):
            assert texts(history.window(Place(history.start), 1, skip)) == everything[skip : skip + 1]
            assert texts(history.last(skip + 1)) == everything[-skip - 1 :]


@pytest.mark.parametrize("compressed", [False, True])
def test_times_lead_to_places_and_places_to_times(tmp_path: Path, compressed: bool) -> None:
    archive = Archive(tmp_path)
    for hour in range(6):
        archive.say(T0 + 3600 * hour, b"hour %d\n" % hour)
        if hour in (1, 3):
            archive.rotate(compressed)
    with open_segments(archive.path) as segments:
        history = History(segments, END)
        for hour in range(6):
            place = history.place_of(T0 + 3600 * hour - 1800)
            assert texts(history.window(Place(place), 1)) == [b"hour %d" % hour]
            assert history.time_of(place) == T0 + 3600 * hour
        assert history.place_of(T0 + 7 * 3600) == history.end
        assert history.place_of(0) == history.start


def test_there_may_be_nothing(tmp_path: Path) -> None:
    with open_segments(tmp_path / "vm.log") as segments:
        history = History(segments, END)
        assert history.last(9) == Window([], 0, True)
        assert history.window(Place(0), 9, -3).rows == []
        assert history.time_of(5) is None
        assert history.seek(Pattern("x"), history.end, back=True).done
