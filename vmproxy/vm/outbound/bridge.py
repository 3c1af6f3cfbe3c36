"""The remote end of one console whose VM has direction "client": dialled, bridged, dialled again.

To the console a remote end is a viewer like any other. Output of the VM reaches it after the log; its own output goes
through :meth:`Console.send` as operators' input does, so that a vMotion holds and delivers it, once and in order. It
takes write access when the VM connects: operators are read-only. An operator who takes write access by force speaks to
the VM in its place, and the remote end waits (nothing is read from it) until write access is given up.

Flow control, VM to remote end: nothing may be skipped. When the remote end reads too slowly, the VM is not read from
(:meth:`Console.hold_for_remote`); what had been read by then waits here. While there is no remote end the VM is *not*
held, for a guest must not hang because its peer is gone: some bytes are kept, the rest is counted, and stands in the
trail as a gap. The log has all of it. Remote end to VM: the console says when to hold; what had been read by then waits
in ``_unsaid``.

Bound: QUEUE_LIMIT for a slow remote end, WAITING_LIMIT for an absent one, one read in ``_unsaid``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IRemoteEnd
from vmproxy.console.notices import (
    Demoted,
    FarEndDown,
    FarEndUp,
    GuestBreak,
    Kicked,
    LineDown,
    LineUp,
    Notice,
    Promoted,
)
from vmproxy.console.totals import REMOTE
from vmproxy.vm.outbound.connection import DialFailed, DialRefused, OutboundConnection
from vmproxy.wire.dialuri import DialURI

WAITING_LIMIT = 256 * 1024
QUEUE_LIMIT = 4 * 1024 * 1024
TOGETHER = 4096  # what waits in small pieces is kept in pieces of this size, or they would take many times the room
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
GOOD_SECONDS = 60.0  # a connection that has lasted so long was a good one
JITTER = 0.25

_log = Logger()


class BridgeConnector(Protocol):
    """The maker of connections for bridges."""

    clock: IReactorTime
    random: Random

    def wall(self) -> float:
        """The time of day, seconds since the epoch."""

    def connect(self, uri: DialURI) -> Coroutine[Deferred[Any], Any, OutboundConnection]:
        """Connect to a destination."""

    def record(self, event: str, **fields: object) -> None:
        """Record in the audit trail."""

    def drop(self, size: int) -> None:
        """Count bytes that a remote end was not given."""

    def part(self, line: OutboundConnection) -> None:
        """Close a connection when it has sent everything."""

    def forget(self, bridge: OutboundBridge) -> None:
        """A bridge is over."""


@implementer(IRemoteEnd)
class OutboundBridge:
    """One remote end.

    :ivar uri: where it is.
    :ivar line: the connection, while there is one.
    """

    __slots__ = (
        "_attempt",
        "_broke",
        "_connector",
        "_console",
        "_full",
        "_gap",
        "_held",
        "_listening",
        "_made",
        "_over",
        "_pause",
        "_queue",
        "_queued",
        "_timer",
        "_told",
        "_tries",
        "_unsaid",
        "address",
        "again",
        "front",
        "last_input",
        "line",
        "place",
        "reason",
        "since",
        "skipped",
        "state",
        "uri",
        "who",
    )

    def __init__(self, connector: BridgeConnector, console: Console, uri: DialURI) -> None:
        self._connector = connector
        self._console = console
        self.uri = uri
        self.who = self.place = uri.place
        self.front = REMOTE
        self.since = self.last_input = connector.wall()
        self._made = self._broke = 0.0  # by the clock, not the wall
        self.skipped = 0
        self.state = "dialling"
        self.reason = ""
        self.address = ""
        self.again = 0.0
        self.line: OutboundConnection | None = None
        self._attempt: Deferred[OutboundConnection] | None = None
        self._timer: IDelayedCall | None = None
        self._pause = 0.0
        self._tries = 0
        self._told = ""  # the failure that everybody knows about
        self._queue: deque[bytes | None] = deque()  # None is a break, which counts as a byte
        self._queued = 0
        self._full = False
        self._gap = 0
        self._unsaid: deque[bytes | None] = deque()
        self._held = False
        self._listening = False
        self._over = False

    def begin(self) -> None:
        """Take the place at the console, and dial."""
        self._console.set_remote(self)
        self._console.viewers.attach(self, write=True, force=True)
        self._dial()

    # Dialling.

    def _dial(self) -> None:
        self._timer = None
        self.again = 0.0
        self._tries += 1
        attempt = spawn(self._connector.connect(self.uri))
        self._attempt = attempt
        attempt.addCallbacks(self._connected, self._failed)
        attempt.addErrback(lambda failure: _log.failure("dialling {to} failed", failure=failure, to=self.place))

    def _connected(self, line: OutboundConnection) -> None:
        self._attempt = None
        self.line = line
        line.serve(self)
        self._made = self._connector.clock.seconds()
        self._set("up", "")
        self.address = line.peer
        tries = {"tries": self._tries} if self._tries > 1 else {}
        self._console.log.event("dialled", to=self.place, address=self.address, **tries)
        self._record("dialled", address=self.address)
        _log.info("{console}: connected to {to} ({address})", console=self._title, to=self.place, address=self.address)
        self._tries = 0
        self._told = ""
        self._console.viewers.tell(FarEndUp(self.place, self.address), but=self)
        self._listening = True
        self._flush()
        self._speak()

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if failure.check(CancelledError) or self._over:
            return
        if failure.check(DialRefused):
            self.refuse(failure.getErrorMessage())
        elif failure.check(DialFailed):
            self._later(failure.getErrorMessage(), "dial-failed")
        else:
            _log.failure("dialling {to} failed", failure=failure, to=self.place)
            self._later("an error in the concentrator, see its log", "dial-failed")

    def _later(self, reason: str, event: str) -> None:
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        wait = self._pause * self._connector.random.uniform(1 - JITTER, 1 + JITTER)
        self.again = self._connector.wall() + wait
        if self.state != "down":
            self._set("down", reason)
        self.reason = reason
        if reason != self._told or event != "dial-failed":  # one that stays away for a month is no news every minute
            self._told = reason
            self._console.log.event(event, to=self.place, reason=reason, again=round(wait, 1))
            self._record(event, reason=reason)
            _log.info("{console}: {to}: {reason}", console=self._title, to=self.place, reason=reason)
            self._console.viewers.tell(FarEndDown(self.place, reason, wait), but=self)
        self._timer = self._connector.clock.callLater(wait, self._dial)

    def refuse(self, reason: str) -> None:
        """Cut a destination that is not allowed, and the VM: its host will ask again."""
        if self._over or self.state == "refused":
            return
        self._stop_dialling()
        self._set("refused", reason)
        self._console.log.event("dial-refused", to=self.place, reason=reason)
        self._record("dial-refused", reason=reason)
        _log.warn("{console}: {to}: {reason}", console=self._title, to=self.place, reason=reason)
        self._drop_line("not allowed")
        self._hang_up_vm()

    def _hang_up_vm(self) -> None:
        link = self._console.link
        if link is not None:
            link.close(f"{self.place}: {self.reason}")

    def _set(self, state: str, reason: str) -> None:
        self.state = state
        self.reason = reason
        self.since = self._connector.wall()

    def redial(self, reason: str) -> None:
        """Make the connection anew under other rules; one that is waited for is tried at once.

        So is one that is being dialled: what is found out about it was asked under other rules.
        """
        if self.line is not None:
            self.line.abort(reason)
        elif self._timer is not None or self._attempt is not None:
            self._stop_dialling()
            self._pause = 0.0
            self._dial()

    def _stop_dialling(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.again = 0.0
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _drop_line(self, reason: str) -> None:
        line, self.line = self.line, None
        if line is not None:
            line.serve(None)
            line.abort(reason)
        self._hold_vm(False)

    @property
    def _title(self) -> str:
        return self._console.title

    def _record(self, event: str, **fields: object) -> None:
        self._connector.record(event, console=self._title, uuid=str(self._console.uuid), to=self.place, **fields)

    # IRemoteEnd.

    def hang_up(self, reason: str) -> None:
        """Send what the VM has said, then close the connection for good."""
        if self._over:
            return
        self._over = True
        self._stop_dialling()
        console = self._console
        if console.remote is self:
            console.set_remote(None)
        console.viewers.detach(self)
        self._connector.forget(self)
        self._hold_vm(False)
        lost = sum(len(item) for item in self._unsaid if item is not None)
        self._unsaid.clear()
        if lost:
            console.log.event("input-lost", bytes=lost)
        line, self.line = self.line, None
        unsent = sum(map(_size, self._queue)) if line is None else 0
        self._connector.drop(unsent)
        gap = self._gap + unsent
        if gap:
            console.log.event("far-end-gap", to=self.place, bytes=gap)
        if line is not None:
            for item in self._queue:  # bounded by QUEUE_LIMIT
                _send(line, item)
            console.log.event("hung-up", to=self.place, reason=reason)
            self._record("hung-up", reason=reason)
            self._connector.part(line)
        self._queue.clear()

    # The line.

    def line_lost(self, line: OutboundConnection, reason: str) -> None:
        """The remote end is gone, the VM is not."""
        self.line = None
        self._hold_vm(False)
        if self._connector.clock.seconds() - self._made >= GOOD_SECONDS:
            self._pause = 0.0
        self._later(reason, "far-end-lost")

    def line_full(self, full: bool) -> None:
        """The remote end reads too slowly, or has caught up."""
        self._full = full
        if full:
            self._hold_vm(True)
        else:
            self._flush()

    def _hold_vm(self, on: bool) -> None:
        self._full = on
        self._console.hold_for_remote(on)

    def _flush(self) -> None:
        line = self.line
        while self._queue and line is not None and not self._full:
            item = self._queue.popleft()
            self._queued -= max(1, _size(item))
            _send(line, item)
        if self._queue or line is None:
            return
        if self._gap:
            gap, self._gap = self._gap, 0
            self._console.log.event("far-end-gap", to=self.place, bytes=gap)
        if not self._full:
            self._hold_vm(False)

    def heard(self, items: list[bytes | None]) -> None:
        """Take output of the remote end."""
        self.last_input = self._connector.wall()
        self._unsaid.extend(items)
        self._speak()

    def _speak(self) -> None:
        """Hand the VM what is for it, if it may have it, and read on if that was all."""
        console = self._console
        while self._unsaid and self._may_speak:
            item = self._unsaid.popleft()
            if not (self._break() if item is None else console.send(item, self.who)):
                self._unsaid.appendleft(item)
                break
        listen = not self._unsaid and self._may_speak
        if self.line is not None and listen != self._listening:
            self._listening = listen
            self.line.listen(listen)

    def _break(self) -> bool:
        # A remote end can send thousands in a second; the trail has one of them.
        now = self._connector.clock.seconds()
        told = not 0 <= now - self._broke < 1
        if not self._console.send_break(self.who, told):
            return False
        self._broke = now if told else self._broke
        return True

    @property
    def _may_speak(self) -> bool:
        return not self._held and self._console.write_access.writes(self)

    # IViewer.

    def output(self, data: bytes) -> None:
        """Bytes from the VM."""
        self._pass(data)

    def _pass(self, item: bytes | None) -> None:
        """Pass bytes or a break to the remote end, behind those before it."""
        if self.line is not None and not self._full and not self._queue:
            _send(self.line, item)
            return
        size = _size(item)
        if self._gap or self._queued + max(1, size) > (WAITING_LIMIT if self.line is None else QUEUE_LIMIT):
            self._gap += size  # one gap at the end, not a sieve
            self.skipped += size
            self._connector.drop(size)
            return
        self._queued += max(1, size)
        last = self._queue[-1] if self._queue else None
        if item is not None and last is not None and len(last) + size <= TOGETHER:
            self._queue[-1] = last + item
        else:
            self._queue.append(item)

    def notice(self, notice: Notice) -> None:
        """Something happened to the console, or to our part in it."""
        if isinstance(notice, Demoted | Promoted):
            self._speak()
        elif isinstance(notice, GuestBreak):
            self._pass(None)
        elif isinstance(notice, LineDown):
            self.hang_up(notice.reason)
        elif isinstance(notice, Kicked):
            self.hang_up(f"disconnected by {notice.by}")
        elif isinstance(notice, LineUp):
            if self.state == "refused":
                self._hang_up_vm()
            self._speak()  # its VM may have been away without a word, having come and gone too often for that

    def hold_input(self, on: bool) -> None:
        """The console has enough to deliver, or can take more."""
        self._held = on
        self._speak()

    def idle_times(self) -> None:
        """It is no operator: one that only reads stays."""

    def rules_changed(self) -> None:
        """The rules for operators are none of ours."""


def _size(item: bytes | None) -> int:
    return 0 if item is None else len(item)


def _send(line: OutboundConnection, item: bytes | None) -> None:
    if item is None:
        line.send_break()
    else:
        line.send(item)
