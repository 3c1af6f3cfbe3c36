"""The log as history, compared with the obvious way to do it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmproxy.console.history import TAIL_LIMIT, read, tail

# Short lines, empty ones, none: what matters are the line ends.
CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"\0\xff", b"\r"]), max_size=30).map(b"".join)


def naive(data: bytes, lines: int) -> bytes:
    """The last lines, a line being what ends with a newline, and what comes after the last of them."""
    pieces = data.split(b"\n")
    ended = [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
    return b"".join(ended[len(ended) - min(lines, len(ended)) :])


@pytest.fixture
def log(tmp_path: Path):
    def log(content: bytes) -> Path:
        path = tmp_path / "vm.log"
        path.write_bytes(content)
        return path

    return log


@given(CONTENT, st.integers(0, 40), st.integers(1, 50), st.data())
@example(b"", 3, 5, None)
@example(b"\n", 1, 5, None)
@example(b"\n\n", 1, 5, None)
@example(b"a\n", 0, 5, None)
@example(b"a", 0, 5, None)
@example(b"a\nb", 1, 5, None)
@example(b"a\nb", 2, 3, None)
@example(b"a\nb\n", 2, 3, None)
def test_tail_agrees_with_the_naive_way(content, lines, limit, data):
    end = len(content) if data is None else data.draw(st.integers(0, len(content)), "end")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vm.log")
        path.write_bytes(content)
        seen = content[max(0, end - limit) : end]
        assert tail(path, end, lines, limit) == naive(seen, lines)


@given(CONTENT, st.integers(0, 80), st.integers(0, 80))
def test_read_agrees_with_a_slice(content, start, size):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vm.log")
        path.write_bytes(content)
        assert read(path, start, size) == content[start : start + size]


def test_what_was_appended_after_the_moment_that_counts_is_left_out(log):
    assert tail(log(b"one\ntwo\nthree\n"), 8, 1) == b"two\n"
    assert tail(log(b"one\ntwo\nthree\n"), 6, 2) == b"one\ntw"


def test_a_log_that_became_shorter_gives_what_is_left_of_it(log):
    # Truncated by logrotate between the moment that counts and the reading.
    assert tail(log(b"new\n"), 5_000, 3) == b"new\n"
    assert tail(log(b"new\n"), 10 * TAIL_LIMIT, 3) == b""


def test_no_log_is_an_empty_one(tmp_path):
    assert tail(tmp_path / "none", 100, 3) == b""
    assert read(tmp_path / "none", 5, 3) == b""


def test_a_log_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(OSError, match="Is a directory"):
        tail(tmp_path, 100, 3)


def test_one_endless_line_is_cut_at_the_limit(log):
    path = log(b"x" * (TAIL_LIMIT + 10))
    assert tail(path, TAIL_LIMIT + 10, 1) == b"x" * TAIL_LIMIT


def test_lines_of_which_there_are_fewer(log):
    assert tail(log(b"a\nb\n"), 4, 1_000_000) == b"a\nb\n"
