"""What all connections from hosts share: the consoles, the settings, deadlines, counters, bounded complaints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.console.directory import Directory
from vmproxy.console.migration import Migrations
from vmproxy.deadlines import Deadlines
from vmproxy.vm.liveness import Liveness

if TYPE_CHECKING:
    from vmproxy.vm.protocol import VMConnection

RETIRED_SECONDS = 10.0
COMPLAINTS_PER_MINUTE = 60

_log = Logger()


@dataclass(frozen=True, slots=True)
class VMSettings:
    """How VMs are served.

    :ivar service_uris: the services that are accepted; ``*`` is any.
    :ivar com_port: whether port control (RFC 2217) is accepted.
    :ivar keep_idle: seconds, as the hosts' serialN.keepIdle; 0 is off.
    :ivar identify_timeout: seconds that a connection has to say which VM it is.
    """

    service_uris: tuple[str, ...]
    com_port: bool
    keep_idle: int
    identify_timeout: float


class Hub:
    """The shared part of all connections.

    :ivar counters: how often what happened since the start.
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
    ) -> None:
        """
        :param signature: what a VM is told when it asks, over COM-PORT, who serves its port.
        :param needs_name: whether a VM's name must be known before its console, because logs are named after it.
        """
        self.clock = clock
        self.settings = settings
        self.directory = directory
        self.migrations = migrations
        self.signature = signature
        self.needs_name = needs_name
        self.counters: Counter[str] = Counter()
        self.stopping = False
        self.connections: set[VMConnection] = set()
        self.unidentified: Deadlines[VMConnection] = Deadlines(clock, settings.identify_timeout, _unidentified)
        self.retired: Deadlines[VMConnection] = Deadlines(clock, RETIRED_SECONDS, _still_there)
        self.liveness = Liveness(clock, settings.keep_idle)
        self._complaints = 0
        self._minute = 0.0

    def complain(self, kind: str, peer: str, what: str) -> None:
        """Count something that a peer did wrong and log it, at a bounded rate: a scan must not fill the disk."""
        self.counters[kind] += 1
        now = self.clock.seconds()
        if now - self._minute >= 60:
            if self._complaints > COMPLAINTS_PER_MINUTE:
                _log.warn("{n} more complaints about VMs were not logged", n=self._complaints - COMPLAINTS_PER_MINUTE)
            self._minute = now
            self._complaints = 0
        self._complaints += 1
        if self._complaints <= COMPLAINTS_PER_MINUTE:
            _log.warn("{peer}: {what}", peer=peer, what=what, kind=kind)

    def stop(self) -> None:
        """Take in what has reached us of every VM's output, and close all connections."""
        self.stopping = True
        # Destinations last: what they have kept is heard when their sources are gone.
        for connection in sorted(self.connections, key=lambda c: self.migrations.pending_at(c) is not None):
            connection.stop()
        self.migrations.stop()
        self.unidentified.stop()
        self.retired.stop()
        self.liveness.stop()


def _unidentified(connection: VMConnection) -> None:
    if not connection.identify(late=True):
        connection.give_up("it did not say which VM it is in time")


def _still_there(connection: VMConnection) -> None:
    connection.drain(None)
    connection.close("its VM has moved to another connection")
