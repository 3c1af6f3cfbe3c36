"""A person's search pattern: which lines match.

The regular expressions are those of RE2, whose time is linear in what is searched: Python's own can be made to run for
hours by twenty characters, and hold everything else up meanwhile. A pattern matches within one line; ``^`` and ``$``
are its ends, a carriage return before the line feed (or two, as some guests send them) is not part of it.

google-re2 is not to be had everywhere. Without it a pattern is plain text, and of capitals only A to Z can be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

try:
    import re2  # type: ignore[import-untyped]  # it has no annotations
except ImportError:
    re2 = None

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

_LINE_FEEDS = bytes.maketrans(b"\r", b"\n")
PATTERN_LIMIT = 1000
SPANS = 200
EXPRESSIONS = re2 is not None
PLAIN_ONLY = "regular expressions need google-re2, which is not installed"
_SPECIAL = frozenset("\\.+*?()|[]{}^$")
# What RE2 may need at worst for a byte grows with the size of the program that it makes of a pattern.
_PROGRAM_LIMIT = 2000
_PROGRAMS_LIMIT = 10 * _PROGRAM_LIMIT  # of a set
_MEMORY = 2 * 1024 * 1024
_MEMORY_OF_SET = 16 * 1024 * 1024
_MEMORY_OF_SMALL_SET = 4 * 1024 * 1024  # enough for the largest program


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
        self._search = _compiled(text, ignore_case, fixed).search

    def lines(self, data: bytes, tidy: bool = False) -> Iterator[Match]:
        """The lines in some bytes that match, each once.

        :param tidy: whether it is known that each CR stands before an LF, which takes less time.
        """
        text = data
        # As long as before: a line that ends with CR LF now ends with LF, and an empty one follows.
        if b"\r" not in data:
            pass  # this is seen much sooner than that two bytes are not there
        elif tidy:
            text = data.translate(_LINE_FEEDS)
        elif b"\r\n" in data:
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
        """Where it matches in one line: begin and end of each match that is not empty.

        Bound: it is looked for :data:`SPANS` times. Each may take as long as the line, and a match may be a character.
        """
        place = 0
        for _ in range(SPANS):
            if place > len(line) or (match := self._search(line, place)) is None:
                return
            start, place = match.span()
            if start < place:
                yield start, place
            else:
                place += 1


class EveryLine(Pattern):
    """Matches each line."""

    __slots__ = ()

    def __init__(self) -> None:
        self._search = re.compile(rb"(?m)^").search


class PatternSet:
    """Many patterns that are looked for at once, in text as it is shown: without CR at the ends of lines.

    Whether there is anything in a block of lines is asked once for all of them; which line it is, and which of them it
    matches, only where there is.
    """

    __slots__ = ("_search", "_set", "_single")

    def __init__(self, patterns: Sequence[tuple[str, bool]], small: bool = False) -> None:
        """
        :param patterns: each with whether capitals do not matter in it. There must be one at least.
        :param small: it needs less memory, and more time for text that is made to need much.
        :raises BadPattern: if they would be too costly to look for together.
        """
        self._single = [_compiled(text, ignore_case) for text, ignore_case in patterns]
        if sum(one.programsize for one in self._single) > _PROGRAMS_LIMIT:
            raise BadPattern("too costly patterns; fewer of them, and fewer and smaller repetitions would do")
        self._search = self._set = None
        if re2 is None:
            return
        options = _options(_MEMORY_OF_SMALL_SET if small else _MEMORY_OF_SET)
        parts = [f"(?{'im' if ignore_case else 'm'}:{text})" for text, ignore_case in patterns]
        self._search = re2.compile("|".join(parts), options).search
        self._set = re2.Set.SearchSet(options)
        for part in parts:
            self._set.Add(part)
        self._set.Compile()

    def any(self, data: bytes) -> bool:
        """Whether any of the patterns is in a block of lines."""
        return self.find(data) is not None if self._set is None else bool(self._set.Match(data))

    def find(self, data: bytes, place: int = 0) -> tuple[int, int] | None:
        """The first line that matches any of the patterns: where it begins and where it ends; None if there is none.

        :param place: where the search begins, the beginning of a line.
        """
        if self._search is None:
            at = min((found.start() for one in self._single if (found := one.search(data, place))), default=-1)
        else:
            match = self._search(data, place)
            at = -1 if match is None else match.start()
        if at < 0:
            return None
        end = data.find(b"\n", at)
        return data.rfind(b"\n", 0, at) + 1, len(data) if end < 0 else end

    def which(self, line: bytes) -> list[int]:
        """The numbers of the patterns that a line matches."""
        found = None if self._set is None else self._set.Match(line)
        # RE2's sets give up where they need too much memory, and say no more than that.
        return found or [number for number, one in enumerate(self._single) if one.search(line) is not None]


@dataclass(frozen=True, slots=True)
class _Found:
    """A match of a plain text, as RE2 would tell it."""

    at: int
    size: int

    def start(self) -> int:
        return self.at

    def span(self) -> tuple[int, int]:
        return self.at, self.at + self.size


class _Plain:
    """A plain text in place of what RE2 makes of a pattern."""

    __slots__ = ("_data", "_lower", "_lowered", "_wanted", "programsize")

    def __init__(self, text: str, ignore_case: bool) -> None:
        self._wanted = text.encode()
        self._lower = ignore_case
        if ignore_case:
            self._wanted = self._wanted.lower()
        self._data = self._lowered = b""  # what was searched last: many matches may be in it
        self.programsize = len(self._wanted)

    def search(self, data: bytes, place: int = 0) -> _Found | None:
        """The first match from a place on."""
        if self._lower:
            if data is not self._data:
                self._data, self._lowered = data, data.lower()
            data = self._lowered
        at = -1 if b"\n" in self._wanted else data.find(self._wanted, place)
        return None if at < 0 else _Found(at, len(self._wanted))


def _options(memory: int, ignore_case: bool = False) -> Any:
    options = re2.Options()
    options.never_nl = True
    options.never_capture = True
    options.log_errors = False
    options.case_sensitive = not ignore_case
    options.max_mem = memory
    return options


def _compiled(text: str, ignore_case: bool = False, fixed: bool = False) -> Any:
    if not text or len(text) > PATTERN_LIMIT:
        raise BadPattern(f"a pattern must have 1 to {PATTERN_LIMIT} characters")
    if re2 is None:
        return _plain(text, ignore_case, fixed)
    options = _options(_MEMORY, ignore_case)
    try:
        # In a group of its own, so that what is wrong with it is not blamed on what stands before it.
        compiled: Any = re2.compile(f"(?m:{re2.escape(text) if fixed else _checked(text, options)})", options)
    except (re2.error, UnicodeError) as error:
        raise BadPattern(f"{visible(text, 60)}: no such pattern: {_reason(error)}") from None
    if compiled.programsize > _PROGRAM_LIMIT:
        raise BadPattern(f"{visible(text, 60)}: too costly a pattern; fewer and smaller repetitions would do")
    return compiled


def _plain(text: str, ignore_case: bool, fixed: bool) -> _Plain:
    if not fixed and not _SPECIAL.isdisjoint(text):
        raise BadPattern(f"{visible(text, 60)}: {PLAIN_ONLY}; plain text can be found, of a command with -F")
    try:
        return _Plain(text, ignore_case)
    except UnicodeError as error:
        raise BadPattern(f"{visible(text, 60)}: no such pattern: {_reason(error)}") from None


def _checked(text: str, options: Any) -> str:
    re2.compile(text, options)
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    reason = error.args[0] if error.args else ""
    return visible(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason))
