"""The escape in what is typed: the same however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmproxy.ssh.escape import EscapeScanner, Key

typed = st.lists(st.sampled_from([b"\x05", b"c", b"l", b"0", b".", b"x", b"\r", b"\xff"]), max_size=14).map(b"".join)


def fed(pieces: list[bytes]) -> tuple[list[bytes | Key], bool, bytes]:
    """What comes out of pieces: adjacent data joined, whether something waits, and what a timeout releases."""
    scanner = EscapeScanner()
    joined: list[bytes | Key] = []
    for piece in pieces:
        for part in scanner.feed(piece):
            last = joined[-1] if joined else None
            if isinstance(part, bytes) and isinstance(last, bytes):
                joined[-1] = last + part
            else:
                joined.append(part)
    return joined, scanner.waiting, scanner.timeout()


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"ls -l\r", [b"ls -l\r"]),
        (b"\x05c.", [Key(b".")]),
        (b"a\x05c?b", [b"a", Key(b"?"), b"b"]),
        (b"\x05\x05", [b"\x05"]),
        (b"\x05\x05c.", [b"\x05c."]),
        (b"\x05x", [b"\x05x"]),
        (b"\x05cl0", [Key(b"l0")]),
        (b"\x05cl?", [Key(b"l?")]),
        (b"\x05c\x05", [Key(b"\x05")]),
        (b"\x05cc", [Key(b"c")]),
        (b"c.", [b"c."]),
        (b"", []),
    ],
)
def test_commands_are_told_from_data(data: bytes, parts: list[bytes | Key]) -> None:
    assert fed([data]) == (parts, False, b"")


def test_a_lone_escape_waits_and_becomes_data_when_nothing_follows() -> None:
    assert fed([b"a\x05"]) == ([b"a"], True, b"\x05")


@pytest.mark.parametrize("data", [b"\x05c", b"\x05cl"])
def test_an_escape_that_lacks_only_its_key_waits_for_it_however_long(data: bytes) -> None:
    scanner = EscapeScanner()
    assert list(scanner.feed(data)) == []
    assert not scanner.waiting
    assert scanner.timeout() == b""
    assert list(scanner.feed(b"0")) == [Key(data[2:] + b"0")]


def test_after_a_timeout_the_next_key_is_no_command() -> None:
    scanner = EscapeScanner()
    list(scanner.feed(b"\x05"))
    assert scanner.timeout() == b"\x05"
    assert list(scanner.feed(b"c.")) == [b"c."]


@given(typed, st.lists(st.integers(0, 14)))
@example(b"\x05cl0", [1, 2, 3])
def test_every_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert fed([data[a:b] for a, b in pairwise(edges)]) == fed([data])


@given(st.binary())
def test_no_byte_is_lost_or_made_up(data: bytes) -> None:
    parts, _, rest = fed([data])
    keys = sum(2 + len(part.keys) for part in parts if isinstance(part, Key))
    plain = sum(len(part) for part in parts if isinstance(part, bytes)) + len(rest)
    unfinished = 3  # ^E c, or ^E c l, may still wait for the key
    doubled = data.count(b"\x05\x05")  # upper bound of those that stand for one
    assert len(data) - unfinished - doubled <= keys + plain <= len(data)


@given(st.binary().filter(lambda data: b"\x05" not in data))
def test_without_the_escape_everything_is_data_at_once(data: bytes) -> None:
    assert fed([data]) == ([data] if data else [], False, b"")


def test_an_escape_that_waits_for_its_second_key_gives_way_to_a_new_one() -> None:
    scanner = EscapeScanner()
    assert list(scanner.feed(b"\x05cl\x05c?")) == [Key(b"?")]
