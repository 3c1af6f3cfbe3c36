"""A network without sockets, for what is dialled: who is where, who answers, and what passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, NotConnectingError
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.vm import CAPTURED_LIST, DO_PROXY, KNOWN_1, NAME, NEGOTIATION, SPELLED_A, VC_UUID, Host, VMWorld, sub
from vmproxy.console.console import Console
from vmproxy.vm.outbound.connector import OutboundConnector
from vmproxy.vm.outbound.rules_file import parse_dial

OURS = "192.0.2.10"
TABLE = {"to": ["10.0.0.0/8", "*.example.com"], "ports": ["*"]}


def address(host: str, port: int) -> IAddress:
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, port)


class FarTransport(StringTransport):
    """The concentrator's end of a connection to a far end."""

    protocol: Any

    def __init__(self, clock: Clock, host: str, port: int, ours: str) -> None:
        super().__init__(hostAddress=address(ours, 50000), peerAddress=address(host, port), lenient=True)
        self._clock = clock
        self.lost = False

    def abortConnection(self) -> None:
        if not self.disconnected:
            super().abortConnection()
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            if not self.disconnected:
                self._clock.callLater(0, self.lose, ConnectionDone())

    def lose(self, why: Exception) -> None:
        if not self.lost:
            self.lost = self.disconnected = self.disconnecting = True
            self.protocol.connectionLost(Failure(why))


class Call:
    """A connection that the concentrator wants, and the far end of it once it is there."""

    transport: FarTransport

    def __init__(self, net: Net, host: str, port: int, factory: ClientFactory) -> None:
        self.net = net
        self.to = (host, port)
        self._factory = factory
        self.state = "connecting"

    def stopConnecting(self) -> None:
        if self.state != "connecting":
            raise NotConnectingError
        self.fail(ConnectionAborted())

    def fail(self, why: Exception | None = None) -> None:
        """Nobody answers."""
        self.state = "disconnected"
        self._factory.clientConnectionFailed(self, Failure(why or ConnectError()))  # type: ignore[arg-type]  # a connector
        self.net.world.turn()

    def answer(self, ours: str = OURS) -> Call:
        """It is there, from that address of ours."""
        self.state = "connected"
        self.transport = FarTransport(self.net.world.clock, *self.to, ours)
        protocol = self._factory.buildProtocol(self.transport.peerAddr)
        if protocol is None:
            self._factory.clientConnectionLost(self, Failure(ConnectionDone()))  # type: ignore[arg-type]  # a connector
            return self
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self.net.world.turn()
        return self

    def say(self, data: bytes) -> None:
        """The far end sends something; nothing arrives on a closed connection."""
        if not self.closed:
            self.transport.protocol.dataReceived(data)
            self.net.world.turn()

    def heard(self) -> bytes:
        """What has come to the far end since the last time somebody asked."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def lose(self, why: Exception | None = None) -> None:
        """The far end closes, or breaks."""
        self.transport.lose(why or ConnectionDone())
        self.net.world.turn()

    def full(self, on: bool) -> None:
        """The far end reads too slowly, or has caught up."""
        producer = self.transport.producer
        if on:
            producer.pauseProducing()
        else:
            producer.resumeProducing()

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting)

    @property
    def read(self) -> bool:
        """Whether the concentrator reads what the far end sends."""
        return bool(self.transport.producerState != "paused")


@implementer(IHostnameResolver)
class Net:
    """Everything that can be dialled.

    :ivar hosts: addresses by name.
    :ivar calls: what has been dialled, in order.
    :ivar asked: the names that were looked up.
    :ivar silent: whether name servers say nothing for now.
    """

    def __init__(self, world: VMWorld, *tables: dict[str, object]) -> None:
        self.world = world
        self.hosts: dict[str, Sequence[str]] = {}
        self.calls: list[Call] = []
        self.asked: list[str] = []
        self.silent = False
        self._waiting: list[Callable[[], None]] = []
        self.ours: set[object] = set()  # addresses of the machine itself
        self.audit: list[dict[str, object]] = []
        rules, problems = parse_dial(list(tables or (TABLE,)))
        assert not problems
        self.connector = OutboundConnector(
            self,  # type: ignore[arg-type]  # what of a reactor the connector needs
            world.clock,
            self,
            rules,
            0,
            self._record,
            world.front.turns,
            Random(1),
            self.ours.__contains__,
            lambda: world.front.admission.scarce,
        )
        world.front.broker.dial_with(self.connector)

    def _record(self, event: str, **fields: object) -> None:
        self.audit.append({"event": event, **fields})

    def use(self, *tables: dict[str, object]) -> None:
        """Take other rules."""
        rules, problems = parse_dial(list(tables))
        assert not problems
        self.connector.use(rules)
        self.world.turn()

    def connectTCP(self, host: str, port: int, factory: ClientFactory, timeout: float = 30) -> Call:
        call = Call(self, host, port, factory)
        self.calls.append(call)
        return call

    def resolveHostName(
        self,
        receiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)

        def answer() -> None:
            for host in self.hosts.get(hostName, ()):
                receiver.addressResolved(address(host, portNumber))
            receiver.resolutionComplete()

        if self.silent:
            self._waiting.append(answer)
        else:
            self.world.clock.callLater(0, answer)
        return receiver  # type: ignore[return-value]  # nobody cancels it

    def speak(self) -> None:
        """The name servers answer after all."""
        self.silent = False
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer()
        self.world.turn()

    @property
    def call(self) -> Call:
        """The last that was dialled."""
        return self.calls[-1]


def wish(uri: bytes, spelled: bytes = SPELLED_A, name: bytes = b"web") -> bytes:
    """Everything that a host says whose VM wants to be connected somewhere."""
    return (
        NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"C" + uri) + sub(VC_UUID, spelled) + sub(NAME, name)
    )


def client(net: Net, uri: bytes = b"tcp://10.1.2.3:4000") -> tuple[Host, Console]:
    """A host whose VM wants to be connected somewhere, and may; nobody has answered there yet."""
    host = net.world.connect().feed(wish(uri))
    net.world.turn()
    console = next(c for c in net.world.directory if c.link is host.protocol)
    host.sent()
    return host, console


def bridged(net: Net, uri: bytes = b"tcp://10.1.2.3:4000") -> tuple[Host, Console, Call]:
    """The same, and the far end is there."""
    host, console = client(net, uri)
    return host, console, net.call.answer()
