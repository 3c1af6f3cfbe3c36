"""The escape as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.escape import BadEscape, check_escape, parse_escape, show_escape


@pytest.mark.parametrize(
    ("text", "escape"),
    [("^Ec", b"\x05c"), ("^ec", b"\x05c"), ("^]q", b"\x1dq"), ("C-ec", b"\x05c"), ("c-]q", b"\x1dq")],
)
def test_an_escape_is_written_as_people_write_it(text: str, escape: bytes) -> None:
    assert parse_escape(text) == escape
    assert parse_escape(show_escape(escape)) == escape


@each("text", ["", "^", "^E", "Ec", "^Ecc", "^@c", "^Mc", "^Jc", "^Qx", "^Sx", "^E ", "^E\x7f", "^Eé", "^éc"])
def test_what_can_be_no_escape_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(BadEscape, match=r"such as \^Ec"):
        parse_escape(text)


@given(st.binary(min_size=2, max_size=2))
def test_two_keys_are_an_escape_or_are_refused(keys: bytes) -> None:
    possible = 0 < keys[0] < 32 and keys[0] not in b"\r\n\x11\x13" and 32 < keys[1] < 127
    if possible:
        assert parse_escape(show_escape(check_escape(keys))) == keys
    else:
        with pytest.raises(BadEscape) as refused:
            check_escape(keys)
        assert str(refused.value).isprintable()
