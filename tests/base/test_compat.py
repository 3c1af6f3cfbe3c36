"""The private names of Twisted that are used: each test fails when Twisted changes one."""

from __future__ import annotations

import ast
import hashlib
import inspect
import socket
import struct
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType
from typing import cast

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import Connection, Server
from twisted.internet.testing import MemoryReactor
from twisted.logger import capturedLogs
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from vmproxy.base.compat import QuickServer, has_unsent, quicken, unsent


def test_a_tcp_transport_knows_what_waits_to_be_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = Connection(ours, Protocol(), MemoryReactor())
        transport.connected = True
        assert not has_unsent(transport)
        transport.write(b"later")
        assert has_unsent(transport)  # in the list of new pieces
        assert unsent(transport) == 5
        transport.doWrite()
        assert not has_unsent(transport)
        assert theirs.recv(100) == b"later"
        transport.dataBuffer = b"rest"  # what a full socket left over
        transport.offset = 1
        assert has_unsent(transport)
        assert unsent(transport) == 3
        transport.dataBuffer, transport.offset = b"", 0
        transport.loseConnection()
        assert has_unsent(transport)


# The reactor's turn, and accepted connections.

TAKEN_OVER = {
    # What our own do in the place of Twisted's, as it is in the release that they were written for. If one of these
    # fails, read what has changed in Twisted, follow it in compat.py, and put the new sum here.
    EPollReactor.doPoll: "63d8cd39bc3446b4",
    EPollReactor._doReadOrWrite: "1c2b886057898f07",
    EPollReactor._disconnectSelectable: "144c8af08c8e2e6e",
    FileDescriptor.__init__: "aa5a15c0c73aee75",
    Connection.__init__: "4df0f1edc702946f",
    Connection.doRead: "7400095c2d5e647d",
    Connection._dataReceived: "14f89f05f87abd28",
    Connection.writeSomeData: "ccd168f06f979ebd",
    Connection.connectionLost: "1e21741121f2a771",
    Server.__init__: "1db4dd50b3ec6a02",
    HTTPChannel._respondToBadRequestAndDisconnect: "d0d8f581fef4f1f7",
}


def code_of(function: FunctionType) -> str:
    """The code without comments, documentation and blanks, as a sum."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


@pytest.mark.parametrize("function", [pytest.param(f, id=f.__qualname__) for f in TAKEN_OVER])
def test_what_we_do_ourselves_is_as_it_was_in_twisted(function: FunctionType) -> None:
    assert {function: code_of(function)}.items() <= TAKEN_OVER.items()


class Lines(LineReceiver):
    """Remembers what came."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.lost: list[str] = []

    def lineReceived(self, line: bytes) -> None:
        if line == b"fail":
            raise RuntimeError("on purpose")
        self.got.append(line)
        self.sendLine(line.upper())

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's has a default
        self.lost.append(type(reason.value).__name__)


class Served:
    """A port on a reactor of its own, and the protocols that it made."""

    def __init__(self, quick: bool) -> None:
        self.reactor = EPollReactor()
        self.protocols: list[Lines] = []
        factory = Factory.forProtocol(Lines)
        factory.buildProtocol = self._build  # type: ignore[assignment]  # a factory of one method
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        if quick:
            assert quicken(self.reactor)
            self.port.transport = QuickServer
        self.where = ("127.0.0.1", self.port.getHost().port)

    def _build(self, _: object) -> Lines:
        self.protocols.append(Lines())
        return self.protocols[-1]

    def until(self, done: Callable[[], object]) -> None:
        while not done():
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(1)

    def stop(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()


def read_exactly(client: socket.socket, served: Served, size: int) -> bytes:
    client.setblocking(False)
    got = bytearray()

    def read() -> bool:
        with suppress(BlockingIOError):
            got.extend(client.recv(size - len(got)))
        return len(got) == size

    served.until(read)
    return bytes(got)


@pytest.fixture(params=[False, True], ids=["stock", "quick"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    there = Served(request.param)
    yield there
    there.stop()


def test_a_quick_connection_does_what_a_stock_one_does(served: Served) -> None:
    with socket.create_connection(served.where) as client:
        client.sendall(b"one\r\ntwo\r\n")
        served.until(lambda: served.protocols and len(served.protocols[0].got) == 2)
        assert read_exactly(client, served, 10) == b"ONE\r\nTWO\r\n"
        transport = cast(Server, served.protocols[0].transport)
        assert transport.getPeer() == IPv4Address("TCP", *client.getsockname())
        assert transport.getHost() == IPv4Address("TCP", *served.where)
        assert ITCPTransport.providedBy(transport)
        number = client.getsockname()[1] if type(transport) is QuickServer else 0
        assert repr(transport) == f"<Lines #{number} on {served.where[1]}>"
        assert transport.logPrefix() == f"Lines,{number},127.0.0.1"
        client.shutdown(socket.SHUT_WR)
        served.until(lambda: served.protocols[0].lost)
    assert served.protocols[0].lost == ["ConnectionDone"]


def test_more_than_the_socket_takes_is_sent_in_the_end(served: Served) -> None:
    with socket.create_connection(served.where) as client:
        served.until(lambda: served.protocols)
        transport = cast(Server, served.protocols[0].transport)
        data = bytes(range(256)) * 40_000
        transport.write(data)
        transport.loseConnection()
        client.setblocking(False)
        got = bytearray()

        def read() -> bool:
            with suppress(BlockingIOError):
                got.extend(client.recv(1 << 20))
            return bool(served.protocols[0].lost)

        served.until(read)
        client.setblocking(True)
        while more := client.recv(1 << 20):
            got += more
    assert got == data


def test_a_reset_is_a_lost_connection(served: Served) -> None:
    client = socket.create_connection(served.where)
    served.until(lambda: served.protocols)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    served.until(lambda: served.protocols[0].lost)
    assert served.protocols[0].lost == ["ConnectionLost"]


def test_a_protocol_that_fails_loses_its_connection_and_no_other(served: Served) -> None:
    with socket.create_connection(served.where) as bad, socket.create_connection(served.where) as good:
        served.until(lambda: len(served.protocols) == 2)
        with capturedLogs() as logged:
            bad.sendall(b"fail\r\n")
            served.until(lambda: any(p.lost for p in served.protocols))
        assert [p.lost for p in served.protocols if p.lost] == [["RuntimeError"]]
        assert "on purpose" in str(logged)
        good.sendall(b"still\r\n")
        served.until(lambda: any(p.got == [b"still"] for p in served.protocols))


def test_ipv6_addresses_are_told() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        port = MemoryReactor().listenTCP(0, Factory())
        address = ("::1", 5000, 0, 0)
        transport = QuickServer(ours, Lines(), address, port, 1, MemoryReactor())
        assert isinstance(transport.getPeer(), IPv6Address)
        ours.close()


def test_a_reactor_of_another_make_is_left_alone() -> None:
    reactor = SelectReactor()
    assert not quicken(reactor)
    assert "doIteration" not in vars(reactor)
    assert not quicken(MemoryReactor())
