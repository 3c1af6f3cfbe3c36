"""Who may be a VM, with a real daemon: wrong migration pairs, how many and how fast, one console claimed by two."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM, HostConnection


@pytest.fixture
def host() -> Iterator[Callable[[Daemon], HostConnection]]:
    """Connections that are closed at the end."""
    made: list[HostConnection] = []

    def connect(daemon: Daemon) -> HostConnection:
        made.append(HostConnection(daemon.vm_port))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def let_in(daemon: Daemon) -> bool:
    """Whether somebody who connects hears anything."""
    with socket.create_connection(("127.0.0.1", daemon.vm_port), 30) as one:
        try:
            return one.recv(1) != b""
        except ConnectionError:
            return False


def test_a_wrong_pair_ends_its_connection_and_nothing_else(
    daemon: Daemon, make_vm: Callable[..., FakeVM], host: Callable[[Daemon], HostConnection]
) -> None:
    vm = make_vm(daemon)
    vm.migrate(b"seq1")
    for n in range(20):  # as hosts do when the daemon was restarted in the middle of an evacuation
        guesser = host(daemon)
        guesser.negotiate()
        guesser.sub(44, b"seq1" + bytes((n,)) * 8)
        guesser.wait_closed()
        assert all(sub[0] != 45 for sub in guesser.subs)
    assert let_in(daemon)
    vm.migrate(b"seq2")
    vm.connected.say(b"here")
    eventually(lambda: daemon.logged("web01") == b"here", "the VM goes on")
    assert daemon.status("web01")["state"] == "up"


def test_how_many_and_how_fast(make_daemon: Callable[..., Daemon], host: Callable[[Daemon], HostConnection]) -> None:
    daemon = make_daemon("[vm]\nconnections = 3\nidentify-timeout = 3600\n")
    there = [host(daemon) for _ in range(3)]
    for one in there:
        one.negotiate()
    eventually(lambda: not let_in(daemon), "three are there")
    daemon.says("3 connections in all (vm.connections)")
    for one in there:
        one.close()
    eventually(lambda: let_in(daemon), "there is room again")
    daemon.reload("[vm]\nconnects-per-second = 1\n")
    # Twenty at once, and then as many as there are seconds: more than that are made here.
    eventually(lambda: not let_in(daemon), "that was too fast")
    daemon.says("more than 1 connections a second from 127.0.0.1 (vm.connects-per-second)")
    daemon.reload("")
    assert let_in(daemon)


def test_two_ports_that_are_alike_stay_apart_after_a_while(daemon: Daemon, make_vm: Callable[..., FakeVM]) -> None:
    first = make_vm(daemon)
    second = make_vm(daemon)
    first.connected.wait_closed()
    first = make_vm(daemon)  # its host dials again
    second.connected.wait_closed()
    second = make_vm(daemon)
    first.connected.say(b"of the first")
    second.connected.say(b"of the second")
    eventually(lambda: daemon.logged("web01") == b"of the first", "the first")
    assert daemon.status("web01.2")["state"] == "up"
    (event,) = [e for e in daemon.events("web01") if e["event"] == "ports-alike"]
    assert (event["ports"], event["remedy"]) == (["1", "2"], "give the second one a service URI with ?port=2")
    daemon.says("two ports of this VM have the service URI")
