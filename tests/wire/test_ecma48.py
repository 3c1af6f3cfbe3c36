"""The grammar of control sequences: what is whole, what is cut, and which 8-bit controls are meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.wire.ecma48 import BROKEN, SEQUENCE_LIMIT, WHOLE, SevenBits, unfinished

WHOLES = re.compile(WHOLE.encode())
BROKENS = re.compile(BROKEN.encode())

WHOLE_ONES = [
    *(b"\x1b[m", b"\x1b[1;31m", b"\x1b[?2004h", b"\x1b[>0q", b"\x1b[!p", b"\x1b[?1$p", b"\x1b[2 q", b"\x1b[38:5:1m"),
    *(b"\x1bc", b"\x1b7", b"\x1b=", b"\x1b(B", b"\x1b#8", b"\x1b%G", b"\x1bZ", b"\x1b~"),
    *(b"\x1b]0;title\x07", b"\x1b]10;?\x1b\\", b"\x1b]R", b"\x1b]P0aabbcc"),
    *(b"\x1bP+q544e\x1b\\", b"\x1b_G\x1b\\", b"\x1b^x\x1b\\", b"\x1bXx\x1b\\"),
]


@each("sequence", WHOLE_ONES)
def test_a_whole_sequence_is_one_and_every_beginning_of_it_is_unfinished(sequence: bytes) -> None:
    assert WHOLES.fullmatch(sequence)
    assert unfinished(b"x" + sequence) == len(sequence) + 1
    for size in range(1, len(sequence)):
        assert unfinished(b"x" + sequence[:size]) == 1, sequence[:size]


@pytest.mark.parametrize("rest", [b"\n", b"\x1b[m", b"\x18", "ä".encode()])
@pytest.mark.parametrize("start", [b"\x1b[1;3", b"\x1b]0;tit", b"\x1b(", b"\x1b"])
def test_what_is_interrupted_is_broken_and_no_more(start: bytes, rest: bytes) -> None:
    if start != b"\x1b]0;tit" or rest[:1] < b" ":
        match = WHOLES.match(start + rest) or BROKENS.match(start + rest)
        assert match is not None
        assert match[0] == start


@pytest.mark.parametrize("start", [b"\x1b[", b"\x1b]", b"\x1bP"])
def test_one_without_an_end_is_over_at_the_limit(start: bytes) -> None:
    data = start + b"1" * 2 * SEQUENCE_LIMIT
    assert unfinished(data) == len(data)
    assert (match := BROKENS.match(data))
    assert len(match[0]) <= SEQUENCE_LIMIT


@pytest.mark.parametrize(
    ("encoding", "data", "wanted"),
    [
        ("utf-8", b"a\xc2\x9b6nb", b"a\x1b[6nb"),
        ("utf-8", b"a\x9b6nb\x9a", b"a\x1b[6nb\x1bZ"),
        ("utf-8", "盛é€".encode(), "盛é€".encode()),
        ("utf-8", b"\xff\xe9 caf\xe9", b"\xff\xe9 caf\xe9"),
        ("latin-1", b"\x9b6n\xe9\xc2\x9bc", b"\x1b[6n\xe9\xc2\x1b[c"),
        ("cp437", b"\x9b6n\x80", b"\x9b6n\x80"),
        ("shift_jis", "日本語".encode("shift_jis"), "日本語".encode("shift_jis")),
    ],
)
def test_eight_bit_controls_are_those_that_are_no_part_of_a_character(
    encoding: str, data: bytes, wanted: bytes
) -> None:
    whole, single = SevenBits(encoding), SevenBits(encoding)
    assert whole.feed(data + b".") == wanted + b"."
    assert b"".join(single.feed(data[n : n + 1]) for n in range(len(data))) + single.feed(b".") == wanted + b"."


@given(st.binary(max_size=100), st.integers(0, 100), st.sampled_from(["utf-8", "latin-1", "cp437"]))
def test_it_does_not_matter_where_a_stream_is_cut(data: bytes, cut: int, encoding: str) -> None:
    once, twice = SevenBits(encoding), SevenBits(encoding)
    assert twice.feed(data[:cut]) + twice.feed(data[cut:]) == once.feed(data)
    assert len(once.rest) < 4
