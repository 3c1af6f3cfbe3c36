"""Encodings that can be set, and those that cannot."""

from __future__ import annotations

import pytest

from tests.support.cases import each
from vmproxy.base.schema import InvalidValue
from vmproxy.base.values import encoding


@each("name", ["utf-8", "UTF8", "latin-1", "cp437", "shift_jis", "koi8-r", "gb18030", "euc_jp", "big5"])
def test_an_encoding_in_which_ascii_is_ascii_can_be_used(name: str) -> None:
    assert "a".encode(encoding(name)) == b"a"


USELESS = "klingon utf-16 utf-7 iso2022_jp hz hex rot13 base64 cp037 punycode idna unicode_escape raw_unicode_escape"
OTHERS = ["", "shift_jisx0213", "os", "../x", "undefined", "\0", "latin-1\n\0", "x" * 5000, 7, None]


@each("name", [*USELESS.split(), *OTHERS])
def test_another_is_refused_in_words(name: object) -> None:
    with pytest.raises(InvalidValue, match="encoding"):
        encoding(name)
