"""Listening sockets that change: what is open then, and what comes back if it cannot be."""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol

from vmproxy.app.descriptors import SpareDescriptor
from vmproxy.app.listeners import ACCEPTS_AT_ONCE, CannotListen, Listeners

LOOPBACK = "tcp:0:interface=127.0.0.1"


class World:
    """Listeners on a reactor of their own, which runs only while something is waited for."""

    def __init__(self) -> None:
        self.reactor = EPollReactor()
        self.spare = SpareDescriptor()
        self.listeners = Listeners(self.reactor, Factory.forProtocol(Protocol), self.spare)

    def change(self, *descriptions: str) -> None:
        self.wait(self.listeners.change(descriptions))

    def wait(self, coroutine: Coroutine[Deferred[Any], Any, object]) -> None:
        done: list[object] = []
        waiting: Deferred[object] = ensureDeferred(coroutine)
        waiting.addBoth(done.append)
        for _ in range(100):
            if done:
                break
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)
        (result,) = done
        if hasattr(result, "raiseException"):
            result.raiseException()

    def ports(self) -> list[int]:
        return [int(address.rpartition(":")[2]) for address in self.listeners.addresses]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.wait(world.listeners.close())
    world.spare.close()
    for reader in world.reactor.removeAll():
        reader.connectionLost(None)
    world.reactor._poller.close()


def test_those_that_stay_are_not_touched(world: World) -> None:
    world.listeners.open([LOOPBACK])
    (port,) = world.ports()
    world.change(LOOPBACK, LOOPBACK + ":backlog=7")
    first, second = world.ports()
    assert first == port != second
    world.change(LOOPBACK + ":backlog=7")
    assert world.ports() == [second]
    world.change(LOOPBACK + ":backlog=7", LOOPBACK + ":backlog=7")
    assert world.ports() == [second]


def test_the_same_port_otherwise_takes_the_place_of_the_old_one(world: World) -> None:
    world.listeners.open([LOOPBACK])
    (port,) = world.ports()
    world.change(f"tcp:{port}")
    assert world.listeners.addresses == [f"0.0.0.0:{port}"]


def test_what_cannot_be_had_leaves_everything_as_it_was_on_the_same_ports(world: World) -> None:
    world.listeners.open([LOOPBACK, LOOPBACK + ":backlog=7"])
    before = world.listeners.addresses
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen, match="Address already in use"):
            world.change(LOOPBACK + ":backlog=9", taken)
        assert world.listeners.addresses == before
        with pytest.raises(CannotListen, match="Address already in use"):
            world.change(LOOPBACK, LOOPBACK + ":backlog=7", taken)
        assert world.listeners.addresses == before
    with pytest.raises(CannotListen, match="Cannot assign requested address"):
        world.change("tcp:0:interface=192.0.2.1")
    assert world.listeners.addresses == before
    world.change(taken)
    assert len(world.ports()) == 1


def test_a_unix_socket_with_other_permissions(world: World, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    world.listeners.open([f"unix:{path}:mode=600"])
    assert path.stat().st_mode & 0o777 == 0o600
    world.change(f"unix:{path}:mode=660")
    assert path.stat().st_mode & 0o777 == 0o660


def test_who_connects_is_accepted_and_stays_when_the_socket_goes(world: World) -> None:
    world.listeners.open([LOOPBACK])
    (port,) = world.ports()
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        accepted = len(world.reactor.getReaders())
        while len(world.reactor.getReaders()) == accepted:
            world.reactor.doIteration(1)
        world.change(LOOPBACK + ":backlog=7")
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 30)


def test_a_crowd_is_accepted_over_several_turns(world: World) -> None:
    world.listeners.open([LOOPBACK])
    (port,) = world.ports()
    clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(3 * ACCEPTS_AT_ONCE)]
    before = now = len(world.reactor.getReaders())
    while now < before + len(clients):
        then = now
        world.reactor.doIteration(1)
        now = len(world.reactor.getReaders())
        assert now <= then + ACCEPTS_AT_ONCE
    for client in clients:
        client.close()


def test_an_endpoint_that_cannot_be_at_the_start_is_told(world: World) -> None:
    with pytest.raises(CannotListen, match="cannot listen on tcp:0"):
        world.listeners.open(["tcp:0:interface=192.0.2.1"])
