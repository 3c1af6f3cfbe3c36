"""One connection does not live at the cost of the others; and what a VM's port was set to moves with it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import chain

import pytest
from twisted.internet.error import ConnectionLost

from tests.support.fakes import VM_B, Logged
from tests.support.vm import COM_PORT, NAME, NEGOTIATION, PEER, WILL, WONT, VMWorld, com, sub, verb
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.vm.extension import Terms
from vmproxy.vm.frontend import RETIRED_SECONDS
from vmproxy.vm.session import VMSession
from vmproxy.vm.telnet import COMMANDS_PER_SECOND

SEQUENCE = b"\x01\x02\x03\x04"
COMPLETE = 46


def test_a_flood_of_commands_has_to_wait_and_is_read_in_small_portions(w: VMWorld) -> None:
    flooder, console = w.vm()
    other, _ = w.vm(uuid=VM_B, name=b"other")
    flooder.feed(b"\xff\xf1" * 9000 + b"data")
    assert flooder.paused
    assert flooder.transport.bufferSize < 65536
    assert w.logged(console) == b""
    assert not other.paused
    w.clock.advance(1)
    w.clock.advance(1)
    assert w.logged(console) == b"data"
    assert not flooder.paused


def test_commands_before_any_identity_are_bounded(w: VMWorld) -> None:
    stranger = w.connect().feed(b"\xff\xf1" * 1999)
    assert not stranger.closed
    assert stranger.feed(b"\xff\xf1").closed


def test_commands_of_one_read_leave_turns_to_others_and_keep_their_order(w: VMWorld) -> None:
    host, console = w.vm()
    turns = w.front.turns
    assert turns.open()
    w.clock.rightNow += SPAN  # the turn has been used up by others
    host.protocol.dataReceived(b"one" + b"\xff\xf1two" + sub(NAME, b"renamed") + b"three")
    host.protocol.dataReceived(b"four")
    host.protocol.dataReceived(b"\xff\xf1five")
    assert w.logged(console) == b""
    assert host.paused
    w.turn()
    assert w.logged(console) == b"onetwothreefourfive"
    assert console.name == "renamed"
    assert not host.paused


def test_what_waits_for_a_turn_is_not_lost_with_the_connection(w: VMWorld) -> None:
    host, console = w.vm()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    host.protocol.dataReceived(b"one\xff\xf1two")
    host.transport.lose(ConnectionLost())
    assert console.state == "up"
    w.turn()
    assert w.logged(console) == b"onetwo"
    assert console.state == "down"
    assert not w.front.connections


def test_what_waits_when_a_retired_source_is_closed_is_recorded(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    destination.feed(sub(COMPLETE, SEQUENCE))
    w.clock.advance(RETIRED_SECONDS - 0.1)
    source.feed(b"one" + b"\xff\xf1" * 3 * COMMANDS_PER_SECOND + b"two")
    w.clock.advance(0.2)
    assert source.closed
    w.turn()
    assert w.logged(console) == b"onetwo"
    assert console.link is destination.protocol
    assert w.front.connections == {destination.protocol}


def test_a_portion_of_what_is_kept_costs_no_more_the_more_there_were_before() -> None:
    def around(session: VMSession) -> int:
        """How many iterators stand one around the other before what is kept."""
        there, number = gc.get_referents(session), 0
        while there and number < 10:
            chains = [thing for thing in there if isinstance(thing, chain)]
            number += len(chains)
            there = [
                other
                for thing in there
                if isinstance(thing, (chain, tuple, type(iter(()))))
                for other in gc.get_referents(thing)
            ]
        return number

    session = VMSession(Terms(("vmproxy",), b""), True)
    list(session.receive(b"\xff\xf1" * 5000, 64))
    for _ in range(50):
        list(session.go_on(64))
    assert session.resting
    assert around(session) == 1
    list(session.go_on())
    assert (session.commands, session.resting) == (5000, False)


@pytest.mark.parametrize("lost", [False, True])
def test_what_fails_in_its_turn_costs_the_connection_as_it_does_in_a_read(
    w: VMWorld, logged: Logged, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    def fails(console: Console, data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    host, console = w.vm()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    host.protocol.dataReceived(b"one\xff\xf1two")
    if lost:
        host.transport.lose(ConnectionLost())
    monkeypatch.setattr(Console, "feed", fails)
    w.turn()
    assert logged.tracebacks
    assert host.closed
    if not lost:
        host.transport.lose(ConnectionLost())
    w.turn()
    assert console.state == "down"
    assert not w.front.connections


def test_what_waits_for_the_next_second_is_not_lost_with_the_connection_either(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(b"\xff\xf1" * 9000 + b"data")
    assert host.paused
    host.lose()
    assert w.logged(console) == b"data"
    assert console.state == "down"


def test_what_waits_for_a_turn_is_not_lost_at_the_end_of_the_process(w: VMWorld) -> None:
    host, console = w.vm()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    host.protocol.dataReceived(b"one\xff\xf1two")
    w.front.stop()
    assert w.logged(console) == b"onetwo"


def test_a_vmotion_completes_behind_what_its_source_has_sent_whatever_else_is_done(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    source.protocol.dataReceived(b"\xff\xf1last of the source")
    destination.protocol.dataReceived(sub(COMPLETE, SEQUENCE) + b"first of the destination")
    for _ in range(3):
        w.clock.advance(1)
    assert w.logged(console) == b"last of the sourcefirst of the destination"


def test_what_real_hosts_send_in_a_second_has_not_to_wait(w: VMWorld) -> None:
    host, console = w.vm()
    for _ in range(1500):
        host.feed(sub(NAME, b"web"))
    assert not host.paused
    host.feed(b"\xff\xff" * 100_000)  # data, whatever it looks like
    assert not host.paused
    assert w.logged(console) == b"\xff" * 100_000


def test_binary_data_in_small_pieces_is_no_flood_of_commands(w: VMWorld) -> None:
    host, console = w.vm()
    for _ in range(5000):
        host.feed(b"x\xff\xff")
    assert not host.paused
    assert w.logged(console) == b"x\xff" * 5000


def test_a_name_that_changes_all_the_time_makes_one_link(w: VMWorld) -> None:
    host, console = w.vm(name=b"first")
    w.store.flush()
    jobs: list[Callable[[], object]] = []
    submit = w.store.runner.submit
    w.store.runner.submit = jobs.append  # type: ignore[assignment]  # replaced
    for n in range(1000):
        host.feed(sub(NAME, b"name-%d" % n))
    w.store.flush()
    linking = [job for job in jobs if job == w.store._make_links]
    w.store.runner.submit = submit
    for job in jobs:
        submit(job)
    assert len(linking) == 1
    assert [p.name for p in (w.store.folder / "by-name").iterdir()] == ["name-999.log"]
    assert console.name == "name-999"


def test_what_the_guest_set_its_port_to_moves_with_the_vm(w: VMWorld) -> None:
    source, console = w.vm()
    source.feed(verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")) + com(2, b"\x07") + com(3, b"\x03"))
    assert console.settings.startswith("9600 7E1")
    destination = w.destination(source.begin())
    destination.feed(sub(COMPLETE, SEQUENCE) + verb(WILL, COM_PORT))
    destination.sent()
    assert console.settings.startswith("9600 7E1")
    destination.feed(com(1, bytes(4)))
    assert [s[1:] for s in destination.subs(COM_PORT) if s[0] == 101] == [(9600).to_bytes(4, "big")]


def test_what_the_guest_set_its_port_to_outlasts_port_control(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")) + verb(WONT, COM_PORT))
    host.feed(verb(WILL, COM_PORT))
    assert console.settings.startswith("9600")


@pytest.mark.parametrize("sets", [False, True])
def test_port_control_before_complete_is_that_of_the_vm_unless_the_destination_sets_it(w: VMWorld, sets: bool) -> None:
    source, console = w.vm()
    source.feed(verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")))
    destination = w.connect("10.0.0.2").feed(NEGOTIATION + verb(WILL, COM_PORT))
    if sets:
        destination.feed(com(1, (57600).to_bytes(4, "big")))
    destination.feed(sub(PEER, source.begin()) + sub(COMPLETE, SEQUENCE))
    assert console.settings.startswith("57600" if sets else "9600")


def test_a_vm_that_connects_anew_starts_with_the_defaults(w: VMWorld) -> None:
    first, console = w.vm()
    first.feed(verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")))
    again, _ = w.vm(address="10.0.0.2")
    again.feed(verb(WILL, COM_PORT))
    assert console.settings.startswith("115200")
