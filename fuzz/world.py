"""A concentrator without sockets and without a disk: thousands a second can be made, used and thrown away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from vmproxy.console.console import Console
from vmproxy.console.journal import Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.log.audit import Audit
from vmproxy.log.store import LogStore
from vmproxy.log.writer import LogWriter
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.frontend import VMFrontend
from vmproxy.vm.settings import VMSettings
from vmproxy.vm.telnet import HostTelnet, VMFactory

NOWHERE = Path("/nonexistent")
SECRET = b"secretly"


class _NoDisk:
    """A writer's thread that does nothing: logs stay in memory, and go with the world."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer

    def start(self) -> None:
        """Nothing to start."""

    def submit(self, job: Callable[[], object]) -> None:
        """Forget the job."""

    def stop(self, done: Callable[[], object]) -> None:
        """Nothing to finish."""
        done()


class FuzzTransport(StringTransport):
    """A connection that is closed in the next turn of the reactor, as TCP connections are."""

    protocol: HostTelnet

    def __init__(self, clock: Clock, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000), lenient=True)
        self._clock = clock
        self._lost = False

    def abortConnection(self) -> None:
        """Closed by us, at once."""
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def loseConnection(self) -> None:
        """Closed by us, in order."""
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(0, self.lose, ConnectionDone())

    def lose(self, why: Exception) -> None:
        """The connection is gone."""
        if not self._lost:
            self._lost = self.disconnecting = True
            self.protocol.connectionLost(Failure(why))


class FuzzWorld:
    """The real parts, from the connection to the log's buffer; every vMotion has the same secret.

    :ivar output: what the consoles were fed, in order, by the number of the console.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        runner = _NoDisk(LogWriter(1, self.clock.seconds))
        inputs = Audit(NOWHERE / "input", runner.submit, self.clock)
        store = LogStore(NOWHERE / "logs", self.clock, runner, lambda call: call(), inputs)
        self.migrations = Migrations(self.clock, 60, lambda: SECRET)
        journal = Journal(NOWHERE / "journal", runner.submit)
        self.directory = ConsoleRegistry(self.clock, store, journal, self.migrations, "{uuid}.log")
        settings = VMSettings(service_uri=("vmproxy",), keep_idle=0, limits=AdmissionLimits(per_second=0))
        self.front = VMFrontend(self.clock, settings, self.directory, self.migrations, b"vmproxy", needs_name=False)
        self._factory = VMFactory(self.front)
        self._connected = 0

    def connect(self) -> FuzzTransport:
        """A connection from a host."""
        # Each from another address: one that has shown ten wrong pairs would be closed out.
        self._connected += 1
        transport = FuzzTransport(self.clock, f"198.18.{self._connected // 250 % 250}.{self._connected % 250}")
        protocol = self._factory.buildProtocol(transport.getPeer())
        assert protocol is not None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def consoles(self) -> list[Console]:
        """All consoles."""
        return list(self.directory)
