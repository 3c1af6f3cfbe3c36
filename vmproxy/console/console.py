"""One console: a serial port of a VM, whatever connection carries it now.

How a byte goes up: the link calls :meth:`Console.feed`, which hands it to the log first and then to each viewer, whose
queue is bounded. How a key goes down: a viewer with the pen calls :meth:`Console.send`, which writes it to the link
or, in a vMotion or while the VM takes nothing, holds it back. What is held is bounded: above a mark the writer is told
to hold his input, which he does by closing his SSH window; what he had under way by then still fits.

Output keeps its order when one link follows another (vMotion, or a VM that connects anew): see :mod:`succession`.

A console outlives its links. It is up while it has one, and knows since when and why it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from vmproxy.access.policy import USUAL, ConsoleOptions
from vmproxy.base.sanitize import visible
from vmproxy.console.input_queue import HeldInput
from vmproxy.console.interfaces import IFarEnd, ILink, IViewer
from vmproxy.console.link_queue import LinkQueue
from vmproxy.console.notices import (
    Demoted,
    GuestBreak,
    InputLost,
    InputRecorded,
    Joined,
    Kicked,
    Left,
    LineDown,
    LineUp,
    LogFailed,
    LoggingOff,
    LoggingOn,
    LogRecovered,
    Notice,
    Promoted,
    Shares,
    TookOver,
)
from vmproxy.console.write_access import Pen

if TYPE_CHECKING:
    from vmproxy.base.ratelimit import RateLimitedLog
    from vmproxy.log.store import ConsoleLog
    from vmproxy.wire.comport import AccessServer

_log = Logger()


class Surroundings(Protocol):
    """What all consoles share: the directory provides it.

    :ivar clock: the time.
    :ivar process_log: where what happens to them is told.
    """

    @property
    def clock(self) -> IReactorTime: ...

    @property
    def process_log(self) -> RateLimitedLog: ...

    def wall(self) -> float:
        """The time of day, seconds since the epoch."""

    def remember(self, console: Console) -> None:
        """A console went up, down, or to another host."""


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
    :ivar far: what the VM wants to be connected to; None where it waits to be reached, as most do.
    :ivar bytes_out: bytes from the VM since the start; ``bytes_in``: bytes to it.
    :ivar migrating: whether a vMotion is pending.
    :ivar options: what is particular about it.
    :ivar logging: whether output is recorded; an operator may turn that off.
    """

    __slots__ = (
        "_around",
        "_guest_break",
        "_held",
        "_links",
        "_unlogged",
        "bios_uuid",
        "bytes_in",
        "bytes_out",
        "far",
        "host",
        "link",
        "location_uuid",
        "log",
        "logging",
        "migrating",
        "name",
        "options",
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

    def __init__(self, uuid: UUID, port: str, log: ConsoleLog, around: Surroundings) -> None:
        self.uuid = uuid
        self.port = port
        self.log = log
        self._around = around
        self.name = ""
        self.uri = ""
        self.bios_uuid: UUID | None = None
        self.location_uuid: UUID | None = None
        self.link: ILink[Console] | None = None
        self.migrating = False
        self.far: IFarEnd | None = None
        self.since = 0.0
        self.reason = ""
        self.host = ""
        self.settings = ""
        self.bytes_in = self.bytes_out = 0
        self.logging = True
        self._unlogged = 0
        self.options = USUAL
        self.viewers: tuple[IViewer, ...] = ()
        self.pen = Pen()
        self._held: HeldInput | None = None  # made when it is needed: most VMs take what is typed
        self._guest_break = 0.0
        self._links = LinkQueue(self)
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
        if self.migrating:
            return "migrating"
        return "up" if self.link is not None else "down"

    # What is told of it.

    def recall(self, uri: str, host: str, since: float, reason: str) -> None:
        """Take what is remembered from before the process was started; it is down."""
        self.uri = uri
        self.host = host
        self.since = since
        self.reason = reason

    def set_name(self, name: str) -> None:
        """Take another name; only the index of names calls this."""
        self.name = name

    def set_uri(self, uri: str) -> bool:
        """Take the service URI that a connection came with.

        :returns: whether it is another one.
        """
        changed, self.uri = self.uri != uri, uri
        return changed

    def set_uuids(self, bios: UUID | None, location: UUID | None) -> None:
        """Take the VM's other UUIDs; None leaves one as it is."""
        self.bios_uuid = bios or self.bios_uuid
        self.location_uuid = location or self.location_uuid

    def set_port_control(self, server: AccessServer | None, settings: str) -> None:
        """Take the state of COM-PORT, and the serial parameters as text."""
        self.port_control = server
        self.settings = settings

    def set_far(self, far: IFarEnd | None) -> None:
        """Take another far end, or none."""
        self.far = far

    def set_options(self, options: ConsoleOptions) -> None:
        """Take other options; viewers hear of what changes for them."""
        before, self.options = self.options, options
        if options.record_input != before.record_input:
            self.log.event("input-recording", on=options.record_input)
            self.tell(InputRecorded(options.record_input))
        if before.shared and not options.shared:
            for viewer in self.pen.writers[1:]:
                self.drop_pen(viewer)
                self._tell(viewer, Demoted("the configuration"))

    def rules_changed(self) -> None:
        """Other rules hold from now on: every viewer looks whether he may still do what he does."""
        for viewer in self.viewers:
            try:
                viewer.rules_changed()
            except Exception:
                self._failed(viewer)

    # Up: from the VM to the log and the viewers.

    def feed(self, data: bytes) -> None:
        """Bytes from the VM, in order."""
        self.bytes_out += len(data)
        if self.logging:
            self.log.append(data)
        else:
            self._unlogged += len(data)
        for viewer in self.viewers:
            try:
                viewer.output(data)
            except Exception:
                self._failed(viewer)

    def guest_break(self) -> None:
        """The guest sent a break; told at most once a second, but the far end hears every one."""
        if self.far is not None:
            self._tell(self.far, GuestBreak())
        now = self._around.clock.seconds()
        if not 0 <= now - self._guest_break < 1:
            self._guest_break = now
            self.log.event("guest-break")
            self.tell(GuestBreak(), but=self.far)

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

    def _hold(self, viewers: Iterable[IViewer], on: bool) -> None:
        for viewer in viewers:
            try:
                viewer.hold_input(on)
            except Exception:
                self._failed(viewer)

    def _failed(self, viewer: IViewer) -> None:
        # A viewer's fault is the viewer's own: the VM, its log and the other viewers go on.
        _log.failure("viewer {who} of {console} failed and is taken off", who=viewer.who, console=self.title)
        self.detach(viewer)

    # Down: from the writer to the VM.

    def send(self, data: bytes, who: str = "") -> bool:
        """Input for the VM, from whoever has the pen.

        :param who: whose input it is, where input is recorded.
        :returns: whether it was taken. It is not while the console is down, or if the limit of what is held is reached.
        """
        link = self.link
        if not data:
            return True
        if self._held is None and link is not None and link.ready and not self.migrating:
            self.bytes_in += len(data)
            link.write(data)
            if self.options.record_input:
                self._record_input(data, who)
            return True
        if not self._keep(data):
            return False
        if self.options.record_input:
            self._record_input(data, who)
        return True

    def _keep(self, data: bytes | None) -> bool:
        if self.link is None and not self.migrating:
            return False
        held = self._held = self._held or HeldInput()
        congested = held.congested
        if not held.put(data):
            return False
        if held.congested and not congested:
            self._hold(self.pen.writers, True)
        return True

    def _record_input(self, data: bytes, who: str) -> None:
        text = data.decode("utf-8", "backslashreplace")
        self.log.input(console=self.title, uuid=str(self.uuid), port=self.port, who=who, data=text)

    @property
    def congested(self) -> bool:
        """Whether so much input is held that the writer should hold his."""
        return self._held is not None and self._held.congested

    @property
    def undelivered(self) -> int:
        """How much input is held, in bytes."""
        return 0 if self._held is None else self._held.size

    def send_break(self, who: str, told: bool = True) -> bool:
        """Send a break to the guest, behind the input before it: break and a letter is a command to many guests.

        :param told: whether it stands in the trail: not where a program sends one after the other.
        :returns: whether it will be sent; not so while the console is down, or if the limit of what is held is reached.
        """
        if not self._keep(None):
            return False
        if told:
            self.log.event("break", who=who)
        self.input_may_flow()
        return True

    def link_ready(self) -> None:
        """The link takes data again."""
        self.input_may_flow()

    def input_may_flow(self) -> None:
        """Deliver what was held back, as far as the link takes it."""
        held, link = self._held, self.link
        if held is None or link is None or self.migrating:
            return
        congested = held.congested
        self.bytes_in += held.deliver(link)
        if not held.size and self._held is held:
            self._held = None
        if congested and not held.congested:
            self._hold(self.pen.writers, False)

    # The link.

    def claim(self, link: ILink[Console], told: bool = True) -> None:
        """A connection identified itself as this console's and serves it from now on.

        :param told: whether it is told: not where it happens again and again (see :meth:`unsteady`).
        """
        old, self.link = self.link, None
        away = max(0.0, self._around.wall() - self.since) if self.reason and self.since else None
        if old is not None and told:
            self.log.event("replaced", host=old.peer, by=link.peer)
            self._around.process_log.tell(
                "connections replaced",
                "{console}: a new connection from {by} replaces that of {host}",
                LogLevel.warn,
                console=self.title,
                by=link.peer,
                host=old.peer,
            )
        self.port_control = None
        self._serve(link, vmotion=False, away=away, told=told)
        if old is not None:
            self._links.read_out(old, close=True)

    def move_to(self, link: ILink[Console], took: float, old: ILink[Console] | None) -> None:
        """A vMotion has brought the console to another connection, in ``took`` seconds; ``old`` is still there."""
        self._serve(link, vmotion=True, away=took)
        if old is not None:
            self._links.read_out(old, close=False)

    def _serve(self, link: ILink[Console], vmotion: bool, away: float | None, told: bool = True) -> None:
        if not vmotion:
            self.since = self._around.wall()
        self.link = link
        self.host = link.peer
        self.reason = ""
        if told:
            self.log.event("up", host=link.peer)
            how = ", by vMotion" if vmotion else ""
            self._around.process_log.tell(
                "consoles up", "{console}: up, from {host}{how}", console=self.title, host=link.peer, how=how
            )
            self.tell(LineUp(link.peer, away, vmotion))
        self._links.add(link)
        self.input_may_flow()
        if told:
            self._around.remember(self)
        elif self.far is not None:
            self._tell(self.far, LineUp(link.peer, away, vmotion))  # no news to it: it has waited for that

    def hold_for_migration(self, on: bool) -> None:
        """Hold input: a vMotion is pending. At its end, :meth:`input_may_flow` or :meth:`move_to` delivers it."""
        self.migrating = on

    def link_lost(self, link: ILink[Console]) -> None:
        """The connection of the link in service is gone; another may follow."""
        self.link = None
        self._links.gone(link)

    def last_words(self, link: ILink[Console]) -> None:
        """A connection that was to take over is gone, and so is the other: what it has kept is all that there is."""
        self._links.last_words(link)

    def down(self, reason: str, told: bool = True) -> None:
        """The link is gone and no other is expected.

        :param told: as for :meth:`claim`.
        """
        self.link = None
        self.since = self._around.wall()
        self.reason = reason or "unknown"
        if told:
            self._tell_down()
        held, self._held = self._held, None
        if held is not None:
            if size := held.lost():
                self.log.event("input-lost", bytes=size)
                self.tell(InputLost(size))
            if held.congested:
                self._hold(self.pen.writers, False)
        if told:
            self._around.remember(self)

    def _tell_down(self) -> None:
        self.log.event("down", reason=self.reason, host=self.host)
        self._around.process_log.tell(
            "consoles down", "{console}: down, {reason}", console=self.title, reason=self.reason
        )
        self.tell(LineDown(self.reason, self.since))

    def unsteady(self, times: int) -> None:
        """It was claimed so often within a minute, untold; from now on it is told again, beginning with how it is."""
        process_log = self._around.process_log
        text = "{console}: connected anew {n} more times within a minute"
        process_log.tell("consoles connected too often", text, LogLevel.warn, console=self.title, n=times)
        self.log.event("unsteady", times=times)
        if self.link is not None:
            self.log.event("up", host=self.host)
            process_log.tell("consoles up", "{console}: up, from {host}", console=self.title, host=self.host)
            self.tell(LineUp(self.host, None, False))
        elif not self.migrating:
            self._tell_down()
        self._around.remember(self)

    # The viewers.

    def attach(self, viewer: IViewer, write: bool, force: bool = False, join: bool = False, reason: str = "") -> bool:
        """Put a viewer on the console.

        :param write: whether it wants the pen; if that is taken, it waits for it.
        :param force: whether to take the pen from whoever has it, for this ``reason``.
        :param join: whether to write beside whoever has it, where the console is shared.
        :returns: whether it may write.
        """
        self.viewers = (*self.viewers, viewer)
        if write and force:
            self.force_pen(viewer, reason)
        elif write and join and self.options.shared:
            self.pen.join(viewer)
        elif write:
            self.pen.take(viewer)
        writing = self.pen.writes(viewer)
        if writing:
            self._hold((viewer,), self.congested)
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
        self._without_pen(viewer)

    def kick(self, viewer: IViewer, by: str, reason: str) -> None:
        """Send a viewer off the console."""
        self.log.event("kick", who=viewer.who, by=by, reason=reason)
        self._tell(viewer, Kicked(by, reason))
        self.detach(viewer)

    def take_pen(self, viewer: IViewer) -> bool:
        """Give a viewer the pen if it is free; else let it wait.

        :returns: whether it may write.
        """
        had = self.pen.writes(viewer)
        if not self.pen.take(viewer):
            return False
        if not had:
            self.log.event("take", who=viewer.who)
        self._hold((viewer,), self.congested)
        return self.pen.writes(viewer)

    def force_pen(self, viewer: IViewer, reason: str = "") -> tuple[IViewer, ...]:
        """Give a viewer the pen, whoever has it.

        :param reason: why, for the trail and for those who lose it; may be empty.
        :returns: who lost it: they look on, and wait for it.
        """
        losers = self.pen.force(viewer)
        if losers:
            why = {"reason": reason} if reason else {}
            self.log.event("force", who=viewer.who, was=", ".join(loser.who for loser in losers), **why)
            self._hold(losers, False)
            for loser in losers:
                self._tell(loser, Demoted(viewer.who, reason))
            told = TookOver(viewer.who, ", ".join(loser.who for loser in losers))
            for other in self.viewers:
                if other is not viewer and other not in losers:
                    self._tell(other, told)
        self._hold((viewer,), self.congested)
        return losers

    def join(self, viewer: IViewer) -> bool:
        """Let a viewer write beside whoever has the pen.

        :returns: whether it may write: not where only one may.
        """
        if not self.options.shared:
            return False
        if not self.pen.writes(viewer):
            self.pen.join(viewer)
            self.log.event("join", who=viewer.who)
            self.tell(Shares(viewer.who), but=viewer)
            self._hold((viewer,), self.congested)
        return self.pen.writes(viewer)

    def drop_pen(self, viewer: IViewer) -> None:
        """Take the pen, or the place in the line, from a viewer; the next one in the line gets it."""
        if self.pen.writes(viewer):
            self.log.event("drop", who=viewer.who)
        self._without_pen(viewer)

    def _without_pen(self, viewer: IViewer) -> None:
        had = self.pen.writes(viewer)
        promoted = self.pen.drop(viewer)
        if had:
            self._hold((viewer,), False)
        if promoted is not None:
            self.log.event("promote", who=promoted.who)
            self._hold((promoted,), self.congested)
            self._tell(promoted, Promoted())

    # What operators do to the whole of it.

    def reopen(self, who: str) -> bool:
        """Close the VM's connection, so that its host dials again.

        :returns: whether there was one; not so while the console is down, or in a vMotion.
        """
        link = self.link
        if link is None or self.migrating:
            return False
        self.log.event("reopen", who=who)
        self.log.reopen()
        link.close(f"reopened by {who}")
        return True

    def set_logging(self, on: bool, who: str) -> None:
        """Turn the recording of output off, or on again; the trail says what is missing."""
        if on == self.logging:
            return
        self.logging = on
        if on:
            missing, self._unlogged = self._unlogged, 0
            self.log.event("logging-on", who=who, bytes=missing)
            self.tell(LoggingOn(who, missing))
        else:
            self.log.event("logging-off", who=who)
            self.tell(LoggingOff(who))

    # The log's news.

    def log_failed(self, reason: str) -> None:
        """The log cannot be written."""
        self.tell(LogFailed(reason))

    def log_recovered(self, lost: int) -> None:
        """The log is written again; ``lost`` bytes are missing."""
        self.tell(LogRecovered(lost))

    def log_congested(self, on: bool) -> None:
        """The log is behind (``on``) and the VM had better wait, or it has caught up."""
        self._links.log_behind(on)

    def hold_for_far_end(self, on: bool) -> None:
        """What the VM is connected to reads too slowly (``on``) and the VM has to wait, or it has caught up."""
        self._links.remote_behind(on)
