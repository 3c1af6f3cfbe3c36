"""A person's search pattern: which lines match.

The regular expressions are those of RE2, whose time is linear in what is searched: Python's own can be made to run for
hours by twenty characters, and hold everything else up meanwhile. A pattern matches within one line; ``^`` and ``$``
are its ends, a carriage return before the line feed (or two, as some guests send them) is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped]

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

PATTERN_LIMIT = 1000
# What RE2 may need at worst for a byte grows with the size of the program that it makes of a pattern.
_PROGRAM_LIMIT = 2000
_MEMORY = 2 * 1024 * 1024


class BadPattern(VMProxyError):
    """A pattern that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Match:
    """A line that matches.

    :ivar start: where the line begins in what was searched, ``end`` where it ends, without its line end.
    :ivar place: where the first match in it begins.
    """

    start: int
    end: int
    place: int


class Pattern:
    """A pattern, ready to be looked for."""

    __slots__ = ("_search",)

    def __init__(self, text: str, ignore_case: bool = False, fixed: bool = False) -> None:
        """
        :param fixed: the text is looked for as it stands, and is no regular expression.
        :raises BadPattern: if it cannot be understood, or would be too costly to look for.
        """
        if not text or len(text) > PATTERN_LIMIT:
            raise BadPattern(f"a pattern must have 1 to {PATTERN_LIMIT} characters")
        options = re2.Options()
        options.never_nl = True
        options.never_capture = True
        options.log_errors = False
        options.case_sensitive = not ignore_case
        options.max_mem = _MEMORY
        try:
            # In a group of its own, so that what is wrong with it is not blamed on what stands before it.
            compiled: Any = re2.compile(f"(?m:{re2.escape(text) if fixed else _checked(text, options)})", options)
        except (re2.error, UnicodeError) as error:
            raise BadPattern(f"{visible(text, 60)}: no such pattern: {_reason(error)}") from None
        if compiled.programsize > _PROGRAM_LIMIT:
            raise BadPattern(f"{visible(text, 60)}: too costly a pattern; fewer and smaller repetitions would do")
        self._search = compiled.search

    def lines(self, data: bytes) -> Iterator[Match]:
        """The lines in some bytes that match, each once."""
        text = data
        if b"\r\n" in data:
            # As long as before: a line that ends with CR LF now ends with LF, and an empty one follows.
            text = data.replace(b"\r\n", b"\n\n").replace(b"\r\n", b"\n\n")
        place = 0
        while place < len(text) and (match := self._search(text, place)) is not None:
            at = match.start()
            start = text.rfind(b"\n", 0, at) + 1
            end = text.find(b"\n", at)
            if end < 0:
                end = len(text)
            if start == len(text):
                return  # behind the last line's end there is no line
            if start < end or start == 0 or data[start - 1] != 0x0D:
                yield Match(start, end, at)
            place = end + 1

    def spans(self, line: bytes) -> Iterator[tuple[int, int]]:
        """Where it matches in one line: begin and end of each match that is not empty."""
        place = 0
        while place <= len(line) and (match := self._search(line, place)) is not None:
            start, place = match.span()
            if start < place:
                yield start, place
            else:
                place += 1


def _checked(text: str, options: Any) -> str:
    re2.compile(text, options)
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    reason = error.args[0] if error.args else ""
    return visible(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason))
