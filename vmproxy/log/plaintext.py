"""A console's output as plain lines with times, for people who ship logs with line-based tools.

The lines are what a terminal shows, as :class:`~vmproxy.log.shown.ShownText` makes it: of a line that was edited, what
stands there in the end. One class, fed as the bytes come, however they are cut; it keeps the line that is not finished
yet, which is bounded, whatever the VM sends.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmproxy.log.events import timestamp
from vmproxy.log.shown import LINE_LIMIT, ShownText, escaped
from vmproxy.wire.ecma48 import unfinished


class PlainLines:
    """Turns a VM's bytes into plain lines.

    :ivar pending_since: when the first byte of the line came that is not finished yet, seconds since the epoch; None
        while there is none.
    """

    __slots__ = ("_before", "_pending", "_text", "pending_since")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the output."""
        self._text = ShownText(encoding)
        self._before = b""  # the part of the line that was put out before it was finished
        self._pending = b""
        self.pending_since: float | None = None

    @property
    def encoding(self) -> str:
        """That of the characters."""
        return self._text.encoding

    def use(self, encoding: str) -> None:
        """Take the characters that come to be in another encoding."""
        self._text = ShownText(encoding)

    def feed(self, data: bytes, at: float) -> list[bytes]:
        """Take what came from the VM.

        :param at: when it came, seconds since the epoch.
        :returns: the lines that are complete now, each with its time (UTC) in front and a line feed at its end:
            ``2026-11-22T16:09:13.123Z text``. The time is that of the line's first byte. Valid UTF-8 stays, other
            bytes are shown as ``\\xNN``. A line of more than 16 KiB is broken into several.
        """
        if self._pending:
            data = self._pending + data
        lines: list[bytes] = []
        end = data.rfind(b"\n")
        if end >= 0:
            whole, data = data[:end], data[end + 1 :]
            began, self.pending_since = self.pending_since, None
            if began is None and not self._before:
                lines = self._lines(whole, at)
            else:
                first, more, whole = whole.partition(b"\n")
                lines = self._line(first, at if began is None else began)
                if more:
                    lines += self._lines(whole, at)
        if len(data) > LINE_LIMIT + 2:
            *broken, data = self._text.pieces(data)
            for piece in broken:
                lines += self._line(piece, at if self.pending_since is None else self.pending_since)
                self.pending_since = None
        self._pending = data
        if data and self.pending_since is None:
            self.pending_since = at
        return lines

    def flush(self) -> list[bytes]:
        """Give up waiting for the rest of the line.

        :returns: what there is of it, mostly as one line; what comes next begins a new one. If that goes back and
            changes what is here, the line comes out as a whole once more. The beginning of an escape sequence goes on
            waiting for its end.
        """
        since, self.pending_since = self.pending_since, None
        end = unfinished(self._pending)
        line, rest = self._pending[:end], self._pending[end:]
        rows = self._new_rows(line)
        if rows in ([], [b""]):
            return []
        self._before = self._before + line if len(self._before) + end <= LINE_LIMIT else b""
        self._pending = rest
        return _put(rows, since or 0.0)

    def _lines(self, block: bytes, at: float) -> list[bytes]:
        """Whole lines of which nothing was put out."""
        simple = (
            None if len(block) > LINE_LIMIT and _longest(block.split(b"\n")) > LINE_LIMIT else self._text.simple(block)
        )
        if simple is not None:
            rows = escaped(simple).split(b"\n")
            if len(simple) <= LINE_LIMIT or _longest(rows) <= LINE_LIMIT:
                prefix = timestamp(at).encode() + b" "
                return [prefix + row + b"\n" for row in rows]
            return _put(rows, at)
        return [line for raw in block.split(b"\n") for line in self._line(raw, at)]

    def _line(self, raw: bytes, at: float) -> list[bytes]:
        lines: list[bytes] = []
        for piece in self._text.pieces(raw):
            lines += _put(self._new_rows(piece), at)
            self._before = b""
        return lines

    def _new_rows(self, line: bytes) -> list[bytes]:
        """The rows of the rest of a line: of the whole line, if the rest has changed what was put out before."""
        if not self._before:
            return self._text.rows(line)
        *above, last = self._text.rows(self._before)
        rows = self._text.rows(self._before + line)
        number = len(above)
        if len(rows) > number and rows[:number] == above and rows[number].startswith(last):
            return [rows[number][len(last) :], *rows[number + 1 :]]
        return rows


def _longest(rows: Iterable[bytes]) -> int:
    return max(map(len, rows))


def _put(rows: Iterable[bytes], at: float) -> list[bytes]:
    """Rows as lines, with the time in front."""
    prefix = timestamp(at).encode() + b" "
    lines = []
    for row in rows:
        row = escaped(row)
        while len(row) > LINE_LIMIT:
            cut = LINE_LIMIT
            while row[cut] & 0xC0 == 0x80:  # not within a character
                cut -= 1
            lines.append(prefix + row[:cut] + b"\n")
            row = row[cut:]
        lines.append(prefix + row + b"\n")
    return lines
