"""The VM front: settings and services that all connections from hosts share."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.deadlines import Deadlines
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.migration import Migration
from vmproxy.console.migrations import Migrations
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.errors import VMProxyError
from vmproxy.vm.admission import Admission
from vmproxy.vm.broker import Asker, Complaints, ConsoleBroker
from vmproxy.vm.connection_state import DeadlineAges
from vmproxy.vm.extension import Terms
from vmproxy.vm.keepalive import Liveness, change_options, set_options
from vmproxy.vm.peer_lockout import PeerLockout
from vmproxy.vm.settings import ClientWord, VMSettings
from vmproxy.vm.sockets import socket_of
from vmproxy.vm.tls import HostTLS
from vmproxy.vm.traces import OBSERVERS, Observer, Traceable, Traces
from vmproxy.vm.wire_trace import Told

RETIRED_SECONDS = 10.0
UNMISSED_SECONDS = 2.0  # a host that has not said its identity by then is none, or has a very slow network
SOCKETS_PER_TURN = 256
HELD_SECONDS = 1.0
UNDECIDED_SECONDS = 2.0

_log = Logger()


class TooManyTraces(VMProxyError):
    """No more traces can be begun."""


class HostConnection(Asker, Traceable, Protocol):
    """A connection from a host."""

    @property
    def transport(self) -> object:
        """Where its socket is."""

    def __hash__(self) -> int:
        """It is the key of its deadlines."""

    def identify(self, overdue: bool = False) -> bool:
        """Claim the console, if it is known which, with or without its name.

        :param overdue: without a VC UUID too.
        :returns: whether there is nothing more that the host has to say for it.
        """

    def give_up(self, reason: str) -> None:
        """Close, and complain about it."""

    def close_behind(self, reason: str) -> None:
        """Close; what the host has sent before is still taken in."""

    def handshake_overdue(self) -> None:
        """See what to do about a TLS handshake that has had its time."""

    def look_while_held(self) -> None:
        """See whether the host is still there while it is not read from."""

    def stop(self) -> None:
        """Take in what has arrived, and close in order."""


class VMFrontend:
    """The settings and services that all connections from hosts share.

    :ivar turns: the time in each turn of the reactor for Telnet commands and TLS handshakes.
    :ivar tls: TLS towards hosts, as the configuration has it now.
    :ivar admission: who may connect.
    :ivar lockout: the addresses that guess the pairs of vMotions.
    :ivar broker: answers what sessions ask.
    :ivar terms: what sessions share.
    :ivar traces: what is traced, and for whom.
    :ivar inherited: whether connections have their socket options from the socket that they came by.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: VMSettings,
        directory: ConsoleRegistry,
        migrations: Migrations,
        signature: bytes,
        needs_name: bool,
        room: int = 1_000_000,
        give_back: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param signature: what a VM is told when it asks, over COM-PORT, who serves its port.
        :param needs_name: whether a VM's name must be known before its console, because logs are named after it.
        :param room: how many connections there can be, whatever the settings say.
        :param give_back: starts giving freed memory back to the operating system.
        """
        self.clock = clock
        self._directory = directory
        self.settings = settings
        self.turns = Turns(clock)
        self.complaints = Complaints(clock)
        self.tls = HostTLS(clock, self.turns, give_back)
        self.admission = Admission(clock, settings.limits, room, self._make_room, self._outbound_sockets)
        self.lockout = PeerLockout(clock)
        self.broker = ConsoleBroker(directory, migrations, self.lockout, self.complaints)
        client_word = settings.client_word is ClientWord.SERVE
        self.terms = Terms(settings.service_uri, signature, needs_name, self._dials, client_word)
        self.inherited = False
        self.traces: Traces[HostConnection] = Traces(clock, self._carried)
        self.connections: set[HostConnection] = set()
        self.unidentified: Deadlines[HostConnection] = Deadlines(clock, settings.identify_timeout, self._overdue)
        self.handshakes: Deadlines[HostConnection] = Deadlines(clock, settings.handshake_timeout, self._no_handshake)
        self.retired: Deadlines[HostConnection] = Deadlines(clock, RETIRED_SECONDS, self._still_there)
        self.held: Deadlines[HostConnection] = Deadlines(clock, HELD_SECONDS, self._still_held)
        self.undecided: Deadlines[HostConnection] = Deadlines(clock, UNDECIDED_SECONDS, self._undecided)
        self.liveness = Liveness(clock, settings.keep_idle)
        self._migrations = migrations
        self.traces.log(self._to_trace(settings.trace), ())

    @property
    def counters(self) -> Counter[str]:
        """The number of events of each kind since the start."""
        return self.complaints.counters

    def reconfigure(self, settings: VMSettings) -> None:
        """Take other settings.

        Connections that are there keep what was agreed on, and none has to go.
        """
        before, self.settings = self.settings, settings
        self.terms.accept(settings.service_uri, settings.client_word is ClientWord.SERVE)
        self.admission.reconfigure(settings.limits)
        self.traces.log(self._to_trace(settings.trace), self.connections)
        self.unidentified.use(settings.identify_timeout)
        self.liveness.use(settings.keep_idle)
        self.handshakes.use(settings.handshake_timeout)
        if settings.keep_idle != before.keep_idle:
            self._probe(list(self.connections), settings.keep_idle)

    def pending_at(self, connection: Asker) -> Migration | None:
        """The pending vMotion that a connection is the destination of."""
        return self._migrations.pending_at(connection)

    def trace(self, told: Told, hosts: Iterable[str] = (), console: Console | None = None) -> Callable[[], None]:
        """Tell an observer what is said to hosts and by them, or on the connections of a console.

        :param told: called with each line.
        :returns: ends it.
        :raises TooManyTraces: if there are enough of them.
        """
        if self.traces.full:
            raise TooManyTraces(f"{OBSERVERS} traces are running already")
        observer = Observer(told, hosts, console)
        self.traces.add(observer, self.connections)
        return lambda: self.traces.remove(observer, self.connections)

    def _carried(self, connection: HostConnection) -> Console | None:
        pending = self._migrations.pending_at(connection)
        return connection.console if pending is None else pending.console

    def _to_trace(self, wanted: tuple[str, ...]) -> frozenset[str]:
        # A name stands for the host that its VM is on now, or was on last.
        hosts = {console.host for console in self._directory if console.name in wanted} if wanted else set()
        return frozenset((*wanted, *hosts))

    def prepare(self, listening: socket.socket) -> None:
        """Set options of a listening socket, where its connections inherit them.

        That saves seven calls for each in a storm. Linux hands them on (man 7 tcp and socket; tcp_create_openreq_child
        begins with a copy).
        """
        if sys.platform == "linux":
            self.inherited = True
            set_options(listening, self.settings.keep_idle)
            change_options(listening, self.settings.keep_idle)  # another time may have held for it until now

    def _probe(self, connections: list[HostConnection], keep_idle: int) -> None:
        # A few at a time: with thousands of connections the others would have to wait.
        if keep_idle != self.settings.keep_idle:
            return  # the settings have changed again
        for connection in connections[:SOCKETS_PER_TURN]:
            handle = socket_of(connection.transport) if connection in self.connections else None
            if handle is not None:
                try:
                    change_options(handle, keep_idle)
                except OSError as error:
                    _log.debug("{peer}: {error}", peer=connection.peer, error=error)  # it is gone
        if rest := connections[SOCKETS_PER_TURN:]:
            self.clock.callLater(0, self._probe, rest, keep_idle)

    def _outbound_sockets(self) -> int:
        outbound = self.broker.outbound
        return 0 if outbound is None else outbound.sockets

    def _dials(self) -> bool:
        outbound = self.broker.outbound
        return outbound is not None and outbound.offered

    def _make_room(self, live: int) -> None:
        oldest = self.unidentified.oldest()
        if oldest is None or oldest[1] < UNMISSED_SECONDS:
            # Of those that are identified, one that has never printed anything, of an address that has far more.
            silent = self._directory.silent_host()
            if silent and self.admission.live(silent) > 2 * (live + 1):
                self._directory.displace()
            return
        connection = oldest[0]
        self.unidentified.discard(connection)
        if not connection.identify():
            connection.give_up("its place is needed, it has not said which VM it is")

    def ages(self, connection: HostConnection) -> DeadlineAges:
        """How much of its deadlines is over for a connection."""
        unidentified, undecided = self.unidentified.age(connection), self.undecided.age(connection)
        return DeadlineAges(unidentified, undecided, self.retired.age(connection))

    def restore_ages(self, all_ages: Mapping[HostConnection, DeadlineAges]) -> None:
        """Let the deadlines of connections go on where they were in another process."""
        for name in ("unidentified", "undecided", "retired"):
            deadlines: Deadlines[HostConnection] = getattr(self, name)
            running: dict[HostConnection, float] = {
                link: age for link, ages in all_ages.items() if (age := getattr(ages, name)) is not None
            }
            for link in sorted(running, key=lambda link: -running[link]):  # the first to expire first
                deadlines.start(link, running[link])

    def forget(self, connection: HostConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.admission.leave(connection.peer)
        self.unidentified.discard(connection)
        self.handshakes.discard(connection)
        self.retired.discard(connection)
        self.held.discard(connection)
        self.undecided.discard(connection)
        self.liveness.discard(connection)

    def stop(self) -> None:
        """Take in what has arrived of every VM's output, and close all connections."""
        self.broker.stop()
        # Destinations last: what they have kept is heard when their sources are gone.
        for connection in sorted(self.connections, key=lambda c: self._migrations.pending_at(c) is not None):
            try:
                connection.stop()
            except Exception:
                _log.failure("{peer}: the connection could not be ended in order", peer=connection.peer)
        self._migrations.stop()
        self.unidentified.stop()
        self.handshakes.stop()
        self.retired.stop()
        self.held.stop()
        self.undecided.stop()
        self.liveness.stop()

    # Deadlines.

    def _overdue(self, connection: HostConnection) -> None:
        if not connection.identify(overdue=True):
            what = "switch to TLS, which is required," if connection.session.guarded else "say which VM it is"
            connection.give_up(f"it did not {what} in time")

    def _undecided(self, connection: HostConnection) -> None:
        connection.identify()

    def _no_handshake(self, connection: HostConnection) -> None:
        connection.handshake_overdue()

    def _still_there(self, connection: HostConnection) -> None:
        connection.close_behind("its VM has moved to another connection")

    def _still_held(self, connection: HostConnection) -> None:
        connection.look_while_held()
