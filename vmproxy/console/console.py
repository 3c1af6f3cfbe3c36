"""One console: a serial port of a VM, whatever connection carries it now.

How a byte goes up: the link calls :meth:`Console.feed`, which hands it to the log first and then to each viewer, whose
queue is bounded. How a key goes down: a viewer with the pen calls :meth:`Console.send`, which writes it to the link
or, in a vMotion or while the VM takes nothing, holds it back. What is held is bounded: above a mark the writer is told
to hold his input, which he does by closing his SSH window; what he had under way by then still fits.

Output keeps its order when one link follows another (vMotion, or a VM that connects anew): the new one carries the
input at once, but what the VM says there waits until the old one has handed on everything that was still on its way.

A console outlives its links. It is up while it has one, and knows since when and why it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.console.interfaces import ILink, IViewer
from vmproxy.console.notices import (
    Demoted,
    GuestBreak,
    InputLost,
    Joined,
    Left,
    LineDown,
    LineUp,
    LogFailed,
    LogRecovered,
    Notice,
    Promoted,
)
from vmproxy.console.pen import Pen
from vmproxy.text import visible

if TYPE_CHECKING:
    from vmproxy.console.log import ConsoleLog
    from vmproxy.console.migration import Migration
    from vmproxy.wire.comport import AccessServer

INPUT_HIGH = 64 * 1024
INPUT_LOW = 16 * 1024
INPUT_LIMIT = 1024 * 1024
LINKS_IN_LINE = 8

_log = Logger()


class Console:
    """A serial port of a VM.

    :ivar uuid: the VM's VC UUID; with ``port`` the identity.
    :ivar port: the label of the serial port, ``1`` where the VM has only one.
    :ivar name: the VM's name as it was told, unsanitized.
    :ivar uri: the service URI that it came with.
    :ivar link: the connection that serves it; None while it is down, or between two hosts.
    :ivar since: when it went up or down, seconds since the epoch; 0 if it has never been seen since the start.
    :ivar reason: why it is down.
    :ivar host: the address of the host that it is, or was last, connected from.
    :ivar settings: the serial parameters that the guest programmed, for people to read; empty if unknown.
    :ivar port_control: the state of COM-PORT, which moves with the VM.
    :ivar bytes_out: bytes from the VM since the start; ``bytes_in``: bytes to it.
    """

    __slots__ = (
        "_changed",
        "_clock",
        "_congested",
        "_guest_break",
        "_held",
        "_held_size",
        "_log_congested",
        "_order",
        "bios_uuid",
        "bytes_in",
        "bytes_out",
        "host",
        "link",
        "location_uuid",
        "log",
        "migration",
        "name",
        "pen",
        "port",
        "port_control",
        "reason",
        "settings",
        "since",
        "uri",
        "uuid",
        "viewers",
    )

    def __init__(
        self, uuid: UUID, port: str, log: ConsoleLog, clock: IReactorTime, changed: Callable[[Console], None]
    ) -> None:
        """:param changed: called when the console went up, down, or to another host."""
        self.uuid = uuid
        self.port = port
        self.log = log
        self._clock = clock
        self._changed = changed
        self.name = ""
        self.uri = ""
        self.bios_uuid: UUID | None = None
        self.location_uuid: UUID | None = None
        self.link: ILink | None = None
        self.migration: Migration | None = None
        self.since = 0.0
        self.reason = ""
        self.host = ""
        self.settings = ""
        self.bytes_in = self.bytes_out = 0
        self.viewers: tuple[IViewer, ...] = ()
        self.pen = Pen()
        self._held: deque[bytes | None] = deque()  # None is a break
        self._held_size = 0
        self._congested = False
        self._guest_break = 0.0
        self._log_congested = False
        self._order: list[ILink] = []
        self.port_control: AccessServer | None = None
        log.listener = self

    @property
    def title(self) -> str:
        """What people call it: the name made safe to show, with the port where it is not the first."""
        name = visible(self.name) or str(self.uuid)
        return name if self.port == "1" else f"{name}.{self.port}"

    @property
    def state(self) -> str:
        """``up``, ``down``, or ``migrating``."""
        if self.migration is not None:
            return "migrating"
        return "up" if self.link is not None else "down"

    # Up: from the VM to the log and the viewers.

    def feed(self, data: bytes) -> None:
        """Bytes from the VM, in order."""
        self.bytes_out += len(data)
        self.log.append(data)
        for viewer in self.viewers:
            try:
                viewer.output(data)
            except Exception:
                self._failed(viewer)

    def guest_break(self) -> None:
        """The guest sent a break; told at most once a second."""
        now = self._clock.seconds()
        if not 0 <= now - self._guest_break < 1:
            self._guest_break = now
            self.log.event("guest-break")
            self.tell(GuestBreak())

    def tell(self, notice: Notice, but: IViewer | None = None) -> None:
        """Tell all viewers something, but one."""
        for viewer in self.viewers:
            if viewer is not but:
                self._tell(viewer, notice)

    def _tell(self, viewer: IViewer, notice: Notice) -> None:
        try:
            viewer.notice(notice)
        except Exception:
            self._failed(viewer)

    def _hold(self, viewer: IViewer | None, on: bool) -> None:
        if viewer is not None:
            try:
                viewer.hold_input(on)
            except Exception:
                self._failed(viewer)

    def _failed(self, viewer: IViewer) -> None:
        # A viewer's fault is the viewer's own: the VM, its log and the other viewers go on.
        _log.failure("viewer {who} of {console} failed and is taken off", who=viewer.who, console=self.title)
        self.detach(viewer)

    # Down: from the writer to the VM.

    def send(self, data: bytes) -> bool:
        """Input for the VM, from whoever has the pen.

        :returns: whether it was taken. It is not while the console is down, or if the limit of what is held is reached.
        """
        link = self.link
        if not data:
            return True
        if self.migration is None and link is not None and link.ready and not self._held:
            self.bytes_in += len(data)
            link.write(data)
            return True
        if (link is None and self.migration is None) or self._held_size + len(data) > INPUT_LIMIT:
            return False
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > INPUT_HIGH and not self._congested:
            self._congested = True
            self._hold(self.pen.writer, True)
        return True

    @property
    def congested(self) -> bool:
        """Whether so much input is held that the writer should hold his."""
        return self._congested

    def send_break(self, who: str) -> bool:
        """Send a break to the guest, behind the input before it: break and a letter is a command to many guests.

        :returns: whether it will be sent; not so while the console is down, or if the limit of what is held is reached.
        """
        if (self.link is None and self.migration is None) or self._held_size >= INPUT_LIMIT:
            return False
        self._held.append(None)
        self._held_size += 1
        self.log.event("break", who=who)
        self.input_may_flow()
        return True

    def link_ready(self) -> None:
        """The link takes data again."""
        self.input_may_flow()

    def input_may_flow(self) -> None:
        """Deliver what was held back, as far as the link takes it."""
        while self._held and self.migration is None and self.link is not None and self.link.ready:
            data = self._held.popleft()
            if data is None:
                self._held_size -= 1
                self.link.send_break()
                continue
            self._held_size -= len(data)
            self.bytes_in += len(data)
            self.link.write(data)
        if self._congested and self._held_size <= INPUT_LOW:
            self._congested = False
            self._hold(self.pen.writer, False)

    # The link.

    def claim(self, link: ILink) -> None:
        """A connection identified itself as this console's and serves it from now on."""
        old, self.link = self.link, None
        away = self._clock.seconds() - self.since if self.reason and self.since else None
        if old is not None:
            self.log.event("replaced", host=old.peer, by=link.peer)
            _log.warn(
                "{console}: a new connection from {by} replaces that of {host}",
                console=self.title,
                by=link.peer,
                host=old.peer,
            )
        self.port_control = None
        self._serve(link, vmotion=False, away=away)
        if old is not None:
            self._read_out(old, close=True)

    def move_to(self, link: ILink, took: float, old: ILink | None) -> None:
        """A vMotion has brought the console to another connection, in ``took`` seconds; ``old`` is still there."""
        self._serve(link, vmotion=True, away=took)
        if old is not None:
            self._read_out(old)

    def _serve(self, link: ILink, vmotion: bool, away: float | None) -> None:
        if not vmotion:
            self.since = self._clock.seconds()
        self.link = link
        self.host = link.peer
        self.reason = ""
        self.log.event("up", host=link.peer)
        how = ", by vMotion" if vmotion else ""
        _log.info("{console}: up, from {host}{how}", console=self.title, host=link.peer, how=how)
        self.tell(LineUp(link.peer, away, vmotion))
        self._order.append(link)
        if self._order[0] is link:
            link.hold_output(self._log_congested)
            link.serve(self)
        else:
            link.wait(self)
        self.input_may_flow()
        self._changed(self)

    # Whose turn it is to be heard: the links in the order of their output, the first of them feeds.

    def _read_out(self, old: ILink, close: bool = False) -> None:
        def done() -> None:
            self._read(old)
            if close:
                old.close("replaced by a new connection of the same VM and port")

        if self._order[0] is old:
            old.retire(done)
        while len(self._order) > LINKS_IN_LINE:
            first = self._order[0]
            first.close("too many connections of the same VM and port one after the other")
            self._read(first)

    def _read(self, link: ILink) -> None:
        if not self._order or self._order[0] is not link:
            return
        del self._order[0]
        link.hold_output(False)  # its end must be seen
        if self._order:
            head = self._order[0]
            head.hold_output(self._log_congested)
            head.serve(self)
            if head is not self.link:
                head.retire(lambda: self._read(head))

    def gone(self, link: ILink) -> None:
        """The connection of a link is gone; what it has kept is still heard when its turn comes."""
        self._read(link)

    def last_words(self, link: ILink) -> None:
        """A connection that was to take over is gone, and so is the other: what it has kept is all that there is."""
        self._order.append(link)
        if self._order[0] is link:
            link.serve(self)
            link.retire(lambda: self._read(link))

    def down(self, reason: str) -> None:
        """The link is gone and no other is expected."""
        self.link = None
        self.since = self._clock.seconds()
        self.reason = reason or "unknown"
        self.log.event("down", reason=reason, host=self.host)
        _log.info("{console}: down, {reason}", console=self.title, reason=reason)
        self.tell(LineDown(reason, self.since))
        size = sum(len(data) for data in self._held if data is not None)
        self._held.clear()
        self._held_size = 0
        if size:
            self.log.event("input-lost", bytes=size)
            self.tell(InputLost(size))
        self.input_may_flow()
        self._changed(self)

    # The viewers.

    def attach(self, viewer: IViewer, write: bool, force: bool = False) -> bool:
        """Put a viewer on the console.

        :param write: whether it wants the pen; if that is taken, it waits for it.
        :param force: whether to take the pen from whoever has it.
        :returns: whether it has the pen.
        """
        self.viewers = (*self.viewers, viewer)
        if write and force:
            self.take_pen(viewer, force=True)
        elif write:
            self.take_pen(viewer)
        writing = self.pen.writer is viewer
        self.log.event("attach", who=viewer.who, mode="write" if writing else "spy")
        self.tell(Joined(viewer.who, writing), but=viewer)
        return writing

    def detach(self, viewer: IViewer) -> None:
        """Take a viewer off the console; nothing happens if it is not on it."""
        if viewer not in self.viewers:
            return
        self.viewers = tuple(v for v in self.viewers if v is not viewer)
        self.log.event("detach", who=viewer.who)
        self.tell(Left(viewer.who))
        self.drop_pen(viewer)

    def take_pen(self, viewer: IViewer, force: bool = False) -> bool:
        """Give a viewer the pen if it is free, or by force; else let it wait.

        :returns: whether it has the pen.
        """
        if force:
            loser = self.pen.force(viewer)
            if loser is not None:
                self.log.event("force", who=viewer.who, was=loser.who)
                self._hold(loser, False)
                self._tell(loser, Demoted(viewer.who))
        elif not self.pen.take(viewer):
            return False
        self._hold(viewer, self._congested)
        return self.pen.writer is viewer

    def drop_pen(self, viewer: IViewer) -> None:
        """Take the pen, or the place in the line, from a viewer; the next one in the line gets it."""
        had = self.pen.writer is viewer
        promoted = self.pen.drop(viewer)
        if had:
            self._hold(viewer, False)
        if promoted is not None:
            self.log.event("promote", who=promoted.who)
            self._hold(promoted, self._congested)
            self._tell(promoted, Promoted())

    # The log's news.

    def log_failed(self, reason: str) -> None:
        """The log cannot be written."""
        self.tell(LogFailed(reason))

    def log_recovered(self, lost: int) -> None:
        """The log is written again; ``lost`` bytes are missing."""
        self.tell(LogRecovered(lost))

    def log_congested(self, on: bool) -> None:
        """The log is behind (``on``) and the VM had better wait, or it has caught up."""
        self._log_congested = on
        if self._order:
            self._order[0].hold_output(on)
