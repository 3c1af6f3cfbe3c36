"""One console: a serial port of a VM, whatever connection carries it now.

Output: the link calls :meth:`Console.feed`, which hands the bytes to the log first and then to the viewers, whose
queues are bounded. Input: a writer calls :meth:`Console.send`, which writes to the link or, in a vMotion or while the
VM takes nothing, queues. That queue is bounded: above a mark the writers are told to hold their input; what they had
under way by then still fits.

Output keeps its order when one link follows another (vMotion, or a VM that connects anew): see
:mod:`vmproxy.console.link_queue`.

A console outlives its links. It is up while it has one, and knows since when and why it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from twisted.internet.interfaces import IReactorTime

from vmproxy.access.console_options import USUAL, ConsoleOptions
from vmproxy.access.labels import Labels
from vmproxy.access.policy import Policy
from vmproxy.base.sanitize import visible
from vmproxy.base.troubles import Kind
from vmproxy.console import reports
from vmproxy.console.alert_marks import NO_ALERTS, AlertMarks
from vmproxy.console.info import NAMED, ConsoleInfo, RemoteInfo
from vmproxy.console.input_queue import InputQueue
from vmproxy.console.interfaces import ILink, IRemoteEnd, IViewer
from vmproxy.console.link_queue import LinkQueue
from vmproxy.console.notices import (
    GuestBreak,
    InputLost,
    InputRecorded,
    LineUp,
    LogFailed,
    LoggingOff,
    LoggingOn,
    LogRecovered,
)
from vmproxy.console.state import ConsoleState
from vmproxy.console.totals import Totals
from vmproxy.console.viewers import Viewers
from vmproxy.console.write_access import WriteAccess
from vmproxy.log.store import ConsoleLog
from vmproxy.wire.vmware import undone

if TYPE_CHECKING:
    from vmproxy.base.ratelimit import RateLimitedLog
    from vmproxy.wire.comport import AccessServer


class ConsoleContext(Protocol):
    """What all consoles share; the registry provides it.

    :ivar clock: the time.
    :ivar process_log: the process's own log.
    :ivar totals: what has happened on all of them.
    """

    @property
    def clock(self) -> IReactorTime: ...

    @property
    def process_log(self) -> RateLimitedLog: ...

    @property
    def totals(self) -> Totals: ...

    @property
    def policy(self) -> Policy: ...

    def labels_of(self, console: Console) -> Labels:
        """The labels of a console by the policy; on any thread."""

    def wall(self) -> float:
        """The time of day, seconds since the epoch."""

    def remember(self, console: Console) -> None:
        """Record a console that went up, down, or to another host."""

    def turned(self, console: Console) -> None:
        """Take note that a console that was down is up, or is down."""

    def trouble(self, kind: Kind, text: str, about: object = None) -> None:
        """Tell of trouble that should not be."""


class Console:
    """A serial port of a VM.

    :ivar uuid: the VM's UUID; with ``port`` the identity. The VC UUID, or another where that is not the VM's alone.
    :ivar vc_uuid: the VC UUID that the VM tells; None if it has told none.
    :ivar known_by: what ``uuid`` is of a VM that has told none, in words; else empty.
    :ivar port: the label of the serial port, ``1`` where the VM has only one.
    :ivar name: the VM's name, unsanitized.
    :ivar told_name: the same as vSphere writes it: without a bare ``/``, ``\\`` or ``%``.
    :ivar uri: the service URI of its latest connection.
    :ivar link: the connection that serves it; None while it is down, or between two hosts.
    :ivar since: when it went up or down, seconds since the epoch; 0 if it has never been seen since the start.
    :ivar reason: why it is down.
    :ivar host: the address of its host, or of the latest one.
    :ivar settings: the serial parameters that the guest programmed, for people to read; empty if unknown.
    :ivar port_control: the state of COM-PORT, which moves with the VM.
    :ivar remote: the remote end of a VM of direction "client"; None for all others.
    :ivar migrating: whether a vMotion is pending.
    :ivar options: what is particular about it.
    :ivar logging: whether output is recorded; an operator may turn that off.
    :ivar alerts: the alerts that nobody has acknowledged.
    :ivar forgotten: whether it is in no list any more; nobody has any right on it then.
    """

    __slots__ = (
        "_context",
        "_guest_break",
        "_labels",
        "_links",
        "_queue",
        "_viewers",
        "alerts",
        "bios_uuid",
        "forgotten",
        "host",
        "known_by",
        "link",
        "location_uuid",
        "log",
        "logging",
        "migrating",
        "name",
        "options",
        "port",
        "port_control",
        "reason",
        "remote",
        "settings",
        "since",
        "told_name",
        "uri",
        "uuid",
        "vc_uuid",
    )

    def __init__(self, uuid: UUID, port: str, log: ConsoleLog, context: ConsoleContext) -> None:
        self.uuid = uuid
        self.vc_uuid: UUID | None = uuid
        self.known_by = ""
        self.port = port
        self.log = log
        self._context = context
        self.name = self.told_name = ""
        self.uri = ""
        self.bios_uuid: UUID | None = None
        self.location_uuid: UUID | None = None
        self.link: ILink[Console] | None = None
        self.migrating = False
        self.remote: IRemoteEnd | None = None
        self.since = 0.0
        self.reason = ""
        self.host = ""
        self.settings = ""
        self.logging = True
        self.forgotten = False
        self.options = USUAL
        self._viewers: Viewers | None = None  # made when somebody looks at them
        self._queue: InputQueue | None = None  # made when there is input
        self.alerts = NO_ALERTS
        self._guest_break = 0.0
        self._labels: tuple[Policy, Labels] | None = None  # worked out when somebody asks
        self._links = LinkQueue(self)
        self.port_control: AccessServer | None = None
        log.report_to(self)

    @property
    def bytes_out(self) -> int:
        """Bytes from the VM since the start."""
        return self.log.received

    @property
    def totals(self) -> Totals:
        return self._context.totals

    @property
    def title(self) -> str:
        """The name, safe to show, with the port where it is not the first."""
        name = visible(self.name) or str(self.uuid)
        return name if self.port == "1" else f"{name}.{self.port}"

    @property
    def viewers(self) -> Viewers:
        """The viewers, and which of them may write."""
        if self._viewers is None:
            self._viewers = Viewers(self)
        return self._viewers

    @property
    def watchers(self) -> tuple[IViewer, ...]:
        """The viewers alone: to be asked of thousands of consoles, most of which have none."""
        return () if self._viewers is None else self._viewers.all

    @property
    def writers(self) -> tuple[IViewer, ...]:
        """Those of them that may write, the writer first."""
        return () if self._viewers is None else self._viewers.write_access.writers

    @property
    def write_access(self) -> WriteAccess:
        """Which of the viewers may write."""
        return self.viewers.write_access

    @property
    def state(self) -> str:
        """``up``, ``down``, or ``migrating``."""
        if self.migrating:
            return "migrating"
        return "up" if self.link is not None else "down"

    @property
    def labels(self) -> Labels:
        """The labels, by groups and by what is told of it; on any thread."""
        known, policy = self._labels, self._context.policy
        if known is None or known[0] is not policy:
            known = self._labels = policy, self._context.labels_of(self)
        return known[1]

    def info(self) -> ConsoleInfo:
        """All that is known of it now."""
        far, remote = self.remote, None
        if far is not None:
            remote = RemoteInfo(far.place, far.state, far.since, far.address, far.reason, far.again)
        return ConsoleInfo(
            uuid=self.uuid,
            known_by=self.known_by,
            port=self.port,
            name=self.told_name,
            title=self.title,
            uri=self.uri,
            bios_uuid=self.bios_uuid,
            location_uuid=self.location_uuid,
            state=self.state,
            since=self.since,
            reason=self.reason,
            host=self.host,
            encrypted=self.link is not None and self.link.encrypted,
            settings=self.settings,
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
            undelivered=self.undelivered,
            log=self.log.name,
            log_problem=self.log.problem,
            logging=self.logging,
            input_recorded=self.options.record_input,
            shared=self.options.shared,
            sequences=tuple(sequence.name for sequence in self.options.sequences),
            writers=tuple(writer.who for writer in self.writers[:NAMED]),
            writer_count=len(self.writers),
            viewers=() if self._viewers is None else self._viewers.info(NAMED),
            viewer_count=len(self.watchers),
            remote=remote,
            alerts=self.alerts,
            labels=self.labels,
        )

    # Facts.

    def recall(self, uri: str, host: str, since: float, reason: str) -> None:
        """Take the facts that were recorded before the process was started."""
        self.set_uri(uri)
        self.host = host
        self.since = since
        self.reason = reason

    def set_name(self, name: str) -> None:
        """Take another name, as the VM tells it; only the index of names calls this."""
        self.told_name = name
        self.name = undone(name)
        self._labels = None

    def set_uri(self, uri: str) -> bool:
        """Take the service URI of a connection.

        :returns: whether it is another one.
        """
        changed, self.uri = self.uri != uri, uri
        self._labels = None
        return changed

    def relabel(self) -> bool:
        """Work the labels out anew; :returns: whether they are others."""
        before = self.labels
        self._labels = None
        after = self.labels
        return (after.given, after.pairs) != (before.given, before.pairs)

    def set_vc_uuid(self, uuid: UUID | None, known_by: str = "") -> None:
        """Take the VC UUID that a connection has told, or what the VM is known by as it has told none."""
        self.vc_uuid = uuid
        self.known_by = known_by

    def set_uuids(self, bios: UUID | None, location: UUID | None) -> None:
        """Take the VM's other UUIDs; None leaves one as it is."""
        self.bios_uuid = bios or self.bios_uuid
        self.location_uuid = location or self.location_uuid

    def set_port_control(self, server: AccessServer | None, settings: str) -> None:
        """Take the state of COM-PORT, and the serial parameters as text."""
        self.port_control = server
        self.settings = settings

    def set_remote(self, remote: IRemoteEnd | None) -> None:
        """Take another remote end, or none."""
        self.remote = remote

    def set_options(self, options: ConsoleOptions) -> None:
        """Take other options, and tell the viewers what changes for them."""
        before = self.options
        if options is before:  # consoles with the same ones share them
            return
        self.options = options
        self.log.file.use(options.encoding)
        if options.record_input != before.record_input:
            self.log.event("input-recording", on=options.record_input)
            self.viewers.tell(InputRecorded(options.record_input))
        if before.shared and not options.shared:
            self.viewers.one_writer()

    def set_alerts(self, marks: AlertMarks) -> None:
        """Take the numbers of alerts that nobody has acknowledged."""
        self.alerts = marks

    # Up: from the VM to the log and the viewers.

    def feed(self, data: bytes) -> None:
        """Take output of the VM."""
        if self.logging:
            self.log.append(data)
        else:
            self.log.pass_over(len(data))
        if self._viewers is not None and self._viewers.all:
            self._viewers.output(data)

    def guest_break(self) -> None:
        """Take a break of the guest: told at most once a second, but to the remote end always."""
        if self.remote is not None:
            self.viewers.tell_one(self.remote, GuestBreak())
        now = self._context.clock.seconds()
        if not 0 <= now - self._guest_break < 1:
            self._guest_break = now
            self.log.event("guest-break")
            self.viewers.tell(GuestBreak(), but=self.remote)

    # Down: from the writer to the VM.

    @property
    def _input(self) -> InputQueue:
        if self._queue is None:
            self._queue = InputQueue(self)
        return self._queue

    def send(self, data: bytes, who: str = "") -> bool:
        """Send input to the VM, for a writer: see ``InputQueue.send``."""
        return self._input.send(data, who)

    def send_break(self, who: str, told: bool = True) -> bool:
        """Send a break to the guest, for a writer: see ``InputQueue.send_break``."""
        return self._input.send_break(who, told)

    @property
    def congested(self) -> bool:
        """Whether writers should hold their input."""
        return self._queue is not None and self._queue.congested

    @property
    def undelivered(self) -> int:
        """Bytes of input that wait."""
        return 0 if self._queue is None else self._queue.size

    @property
    def bytes_in(self) -> int:
        """Bytes to the VM since the start."""
        return 0 if self._queue is None else self._queue.delivered

    def link_ready(self) -> None:
        """Deliver queued input: the link takes data again."""
        self.input_may_flow()

    def input_may_flow(self) -> None:
        """Deliver queued input: a vMotion is over."""
        if self._queue is not None:
            self._queue.flow()

    # The link.

    def claim(self, link: ILink[Console], told: bool = True, name: str = "") -> None:
        """Put a connection into service that has identified itself as this console's.

        :param told: whether this is told: not where it happens again and again (see :meth:`unsteady`).
        :param name: the name of a console that is new, as it may be shown.
        """
        old = self.link
        if old is not None:
            self._use(None)
        away = max(0.0, self._context.wall() - self.since) if self.reason and self.since else None
        if old is None:
            self._context.totals.changes["up"] += 1
        elif told:
            reports.replaced(self, self._context.process_log, old.peer, link.peer)
        self.port_control = None
        self._serve(link, vmotion=False, away=away, told=told, name=name)
        if old is not None:
            self._links.read_out(old, close=True)

    def move_to(self, link: ILink[Console], took: float, old: ILink[Console] | None) -> None:
        """Put the destination of a vMotion into service, after ``took`` seconds; ``old`` is the source if it lives."""
        if self.link is None:
            self._context.totals.changes["up"] += 1
        self._serve(link, vmotion=True, away=took)
        if old is not None:
            self._links.read_out(old, close=False)

    def _use(self, link: ILink[Console] | None) -> None:
        self._context.totals.links((link is not None) - (self.link is not None))
        self.link = link

    def _serve(
        self, link: ILink[Console], vmotion: bool, away: float | None, told: bool = True, name: str = ""
    ) -> None:
        if not vmotion or self.reason:  # it may have been down when a late COMPLETE came
            self.since = self._context.wall()
        self._use(link)
        self.host = link.peer
        if self.reason:
            self.reason = ""
            self._context.turned(self)
        if told:
            reports.up(self, self._context.process_log, away, vmotion, name)
        self._links.add(link)
        self.input_may_flow()
        if told:
            self._context.remember(self)
        elif self.remote is not None:
            self.viewers.tell_one(self.remote, LineUp(link.peer, away, vmotion))  # it has waited for that

    def hold_for_migration(self, on: bool) -> None:
        """Hold input: a vMotion is pending. At its end, :meth:`input_may_flow` or :meth:`move_to` delivers it."""
        totals = self._context.totals
        if on:
            totals.migrating[self] = None
        else:
            totals.migrating.pop(self, None)
        self.migrating = on
        if on or self.link is not None:
            totals.changes["migrating" if on else "up"] += 1

    def link_lost(self, link: ILink[Console]) -> None:
        """Take the link in service out of service: its connection is gone, and another may follow."""
        self._use(None)
        self._links.gone(link)

    def last_words(self, link: ILink[Console]) -> None:
        """Take the early output of a vMotion's destination that is lost, as its source is."""
        self._links.last_words(link)

    def down(self, reason: str, told: bool = True) -> None:
        """Go down: the link is gone (see :meth:`link_lost`) and no other is expected.

        :param told: as for :meth:`claim`.
        """
        self.since = self._context.wall()
        self.reason = reason or "unknown"
        self._context.totals.changes["down"] += 1
        self._context.turned(self)
        if told:
            reports.down(self, self._context.process_log)
        if self._queue is not None:
            if size := self._queue.lose():
                self._context.totals.input_lost(size)
                self.log.event("input-lost", bytes=size)
                self.viewers.tell(InputLost(size))
            self._queue.relieve()
        if told:
            self._context.remember(self)

    def unsteady(self, times: int) -> None:
        """Tell that it was claimed so often within a minute, untold, and how it is now."""
        process_log = self._context.process_log
        reports.unsteady(self, process_log, times)
        self._context.trouble(Kind.UNSTEADY, f"connected anew {times} more times within a minute", self)
        if self.link is not None:
            reports.up(self, process_log)
        elif not self.migrating:
            reports.down(self, process_log)
        self._context.remember(self)

    # For operators.

    @property
    def can_be_forgotten(self) -> bool:
        """Whether it is down, and nothing more of it is on its way."""
        return self.link is None and not self.migrating and not self._links.all

    def has_not_come(self, since: float) -> None:
        """Be down since a time, at the latest: its VM was there when the process before this one ended."""
        self.since = since
        self._context.remember(self)

    def forget(self, who: str) -> None:
        """Be forgotten: the viewers are disconnected, and this is the last event of its trail."""
        self.forgotten = True
        self._context.totals.not_recorded(-(not self.logging))
        if self.remote is not None:
            self.remote.hang_up("its console is forgotten")
        for viewer in self.watchers:
            self.viewers.kick(viewer, who, "the console is forgotten")
        self.log.event("forgotten", who=who)

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
        self._record_output(on)
        if on:
            missing = self.log.resume("logging-on", who=who)
            self.viewers.tell(LoggingOn(who, missing))
        else:
            self.log.event("logging-off", who=who)
            self.viewers.tell(LoggingOff(who))

    def _record_output(self, on: bool) -> None:
        self._context.totals.not_recorded(self.logging - on)
        self.logging = on

    # Handing over.

    def snapshot(self, link: Callable[[ILink[Console]], str], viewer: Callable[[IViewer], str]) -> ConsoleState:
        """What it holds now, as a value.

        :param link: gives a link a name, ``viewer`` a viewer.
        """
        return ConsoleState(
            uri=self.uri,
            host=self.host,
            since=self.since,
            reason=self.reason,
            settings=self.settings,
            vc_uuid=self.vc_uuid,
            known_by=self.known_by,
            bios_uuid=self.bios_uuid,
            location_uuid=self.location_uuid,
            logging=self.logging,
            link=link(self.link) if self.link is not None else "",
            links=tuple(map(link, self._links.all)),
            input=self._input.snapshot(),
            viewers=self.viewers.snapshot(viewer),
        )

    def restore(self, state: ConsoleState, links: Mapping[str, ILink[Console]], viewers: Mapping[str, IViewer]) -> None:
        """Go on where another process was; nothing is told.

        :param links: the links by their names; those that are missing are lost.
        :param viewers: the viewers by their names.
        """
        self.recall(state.uri, state.host, state.since, state.reason)
        self.set_vc_uuid(state.vc_uuid, state.known_by)
        self.set_uuids(state.bios_uuid, state.location_uuid)
        self.settings = state.settings
        self._record_output(state.logging)
        self._use(links.get(state.link))
        self._input.restore(state.input)
        self.viewers.restore(state.viewers, viewers)
        there = [name for name in state.links if name in links]
        self._links.restore((links[name] for name in there), heard=there[:1] == list(state.links[:1]))

    # For the log.

    def log_failed(self, reason: str) -> None:
        """Tell that the log cannot be written."""
        self._context.trouble(Kind.LOG, f"the log cannot be written: {reason}; NOT being recorded", self)
        self.viewers.tell(LogFailed(reason))

    def log_recovered(self, lost: int) -> None:
        """Tell that the log is written again; ``lost`` bytes are missing."""
        self.viewers.tell(LogRecovered(lost))

    def log_congested(self, on: bool) -> None:
        """Hold output of the VM while the log is behind."""
        self._links.log_behind(on)

    def hold_for_remote(self, on: bool) -> None:
        """Hold output of the VM while its remote end reads too slowly."""
        self._links.remote_behind(on)
