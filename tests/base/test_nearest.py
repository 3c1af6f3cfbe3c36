"""Suggestions for misspelt words: near ones are found, and the work is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmproxy.base.nearest import SLIPS_LIMIT, WORD_LIMIT, did_you_mean, nearest, slips

_WORDS = st.text("abcz019-_.", min_size=1, max_size=SLIPS_LIMIT)


@pytest.mark.parametrize(
    ("word", "meant"), [("lst", "list"), ("hlep", "help"), ("LIST", "list"), ("xyzzy", ""), ("", "")]
)
def test_the_nearest_word(word: str, meant: str) -> None:
    known = ("list", "help", "status")
    assert nearest(word, known) == meant
    assert did_you_mean(word, known) == (f"; did you mean {meant}?" if meant else "")


def test_a_long_word_is_not_compared() -> None:
    assert nearest("l" * (WORD_LIMIT + 1), ["l" * WORD_LIMIT]) == ""
    assert not list(slips("l" * (SLIPS_LIMIT + 1)))


@given(_WORDS, st.data())
def test_whatever_slips_once_is_found(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("abcz019-_."))
    for slipped in (word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :]):
        assert slipped == word or len(slipped) > SLIPS_LIMIT or word in slips(slipped)
    exchanged = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    assert exchanged == word or word in slips(exchanged)


@given(st.text(max_size=SLIPS_LIMIT))
def test_there_are_some_eighty_for_each_character(word: str) -> None:
    assert len(list(slips(word))) <= 82 * (len(word) + 1)
