"""vMotion: the console moves to another connection, and nothing is lost."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.vm import (
    ABORT,
    BEGIN,
    COM_PORT,
    COMPLETE,
    GOAHEAD,
    IDENTIFY_TIMEOUT,
    MIGRATION_TIMEOUT,
    NAME,
    NEGOTIATION,
    NOTNOW,
    PEER,
    PEER_OK,
    SPELLED_A,
    VC_UUID,
    WILL,
    Host,
    VMWorld,
    com,
    session,
    sub,
    verb,
)
from vmproxy.console.notices import LineDown, LineUp, Notice

SEQUENCE = b"\x01\x02\x03\x04"


RETIRED_SECONDS = 10.0


SEQUENCES = [
    b"\x4c\x19\xff\xe9",
    b"",
    b"\x00",
    b"\xff",
    b"\xff" * 4,
    b"\xff\xf0",
    b"\r\0\r\n",
    bytes(range(256)),
    b"s" * 1000,
]


def codes(host: Host) -> list[int]:
    return [s[0] for s in host.subs()]


def complete(host: Host, data: bytes = b"", sequence: bytes = SEQUENCE) -> Host:
    return host.feed(data + sub(COMPLETE, sequence))


# The way it goes.


def test_a_vmotion_moves_the_console_and_holds_the_input_in_between(w: VMWorld) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    console.send(b"before ")
    pair = source.begin()
    # What was sent for the VM before BEGIN stands before GOAHEAD on the wire; begin() looked only at the answer.
    assert console.send(b"held ")
    assert console.state == "migrating"
    destination = w.destination(pair)
    console.send(b"back ")
    assert (source.data(), destination.data()) == (b"", b"")
    source.feed(b"source ")
    complete(destination, b"destination ")
    assert (console.state, console.link, console.host) == ("up", destination.protocol, "10.0.0.2")
    assert (source.data(), destination.data()) == (b"", b"held back ")
    console.send(b"after")
    assert (source.data(), destination.data()) == (b"", b"after")
    destination.feed(b"more")
    assert alice.seen == w.logged(console) == b"source destination more"
    assert [n.vmotion for n in alice.told(LineUp)] == [True]
    assert alice.told(LineDown) == []
    assert [e["event"] for e in w.trail(console, "vmotion-begin", "vmotion-peer", "vmotion-complete")] == [
        "vmotion-begin",
        "vmotion-peer",
        "vmotion-complete",
    ]
    source.lose()
    assert console.link is destination.protocol
    assert w.migrations.completed == 1
    assert w.delayed() == []


def test_goahead_comes_after_all_that_was_typed_before_begin(w: VMWorld) -> None:
    source, console = w.vm()
    console.send(b"typed before")
    source.feed(sub(BEGIN, SEQUENCE))
    tokens = source.tokens()
    assert tokens[0] == ("data", b"typed before")
    assert tokens[1][2][0] == GOAHEAD  # type: ignore[index]


def test_the_secret_is_8_bytes_never_255_and_never_the_same(w: VMWorld) -> None:
    source, _ = w.vm()
    secrets = set()
    for n in range(200):
        w.clock.advance(10)
        secret = source.begin(SEQUENCE)[len(SEQUENCE) :]
        assert len(secret) == 8
        assert 255 not in secret
        secrets.add(secret)
        if n % 2:
            source.feed(sub(ABORT))
    assert len(secrets) == 200


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_goahead_peer_ok_and_notnow_carry_the_sequence_whatever_it_is(w: VMWorld, sequence: bytes) -> None:
    source, console = w.vm()
    pair = source.begin(sequence)
    assert len(pair) == len(sequence) + 8
    destination = w.connect("10.0.0.2").feed(NEGOTIATION)
    destination.sent()
    destination.feed(sub(BEGIN, sequence) + sub(PEER, pair))
    assert destination.subs() == [bytes((NOTNOW,)) + sequence, bytes((PEER_OK,)) + sequence]
    complete(destination, sequence=sequence)
    assert console.link is destination.protocol


def test_identity_on_the_destination_may_come_before_or_after_peer_or_complete_or_never(w: VMWorld) -> None:
    host, console = w.vm()
    for n, order in enumerate({*permutations("UPC"), *permutations("PC")}):
        if order.index("C") < order.index("P"):
            continue
        pair = host.begin()
        parts = {"U": sub(VC_UUID, SPELLED_A), "P": sub(PEER, pair), "C": sub(COMPLETE, SEQUENCE)}
        following = w.connect(f"10.0.1.{n}").feed(NEGOTIATION)
        for part in order:
            following.feed(parts[part])
        assert console.link is following.protocol, order
        host.lose()
        host = following
    host.feed(b"still here")
    assert w.logged(console) == b"still here"
    assert w.delayed() == []


def test_the_destination_is_asked_nothing_twice_and_may_tell_a_new_name(w: VMWorld) -> None:
    source, console = w.vm(name=b"web")
    destination = w.destination(source.begin())
    destination.feed(sub(NAME, b"web-renamed"))
    assert console.name == "web"
    complete(destination)
    assert console.name == "web-renamed"
    source.feed(sub(NAME, b"stale"))
    assert console.name == "web-renamed"


# The source and what still comes from it.


def test_the_source_may_close_just_before_complete(w: VMWorld) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair)
    source.feed(b"the source's last ")
    source.lose()
    assert console.state == "migrating"
    assert alice.told(LineDown) == []
    complete(destination, b"the destination's first")
    assert destination.data() == b"held"
    assert w.logged(console) == b"the source's last the destination's first"
    assert w.delayed() == []


def test_the_source_may_die_between_begin_and_peer(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    source.die()
    assert console.state == "migrating"
    w.clock.advance(MIGRATION_TIMEOUT - 1)
    assert console.send(b" on")
    destination = w.destination(pair)
    complete(destination)
    assert console.link is destination.protocol
    assert destination.data() == b"held on"


def test_input_typed_while_there_is_no_connection_at_all_is_delivered_to_the_destination(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    source.die()
    console.send(b"typed into the gap")
    destination = w.destination(pair)
    complete(destination)
    assert destination.data() == b"typed into the gap"


def test_bytes_of_the_source_after_complete_are_recorded_and_it_is_closed_in_time(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    complete(destination)
    source.feed(b"late")
    assert w.logged(console) == b"late"
    w.clock.advance(RETIRED_SECONDS - 0.1)
    assert not source.closed
    w.clock.advance(0.2)
    assert source.closed
    w.turn()
    assert console.link is destination.protocol
    assert (console.state, w.trail(console, "down")) == ("up", [])
    assert w.delayed() == []


def test_a_source_that_was_held_back_by_a_slow_log_is_read_again_when_it_retires(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    console.log_congested(True)
    assert source.paused
    complete(destination)
    # Its last bytes and its end must be seen; the destination is the one to wait now.
    assert (source.paused, destination.paused) == (False, True)
    console.log_congested(False)
    assert not destination.paused


def test_a_retired_source_has_no_say_any_more(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    complete(destination)
    source.sent()
    source.feed(sub(ABORT) + sub(ABORT, SEQUENCE) + sub(COMPLETE, SEQUENCE) + sub(BEGIN, b"next"))
    assert codes(source) == [NOTNOW]
    assert console.link is destination.protocol
    console.send(b"x")
    assert (source.data(), destination.data()) == (b"", b"x")


def test_a_retired_source_cannot_abort_the_next_vmotion(w: VMWorld) -> None:
    first, console = w.vm()
    second = w.destination(first.begin())
    complete(second)
    pair = second.begin()
    first.feed(sub(ABORT) + sub(ABORT, SEQUENCE))
    assert console.state == "migrating"
    third = w.destination(pair, "10.0.0.3")
    complete(third)
    assert console.link is third.protocol


def test_a_vm_may_go_on_and_on_from_host_to_host(w: VMWorld) -> None:
    w.migrations.reconfigure(MIGRATION_TIMEOUT, True, 20)
    host, console = w.vm()
    typed = b""
    for n in range(20):
        sequence = bytes((n, 255 - n))
        pair = host.begin(sequence)
        console.send(b"%d " % n)
        typed += b"%d " % n
        following = w.destination(pair, f"10.0.2.{n}")
        complete(following, b"%d." % n, sequence)
        assert following.data() == b"%d " % n
        host.lose()
        host = following
    assert w.logged(console) == b"".join(b"%d." % n for n in range(20))
    assert w.delayed() == []


# The order of what was printed.


def test_bytes_of_the_destination_before_complete_come_after_all_of_the_source(w: VMWorld) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=False)
    pair = source.begin()
    destination = w.connect("10.0.0.2").feed(b"[d1]" + NEGOTIATION + sub(PEER, pair) + b"[d2]")
    source.feed(b"[s1]")
    destination.feed(b"[d3]")
    source.feed(b"[s2]")
    assert alice.seen == b"[s1][s2]"
    destination.feed(b"[d4]" + sub(COMPLETE, SEQUENCE) + b"[d5]")
    assert alice.seen == w.logged(console) == b"[s1][s2][d1][d2][d3][d4][d5]"


# What is typed meanwhile.


def test_held_input_is_bounded_with_pressure_on_the_operator_and_delivered_whole(w: VMWorld) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    pair = source.begin()
    typed = b""
    while not alice.held:
        piece = b"%06d " % len(typed)
        assert console.send(piece)
        typed += piece
        assert len(typed) < 2**20
    # What was under way when he was told to stop still fits.
    assert console.send(b"y" * 500_000)
    typed += b"y" * 500_000
    assert not console.send(b"z" * 600_000)
    destination = w.destination(pair)
    complete(destination)
    assert not alice.held
    assert destination.data() == typed
    assert console.send(b"!")
    assert destination.data() == b"!"


def test_held_input_waits_on_for_a_destination_that_takes_nothing_yet(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair)
    destination.feed(verb(WILL, COM_PORT) + com(8))
    destination.transport.producer.pauseProducing()
    complete(destination)
    console.send(b" and more")
    assert destination.data() == b""
    destination.feed(com(9))
    assert destination.data() == b""
    destination.transport.producer.resumeProducing()
    assert destination.data() == b"held and more"


def test_input_that_the_source_did_not_take_before_begin_goes_to_the_destination(w: VMWorld) -> None:
    source, console = w.vm()
    source.transport.producer.pauseProducing()
    console.send(b"first ")
    pair = source.begin()
    console.send(b"second")
    # The source's socket has room again: in the middle of the vMotion nothing may go there.
    source.transport.producer.resumeProducing()
    assert source.data() == b""
    destination = w.destination(pair)
    complete(destination)
    assert (source.data(), destination.data()) == (b"", b"first second")


def test_what_a_viewer_sends_at_the_news_comes_after_what_was_held(w: VMWorld) -> None:
    class Eager(FakeViewer):
        def notice(self, notice: Notice) -> None:
            if isinstance(notice, LineUp):
                console.send(b"second")

    source, console = w.vm()
    console.viewers.attach(Eager(), write=True)
    pair = source.begin()
    console.send(b"first ")
    destination = w.destination(pair)
    complete(destination)
    assert destination.data() == b"first second"


def test_a_break_while_the_vm_is_under_way_is_held_in_its_place_in_the_input(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    source.sent()
    console.send(b"before")
    assert console.send_break("alice@10.1.2.9")
    console.send(b"after")
    assert source.sent() + destination.sent() == b""
    complete(destination)
    assert destination.sent() == b"before\xff\xf3after"


# Several at once.


def test_several_ports_of_one_vm_migrate_at_once(w: VMWorld) -> None:
    ports = [w.connect().feed(session(uri=b"vmproxy?port=%d" % n)) for n in range(1, 5)]
    consoles = {c.port: c for c in w.directory}
    # The same sequence on all of them: only the secrets differ.
    pairs = [host.begin() for host in ports]
    assert len(set(pairs)) == 4
    for n in range(4):
        consoles[str(n + 1)].send(b"in-%d" % (n + 1))
    arrived = {n: w.destination(pairs[n], f"10.0.0.{n + 2}") for n in (2, 0, 3, 1)}
    for n in (1, 3, 0, 2):
        ports[n].feed(b"s%d " % (n + 1))
        complete(arrived[n], b"d%d" % (n + 1))
    for n in range(4):
        console = consoles[str(n + 1)]
        assert console.link is arrived[n].protocol
        assert arrived[n].data() == b"in-%d" % (n + 1)
        assert w.logged(console) == b"s%d d%d" % (n + 1, n + 1)
        ports[n].lose()
    assert w.delayed() == []


def test_two_vms_interleaved_do_not_touch_each_other(w: VMWorld) -> None:
    a, console_a = w.vm(VM_A)
    b, console_b = w.vm(VM_B, "10.0.0.9", name=b"db")
    pair_a = a.begin()
    pair_b = b.begin()
    console_a.send(b"for a")
    console_b.send(b"for b")
    a2 = w.destination(pair_a, "10.0.0.2")
    b2 = w.destination(pair_b, "10.0.0.8")
    b2.feed(b"b2 ")
    a2.feed(b"a2 ")
    b.feed(b"b " + sub(ABORT))
    complete(a2)
    complete(b2)
    assert (console_a.link, console_b.link) == (a2.protocol, b.protocol)
    assert (a.data(), a2.data(), b.data(), b2.data()) == (b"", b"for a", b"for b", b"")
    assert (w.logged(console_a), w.logged(console_b)) == (b"a2 ", b"b ")


def test_many_begun_at_one_moment_are_all_abandoned_at_their_deadline(w: VMWorld) -> None:
    hosts = [w.connect().feed(session(uri=b"vmproxy?port=%d" % n)) for n in range(1, 9)]
    for host in hosts:
        host.begin()
    w.clock.advance(MIGRATION_TIMEOUT)
    assert all(c.state == "up" for c in w.directory)
    assert w.delayed() == []


# A new connection of the same VM meanwhile.


def test_a_new_connection_of_the_vm_ends_the_vmotion_and_gets_the_held_input(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair).feed(b"never ran")
    fresh = w.connect("10.0.0.5").feed(session())
    assert (console.state, console.link) == ("up", fresh.protocol)
    assert fresh.data() == b"held"
    assert source.closed
    complete(destination)
    assert console.link is fresh.protocol
    w.clock.advance(IDENTIFY_TIMEOUT + 1)
    assert destination.closed
    w.turn()
    assert w.delayed() == []
    assert w.logged(console) == b""


def test_stopping_the_process_in_mid_vmotion_leaves_nothing_behind(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin()).feed(b"early")
    source.feed(b"last ")
    w.front.stop()
    w.turn()
    assert (source.closed, destination.closed) == (True, True)
    assert len(w.front.connections) == 0
    assert w.logged(console).startswith(b"last ")
    assert w.delayed() == []
