"""Plain lines: what is removed, what is shown, and that it does not matter how the bytes are cut."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.log.painter import paint
from vmproxy.log.plaintext import PlainLines
from vmproxy.log.shown import LINE_LIMIT
from vmproxy.wire.ecma48 import SEQUENCE_LIMIT

AT = 1_795_363_753.123
STAMP = b"2026-11-22T16:09:13.123Z "

EDITED = [
    (b"$ ls foo\b\b\bxfoo\b\b\b\n", [b"$ ls xfoo"]),
    (b"$ ls foo\b\b\b\x1b[1@x\n", [b"$ ls xfoo"]),
    (b"$ rm -r /tmp/old\r\x1b[C\x1b[Cls\x1b[K\n", [b"$ ls"]),
    (b"abcdef\x1b[3D\x1b[2P!\n", [b"abc!"]),
    (b"abcdef\x1b[4D\x1b[2X\n", [b"ab  ef"]),
    (b"ab\x1b[3bc\n", [b"abbbbc"]),
    (b"a\tb\rxx\n", [b"xx      b"]),
    (b"\r\x1b[Klogin: ", [b"login: "]),
    (b"starting\x1b[30G[ OK ]\n", [b"starting                     [ OK ]"]),
    (b"\x1b[4habc\rx\x1b[4ly\n", [b"xybc"]),
    ("日本\b\b語\n".encode(), ["日語".encode()]),
    ("日本\b\b\bx\n".encode(), [" x本".encode()]),
    ("e\u0301x\bo\n".encode(), ["e\u0301o".encode()]),
    (
        b"\x1b[1;1HContinue\x1b[2;1HBoot Manager\x1b[3;1HDevice Manager\n",
        [b"Continue", b"Boot Manager", b"Device Manager"],
    ),
    (b"\x1b[5;3Hfive\x1b[2;3Htwo\x1b[5;6Hfour\n", [b"  two", b"  fivfour"]),
    (b"one\x1b[2J\x1b[Htwo\x1b[H\x1b[Jthree\n", [b"one", b"two", b"three"]),
    (b"\x1b[1;1H\x1b(0lqk\x1b(B\x1b[2;1H\x1b)0\x0ex\x0fa\x0ex\x0f\n", ["┌─┐".encode(), "│a│".encode()]),
    (b"a\x1bDb\x1bEc\x1bMd\n", [b"a", b" d", b"c"]),
    (b"\x1b7ab\x1b8c\n", [b"cb"]),
    (b"a\x1b[999;999Hb", [b"a", b" " * 256 + b"b"]),
]

# Stand for what is too long to be printed when a test fails.
LONG = {
    b"<text>": b"x" * 5000,
    b"<command>": b"\x1b]" + b"y" * 3000,
    b"<accents>": "é".encode() * 4000,
    b"<string>": b"\x1b_" + b"\n" * 5000,
}
PIECES = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\r\r\n", b"\b", b"\t", b"\0", b"\x07", b"\x7f", b"a", b"word "),
        *(b"\x1b", b"\x1b[", b"1;31", b"m", b"\x1b[0m", b"\x1b]0;", b"\x1b\\", b"\x1b(", b"B", b"\x1bP", b"\x1b]P"),
        *(b"\x18", b"\xc3", b"\xa4", "ä€\U0001f4a9".encode(), b"\xff", b"\xc2\x9b", b"\xed\xa0\x80", b"\xf0\x9f"),
        *LONG,
    ]
)
STREAM = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))


def in_full(data: bytes) -> bytes:
    for word, meaning in LONG.items():
        data = data.replace(word, meaning)
    return data


def plain(*pieces: bytes) -> list[bytes]:
    """The lines that come of some bytes, without their times and ends."""
    lines = PlainLines()
    found = [line for piece in pieces for line in lines.feed(piece, AT)]
    found += lines.flush()
    assert all(line.startswith(STAMP) and line.endswith(b"\n") for line in found)
    return [line[len(STAMP) : -1] for line in found]


@each(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\ntwo\r\nthree", [b"one", b"two", b"three"]),
        (b"\n\r\n", [b"", b""]),
        (b"a\tb\n", [b"a\tb"]),
        (b"a\0b\x07c\x7fd\n", [b"abcd"]),
        (b"page one\x0cpage two\n", [b"page one", b"        page two"]),
        # Carriage returns.
        (b"10%\r20%\r30%\n", [b"30%"]),
        (b"text\r\r\nmore\r\n", [b"text", b"more"]),
        (b"text\r\x1b[K\n", [b""]),
        (b"text\rx", [b"xext"]),
        (b"text\r", [b"text"]),
        (b"\n\rtext\n\r", [b"", b"text"]),
        # Backspaces.
        (b"lss\b \b -l\n", [b"ls -l"]),
        (b"\b\bab\b\b\bc\n", [b"cb"]),
        ("aä\b€\b\n".encode(), ["a€".encode()]),
        (b"one\ntwo\r\b\n", [b"one", b"two"]),
        # Escape sequences.
        (b"\x1b[1;31mred\x1b[0m \x1b[?25l\x1b[2J\x1b[ q.\n", [b"red", b"    ."]),
        (b"\x1b(B\x1b)0\x1b#8\x1b7\x1b8\x1b=\x1bM\x1bca\n", [b"a"]),
        *EDITED,
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]R\x1b]P0aabbccc\n", [b"abc"]),
        (b"\x1bPq#0;2;0\x1b\\a\x1b_x\x07y\x1b\\b\x1b^z\x18c\n", [b"abc"]),
        (b"\x1b", []),
        (b"\x1b[31", []),
        # What ends before its time, or cannot be: nothing that follows is lost.
        (b"\x1b[3\nKernel panic\n", [b"", b"Kernel panic"]),
        (b"\x1b]0;tit\r\nKernel panic\n", [b"", b"Kernel panic"]),
        (b"\x1b\x1b[1ma\n", [b"a"]),
        (b"\x1b]0;t\x1b[1mb\n", [b"b"]),
        (b"\x1b\xc3\xa4\n", ["ä".encode()]),
        (b"\x1b[1\xff\n", [b"\\xff"]),
        # Not ASCII.
        ("grün €\n".encode(), ["grün €".encode()]),
        (b"\xff\xc3\x28\xe2\x82\n", [rb"\xff\xc3(\xe2\x82"]),
        (b"a\xc2\x9b31mb\x9b0mc\xc2\x80\n", [rb"ab\x9b0mc"]),
        (b"a\x85b\x9bc \xc2\xa3\n", [rb"a\x85b\x9bc" + " £".encode()]),
        (b"\xed\xa0\x80\n", [rb"\xed\xa0\x80"]),
        (b"ab\xe2\x82", [rb"ab\xe2\x82"]),
    ],
)
def test_what_a_terminal_would_show(data: bytes, lines: list[Any]) -> None:
    assert plain(data) == lines


@given(STREAM, st.data())
def test_it_does_not_matter_where_the_bytes_are_cut(data: bytes, draw: st.DataObject) -> None:
    data = in_full(data)
    whole = plain(data)
    assert plain(*(data[i : i + 1] for i in range(min(len(data), 300))), data[300:]) == whole
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    assert plain(*(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))) == whole


@given(st.lists(st.one_of(STREAM, st.none()), max_size=10))
def test_nothing_but_text_comes_out_and_little_is_kept(pieces: list[Any]) -> None:
    lines = PlainLines()
    out: list[bytes] = []
    for piece in pieces:
        out += lines.flush() if piece is None else lines.feed(in_full(piece), AT)
        assert len(lines._lines._pending) <= LINE_LIMIT + 2
        assert len(lines._lines._before) <= LINE_LIMIT
    for line in filter(None, [*out, *lines.flush()]):
        assert line.startswith(STAMP)
        assert len(line) <= len(STAMP) + LINE_LIMIT + 1
        text = line.decode("utf-8")
        assert text.endswith("\n")
        assert not [char for char in text[:-1] if unicodedata.category(char) in ("Cc", "Cs") and char != "\t"]


def test_the_time_is_that_of_the_first_byte() -> None:
    lines = PlainLines()
    assert lines.feed(b"login: ", AT) == []
    assert lines.pending_since == AT
    assert lines.feed(b"root\r\nPass", AT + 10) == [STAMP + b"login: root\n"]
    assert lines.pending_since == AT + 10
    assert lines.feed(b"word:\n\nx\n", AT + 20) == [
        b"2026-11-22T16:09:23.123Z Password:\n",
        b"2026-11-22T16:09:33.123Z \n",
        b"2026-11-22T16:09:33.123Z x\n",
    ]
    assert lines.pending_since is None


def test_a_line_that_is_flushed_goes_on_as_another() -> None:
    lines = PlainLines()
    assert lines.flush() == []
    lines.feed(b"login: \x1b[", AT)
    assert lines.flush() == [STAMP + b"login: \n"]
    assert (lines.pending_since, lines.flush()) == (None, [])
    # The sequence has gone on waiting for its end.
    assert lines.feed(b"1mroot\b\b\n", AT + 10) == [b"2026-11-22T16:09:23.123Z root\n"]


def test_a_line_that_is_edited_after_it_was_flushed_comes_out_as_a_whole() -> None:
    lines = PlainLines()
    lines.feed(b"$ ls foo", AT)
    assert lines.flush() == [STAMP + b"$ ls foo\n"]
    assert lines.feed(b"\b\b\bxfoo\b\b\b\r\nnext\n", AT) == [STAMP + b"$ ls xfoo\n", STAMP + b"next\n"]
    lines.feed(b"$ ls ", AT)
    assert lines.flush() == [STAMP + b"$ ls \n"]
    lines.feed(b"fo", AT)
    assert lines.flush() == [STAMP + b"fo\n"]
    lines.feed(b"\b\b\x1b[K/", AT)
    assert lines.flush() == [STAMP + b"$ ls /\n"]
    assert lines.feed(b"tmp\n", AT) == [STAMP + b"tmp\n"]


def test_half_a_character_waits_as_a_line_does() -> None:
    lines = PlainLines()
    assert lines.feed(b"\xe2\x82", AT) == []
    assert lines.pending_since == AT
    assert lines.feed(b"\xac\n", AT + 10) == [STAMP + "€\n".encode()]
    lines.feed(b"\xe2", AT)
    assert lines.flush() == [STAMP + b"\\xe2\n"]


def test_an_endless_line_is_broken_between_characters() -> None:
    text = "aé€".encode() * LINE_LIMIT
    broken = plain(text + b"\n")
    assert b"".join(broken) == text
    assert all(line.decode() for line in broken)
    assert {LINE_LIMIT - len(line) for line in broken[:-1]} <= {0, 1, 2}


def test_a_line_of_just_the_limit_is_one() -> None:
    assert plain(b"x" * LINE_LIMIT + b"\r\n", b"y\n") == [b"x" * LINE_LIMIT, b"y"]


@pytest.mark.parametrize("start", [b"\x1b]", b"\x1bP", b"\x1b[", b"\x1b("])
def test_a_sequence_that_never_ends_is_dropped_at_its_limit(start: bytes) -> None:
    filler = {b"\x1b[": b"1", b"\x1b(": b"("}.get(start, b"x")
    lines = plain(start + filler * (SEQUENCE_LIMIT - 2) + b"seen\n")
    assert lines == [b"seen"]


def test_plain_text_is_as_it_was() -> None:
    text = b"".join(b"%d: nothing to see here\r\n" % n for n in range(5000))
    assert plain(text) == re.sub(rb"\r", b"", text).split(b"\n")[:-1]


def test_waiting_for_the_end_of_a_line_paints_no_more_than_what_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[str] = []
    monkeypatch.setattr("vmproxy.log.shown.paint", lambda text: (painted.append(text), paint(text))[1])
    lines = PlainLines()
    for n in range(10):
        lines.feed(b"\r%d%%" % n, AT)
        assert lines.flush() == [STAMP + b"%d%%\n" % n]
        lines.feed(b"\x1b[", AT)  # the beginning of a sequence is nothing to be shown
        assert lines.flush() == []
        lines.feed(b"K", AT)
        assert lines.flush() == []
    assert len(painted) <= 20
    assert lines.feed(b" done\n", AT) == [STAMP + b" done\n"]
