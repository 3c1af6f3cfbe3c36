"""Keys from the bytes of a terminal, whatever the cuts between them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.operators.terminal.keys import DELETE, DOWN, ENTER, ESCAPE, PAGE_UP, UP, KeyDecoder


def keys_of(data: bytes, keys: KeyDecoder | None = None) -> list[str]:
    return [key for key, _ in (keys or KeyDecoder()).feed(data)]


@each(
    ("data", "keys"),
    [
        (b"a\xc3\xa9\xe6\x97\xa5", ["a", "é", "日"]),
        (b"\r\n\n\r", [ENTER, ENTER, ENTER]),
        (b"\x1b[A\x1bOB\x1b[1;5A\x1b[5~\x1b[3~", [UP, DOWN, UP, PAGE_UP, DELETE]),
        (b"\x1b\x1b[A", [ESCAPE, UP]),
        (b"\x1b\r", [ESCAPE, ENTER]),
        (b"\x0c\x03", ["^L", "^C"]),
        (b"\x1b[200~x\x1b[201~", ["x"]),
        (b"\x1b[" + b"1" * 1000 + b"Ay", ["y"]),
        (b"\xff\xc3\xe2\x82b", ["b"]),
        (b"\xe2\x80\xae", []),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert keys_of(data) == keys


def test_an_escape_alone_is_a_key_after_a_while() -> None:
    keys = KeyDecoder()
    assert keys_of(b"\x1b", keys) == []
    assert keys.waiting
    assert keys.timeout() == ESCAPE
    assert not keys.waiting
    assert keys_of(b"[A", keys) == ["[", "A"]
    assert keys_of(b"\x1b[", keys) == []
    assert not keys.waiting


def test_an_enter_ends_behind_its_line_feed() -> None:
    keys = KeyDecoder()
    assert list(keys.feed(b"a\r\n\nb")) == [("a", 1), (ENTER, 3), (ENTER, 4), ("b", 5)]
    assert next(keys.feed(b"\r\n")) == (ENTER, 2)
    assert keys_of(b"\n", keys) == [ENTER]
    assert keys_of(b"\r", keys) == [ENTER]
    assert keys_of(b"\n", keys) == []


@given(st.binary(max_size=200))
def test_any_bytes_give_keys_that_can_be_shown(data: bytes) -> None:
    assert all(key.isprintable() for key in keys_of(data))


@given(
    st.lists(st.sampled_from([b"\x1b", b"[", b"O", b"A", b"3~", b"\r", b"\n", b"\xc3\xa9", b"\x7f", b"x"])), st.data()
)
def test_every_cut_gives_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    typed = b"".join(pieces)
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(typed)), max_size=5))), len(typed)]
    keys = KeyDecoder()
    assert [key for a, b in pairwise(edges) for key in keys_of(typed[a:b], keys)] == keys_of(typed)
