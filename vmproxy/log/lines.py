"""Lines out of the output of a console, however its bytes are cut: the one place that makes them.

The lines are what a terminal shows, as :class:`~vmproxy.log.shown.ShownText` makes it: of a line that was edited, what
stands there in the end. They come in blocks, because nearly all output passes in whole blocks; who needs single lines
with their offsets asks a block for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmproxy.log.shown import LINE_LIMIT, ShownText
from vmproxy.wire.ecma48 import unfinished


class Lines(NamedTuple):
    """Lines of one console in a row.

    :ivar at: when the first byte of the first line came, seconds since the epoch.
    :ivar offset: of that byte in the console's output; ``end``: behind the last line, without its line feed.
    :ivar text: the lines as they are shown, a line feed between two: UTF-8, but for bytes that are no part of a
        character, which stay.
    :ivar raw: the bytes of which they were made, a line for each; None where all of them were made of one.
    """

    at: float
    offset: int
    end: int
    text: bytes
    raw: bytes | None = None

    @property
    def number(self) -> int:
        """How many lines there are."""
        return self.text.count(b"\n") + 1

    def offsets(self) -> Iterator[int]:
        """The offset of each line; lines that were painted together have that of the first."""
        offset = self.offset
        if self.raw is None:
            for _ in range(self.number):
                yield offset
        else:
            for line in self.raw.split(b"\n"):
                yield offset
                offset += len(line) + 1


class ConsoleLines:
    """Turns the bytes of a VM into lines.

    Bound: the line that is not finished is kept, :data:`LINE_LIMIT` of it; a longer one is broken into several.

    :ivar end: the offset behind what came.
    :ivar pending_since: when the first byte of the line came that is not finished yet, seconds since the epoch; None
        while there is none.
    """

    __slots__ = ("_before", "_pending", "_rows", "_text", "end", "pending_since")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the output."""
        self._text = ShownText(encoding)
        self._before = b""  # the part of the line that was put out before it was finished
        self._rows: list[bytes] = []  # as which it was put out
        self._pending = b""
        self.end = 0
        self.pending_since: float | None = None

    @property
    def encoding(self) -> str:
        """That of the characters."""
        return self._text.encoding

    @property
    def between(self) -> bool:
        """Whether no line has begun: what comes next begins one."""
        return not self._pending and not self._before

    def use(self, encoding: str) -> None:
        """Take the characters that come to be in another encoding."""
        self._text = ShownText(encoding)

    def feed(self, data: bytes, at: float, offset: int = 0) -> list[Lines]:
        """Take what came from the VM.

        :param at: when it came, seconds since the epoch.
        :param offset: of its first byte.
        :returns: the lines that are complete now.
        """
        self.end = offset + len(data)
        if self._pending:
            offset -= len(self._pending)
            data = self._pending + data
        found: list[Lines] = []
        end = data.rfind(b"\n")
        if end >= 0:
            whole, data = data[:end], data[end + 1 :]
            began, self.pending_since = self.pending_since, None
            if began is None and not self._before:
                self._lines(whole, at, offset, found)
            else:
                first, more, whole = whole.partition(b"\n")
                self._line(first, at if began is None else began, offset, found)
                if more:
                    self._lines(whole, at, offset + len(first) + 1, found)
            offset += end + 1
        if len(data) > LINE_LIMIT + 2:
            *broken, data = self._text.pieces(data)
            for piece in broken:
                self._line(piece, at if self.pending_since is None else self.pending_since, offset, found)
                self.pending_since = None
                offset += len(piece)
        self._pending = data
        if data and self.pending_since is None:
            self.pending_since = at
        return found

    def flush(self) -> list[Lines]:
        """Give up waiting for the rest of the line.

        :returns: what there is of it, mostly as one line; what comes next begins a new one. If that goes back and
            changes what is here, the line comes out as a whole once more. The beginning of an escape sequence goes on
            waiting for its end.
        """
        since, self.pending_since = self.pending_since, None
        end = unfinished(self._pending)
        if not end:
            return []
        line, rest = self._before + self._pending[:end], self._pending[end:]
        offset = self.end - len(self._pending)
        rows = self._text.rows(line)
        new = self._new(rows)
        if new in ([], [b""]):
            return []
        self._before, self._rows = (line, rows) if len(line) <= LINE_LIMIT else (b"", [])
        self._pending = rest
        return [Lines(since or 0.0, offset, offset + end, b"\n".join(new))]

    def forget(self) -> None:
        """Forget the line that is not finished: what follows it is not its rest."""
        self._before = self._pending = b""
        self._rows = []
        self.pending_since = None

    def _lines(self, block: bytes, at: float, offset: int, found: list[Lines]) -> None:
        """Whole lines of which nothing was put out."""
        is_long = len(block) > LINE_LIMIT and max(map(len, block.split(b"\n"))) > LINE_LIMIT
        simple = None if is_long else self._text.simple(block)
        if simple is not None:
            found.append(Lines(at, offset, offset + len(block), simple, block))
            return
        for line in block.split(b"\n"):
            self._line(line, at, offset, found)
            offset += len(line) + 1

    def _line(self, line: bytes, at: float, offset: int, found: list[Lines]) -> None:
        for piece in self._text.pieces(line):
            if rows := self._new(self._text.rows(self._before + piece)):
                found.append(Lines(at, offset, offset + len(piece), b"\n".join(rows)))
            self._before, self._rows = b"", []
            offset += len(piece)

    def _new(self, rows: list[bytes]) -> list[bytes]:
        """What was not put out of the rows of a line: all of them, if what was put out has changed."""
        if not self._before:
            return rows
        *above, last = self._rows
        number = len(above)
        if len(rows) > number and rows[:number] == above and rows[number].startswith(last):
            return [rows[number][len(last) :], *rows[number + 1 :]]
        return rows
