"""A front of a hundred lines has everything: commands, JSON, consoles, promotion, limits. Nothing in it is of SSH."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support.fakes import VM_B, FakeViewer
from tests.support.plain import PlainFront, PlainSession
from tests.support.ssh import SSHWorld
from vmproxy.operators import exit_status
from vmproxy.operators.commands.declaration import Command
from vmproxy.operators.commands.registry import TABLE


def connect(w: SSHWorld, line: str, rest: bytes = b"") -> tuple[PlainSession, StringTransport]:
    session, transport = PlainFront(w.services).buildProtocol(None), StringTransport()
    session.makeConnection(transport)
    session.dataReceived(line.encode() + b"\n" + rest)
    for _ in range(5):
        w.settle()
    return session, transport


def test_consoles_are_listed_as_json(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", VM_B)
    session, transport = connect(w, "alice list --json")
    assert [console["name"] for console in json.loads(transport.value())] == ["db01", "web01"]
    assert session.status == exit_status.OK
    assert transport.disconnecting


def test_an_operator_attaches_and_types(w: SSHWorld) -> None:
    link = w.vm()
    session, transport = connect(w, "alice:web01", b"ls\r")
    assert link.written == b"ls\r"
    w.console().feed(b"bin  boot\r\n")
    assert transport.value().endswith(b"bin  boot\r\n")
    assert [viewer.who for viewer in w.console().viewers.all] == ["alice@plain"]
    session.connectionLost()
    assert w.console().viewers.all == ()


def test_rules_hold_for_every_front(w: SSHWorld) -> None:
    link = w.vm()
    w.rules(("alice", "spy", "*"))
    connect(w, "alice:web01", b"reboot\r")
    assert link.written == b""
    assert connect(w, "alice kick web01")[0].status == exit_status.FORBIDDEN
    assert connect(w, "bob status web01")[0].status == exit_status.NO_SUCH_CONSOLE


def test_a_slow_client_holds_nobody_up_and_its_input_waits(w: SSHWorld) -> None:
    w.vm()
    session, transport = connect(w, "alice:web01")
    transport.clear()
    session.pauseProducing()
    for _ in range(10):
        w.console().feed(b"x" * 100_000)
    assert transport.value() == b""
    assert session.queued < 600_000
    session.resumeProducing()
    assert b"bytes skipped" in transport.value()


def test_standard_input_is_typed_and_its_end_ends_the_command(w: SSHWorld) -> None:
    link = w.vm()
    session, _ = connect(w, "alice send web01", b"root\r")
    assert session.status is None
    session.readConnectionLost()
    w.settle()
    w.clock.advance(1)
    assert link.written == b"root\r"
    assert session.status == exit_status.OK


def test_who_shows_operators_of_all_fronts(w: SSHWorld) -> None:
    w.vm()
    w.console().viewers.attach(FakeViewer("carol@10.1.2.8"), write=True)
    connect(w, "bob log -f web01")
    told = json.loads(connect(w, "alice who --json")[1].value())
    assert {row["who"]: row["mode"] for row in told} == {
        "carol@10.1.2.8": "write",
        "bob@plain": "spy",
        "alice@plain": None,
    }


ARRAYS = ("list", "status", "who", "whoami", "hosts")
ANSWERS = [command for command in TABLE if command.json and command.name != "tail"]  # which goes on


@pytest.mark.parametrize("command", ANSWERS, ids=lambda command: command.name)
def test_every_command_with_json_answers_without_a_terminal(w: SSHWorld, command: Command) -> None:
    w.vm()
    w.console().feed(b"login: \r\n")
    w.settle()
    name = command.name
    words = {"status": " web01", "search": " login"}.get(name, "")
    session, transport = connect(w, f"alice {name}{words} --json")
    for line in [transport.value()] if name in ARRAYS else transport.value().splitlines():
        json.loads(line)
    assert session.status == exit_status.OK


def test_over_a_real_socket_an_operator_attaches_types_and_runs_commands(w: SSHWorld) -> None:
    link = w.vm()
    reactor = EPollReactor()
    port = reactor.listenTCP(0, PlainFront(w.services), interface="127.0.0.1")

    def turn() -> None:
        reactor.runUntilCurrent()
        reactor.doIteration(0.01)
        w.settle()

    def said(client: socket.socket, end: bytes) -> bytes:
        seen = b""
        client.setblocking(False)
        while not seen.endswith(end):
            turn()
            with contextlib.suppress(BlockingIOError):
                if not (data := client.recv(65536)):
                    break
                seen += data
        return seen

    def connected(line: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        client.sendall(line)
        return client

    with connected(b"alice:web01\n") as client:
        assert b"[attached]" in said(client, b"[attached]\n")
        client.sendall(b"ls\r")
        while link.written != b"ls\r":
            turn()
        w.console().feed(b"bin  boot\r\n")
        assert said(client, b"boot\r\n") == b"bin  boot\r\n"
        with connected(b"bob list --json\n") as other:
            (listed,) = json.loads(said(other, b"]\n"))
            assert (listed["name"], listed["writer"]) == ("web01", "alice@plain")
            assert said(other, b"never") == b""  # the exit status has closed it
    while w.console().viewers.all:
        turn()
    port.stopListening()
    turn()
    for reader in reactor.removeAll():
        reader.connectionLost(Failure(ConnectionDone()))
    reactor._poller.close()
