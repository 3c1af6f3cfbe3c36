"""A small concentrator in memory, which the simulator's tests connect to: written against the wire's description, with
switches for everything that it may do wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.sim.fleet import identity
from vmproxy.wire import telnet as t
from vmproxy.wire.vmware import SUPPORTED, Sub, message

SALVO = b"".join(
    t.negotiation(verb, option)
    for verb, option in (
        (t.WILL, t.BINARY),
        (t.WILL, t.SGA),
        (t.WILL, t.ECHO),
        (t.DO, t.BINARY),
        (t.DO, t.SGA),
        (t.DO, t.VMWARE_EXT),
        (t.DONT, t.AUTHENTICATION),
    )
)
WHO = identity("test", 0, "web01")


def ext(code: int, parameters: bytes = b"") -> bytes:
    return t.subnegotiation(t.VMWARE_EXT, message(code, parameters))


LISTED = ext(Sub.KNOWN_SUBOPTIONS_2, SUPPORTED)


class Transport(StringTransport):
    """Knows how it was closed."""

    closed = ""

    def loseConnection(self) -> None:
        super().loseConnection()
        self.closed = self.closed or "lost"

    def abortConnection(self) -> None:
        super().abortConnection()
        self.closed = "aborted"


class Link:
    """One connection, seen from the proxy."""

    def __init__(self, net: Net, protocol: Any) -> None:
        self.net = net
        self.protocol = protocol
        self.transport = Transport()
        self.scanner = t.Scanner()
        self.data = b""  # serial data that came
        self.said: list[tuple[int, bytes]] = []  # suboptions that came
        self.verbs: list[tuple[int, int]] = []
        self.com: list[bytes] = []
        self.gone = False

    def codes(self) -> list[int]:
        return [code for code, _ in self.said]

    def last(self, code: int) -> bytes:
        return [parameters for what, parameters in self.said if what == code][-1]

    def tell(self, data: bytes) -> None:
        if not self.gone:
            self.protocol.dataReceived(data)

    def drop(self) -> None:
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionLost()))

    def pump(self) -> bool:
        data = self.transport.value()
        self.transport.clear()
        for token in self.scanner.feed(data):
            if isinstance(token, bytes):
                self.data += token
            elif isinstance(token, t.Negotiation):
                self.verbs.append((token.verb, token.option))
                self.net.negotiated(self, token)
            elif isinstance(token, t.Subnegotiation) and token.option == t.VMWARE_EXT:
                self.said.append((token.payload[0], token.payload[1:]))
                self.net.journal.append((self, Sub(token.payload[0])))
                self.net.extension(self, token.payload[0], token.payload[1:])
            elif isinstance(token, t.Subnegotiation):
                self.com.append(token.payload)
            else:
                raise AssertionError(f"the host sent {token}")
        if self.transport.closed and not self.gone:
            self.gone = True
            self.net.journal.append((self, "closed"))
            self.protocol.connectionLost(Failure(ConnectionDone()))
            return True
        return bool(data)


@implementer(IStreamClientEndpoint)
class Net:
    """The endpoint that VMs connect through, and the proxy behind it.

    ``answers`` replaces what the proxy does with a suboption: a callable, or None for silence.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.links: list[Link] = []
        self.journal: list[tuple[Link, object]] = []
        self.answers: dict[int, Callable[[Link, bytes], None] | None] = {}
        self.refuse = False
        self.secret = b"secret\x01\x02"

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuse:
            return fail(ConnectError(string="refused"))
        protocol = factory.buildProtocol(None)
        link = Link(self, protocol)
        self.links.append(link)
        protocol.makeConnection(link.transport)
        link.tell(SALVO)
        return succeed(protocol)

    def pump(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        busy = [True]
        while any(busy):
            busy = [link.pump() for link in self.links if not link.gone]
            self.clock.advance(0)

    def negotiated(self, link: Link, token: t.Negotiation) -> None:
        if (token.verb, token.option) == (t.WILL, t.VMWARE_EXT):
            link.tell(LISTED)
        elif (token.verb, token.option) == (t.WILL, t.COM_PORT):
            link.tell(t.negotiation(t.DO, t.COM_PORT))

    def extension(self, link: Link, code: int, parameters: bytes) -> None:
        if code in self.answers:
            answer = self.answers[code]
            if answer is not None:
                answer(link, parameters)
        elif code == Sub.DO_PROXY:
            link.tell(ext(Sub.GET_VM_VC_UUID) + ext(Sub.GET_VM_NAME) + ext(Sub.WILL_PROXY))
        elif code == Sub.VMOTION_BEGIN:
            link.tell(ext(Sub.VMOTION_GOAHEAD, parameters + self.secret))
        elif code == Sub.VMOTION_PEER:
            assert parameters.endswith(self.secret)
            link.tell(ext(Sub.VMOTION_PEER_OK, parameters.removesuffix(self.secret)))
