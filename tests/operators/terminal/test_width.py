"""ColumnWidths of text: what a terminal shows of it, hostile text included."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.operators.terminal.width import CLUSTER_LIMIT, cells, clusters, cut, pad, tail, wrap

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
HANGUL = "\u1100\u1161\u11a8"
TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("e\u0301\u200d\ufe0f\u2764\u1100\u1161\u11a8日\U0001f468\U0001f1e9"))
)


@each(
    ("text", "columns"),
    [
        ("web", 3),
        ("日本", 4),
        ("e\u0301", 1),
        ("grüße", 5),
        (FAMILY, 2),
        ("\u2764\ufe0f", 2),
        (HANGUL, 2),
        ("\U0001f1e9\U0001f1ea", 2),
        ("a\u200bb", 2),
    ],
)
def test_columns_of_a_text(text: str, columns: int) -> None:
    assert cells(text) == columns


@each(
    ("text", "width", "expected"),
    [
        ("web01", 5, "web01"),
        ("web01", 4, "web…"),
        ("web01", 1, "…"),
        ("web01", 0, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301a", 2, "e\u0301a"),
        ("e\u0301" + "\u0301" * 50, 1, "e\u0301\u0301"),
        ("\u0301a", 1, "a"),
        (FAMILY + "ab", 4, FAMILY + "ab"),
        (FAMILY + FAMILY, 3, FAMILY + "…"),
        (HANGUL + HANGUL, 2, "…"),
        ("\u0301" * 100_000, 3, ""),
    ],
)
def test_texts_are_cut_by_what_they_take_on_the_screen(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("web01", 2, "01"), ("web01", 0, ""), ("日本", 3, "本"), (f"a{FAMILY}", 2, FAMILY), (f"a{FAMILY}", 1, "")],
)
def test_the_end_of_a_text_is_cut_between_characters_too(text: str, width: int, expected: str) -> None:
    assert tail(text, width) == expected


@pytest.mark.parametrize("piece", [FAMILY, "\U0001f1e9", "\u1100", "\u0301", "\u0600", "\u0915\u094d", "\u2764\ufe0f"])
def test_a_long_text_takes_no_more_time_than_it_is_long(piece: str) -> None:
    # The square of these lengths would be minutes.
    assert cells(piece * 50_000) >= 0
    assert cells(cut(piece * 50_000, 10)) <= 10


@given(TEXT)
def test_clusters_are_small(text: str) -> None:
    for cluster, width in clusters(text):
        assert 0 <= width <= 2
        assert 0 < len(cluster) <= CLUSTER_LIMIT


@given(TEXT, st.integers(0, 30))
def test_a_padded_text_takes_exactly_its_columns(text: str, width: int) -> None:
    assert cells(pad(text, width)) == width


@given(TEXT, st.integers(0, 30))
@example("\x80\0", 0)
def test_the_end_of_a_text_fits(text: str, width: int) -> None:
    assert cells(tail(text, width)) <= width


@given(TEXT, st.integers(2, 30), st.integers(1, 5))
def test_wrapped_lines_fit(text: str, width: int, limit: int) -> None:
    lines = wrap(text, width, limit)
    assert len(lines) <= limit
    assert all(cells(line) <= width for line in lines)


def test_wrapping_keeps_words_whole_and_says_where_it_ends() -> None:
    assert wrap("one two three four", 9, 5) == ["one two", "three", "four"]
    assert wrap("one two three four", 9, 2) == ["one two", "three fo…"]
    assert wrap("onetwothree", 6, 5) == ["onetwo", "three"]
