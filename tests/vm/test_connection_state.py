"""A connection can be handed over between two events, with what it still has to wait for; late answers lose nothing."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from twisted.internet.defer import Deferred

from tests.support.vm import (
    BIOS,
    CAPTURED_LIST,
    COMPLETE,
    DO_PROXY,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    NEGOTIATION,
    SPELLED_A,
    SPELLED_B,
    VC_UUID,
    Host,
    VMWorld,
    session,
    sub,
)
from vmproxy.base.state import pack, unpack
from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink, IViewer
from vmproxy.console.registry import ConsoleIdentity
from vmproxy.vm.broker import Asker
from vmproxy.vm.connection_state import ConnectionState
from vmproxy.vm.frontend import RETIRED_SECONDS, UNDECIDED_SECONDS
from vmproxy.vm.telnet import COMMANDS_PER_SECOND, HostTelnet

SEQUENCE = b"\x01\x02\x03\x04"


def hand_over(w: VMWorld, *hosts: Host) -> None:
    """Have other objects go on with connections, and their consoles with these, as another process would."""
    front = w.front
    states = {}
    names: dict[ILink[Console], str] = {host.protocol: host.address for host in hosts}
    consoles = [(console, console.snapshot(names.__getitem__, str)) for console in w.directory]
    for host in hosts:
        old = host.protocol
        state = old.snapshot()
        states[host] = unpack(ConnectionState, json.loads(json.dumps(pack(state))))
        assert states[host] == state
        old.session.left()
        if (pace := old._pace) is not None:
            pace.cancel()
        front.forget(old)
    for host, state in states.items():
        console = next((c for c in w.directory if (c.uuid, c.port) == (state.uuid, state.port)), None)
        new = HostTelnet.restore(state, front, console)
        host.transport.unregisterProducer()
        host.protocol = host.transport.protocol = new
        new.makeConnection(host.transport)
    assert len(front.admission) == len(front.connections), "each has its place"
    links: dict[str, ILink[Console]] = {host.address: host.protocol for host in hosts}
    viewers: dict[str, IViewer] = {}
    for console, kept in consoles:
        console.restore(kept, links, viewers)
    front.restore_ages({host.protocol: state.ages for host, state in states.items()})


def test_everything_that_a_connection_has_is_handed_over_or_made_anew(w: VMWorld) -> None:
    anew = {"frontend", "ready", "_receiving", "_close_reason", "_done", "_seen", "transport", "connected", "traced"}
    anew |= {"_in_line", "_draining", "_lost"}
    renamed = {"console": "uuid", "_pace": "paced"}
    there = {*vars(w.connect().protocol), *(name for name, value in vars(HostTelnet).items() if value in (None, False))}
    kept = {renamed.get(name, name.removeprefix("_")) for name in there - anew if not name.startswith("__")}
    assert kept | {"port", "ages"} == {field.name for field in fields(ConnectionState)}


@pytest.mark.parametrize("closes", [True, False])
def test_the_source_of_a_vmotion_that_is_over_takes_nothing_down(w: VMWorld, closes: bool) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin(SEQUENCE)).feed(sub(COMPLETE, SEQUENCE))
    w.clock.advance(1)
    hand_over(w, source, destination)
    if closes:
        source.lose()
    else:
        w.clock.advance(RETIRED_SECONDS - 1.5)
        assert not source.closed
        w.clock.advance(0.6)
        assert source.closed
    w.turn()
    assert (console.state, console.link) == ("up", destination.protocol)
    destination.feed(b"goes on")
    assert w.logged(console) == b"goes on"
    destination.lose()
    assert console.state == "down"


def test_a_host_that_has_not_said_who_it_is_has_the_rest_of_its_time(w: VMWorld) -> None:
    first = w.connect()
    w.clock.advance(10)
    second = w.connect("10.0.0.2")
    w.clock.advance(10)
    hand_over(w, second, first)
    w.clock.advance(IDENTIFY_TIMEOUT - 21)
    assert (first.closed, second.closed) == (False, False)
    w.clock.advance(2)
    assert (first.closed, second.closed) == (True, False)
    w.clock.advance(10)
    assert second.closed
    assert w.delayed() == []


def test_a_vm_whose_bios_uuid_is_awaited_has_its_console_in_time(w: VMWorld) -> None:
    first, console = w.vm()
    first.feed(sub(BIOS, SPELLED_B))
    again = w.connect("10.0.0.2")
    again.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    w.clock.advance(UNDECIDED_SECONDS - 0.5)
    hand_over(w, first, again)
    assert console.link is first.protocol
    w.clock.advance(0.6)
    assert console.link is again.protocol


def test_a_host_that_sends_too_many_commands_waits_for_the_rest_of_its_second(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(b"\xff\xf1" * (COMMANDS_PER_SECOND + 100))
    host.feed(b"\xff\xf1" * (COMMANDS_PER_SECOND + 100) + b"behind")
    assert host.paused
    w.clock.advance(0.6)
    hand_over(w, host)
    w.clock.advance(0.3)
    assert (host.paused, w.logged(console)) == (True, b"")
    w.clock.advance(0.2)
    assert (host.paused, w.logged(console)) == (False, b"behind")
    # What it sent in this second counts.
    host.feed(b"\xff\xf1" * COMMANDS_PER_SECOND)
    hand_over(w, host)
    host.feed(b"\xff\xf1" * COMMANDS_PER_SECOND)
    assert host.paused


# Answers that come when the connection is gone.


def test_what_a_lost_connection_said_behind_its_claim_is_in_the_log(w: VMWorld) -> None:
    answers: list[tuple[ConsoleIdentity, Asker, Deferred[Console]]] = []

    def claim(identity: ConsoleIdentity, link: Asker) -> Deferred[Console]:
        answers.append((identity, link, Deferred()))
        return answers[-1][2]

    w.front.broker.claim_console = claim
    host = w.connect().feed(session() + b"first ").feed(b"second")
    host.die()
    assert len(w.front.connections) == 1
    ((identity, link, answer),) = answers
    answer.callback(w.directory.claim(identity, link))
    assert (w.logged(w.console), w.console.state, w.console.link) == (b"first second", "down", None)
    assert [e["event"] for e in w.trail(w.console, "up", "down")] == ["up", "down"]
    assert len(w.front.connections) == 0


def test_what_a_lost_connection_said_behind_a_claim_that_fails_is_nobodys(w: VMWorld) -> None:
    answer: Deferred[Console] = Deferred()
    w.front.broker.claim_console = lambda identity, link: answer
    host = w.connect().feed(session() + b"first ")
    host.die()
    answer.errback(RuntimeError("the directory is away"))
    w.turn()
    assert (len(w.directory), len(w.front.connections)) == (0, 0)
    w.clock.advance(IDENTIFY_TIMEOUT + 1)
    assert w.delayed() == []
