"""The log as history, compared with the obvious way to do it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.archive import T0, Archive
from vmproxy.log.reader import open_segments
from vmproxy.log.tail import REPLAY_LIMIT, TAIL_LIMIT, from_last_lines, last_lines

# Short lines, empty ones, none: what matters are the line ends.
CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"\0\xff", b"\r"]), max_size=30).map(b"".join)


def naive(data: bytes, lines: int) -> bytes:
    """The last lines, a line being what ends with a newline, and what comes after the last of them."""
    pieces = data.split(b"\n")
    ended = [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
    return b"".join(ended[len(ended) - min(lines, len(ended)) :])


# Across the files that rotation made.

FILES = st.lists(st.tuples(CONTENT, st.booleans()), max_size=5)


def build(folder: str | Path, files: list[tuple[bytes, bool]]) -> Archive:
    """A log of several files, oldest first; those that are so marked are compressed, the last one is live."""
    archive = Archive(Path(folder))
    for number, (content, compressed) in enumerate(files):
        archive.path.write_bytes(content)
        archive.said.append((T0, content))
        if number < len(files) - 1:
            archive.rotate(compressed)
    return archive


@given(FILES, st.integers(0, 40), st.integers(1, 50))
@example([(b"a\nb", True), (b"c\nd\n", False), (b"", False)], 2, 50)
def test_the_last_lines_reach_across_files(files: Any, lines: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, files)
        content = b"".join(data for _, data in archive.said)
        with open_segments(archive.path, enough=limit, trails=False) as segments:
            expected, found = naive(content[-limit:], lines), last_lines(segments, lines, limit)
            if len(content) <= limit or len(expected) < limit:
                assert found == expected
            else:  # it was cut by its length, and begins at a safe place
                assert expected.endswith(found)
            assert segments.problems == []
        with open_segments(archive.path, trails=False) as segments:
            assert b"".join(from_last_lines(segments, lines)) == naive(content, lines)
            assert b"".join(from_last_lines(segments, None)) == content


@pytest.mark.parametrize("compressed", [False, True])
def test_lines_longer_than_what_is_read_at_once(tmp_path: Path, compressed: bool) -> None:
    lines = [bytes([97 + n]) * (TAIL_LIMIT + n) + b"\n" for n in range(4)]
    archive = build(tmp_path, [(lines[0] + lines[1][:99], compressed), (lines[1][99:] + lines[2] + lines[3], False)])
    if compressed:
        archive.rotate(True)
    for count in range(5):
        with open_segments(archive.path, trails=False) as segments:
            pieces = list(from_last_lines(segments, count))
            assert b"".join(pieces) == b"".join(lines[4 - count :])
            assert all(0 < len(piece) <= 64 * 1024 for piece in pieces)
    with open_segments(archive.path, enough=REPLAY_LIMIT, trails=False) as segments:
        assert last_lines(segments, 2) == lines[3][-REPLAY_LIMIT:]


def test_what_is_before_a_file_that_cannot_be_read_does_not_join_what_is_behind_it(tmp_path: Path) -> None:
    archive = build(tmp_path, [(b"one\n", True), (b"two\n", True), (b"three\n", False)])
    Path(f"{archive.path}.1.gz").write_bytes(b"not gzip")
    with open_segments(archive.path, enough=100, trails=False) as segments:
        assert last_lines(segments, 5) == b"three\n"
        assert [problem.partition(":")[0] for problem in segments.problems] == ["vm.log.1.gz"]


FRAME = b"".join(b"\x1b[%d;1H\x1b[1;32mrow %d\x1b[0m \xc3\xa9" % (row, row) for row in range(1, 25))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("clear", [b"\x1b[2J", b"\x1b[H\x1b[J", b"\x1bc"])
def test_of_a_painted_screen_it_is_what_came_since_it_was_cleared(
    tmp_path: Path, clear: bytes, compressed: bool
) -> None:
    archive = build(tmp_path, [(clear + FRAME * 400, compressed), (FRAME * 300 + clear + FRAME * 3, False)])
    with open_segments(archive.path, enough=REPLAY_LIMIT, trails=False) as segments:
        assert last_lines(segments, 20) == clear + FRAME * 3


@pytest.mark.parametrize("lines", [1, 20, 100_000])
def test_it_is_64_kib_at_most_and_begins_with_a_whole_sequence_or_character(tmp_path: Path, lines: int) -> None:
    for shift in range(40):
        (folder := tmp_path / str(shift)).mkdir()
        archive = build(folder, [(FRAME * 400, False), (FRAME * 300 + b"." * shift, False)])
        with open_segments(archive.path, enough=REPLAY_LIMIT, trails=False) as segments:
            found = last_lines(segments, lines)
        assert REPLAY_LIMIT - 100 < len(found) <= REPLAY_LIMIT, shift
        assert found.startswith(b"\x1b["), shift


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize(
    ("text", "begins"), [("\xe4\N{EURO SIGN}" * 50_000, ("\xe4", "\N{EURO SIGN}")), ("a line\n" * 30_000, ("a line",))]
)
def test_it_begins_with_a_whole_character_or_line(
    tmp_path: Path, text: str, begins: tuple[str, ...], shift: int
) -> None:
    archive = build(tmp_path, [(text.encode() + b"." * shift, False)])
    with open_segments(archive.path, enough=REPLAY_LIMIT, trails=False) as segments:
        found = last_lines(segments, 100_000)
    assert found.decode().startswith(begins)
    assert len(found) > REPLAY_LIMIT - 20
