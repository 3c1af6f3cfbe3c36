"""What a console has said and a viewer has not taken yet: one bounded queue, and what becomes of a viewer who is late.

A viewer can never slow a VM, and memory is bounded. A viewer whose queue is full either skips what does not fit, and is
told how much (:attr:`Late.SKIP`), or reads it from the log, which had every byte first (:attr:`Late.DISK`): a
:class:`LateReader` sends what was missed as fast as the client takes it, while the queue keeps the last of what comes;
when the reading reaches that, the viewer is live again.

Offsets are counts of the bytes from the VM since this process began: ``ConsoleLog.received``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from vmproxy.base.tasks import spawn
from vmproxy.base.wakeup import Wakeup
from vmproxy.log.store import ConsoleLog
from vmproxy.log.stream import BLOCK, LogStream, NotInLog
from vmproxy.operators.services import Services
from vmproxy.operators.session import OutputStream

PIECE = 4096
RECENT_LIMIT = 512 * 1024
LAG_LIMIT = 16 * 1024 * 1024 * 1024
LOOK_SECONDS = 1.0


class Late(Enum):
    """What becomes of output that does not fit."""

    SKIP = "what does not fit is skipped, and told"
    DISK = "the newest is kept, and the rest is read from the log"


class ViewerQueue:
    """Output that waits for a viewer, with the times at which it came.

    Bound: ``limit`` bytes.
    Invariant: what waits ends at ``end``, less what is skipped behind it, and has no hole.

    :ivar size: bytes that wait.
    :ivar end: the offset behind the last byte that came.
    :ivar skipping: bytes that did not fit since :meth:`take_skipped` was last asked; ``skipped``: in all.
    """

    __slots__ = ("_late", "_limit", "_on_skip", "_pieces", "end", "size", "skipped", "skipping")

    def __init__(self, limit: int, late: Late = Late.SKIP, on_skip: Callable[[int], object] = int) -> None:
        """:param on_skip: told how many bytes did not fit, each time."""
        self._on_skip = on_skip
        self._limit = limit
        self._late = late
        self._pieces: deque[tuple[float, bytearray]] = deque()
        self.size = self.end = self.skipping = self.skipped = 0

    @property
    def start(self) -> int:
        """The offset of the first byte that waits."""
        return self.end - self.skipping - self.size

    def fit(self, data: bytes, elsewhere: int = 0, growth: int = 1) -> bytes:
        """The part of some output that fits; what does not, and what follows it, is skipped.

        :param elsewhere: bytes that wait for the same viewer in another place.
        :param growth: how many times as large output may become on its way to the viewer.
        """
        room = 0 if self.skipping else max(0, self._limit - elsewhere - self.size) // growth
        if len(data) > room:
            self.skipping += len(data) - room
            self.skipped += len(data) - room
            self._on_skip(len(data) - room)
            return data[:room]
        return data

    def put(self, at: float, data: bytes, end: int) -> None:
        """More output.

        :param at: when it came.
        :param end: the offset behind it.
        """
        if self._late is Late.SKIP:
            self.end = end
            self.add(at, self.fit(data))
            return
        if end - len(data) != self.end:
            self._pieces.clear()  # bytes in between were not recorded
            self.size = 0
        self.end = end
        self.add(at, data)
        while self.size > self._limit:
            self.size -= len(self._pieces.popleft()[1])

    def add(self, at: float, data: bytes) -> None:
        """Have output wait that fits."""
        # A VM may say one letter at a time: pieces of their own would take many times the room of the bytes.
        last = self._pieces[-1] if self._pieces else None
        if last is not None and len(last[1]) < PIECE and 0 <= at - last[0] < 1:
            last[1].extend(data)
        elif data:
            self._pieces.append((at, bytearray(data)))
        self.size += len(data)

    def take(self) -> list[tuple[float, bytes]]:
        """All that waits: when it came, and what."""
        pieces = [(at, bytes(data)) for at, data in self._pieces]
        self._pieces.clear()
        self.size = 0
        return pieces

    def take_skipped(self) -> int:
        """How many bytes were skipped behind what :meth:`take` has returned."""
        skipped, self.skipping = self.skipping, 0
        return skipped


class LateReader:
    """Brings a viewer from the first byte that was too much for it back to what the VM says now."""

    def __init__(
        self,
        out: OutputStream,
        log: ConsoleLog,
        services: Services,
        data: bytes = b"",
        stream: LogStream | None = None,
        recent: int = RECENT_LIMIT,
        lag: int = 0,
    ) -> None:
        """
        :param data: what the VM has just said, and is too much.
        :param stream: reads from where the viewer is, if that is not before ``data``.
        :param recent: how many of the newest bytes are kept here, and may be the rest that :meth:`run` returns.
        :param lag: how many bytes it may be behind; 0 for :data:`LAG_LIMIT`.
        """
        self._out = out
        self._log = log
        self._services = services
        self._lag = lag
        self._queue = ViewerQueue(recent, Late.DISK)
        self._stream = LogStream(log, received=log.received - len(data)) if stream is None else stream
        self._wakeup = Wakeup()
        self.output(data)
        self._looked = services.clock.seconds()
        self._opened = spawn(self._stream.refresh())

    @property
    def kept(self) -> int:
        """Bytes that are kept here."""
        return self._queue.size

    def output(self, data: bytes) -> None:
        """The VM says more."""
        self._queue.put(0.0, data, self._log.received)

    def wake(self) -> None:
        """The client has taken everything, or is gone."""
        self._wakeup.wake()

    async def run(self) -> bytes:
        """Send what was missed, as fast as the client takes it.

        :returns: what has still to be sent for the viewer to be live again.
        :raises NotInLog, OSError: if the log cannot give it.
        """
        stream, queue = self._stream, self._queue
        try:
            await self._opened
            base = self._log.file.base
            while await self._room(base):
                behind = stream.position - base - queue.start
                if behind >= 0:
                    return b"".join(data for _, data in queue.take())[behind:]
                if stream.position + BLOCK > stream.end:
                    await self._refresh()
                self._out.send(await self._services.in_thread(stream.read))
            return b""
        finally:
            self._services.in_thread(stream.close)  # the last to close a file that was removed waits for the disk

    async def _refresh(self) -> None:
        self._looked = self._services.clock.seconds()
        await self._stream.refresh()

    async def _room(self, base: int) -> bool:
        # True when the client has taken what was sent; False if it is gone.
        while not self._out.over:
            if base + self._queue.end - self._stream.position > (self._lag or LAG_LIMIT):
                raise NotInLog("it is too far behind")
            if base + self._queue.end != self._stream.end and self._late_look:
                await self._refresh()  # before its file is rotated away
            elif self._out.queued:
                await self._wakeup.wait(self._services.clock, LOOK_SECONDS)
            else:
                return True
        return False

    @property
    def _late_look(self) -> bool:
        return self._services.clock.seconds() - self._looked >= LOOK_SECONDS
