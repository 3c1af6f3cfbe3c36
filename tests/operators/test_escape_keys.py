"""The escape in what is typed: the same however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.escape import DEFAULT_ESCAPE
from vmproxy.operators.escape_keys import EscapeCommand, EscapeScanner

typed = st.lists(st.sampled_from([b"\x05", b"c", b"l", b"0", b".", b"x", b"\r", b"\xff"]), max_size=14).map(b"".join)


def fed(pieces: list[bytes], escape: bytes = DEFAULT_ESCAPE) -> tuple[list[bytes | EscapeCommand], bool, bytes]:
    """What comes out of pieces: adjacent data joined, whether something waits, and what a timeout releases."""
    scanner = EscapeScanner(escape)
    joined: list[bytes | EscapeCommand] = []
    for piece in pieces:
        while piece:
            plain, key, piece = scanner.feed(piece)  # what follows a command is fed anew
            last = joined[-1] if joined else None
            if plain and isinstance(last, bytes):
                joined[-1] = last + plain
            elif plain:
                joined.append(plain)
            if key is not None:
                joined.append(key)
    return joined, scanner.waiting, scanner.timeout()


@each(
    ("data", "parts"),
    [
        (b"ls -l\r", [b"ls -l\r"]),
        (b"\x05c.", [EscapeCommand(b".")]),
        (b"a\x05c?b", [b"a", EscapeCommand(b"?"), b"b"]),
        (b"\x05\x05", [b"\x05"]),
        (b"\x05\x05c.", [b"\x05c."]),
        (b"\x05x", [b"\x05x"]),
        (b"\x05cl0", [EscapeCommand(b"l0")]),
        (b"\x05cl?", [EscapeCommand(b"l?")]),
        (b"\x05c\x05", [EscapeCommand(b"\x05")]),
        (b"\x05cc", [EscapeCommand(b"c")]),
        (b"\x05c\\015x", [EscapeCommand(b"\\015"), b"x"]),
        (b"\x05c\\377", [EscapeCommand(b"\\377")]),
        (b"\x05c\\4", [EscapeCommand(b"\\4")]),
        (b"\x05c\\08", [EscapeCommand(b"\\08")]),
        (b"\x05ce\x1dqx", [EscapeCommand(b"e\x1dq"), b"x"]),
        (b"\x05ce\x05c\x05c.", [EscapeCommand(b"e\x05c"), EscapeCommand(b".")]),
        (b"\x05c;web02\r", [EscapeCommand(b";"), b"web02\r"]),
        (b"c.", [b"c."]),
        (b"", []),
    ],
)
def test_commands_are_told_from_data(data: bytes, parts: list[bytes | EscapeCommand]) -> None:
    assert fed([data]) == (parts, False, b"")


def test_a_lone_escape_waits_and_becomes_data_when_nothing_follows() -> None:
    assert fed([b"a\x05"]) == ([b"a"], True, b"\x05")


@pytest.mark.parametrize("data", [b"\x05c", b"\x05cl"])
def test_an_escape_that_lacks_only_its_key_waits_for_it_however_long(data: bytes) -> None:
    scanner = EscapeScanner()
    assert scanner.feed(data) == (b"", None, b"")
    assert not scanner.waiting
    assert scanner.timeout() == b""
    assert scanner.feed(b"0") == (b"", EscapeCommand(data[2:] + b"0"), b"")


def test_after_a_timeout_the_next_key_is_no_command() -> None:
    scanner = EscapeScanner()
    scanner.feed(b"\x05")
    assert scanner.timeout() == b"\x05"
    assert scanner.feed(b"c.") == (b"c.", None, b"")


@given(typed, st.lists(st.integers(0, 14)))
@example(b"\x05cl0", [1, 2, 3])
def test_every_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert fed([data[a:b] for a, b in pairwise(edges)]) == fed([data])


@given(st.binary())
def test_no_byte_is_lost_or_made_up(data: bytes) -> None:
    parts, _, rest = fed([data])
    keys = sum(2 + len(part.keys) for part in parts if isinstance(part, EscapeCommand))
    plain = sum(len(part) for part in parts if isinstance(part, bytes)) + len(rest)
    unfinished = 5  # ^E c, ^E c l, ^E c \\ 0 1 may still wait for a key; another escape in its place drops it
    doubled = data.count(b"\x05\x05")  # upper bound of those that stand for one
    given_up = 5 * data.count(b"\x05c\\") + 3 * data.count(b"\x05cl")
    assert len(data) - unfinished - doubled - given_up <= keys + plain <= len(data)


@given(st.binary().filter(lambda data: b"\x05" not in data))
def test_without_the_escape_everything_is_data_at_once(data: bytes) -> None:
    assert fed([data]) == ([data] if data else [], False, b"")


def test_an_escape_that_waits_for_its_second_key_gives_way_to_a_new_one() -> None:
    assert fed([b"\x05cl\x05c?"]) == ([EscapeCommand(b"?")], False, b"")
    assert fed([b"\x05c\\0\x05c?"]) == ([EscapeCommand(b"?")], False, b"")


def test_what_follows_a_command_is_handed_back() -> None:
    # It may be the answer to a question that the command asks.
    assert EscapeScanner().feed(b"a\x05c;web\x05\r") == (b"a", EscapeCommand(b";"), b"web\x05\r")


@given(st.sampled_from([b"\x1dq", b"\x01!", b"\x1b~"]), typed)
def test_another_escape_leaves_the_usual_one_to_the_guest(escape: bytes, data: bytes) -> None:
    assert fed([data], escape) == ([data] if data else [], False, b"")
    assert fed([escape + b"."], escape) == ([EscapeCommand(b".")], False, b"")
