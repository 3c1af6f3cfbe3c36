"""The output of one console for all of its viewers on the web: each frame is made once, and shared.

A frame has what the VM said since the frame before. The first output after a pause is sent at once; what follows waits
for some four times as long as its sending to all viewers takes: so a single viewer sees each byte as it comes, and
hundreds get fewer and larger frames, for a quarter of the processor. Hundreds are sent a frame in turns of the reactor.
Cursors are sent here too, in their places.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.notices import Notice
from vmproxy.web.cursor import cursor_of
from vmproxy.web.viewer_messages import message_frame, notice_frame
from vmproxy.web.websocket_frames import binary_frame

FRAME_SIZE = 64 * 1024
VIEWER_SECONDS = 0.0004
GAP_SECONDS = 0.2
AT_ONCE = 32  # viewers that are sent something in a turn; what was written for them is sent in a later one
KEPT_BYTES = 512 * 1024
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

    Invariant: each of them is offered every byte from the moment at which it joined, once and in order. Hundreds are
    offered a frame in turns of the reactor. Bound: :data:`KEPT_BYTES` are kept for those that are yet to have them;
    what is more, all are offered at once.

    :ivar viewers: with the number of the frame that each is to have next; who is to have the oldest one comes first.
    """

    __slots__ = (
        "_clock",
        "_cursor_at",
        "_end",
        "_first",
        "_flushed",
        "_frames",
        "_kept",
        "_notice",
        "_pieces",
        "_size",
        "_timer",
        "_turns",
        "_unmarked",
        "_waits",
        "console",
        "viewers",
    )

    def __init__(self, console: Console, clock: IReactorTime, turns: Turns) -> None:
        self.console = console
        self.viewers: OrderedDict[FrameViewer, int] = OrderedDict()
        self._clock = clock
        self._turns = turns
        self._pieces: list[bytes] = []
        self._size = 0
        self._frames: list[tuple[bytes, bytes | None]] = []  # with their output; without one it is a cursor
        self._first = 0  # the number of the first of them
        self._kept = 0  # bytes of output in them
        self._waits = False  # those that are yet to have them wait for a turn
        self._end = -1  # of the output that was offered last
        self._flushed = 0.0
        self._timer: IDelayedCall | None = None
        self._cursor_at: IDelayedCall | None = None
        self._unmarked = 0  # bytes since the last cursor
        self._notice: tuple[Notice, bytes] | None = None

    def join(self, viewer: FrameViewer) -> None:
        """A viewer has everything that the VM has said, and is to have what comes."""
        self.flush()
        self.viewers[viewer] = self._first + len(self._frames)

    def leave(self, viewer: FrameViewer) -> None:
        """A viewer wants nothing more; nothing happens if it has not joined. It has everything up to now."""
        self.catch_up(viewer)
        self.viewers.pop(viewer, None)
        if not self.viewers:
            self._stop()

    def _stop(self) -> None:
        for call in (self._timer, self._cursor_at):
            if call is not None:
                call.cancel()
        self._timer = self._cursor_at = None
        self._forget()

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

    def catch_up(self, viewer: FrameViewer) -> None:
        """Send a viewer what waits, before something else is; nothing happens if it has not joined."""
        if viewer in self.viewers:
            self.flush()
            self._give(viewer)

    def flush(self) -> None:
        """Make a frame of what waits, and send it."""
        if not self._pieces:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._flushed = self._clock.seconds()
        self._frames.append((binary_frame(data), data))
        self._kept += len(data)
        self._unmarked += len(data)
        if self._unmarked >= CURSOR_BYTES:
            self._mark()
        elif self._cursor_at is None and self.viewers:
            self._cursor_at = self._clock.callLater(CURSOR_SECONDS, self._mark_due)
        self._go_on()

    def _mark_due(self) -> None:
        self._cursor_at = None
        self.flush()
        self._mark()
        self._go_on()

    def _mark(self) -> None:
        self._unmarked = 0
        if (frame := self.cursor_frame()) is not None:
            self._frames.append((frame, None))

    def _go_on(self) -> None:
        if not self._waits or self._kept > KEPT_BYTES:
            self._send()

    def _turn(self) -> None:
        self._waits = False
        self._send()

    def _send(self) -> None:
        """Send some of the viewers what they are yet to have; the others wait for a turn."""
        end = self._first + len(self._frames)
        most = len(self.viewers) if self._kept > KEPT_BYTES else AT_ONCE
        for _ in range(most):
            viewer = next(iter(self.viewers), None)
            if viewer is None or self.viewers[viewer] >= end:
                break
            self._give(viewer)
        behind = next(iter(self.viewers.values()), end)
        self._forget(behind)
        if behind < end and not self._waits:
            self._waits = True
            self._turns.wait(self, self._turn)

    def _give(self, viewer: FrameViewer) -> None:
        at, frames = self.viewers[viewer] - self._first, self._frames
        self.viewers[viewer] = self._first + len(frames)
        self.viewers.move_to_end(viewer)
        for frame, data in frames[at:]:
            try:
                if data is None:
                    viewer.cursor(frame)
                else:
                    viewer.frame(frame, data)
            except Exception:
                _log.failure("a websocket of {who} failed", who=viewer.who)
                viewer.failed()
            if viewer not in self.viewers:
                return  # it has left because of that

    def _forget(self, before: int | None = None) -> None:
        count = len(self._frames) if before is None else before - self._first
        self._kept -= sum(len(data) for _, data in self._frames[:count] if data is not None)
        del self._frames[:count]
        self._first += count

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

    def __init__(self, clock: IReactorTime, turns: Turns) -> None:
        self._clock = clock
        self._turns = turns
        self._users: dict[Console, tuple[Fanout, set[object]]] = {}

    def use(self, console: Console, user: object) -> Fanout:
        """That of a console, until its user says :meth:`done`."""
        found = self._users.get(console)
        if found is None:
            found = self._users[console] = Fanout(console, self._clock, self._turns), set()
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
