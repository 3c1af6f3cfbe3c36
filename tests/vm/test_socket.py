"""What the operating system has received already counts as received; and an orderly end that really comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet import main
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port, Server
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.vm import (
    ABORT,
    BEGIN,
    COM_PORT,
    COMPLETE,
    NAME,
    WILL,
    Host,
    HostTransport,
    VMWorld,
    com,
    session,
    sub,
    verb,
)
from vmproxy.vm.sockets import socket_of

SEQUENCE = b"\x01\x02\x03\x04"


@implementer(ISystemHandle)
class SocketTransport(HostTransport):
    """A connection whose bytes wait in a real socket until somebody reads them."""

    def __init__(self, clock: Clock, host: str) -> None:
        super().__init__(clock, host)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.reads = 0

    def getHandle(self) -> socket.socket:
        return self.near

    def doRead(self) -> object:
        self.reads += 1
        if self.disconnecting:
            return None
        try:
            data = self.near.recv(self.bufferSize)
        except BlockingIOError:
            return None
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def close(self) -> None:
        self.near.close()
        self.far.close()


class SocketHost(Host):
    """A host whose bytes arrive when the reactor gets to them, not when they are sent."""

    transport: SocketTransport

    def __init__(self, world: VMWorld, address: str) -> None:
        self.world = world
        self.transport = SocketTransport(world.clock, address)
        protocol = world.factory.buildProtocol(self.transport.peerAddr)
        assert protocol is not None
        self.protocol = self.transport.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def on_its_way(self, data: bytes) -> None:
        self.transport.far.sendall(data)


@pytest.fixture
def source(w: VMWorld) -> Iterator[SocketHost]:
    host = SocketHost(w, "10.0.0.1")
    host.feed(session())
    host.sent()
    yield host
    host.transport.close()


def test_what_the_source_sent_before_complete_comes_before_the_destinations_bytes(
    w: VMWorld, source: SocketHost
) -> None:
    destination = w.destination(source.begin()).feed(b"destination")
    source.on_its_way(b"source " * 1000)
    source.transport.far.close()
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert w.logged(w.console) == b"source " * 1000 + b"destination"
    assert w.console.link is destination.protocol


def test_an_abort_that_is_on_its_way_wins_over_complete(w: VMWorld, source: SocketHost) -> None:
    destination = w.destination(source.begin())
    w.console.send(b"held")
    source.on_its_way(b"x" + sub(ABORT) + b"y")
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert w.console.link is source.protocol
    assert source.data() == b"held"
    assert w.logged(w.console) == b"xy"


def test_a_begin_that_is_on_its_way_wins_over_complete(w: VMWorld, source: SocketHost) -> None:
    destination = w.destination(source.begin())
    source.on_its_way(sub(BEGIN, b"again"))
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert (w.console.state, w.console.link) == ("migrating", source.protocol)


def test_a_replaced_connections_last_bytes_come_before_the_new_ones(w: VMWorld, source: SocketHost) -> None:
    source.on_its_way(b"panic ")
    w.connect("10.0.0.2").feed(b"boot" + session())
    assert w.logged(w.console) == b"panic boot"


def test_what_was_on_its_way_is_recorded_when_the_process_is_stopped(w: VMWorld, source: SocketHost) -> None:
    source.on_its_way(b"goodbye")
    w.front.stop()
    assert w.logged(w.console) == b"goodbye"


@pytest.mark.parametrize("size", [1, 4096])
def test_however_little_is_read_at_a_time_all_of_it_is_taken_in(w: VMWorld, source: SocketHost, size: int) -> None:
    source.transport.bufferSize = size  # as of a host that was slowed down for its commands
    source.on_its_way(b"goodbye " * 1000)
    w.front.stop()
    assert w.logged(w.console) == b"goodbye " * 1000


def test_a_source_that_never_stops_sending_does_not_hold_up_the_vmotion(w: VMWorld, source: SocketHost) -> None:
    class Flood:
        def recv(self, size: int, flags: int = 0) -> bytes:
            return b"x" * size

    destination = w.destination(source.begin())
    near = source.transport.near
    source.transport.near = Flood()  # type: ignore[assignment]  # what is read of a socket
    source.transport.getHandle = lambda: near
    source.on_its_way(b"x")  # what is peeked at; it is never taken
    before = source.transport.reads
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert w.console.link is destination.protocol
    assert source.transport.reads - before <= 64
    source.transport.near = near


def test_a_connection_that_was_replaced_before_its_turn_tells_nothing_about_the_vm_any_more(
    w: VMWorld, source: SocketHost
) -> None:
    console = w.console
    read, source.transport.doRead = source.transport.doRead, lambda: None
    source.on_its_way(b"one ")  # so the next connection has to wait
    second = w.connect("10.0.0.2").feed(session(name=b"second") + verb(WILL, COM_PORT) + com(1, b"\0\0\x12\xc0"))
    second.feed(b"two ")
    third = w.connect("10.0.0.3").feed(session(name=b"third") + verb(WILL, COM_PORT) + com(1, b"\0\0\x25\x80"))
    third.feed(b"three")
    assert (console.name, console.settings[:4]) == ("third", "9600")
    source.transport.doRead = read
    source.transport.doRead()
    for _ in range(20):
        w.clock.advance(0.25)
    assert w.logged(console) == b"one two three"
    assert console.link is third.protocol
    assert (console.name, console.settings[:4]) == ("third", "9600")
    assert [e["name"] for e in w.trail(console, "name")] == ["web", "second", "third"]
    second.feed(com(1, b"\0\0\x12\xc0") + sub(NAME, b"second"))
    assert (console.name, console.settings[:4]) == ("third", "9600")


class Reactor:
    """As much of a reactor as a descriptor needs."""

    def __init__(self) -> None:
        self.writing: set[object] = set()

    def addReader(self, reader: object) -> None: ...

    def removeReader(self, reader: object) -> None: ...

    def addWriter(self, writer: object) -> None:
        self.writing.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writing.discard(writer)


class RealBuffer(FileDescriptor):
    """Twisted's own write buffer and its dealings with producers, without a socket."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]  # what of a reactor a buffer needs
        self.connected = 1
        self.wire = b""

    def writeSomeData(self, data: bytes) -> int:
        self.wire += bytes(data)
        return len(data)


@pytest.mark.parametrize("full", [False, True])
def test_a_stopped_connection_is_closed_once_its_last_bytes_are_out(w: VMWorld, full: bool) -> None:
    # Twisted does not close a connection, whose buffer was full, while a producer is registered (and one under TLS
    # in no case): it would hang until the host gives up.
    reactor = Reactor()
    transport = RealBuffer(reactor)
    protocol = w.factory.buildProtocol(w.connect("10.0.0.3").transport.peerAddr)
    assert protocol is not None
    protocol.makeConnection(transport)
    protocol.dataReceived(session())
    (console,) = w.directory
    if full:
        console.send(b"x" * 200_000)
        assert not protocol.ready
    w.front.stop()
    ended = None
    for _ in range(10):
        if transport not in reactor.writing:
            break
        ended = transport.doWrite()
        if ended is not None:
            break
    assert ended is main.CONNECTION_DONE
    assert b"x" * 200_000 in transport.wire or not full
    protocol.stopProducing()


def test_a_host_that_asks_and_never_reads_is_closed_whatever_the_buffer_says_of_itself(
    w: VMWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twisted says that a buffer is full at each write to it, not once.
    transport = RealBuffer(Reactor())
    aborted: list[bool] = []
    monkeypatch.setattr(transport, "abortConnection", lambda: aborted.append(True), raising=False)
    protocol = w.factory.buildProtocol(w.connect("10.0.0.3").transport.peerAddr)
    assert protocol is not None
    protocol.makeConnection(transport)
    protocol.dataReceived(session())
    asked = 0
    while not aborted and asked < 2**20:
        protocol.dataReceived(sub(99) * 100)
        asked += 600
    assert aborted


def test_a_transport_that_is_gone_has_no_socket() -> None:
    near, far = socket.socketpair()
    with near, far:
        server = Server(near, Protocol(), ("127.0.0.1", 1), cast(Port, None), 1, MemoryReactor())
        assert socket_of(server) is near
        server.connectionLost(Failure(ConnectionDone()))
        assert socket_of(server) is None
