"""What all connections from hosts share: the consoles, the settings, deadlines, counters, bounded complaints."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.deadlines import Deadlines
from vmproxy.base.ratelimit import RateLimit
from vmproxy.console.migration import Migrations
from vmproxy.console.registry import Directory
from vmproxy.vm.admission import Admission
from vmproxy.vm.keepalive import Liveness, change_options, set_options
from vmproxy.vm.settings import VMSettings
from vmproxy.vm.sockets import socket_of
from vmproxy.vm.tls import HostTLS

if TYPE_CHECKING:
    from vmproxy.vm.connection import VMConnection
    from vmproxy.vm.outbound.connector import Dialler
    from vmproxy.vm.telnet import HostLine

RETIRED_SECONDS = 10.0
COMPLAINTS_PER_MINUTE = 60
UNMISSED_SECONDS = 2.0  # who has not said by then who it is has other things in mind, or a very slow network
SOCKETS_PER_TURN = 256
HELD_SECONDS = 1.0

_log = Logger()


class Hub:
    """The shared part of all connections.

    :ivar counters: how often what happened since the start.
    :ivar tls: TLS towards hosts, as the configuration has it now.
    :ivar admission: who may connect.
    :ivar early: bytes of output that wait because nobody knows yet whose they are.
    :ivar inherited: whether connections have their socket options from the socket that they came by.
    :ivar stopping: whether the process is being stopped: no vMotion can be served any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: VMSettings,
        directory: Directory,
        migrations: Migrations,
        signature: bytes,
        needs_name: bool,
        room: int = 1_000_000,
    ) -> None:
        """
        :param signature: what a VM is told when it asks, over COM-PORT, who serves its port.
        :param needs_name: whether a VM's name must be known before its console, because logs are named after it.
        :param room: how many connections there can be, whatever the settings say.
        """
        self.clock = clock
        self.settings = settings
        self.directory = directory
        self.migrations = migrations
        self.signature = signature
        self.needs_name = needs_name
        self.dialler: Dialler | None = None  # where VMs with direction "client" are served
        self.counters: Counter[str] = Counter()
        self.tls = HostTLS(clock)
        self.admission = Admission(clock, settings.limits, room, self._make_room, self._far_ends)
        self.inherited = False
        self.early = 0
        self.stopping = False
        self.connections: set[VMConnection] = set()
        self.unidentified: Deadlines[VMConnection] = Deadlines(clock, settings.identify_timeout, _unidentified)
        self.handshakes: Deadlines[HostLine] = Deadlines(clock, settings.handshake_timeout, _no_handshake)
        self.retired: Deadlines[VMConnection] = Deadlines(clock, RETIRED_SECONDS, _still_there)
        self.held: Deadlines[VMConnection] = Deadlines(clock, HELD_SECONDS, _held)
        self.liveness = Liveness(clock, settings.keep_idle)
        self._complaints = RateLimit(clock, COMPLAINTS_PER_MINUTE, 60.0, _more_complaints)

    def use(self, settings: VMSettings) -> None:
        """Take other settings. What was agreed on with who is connected already stays agreed, and nobody has to go."""
        before, self.settings = self.settings, settings
        self.admission.use(settings.limits)
        self.unidentified.use(settings.identify_timeout)
        self.liveness.use(settings.keep_idle)
        self.handshakes.use(settings.handshake_timeout)
        if settings.keep_idle != before.keep_idle:
            self._probe(list(self.connections), settings.keep_idle)

    def prepare(self, listening: socket.socket) -> None:
        """Set options of a listening socket, where its connections have them too: in a storm, seven calls for each.

        Linux hands them on (man 7 tcp and socket; tcp_create_openreq_child begins with a copy).
        """
        if sys.platform == "linux":
            self.inherited = True
            set_options(listening, self.settings.keep_idle)
            change_options(listening, self.settings.keep_idle)  # another time may have held for it until now

    def _probe(self, connections: list[VMConnection], keep_idle: int) -> None:
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

    def _far_ends(self) -> int:
        return 0 if self.dialler is None else self.dialler.sockets

    def _make_room(self) -> None:
        oldest = self.unidentified.oldest()
        if oldest is None or oldest[1] < UNMISSED_SECONDS:
            return
        connection = oldest[0]
        self.unidentified.discard(connection)
        if not connection.identify(late=True):
            connection.give_up("its place is needed, it has not said which VM it is")

    def complain(self, kind: str, peer: str, what: str) -> None:
        """Count something that a peer did wrong and log it, at a bounded rate: a scan must not fill the disk."""
        self.counters[kind] += 1
        if self._complaints.allow():
            _log.warn("{peer}: {what}", peer=peer, what=what, kind=kind)

    def stop(self) -> None:
        """Take in what has reached us of every VM's output, and close all connections."""
        self.stopping = True
        # Destinations last: what they have kept is heard when their sources are gone.
        for connection in sorted(self.connections, key=lambda c: self.migrations.pending_at(c) is not None):
            connection.stop()
        self.migrations.stop()
        self.unidentified.stop()
        self.handshakes.stop()
        self.retired.stop()
        self.held.stop()
        self.liveness.stop()


def _more_complaints(skipped: int) -> None:
    _log.warn("{n} more complaints about VMs were not logged", n=skipped)


def _unidentified(connection: VMConnection) -> None:
    if not connection.identify(late=True):
        what = "switch to TLS, which is required," if connection.guarded else "say which VM it is"
        connection.give_up(f"it did not {what} in time")


def _no_handshake(line: HostLine) -> None:
    line.handshake_overdue()


def _still_there(connection: VMConnection) -> None:
    connection.drain(None)
    connection.close("its VM has moved to another connection")


def _held(connection: VMConnection) -> None:
    connection.look_while_held()
