"""Lines that match: in some bytes, and in what a VM is about to say.

What is looked at is the text as a terminal shows it, or, without a :class:`ShownText`, the bytes as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.log.pattern import Pattern
from vmproxy.log.shown import ShownText, replaced

WINDOW = 4 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A line that matches.

    :ivar offset: where the line begins in what was searched.
    :ivar line: as it stands, without its line end; ``text``: as it is shown, or the same.
    :ivar place: where the first match begins in the text, about.
    :ivar before: the lines before it, as they are shown; ``after``: those behind it.
    """

    offset: int
    line: bytes
    text: bytes
    place: int
    before: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()


def find(pattern: Pattern, data: bytes, text: ShownText | None, context: int = 0) -> Iterator[Found]:
    """The lines in some bytes that match, each once.

    :param context: how many lines around each are wanted.
    """
    if text is None or text.is_plain(data):
        around = [line.rstrip(b"\r") for line in data.split(b"\n")] if context else []
        row = at = 0
        for match in pattern.lines(data, tidy=text is not None):
            line = data[match.start : match.end]
            row += data.count(b"\n", at, match.start) if context else 0
            at = match.start
            yield Found(match.start, line, line, match.place - match.start, *_around(around, row, context))
        return
    numbers: list[int] = []  # of the line of which each row is one; none where each is one
    shown = text.simple(data)
    if shown is None:
        rows: list[bytes] = []
        for number, line in enumerate(data.split(b"\n")):
            painted = text.rows(line)
            rows += painted
            numbers += [number] * len(painted)
        shown = b"\n".join(rows)
    searched = replaced(shown)
    rows = []
    at = row = number = offset = 0
    for match in pattern.lines(searched):
        row += searched.count(b"\n", at, match.start)
        at = match.start
        rows = rows or shown.split(b"\n")
        wanted = numbers[row] if numbers else row
        while number < wanted:
            offset = data.find(b"\n", offset) + 1
            number += 1
        end = data.find(b"\n", offset)
        line = data[offset : end if end >= 0 else None].rstrip(b"\r")
        yield Found(offset, line, rows[row], match.place - match.start, *_around(rows, row, context))


def _around(rows: list[bytes], row: int, context: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    if not context:
        return (), ()
    end = len(rows) - (rows[-1] == b"")  # behind the last line's end there is no line
    return tuple(rows[max(0, row - context) : row]), tuple(rows[row + 1 : min(end, row + 1 + context)])


class Expecter:
    """Waits for a line that matches in what a VM says. The line need not be finished: a prompt is one too."""

    __slots__ = ("_line", "_pattern", "_text")

    def __init__(
        self, pattern: str, ignore_case: bool = False, fixed: bool = False, text: ShownText | None = None
    ) -> None:
        """
        :param text: how the output is shown; None: the bytes are looked at.
        :raises BadPattern: if the pattern cannot be used.
        """
        self._pattern = Pattern(pattern, ignore_case, fixed)
        self._text = text
        self._line = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take what came, a read's worth at most.

        :returns: the line that matches first, without its line end, as far as it has come; None while there is none.
            Of an unfinished line the last 4 KiB are remembered.
        """
        data = self._line + data
        for found in find(self._pattern, data, self._text):
            return found.text
        self._line = data[data.rfind(b"\n") + 1 :][-WINDOW:]
        return None
