"""Whole lines of many consoles, looked at together for what is in few of them.

What a VM prints is put in here by the log writer if it is whole lines, and nobody wants to have all of them. On the
thread that makes lines, as many as wait are put together, and whoever looks for something is asked once whether it is
there. If it is, or if there are lines that have to be painted, each half is looked at by itself, until it is known
whose lines they are: only of these lines are made.

Bound: :data:`MOST` pieces of :data:`LONGEST` bytes wait, :data:`OF_ONE` bytes of a console: whoever chooses what is
printed can choose what takes a second for a MiB to be looked at. What does not fit is treated as any other output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from vmproxy.log.file_state import LogFile
from vmproxy.log.shown import ShownText

MOST = 4096
LONGEST = 4096
OF_ONE = 64 * 1024
TOGETHER = 512
TOGETHER_SIZE = 64 * 1024  # and a piece: so much, full of colours, holds the reactor up for some milliseconds

Screen = Callable[[bytes], bool]
Piece = tuple[LogFile, int, bytes, float]
"""A log, the offset of the first byte, the bytes, and when they came."""


class WholeLines:
    """Whole lines that wait to be looked at.

    :ivar taken: how many pieces have been taken in.
    """

    __slots__ = ("_ends", "_of", "_pieces", "_text", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self._pieces: deque[Piece] = deque()  # filled by the writer, emptied by the thread that makes lines
        self._ends: dict[LogFile, int] = {}  # the offsets at which lines have ended; the writer's
        # Those of which some may wait: its last piece, and the bytes since none waited; the writer's.
        self._of: dict[LogFile, tuple[int, int]] = {}
        self._text = ShownText()

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def dealt_with(self) -> int:
        """How many of those that were taken in do not wait any more; while one is taken in, one too few."""
        return self.taken - len(self._pieces)

    def take(self, file: LogFile, data: bytes, at: float) -> bool:
        """Take what has been written to a log, if it is whole lines; on the writer's thread.

        :returns: whether it was taken.
        """
        end = file.offset
        if (
            self._ends.get(file) != end - len(data)
            or not data.endswith(b"\n")
            or len(data) > LONGEST
            or len(self._pieces) >= MOST
            or file.encoding != self._text.encoding
            or (size := self._size_of(file) + len(data)) > OF_ONE
        ):
            return False
        self._ends[file] = end
        self._pieces.append((file, end - len(data), data, at))
        self.taken += 1
        self._of[file] = self.taken, size
        return True

    def pass_by(self, file: LogFile, offset: int, data: bytes) -> bool:
        """Take note of output that was not taken; on the writer's thread.

        :returns: whether it is known to begin with the beginning of a line.
        """
        at_start = self._ends.get(file) == offset
        if data.endswith(b"\n"):
            self._ends[file] = offset + len(data)
        else:
            self._ends.pop(file, None)
        return at_start

    def _size_of(self, file: LogFile) -> int:
        if not self._pieces:
            self._of.clear()
        last, size = self._of.get(file, (0, 0))
        return size if last > self.dealt_with else 0

    def forget(self, file: LogFile) -> None:
        """A console is forgotten; on the writer's thread."""
        self._ends.pop(file, None)
        self._of.pop(file, None)

    def clear(self) -> None:
        """Forget what waits."""
        self._pieces.clear()

    def interesting(self, screens: Sequence[Screen]) -> Iterator[Piece]:
        """Look at some of what waits.

        :param screens: say whether anything that is looked for is in a text.
        :returns: the pieces in which something is, or may be.
        """
        pieces: list[Piece] = []
        size = 0
        while self._pieces and len(pieces) < TOGETHER and size < TOGETHER_SIZE:
            pieces.append(piece := self._pieces.popleft())
            size += len(piece[2])
        return self._found(pieces, screens)

    def _found(self, pieces: list[Piece], screens: Sequence[Screen]) -> Iterator[Piece]:
        text = self._text.simple(b"".join([data for _, _, data, _ in pieces]))
        if text is not None and not any(screen(text) for screen in screens):
            return
        if len(pieces) <= 1:
            yield from pieces
            return
        half = len(pieces) // 2
        yield from self._found(pieces[:half], screens)
        yield from self._found(pieces[half:], screens)
