"""What a viewer sees of the past: the last lines of the log, and what came while they were being read.

The log's files are opened behind everything that the VM had said by the moment of attaching; what it says from then on
waits in a :class:`Backlog`. So replay and live output join without a byte missing or doubled, also if the log is
rotated in between.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from vmproxy.log import tail
from vmproxy.log.reader import Segments, open_segments
from vmproxy.log.store import ConsoleLog

PIECE = 4096


class Backlog:
    """Output that waits to be shown, with the times at which it came. Whoever adds to it keeps it within bounds.

    :ivar size: its bytes.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[tuple[float, bytearray]] = []
        self.size = 0

    def add(self, at: float, data: bytes) -> None:
        """More output."""
        # A VM may say one letter at a time: pieces of their own would take many times the room of the bytes.
        if self._pieces and len(self._pieces[-1][1]) < PIECE and 0 <= at - self._pieces[-1][0] < 1:
            self._pieces[-1][1].extend(data)
        else:
            self._pieces.append((at, bytearray(data)))
        self.size += len(data)

    def take(self) -> list[tuple[float, bytes]]:
        """All of it: when it came, and what; it is empty then."""
        pieces, self._pieces = self._pieces, []
        self.size = 0
        return [(at, bytes(data)) for at, data in pieces]


def opened(log: ConsoleLog) -> Deferred[Segments]:
    """The files that hold what has been said up to now, as many of them as a replay can need."""
    return log.on_scribe(_open)


def _open(path: Path) -> Segments:
    return open_segments(path, enough=tail.TAIL_LIMIT, trails=False)


async def last_lines(
    files: Deferred[Segments], lines: int, in_thread: Callable[[Callable[[], bytes]], Deferred[bytes]]
) -> bytes:
    """The last lines of what was opened, which is closed.

    :returns: the bytes as they stand, an unfinished last line included; at most 256 KiB.
    :raises OSError: if there is something, and none of it can be read.
    """
    segments = await files
    try:
        return await in_thread(lambda: tail.last_lines(segments, lines))
    finally:
        segments.close()
