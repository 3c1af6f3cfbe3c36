"""Suggestions for a word that nothing knows."""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Iterator

WORD_LIMIT = 64
"""Characters of a word that is compared: the time is the product of both lengths."""
SLIPS_LIMIT = 32
_LETTERS = string.digits + string.ascii_lowercase + "-_."


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a misspelt one; empty if none is like it."""
    if len(word) > WORD_LIMIT:
        return ""
    spelt = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold(), spelt, 1, 0.6)
    return spelt[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean list?`` for the end of an error; empty if nothing is like the word."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def slips(word: str) -> Iterator[str]:
    """All words that are one slip of the keyboard away: two letters exchanged, one too many, missing, or another.

    To be looked up in a table of any size. Bound: some 80 for each character; none for a word of more than
    :data:`SLIPS_LIMIT` characters.
    """
    if len(word) > SLIPS_LIMIT:
        return
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    for before, behind in cuts:
        if len(behind) > 1:
            yield before + behind[1] + behind[0] + behind[2:]
        if behind:
            yield before + behind[1:]
    for before, behind in cuts:
        for letter in _LETTERS:
            yield before + letter + behind
            if behind:
                yield before + letter + behind[1:]
