"""Hostile text: what comes out is safe, bounded, and still says as much as it can."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.base.sanitize import human_bytes, human_span, safe_word, visible

# Lone surrogates too: they come from bytes that are no UTF-8.
ANY_TEXT = st.text(alphabet=st.characters(), max_size=400)


class TestVisible:
    def test_ordinary_text_is_left_as_it_is(self) -> None:
        assert visible("VM (old) #3, Büro") == "VM (old) #3, Büro"

    @each(
        ("text", "shown"),
        [
            ("a\nb", "a\\x0ab"),
            ("a\0b", "a\\x00b"),
            ("\x1b[2J", "\\x1b[2J"),
            ("\x9b2J", "\\x9b2J"),
            ("\x7f", "\\x7f"),
            ("‮cod.exe", "\\u202ecod.exe"),
            ("a\u200bb", "a\\u200bb"),
            ("\u2028", "\\u2028"),
            ("\U000e0041", "\\U000e0041"),
            ("\udce9", "\\udce9"),
        ],
    )
    def test_what_cannot_be_shown_is_escaped(self, text: str, shown: str) -> None:
        assert visible(text) == shown

    @given(ANY_TEXT, st.integers(1, 200))
    def test_the_result_is_printable_encodable_and_within_the_limit(self, text: str, limit: int) -> None:
        shown = visible(text, limit)
        assert shown.isprintable()
        assert len(shown) <= limit
        shown.encode("utf-8")
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)

    @given(ANY_TEXT)
    def test_what_is_visible_stays_so(self, text: str) -> None:
        assert visible(visible(text)) == visible(text)

    def test_what_was_cut_off_is_marked(self) -> None:
        assert visible("x" * 128) == "x" * 128
        assert visible("x" * 129) == "x" * 127 + "…"
        assert visible("x" * 127 + "\0") == "x" * 127 + "…"

    def test_something_unprintable_far_behind_the_limit_still_leaves_the_mark(self) -> None:
        assert visible("x" * 500 + "\0", 10) == "x" * 9 + "…"


class TestSafeWord:
    @each(
        ("text", "word"),
        [
            ("web01", "web01"),
            ("VM (old)", "VM-old"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", ""),
            ("-rf", "rf"),
            (".hidden", "hidden"),
            ("a\nb\0c\x1b[m", "a-b-c-m"),
            ("x~y", "x-y"),
            ("Büro", "Büro"),
            ("Bu\u0308ro", "Büro"),
            ("\udce9\udcff", ""),
            ("", ""),
        ],
    )
    def test_it_keeps_letters_digits_and_a_few_signs(self, text: str, word: str) -> None:
        assert safe_word(text) == word

    @given(ANY_TEXT, st.integers(1, 120))
    def test_whatever_goes_in_a_file_name_comes_out(self, text: str, limit: int) -> None:
        word = safe_word(text, limit)
        assert len(word.encode("utf-8")) <= limit
        assert re.fullmatch(r"[\w.-]*", word)
        assert not word.startswith((".", "-"))
        assert not word.endswith((".", "-"))

    @given(ANY_TEXT)
    def test_a_safe_word_is_left_as_it_is(self, text: str) -> None:
        assert safe_word(safe_word(text)) == safe_word(text)

    def test_a_cut_never_leaves_half_a_character(self) -> None:
        assert safe_word("ä" * 100, 5) == "ää"

    def test_a_cut_never_leaves_a_dot_at_the_end(self) -> None:
        assert safe_word("abc..def", 5) == "abc"


class TestHumanFigures:
    @each(
        ("count", "text"),
        [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (118_400, "118.4 kB"),
            (2_500_000, "2.5 MB"),
            (7_000_000_000, "7.0 GB"),
            (3_000_000_000_000, "3.0 TB"),
            (4_000_000_000_000_000, "4000.0 TB"),
        ],
    )
    def test_bytes(self, count: int, text: str) -> None:
        assert human_bytes(count) == text

    @pytest.mark.parametrize(("count", "text"), [(999_949, "999.9 kB"), (999_950, "1.0 MB"), (999_999_999, "1.0 GB")])
    def test_bytes_that_round_up_take_the_next_unit(self, count: int, text: str) -> None:
        assert human_bytes(count) == text

    @each(
        ("seconds", "text"),
        [
            (-5, "0s"),
            (0, "0s"),
            (7.9, "7s"),
            (59, "59s"),
            (60, "1m00s"),
            (3599, "59m59s"),
            (3600, "1h00m"),
            (15069, "4h11m"),
            (86399, "23h59m"),
            (86400, "1d00h"),
            (3 * 86400 + 4 * 3600 + 11 * 60 + 59, "3d04h"),
        ],
    )
    def test_spans_of_time(self, seconds: float, text: str) -> None:
        assert human_span(seconds) == text
