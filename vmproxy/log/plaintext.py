"""A console's output as plain lines with times, for people who ship logs with line-based tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vmproxy.log.events import timestamp
from vmproxy.log.lines import ConsoleLines, Lines
from vmproxy.log.shown import LINE_LIMIT, escaped


def utc_stamp(at: float) -> bytes:
    """``2026-11-22T16:09:13.123Z`` and a blank."""
    return timestamp(at).encode() + b" "


class PlainLines:
    """Turns a VM's bytes into plain lines."""

    __slots__ = ("_lines", "_stamp")

    def __init__(self, encoding: str = "utf-8", stamp: Callable[[float], bytes] = utc_stamp) -> None:
        """
        :param encoding: that of the characters in the output.
        :param stamp: makes of a time, seconds since the epoch, what stands in front of a line.
        """
        self._lines = ConsoleLines(encoding)
        self._stamp = stamp

    @property
    def encoding(self) -> str:
        """That of the characters."""
        return self._lines.encoding

    @property
    def pending_since(self) -> float | None:
        """When the first byte of the line came that is not finished yet; None while there is none."""
        return self._lines.pending_since

    def use(self, encoding: str) -> None:
        self._lines.use(encoding)

    def feed(self, data: bytes, at: float) -> list[bytes]:
        """Take what came from the VM.

        :param at: when it came, seconds since the epoch.
        :returns: the lines that are complete now, each with its time in front and a line feed at its end:
            ``2026-11-22T16:09:13.123Z text``. The time is that of the line's first byte. Valid UTF-8 stays, other
            bytes are shown as ``\\xNN``. A line of more than 16 KiB is broken into several.
        """
        return self._put(self._lines.feed(data, at))

    def flush(self) -> list[bytes]:
        """Give up waiting for the rest of the line; see :meth:`ConsoleLines.flush`."""
        return self._put(self._lines.flush())

    def _put(self, blocks: Iterable[Lines]) -> list[bytes]:
        """Lines with the time in front."""
        lines: list[bytes] = []
        for block in blocks:
            prefix = self._stamp(block.at)
            rows = escaped(block.text).split(b"\n")
            if max(map(len, rows)) > LINE_LIMIT:
                rows = [piece for row in rows for piece in _pieces(row)]
            lines += [prefix + row + b"\n" for row in rows]
        return lines


def _pieces(row: bytes) -> Iterable[bytes]:
    while len(row) > LINE_LIMIT:
        cut = LINE_LIMIT
        while row[cut] & 0xC0 == 0x80:  # not within a character
            cut -= 1
        yield row[:cut]
        row = row[cut:]
    yield row
