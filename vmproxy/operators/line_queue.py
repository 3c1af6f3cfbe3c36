"""Lines of many consoles for one viewer: picked and made ready on the thread that makes lines, in one bounded queue.

The viewer takes everything that waits at once, on the reactor's thread. What does not fit is left out, and counted in
lines.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from vmproxy.base.wakeup import Wakeup
from vmproxy.console.console import Console
from vmproxy.log.file_state import LogFile
from vmproxy.log.line_feed import LineFeed
from vmproxy.log.lines import Lines
from vmproxy.operators.line_choice import LineChoice, LinePicker, LineStyle
from vmproxy.operators.terminal.width import cells

QUEUE_LIMIT = 1024 * 1024
PIECES_LIMIT = 10_000  # each is looked at by itself, all of them in one turn of the reactor
CONTEXT_LIMIT = 16 * 1024 * 1024
NAME_WIDTH = 24  # up to which names are made as wide as the widest


class _Watched:
    """A console as the thread that makes lines knows it.

    :ivar name: what tells it in front of its lines; it was made for this ``title`` and this ``width``.
    """

    __slots__ = ("name", "picker", "title", "width")

    def __init__(self, picker: LinePicker) -> None:
        self.picker = picker
        self.title = ""
        self.width = -1
        self.name = b""


class LineQueue:
    """A subscriber of the lines of some consoles, for one viewer.

    Bound: :data:`QUEUE_LIMIT` bytes in :data:`PIECES_LIMIT` pieces, and :data:`CONTEXT_LIMIT` for lines that may stand
    before a match to come, which all consoles share evenly.

    :ivar consoles: whose lines are wanted, by their logs. It is changed on the reactor's thread and asked on others.
    :ivar choice: which of them.
    :ivar starts: offsets; lines that end before are left out. None: all are, until :meth:`begin_at` is called.
    """

    def __init__(self, feed: LineFeed, choice: LineChoice, style: LineStyle) -> None:
        self.consoles: dict[LogFile, Console] = {}
        self.choice = choice
        self.starts: dict[LogFile, int] | None = {}
        self._style = style
        self._feed = feed
        self._width = 0  # of names
        self._watched: dict[LogFile, _Watched] = {}
        self._lock = threading.Lock()  # of what follows
        self._waiting: list[tuple[LogFile, bytes]] = []
        self._size = 0
        self._skipped = self._left_out = 0
        self._told = False
        self._wakeup = Wakeup()

    def start(self) -> None:
        """Take lines from now on."""
        self._feed.subscribe(self)

    def stop(self) -> None:
        """Take no more."""
        self._feed.unsubscribe(self)

    def add(self, console: Console) -> None:
        """Take the lines of a console from now on."""
        self._width = max(self._width, min(NAME_WIDTH, cells(console.title)))
        self.consoles[console.log.file] = console

    def remove(self, file: LogFile) -> None:
        """Take no more lines of a console."""
        self.consoles.pop(file, None)
        self._watched.pop(file, None)
        if self.starts is not None:
            self.starts.pop(file, None)

    def wait_for_start(self) -> None:
        """Leave out all lines until :meth:`begin_at` is called: what was written before is read from the logs."""
        self.starts = None

    def begin_at(self, offsets: Iterable[tuple[LogFile, int]]) -> None:
        """Leave out lines that end before these offsets."""
        self.starts = dict(offsets)

    def past_line(self, console: Console, at: float, row: bytes) -> bytes:
        """A line of the past as it is shown; on any thread."""
        return self._style.line(self._style.name(console, self._width), at, None, row, self.choice)

    # On the threads of the writer, and of the lines.

    def wants(self, file: LogFile) -> bool:
        return file in self.consoles

    def lines(self, file: LogFile, blocks: Sequence[Lines]) -> None:
        console, starts = self.consoles.get(file), self.starts
        if console is None or starts is None:
            return
        watched, start = self._named(file, console), starts.get(file, -1)
        parts: list[bytes] = []
        room = CONTEXT_LIMIT // max(1, len(self.consoles))
        for block in blocks:
            if block.end >= start:
                parts += watched.picker.feed(block, watched.name, room)
        if not parts:
            return
        data = b"".join(parts)
        with self._lock:
            full = self._size + len(data) > QUEUE_LIMIT or len(self._waiting) >= PIECES_LIMIT
            if self._skipped or self._left_out or full:
                self._skipped += len(parts)
            else:
                self._waiting.append((file, data))
                self._size += len(data)

    def _named(self, file: LogFile, console: Console) -> _Watched:
        watched, title, width = self._watched.get(file), console.title, self._width
        if watched is None:
            watched = self._watched[file] = _Watched(LinePicker(self.choice, self._style))
        if watched.title != title or watched.width != width:
            watched.title, watched.width = title, width
            watched.name = self._style.name(console, width)
        return watched

    def skipped(self, file: LogFile, count: int) -> None:
        if (watched := self._watched.get(file)) is not None:
            watched.picker.forget()
        with self._lock:
            self._left_out += count

    def flush(self) -> None:
        with self._lock:
            if self._told or not (self._waiting or self._skipped or self._left_out):
                return
            self._told = True
        self._feed.on_reactor(self.wake)

    # On the reactor's thread.

    def wake(self) -> None:
        """End the wait of :meth:`changed`."""
        self._wakeup.wake()

    def changed(self, clock: IReactorTime | None = None, seconds: float = 0.0) -> Deferred[bool]:
        """Wait for lines, or a call of :meth:`wake`; see :meth:`Wakeup.wait`."""
        with self._lock:
            if self._told:
                return succeed(True)
        return self._wakeup.wait(clock, seconds)

    def take(self) -> tuple[list[tuple[LogFile, bytes]], int, int]:
        """All that waits.

        :returns: the lines, with their consoles; how many were left out because the viewer is slow, and how many
            because more came than lines could be made of.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, []
            counts = self._skipped, self._left_out
            self._size = self._skipped = self._left_out = 0
            self._told = False
        return waiting, *counts
