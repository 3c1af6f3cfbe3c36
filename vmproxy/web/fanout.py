"""The output of one console for all of its viewers on the web: each frame is made once, and shared.

A frame has what the VM said since the frame before. The first output after a pause is sent at once; what follows waits
for as long as its sending to all viewers takes, about: so a single viewer sees each byte as it comes, and hundreds get
fewer and larger frames. Cursors are sent here too, for all viewers are at the same place.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmproxy.console.console import Console
from vmproxy.console.notices import Notice
from vmproxy.web.cursor import cursor_of
from vmproxy.web.viewer_messages import message_frame, notice_frame
from vmproxy.web.websocket_frames import binary_frame

FRAME_SIZE = 64 * 1024
VIEWER_SECONDS = 0.0001
GAP_SECONDS = 0.05
CURSOR_SECONDS = 1.0
CURSOR_BYTES = 256 * 1024

_log = Logger()


class FrameViewer(Protocol):
    """A viewer that is live."""

    who: str

    def frame(self, frame: bytes, data: bytes) -> None:
        """Take output, and the frame with it."""

    def cursor(self, frame: bytes) -> None:
        """Take the cursor of the place behind the output so far."""

    def failed(self) -> None:
        """End, because of a fault."""


class Fanout:
    """The viewers of one console that are live.

    Invariant: each of them is offered every byte from the moment at which it joined, once and in order.
    """

    __slots__ = (
        "_clock",
        "_cursor_at",
        "_end",
        "_flushed",
        "_notice",
        "_pieces",
        "_size",
        "_timer",
        "_unmarked",
        "console",
        "viewers",
    )

    def __init__(self, console: Console, clock: IReactorTime) -> None:
        self.console = console
        self.viewers: dict[FrameViewer, None] = {}
        self._clock = clock
        self._pieces: list[bytes] = []
        self._size = 0
        self._end = -1  # of the output that was offered last
        self._flushed = 0.0
        self._timer: IDelayedCall | None = None
        self._cursor_at: IDelayedCall | None = None
        self._unmarked = 0  # bytes since the last cursor
        self._notice: tuple[Notice, bytes] | None = None

    def join(self, viewer: FrameViewer) -> None:
        """A viewer has everything that the VM has said, and is to have what comes."""
        self.flush()
        self.viewers[viewer] = None

    def leave(self, viewer: FrameViewer) -> None:
        """A viewer wants nothing more; nothing happens if it has not joined. It has everything up to now."""
        if viewer in self.viewers:
            self.flush()
            self.viewers.pop(viewer, None)
        if not self.viewers:
            self._stop()

    def _stop(self) -> None:
        for call in (self._timer, self._cursor_at):
            if call is not None:
                call.cancel()
        self._timer = self._cursor_at = None

    def offer(self, data: bytes) -> None:
        """Take output of the VM; every viewer that is handed it calls this, and once is enough."""
        end = self.console.log.received
        if end == self._end:
            return
        self._end = end
        self._pieces.append(data)
        self._size += len(data)
        if self._timer is not None and self._size < FRAME_SIZE:
            return
        pause = min(GAP_SECONDS, VIEWER_SECONDS * len(self.viewers)) - (self._clock.seconds() - self._flushed)
        if pause <= 0 or self._size >= FRAME_SIZE or len(self.viewers) == 1:
            self.flush()
        else:
            self._timer = self._clock.callLater(pause, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Send what waits, before something else is."""
        if not self._pieces:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._flushed = self._clock.seconds()
        frame = binary_frame(data)
        for viewer in tuple(self.viewers):
            try:
                viewer.frame(frame, data)
            except Exception:
                _log.failure("a websocket of {who} failed", who=viewer.who)
                viewer.failed()
        self._unmarked += len(data)
        if self._unmarked >= CURSOR_BYTES:
            self._mark()
        elif self._cursor_at is None and self.viewers:
            self._cursor_at = self._clock.callLater(CURSOR_SECONDS, self._mark_due)

    def _mark_due(self) -> None:
        self._cursor_at = None
        self._mark()

    def _mark(self) -> None:
        self.flush()
        self._unmarked = 0
        if (frame := self.cursor_frame()) is not None:
            for viewer in tuple(self.viewers):
                viewer.cursor(frame)

    def cursor_frame(self) -> bytes | None:
        """The cursor of the place behind all output so far; None while the log does not know it."""
        offset = self.console.log.offset
        return None if offset is None else message_frame("cursor", cursor=cursor_of(self.console, offset))

    def notice(self, notice: Notice) -> bytes:
        """The frame of a notice, which is often that of all viewers."""
        if self._notice is None or self._notice[0] is not notice:
            self._notice = notice, notice_frame(notice, self.console.title)
        return self._notice[1]


class Fanouts:
    """Those of all consoles that have viewers on the web."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._users: dict[Console, tuple[Fanout, set[object]]] = {}

    def use(self, console: Console, user: object) -> Fanout:
        """That of a console, until its user says :meth:`done`."""
        found = self._users.get(console)
        if found is None:
            found = self._users[console] = Fanout(console, self._clock), set()
        found[1].add(user)
        return found[0]

    def done(self, console: Console, user: object) -> None:
        """A user needs it no more."""
        found = self._users.get(console)
        if found is not None:
            found[1].discard(user)
            if not found[1]:
                del self._users[console]

    def __len__(self) -> int:
        return len(self._users)
