"""Who says nothing for long is asked, and who does not answer is cut off."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.task import Clock

from tests.support.fakes import FakeViewer
from tests.support.ssh import GLOBAL_REQUEST, IGNORE, REQUEST_FAILURE, Client, SSHWorld
from vmproxy.ssh.keepalive import TRIES, ClientKeepalive

SECONDS = 30.0


def asked(client: Client) -> int:
    """How often the client has been asked since the last look."""
    return sum(getNS(p)[0] == b"keepalive@openssh.com" for p in client.taken(GLOBAL_REQUEST))


def wait(client: Client, seconds: float) -> None:
    client.world.clock.advance(seconds)
    client.pump()


def test_who_is_silent_is_asked_and_who_answers_stays(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    client.raw("web01")
    for _ in range(10):
        wait(client, SECONDS - 0.1)
        assert asked(client) == 0
        wait(client, 0.2)
        assert asked(client) == 1
        client.send(REQUEST_FAILURE)
    assert not client.closed


def test_who_says_anything_at_all_is_not_asked(w: SSHWorld) -> None:
    client = w.login()
    for _ in range(20):
        wait(client, SECONDS - 0.1)
        client.send(IGNORE, NS(b""))
    assert asked(client) == 0


def test_who_does_not_answer_is_cut_off_and_the_next_gets_the_pen(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    client.raw("web01")
    waiting = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(waiting, write=True)
    for n in range(TRIES):
        wait(client, SECONDS)
        assert asked(client) == 1, n
        assert not client.closed
    wait(client, SECONDS - 0.1)
    assert not client.closed
    wait(client, 0.2)
    assert client.tcp.aborted
    assert not client.tcp.connected
    assert w.console().write_access.writer is waiting
    assert w.front.transports == set()


def test_a_stopped_client_with_much_under_way_is_cut_off_too(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    client.raw("web01", window=1 << 30)
    client.tcp.reads = False
    for _ in range(100):
        w.console().feed(b"x" * 10_000)
    assert client.tcp.producer_paused
    wait(client, SECONDS * (TRIES + 1) + 1)
    for _ in range(TRIES + 1):
        wait(client, SECONDS)
    assert client.tcp.aborted
    assert w.console().write_access.writer is None


def test_who_falls_silent_in_a_key_exchange_is_cut_off(w: SSHWorld) -> None:
    client = w.login()
    client.start_rekey()
    for _ in range(TRIES + 1):
        wait(client, SECONDS)
    assert client.closed


def test_who_has_not_logged_in_is_not_asked(w: SSHWorld) -> None:
    client = w.connect()
    wait(client, SECONDS + 1)
    assert asked(client) == 0
    assert not client.closed


class Quiet:
    """A connection of which only the end matters."""

    service = None
    peer = "10.1.2.9"

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def alive_of(clock: Clock, seconds: float, count: int) -> tuple[ClientKeepalive, list[Quiet]]:
    alive, connections = ClientKeepalive(clock, seconds), [Quiet() for _ in range(count)]
    for one in connections:
        alive.watch(one)
    return alive, connections


def test_any_number_of_connections_needs_one_timer(clock: Clock) -> None:
    alive, connections = alive_of(clock, 10, 1000)
    assert len(clock.getDelayedCalls()) == 1
    alive.heard(connections[0])
    assert len(clock.getDelayedCalls()) == 1
    for one in connections:
        alive.discard(one)
    assert clock.getDelayedCalls() == []


def test_each_has_its_own_time(clock: Clock) -> None:
    alive, (first, second) = alive_of(clock, 10, 2)
    clock.pump([10] * TRIES)
    alive.heard(second)
    clock.advance(10)
    assert (first.aborted, second.aborted) == (True, False)
    clock.pump([10] * TRIES)
    assert second.aborted
    assert clock.getDelayedCalls() == []


def test_no_time_at_all_means_never(clock: Clock) -> None:
    alive, (one,) = alive_of(clock, 0, 1)
    alive.heard(one)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("before", [0, 1000])
def test_another_time_holds_at_once_for_those_who_are_there(clock: Clock, before: float) -> None:
    alive, (one,) = alive_of(clock, before, 1)
    alive.reconfigure(10)
    clock.pump([10] * (TRIES + 1))
    assert one.aborted
    assert clock.getDelayedCalls() == []


def test_it_can_be_turned_off_while_it_runs(clock: Clock) -> None:
    alive, (one,) = alive_of(clock, 10, 1)
    clock.advance(10)
    alive.reconfigure(0)
    clock.advance(1000)
    assert not one.aborted
    alive.stop()
    alive.heard(one)
    assert clock.getDelayedCalls() == []
