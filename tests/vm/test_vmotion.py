"""vMotion: the console moves to another connection, and nothing typed or printed is lost, doubled or mixed up."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.vm import (
    ABORT,
    BEGIN,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO_PROXY,
    EXT,
    GOAHEAD,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    MIGRATION_TIMEOUT,
    NAME,
    NEGOTIATION,
    NOTNOW,
    PEER,
    PEER_OK,
    SPELLED_A,
    SPELLED_B,
    VC_UUID,
    WILL,
    WONT_PROXY,
    Host,
    VMWorld,
    com,
    session,
    sub,
    verb,
)
from vmproxy.console.notices import InputLost, LineDown, LineUp, Notice

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


# PEER.


@pytest.mark.parametrize(
    "wrong", ["empty", "cut", "longer", "secret", "sequence", "swapped", "no secret", "255 not doubled"]
)
def test_a_peer_with_a_wrong_pair_opens_nothing_and_spoils_nothing(w: VMWorld, logged: list[str], wrong: str) -> None:
    source, console = w.vm()
    pair = source.begin()
    bad = {
        "empty": b"",
        "cut": pair[:-1],
        "longer": pair + b"\0",
        "secret": pair[:-1] + bytes((pair[-1] ^ 1,)),
        "sequence": bytes((pair[0] ^ 1,)) + pair[1:],
        "swapped": pair[4:] + pair[:4],
        "no secret": SEQUENCE,
        "255 not doubled": pair + b"\xff",
    }[wrong]
    intruder = w.connect("10.6.6.6").feed(NEGOTIATION)
    intruder.sent()
    intruder.feed(sub(PEER, bad) + sub(COMPLETE, SEQUENCE))
    assert intruder.sent() == b""
    assert any("10.6.6.6" in line and "PEER" in line for line in logged)
    assert console.link is source.protocol
    assert intruder.closed
    destination = w.destination(pair)
    complete(destination)
    assert console.link is destination.protocol


def test_no_secret_reaches_the_log_of_the_process(w: VMWorld, logged: list[str]) -> None:
    source, _ = w.vm()
    pair = source.begin(b"ABCD")
    w.connect("10.6.6.6").feed(sub(PEER, pair[:-1]))
    w.destination(pair).feed(sub(COMPLETE, b"wrong"))
    everything = "\n".join(logged)
    assert logged
    for spelled in (repr(pair[4:])[2:-1], pair[4:].hex(), pair[4:].hex(" ")):
        assert spelled not in everything


@pytest.mark.parametrize("when", ["pending", "completed", "aborted", "replaced", "destination lost"])
def test_a_pair_is_good_once_and_only_while_its_vmotion_is_pending(w: VMWorld, when: str) -> None:
    source, console = w.vm()
    pair = source.begin()
    destination = w.destination(pair)
    if when == "completed":
        complete(destination)
    elif when == "aborted":
        source.feed(sub(ABORT))
    elif when == "replaced":
        source.begin(b"another")
    elif when == "destination lost":
        destination.die()
    link = console.link
    intruder = w.connect("10.6.6.6").feed(NEGOTIATION)
    intruder.sent()
    intruder.feed(sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    assert intruder.sent() == b""
    assert console.link is link


def test_a_pair_is_not_good_after_its_time(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    w.clock.advance(MIGRATION_TIMEOUT + 0.1)
    late = w.connect("10.0.0.2").feed(NEGOTIATION)
    late.sent()
    late.feed(sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    assert late.sent() == b""
    assert console.link is source.protocol


def test_a_pair_that_was_not_used_before_the_abort_is_worth_nothing(w: VMWorld) -> None:
    source, _ = w.vm()
    pair = source.begin()
    source.feed(sub(ABORT))
    late = w.connect("10.0.0.2").feed(sub(PEER, pair))
    assert PEER_OK not in codes(late)


def test_a_pair_does_not_open_for_a_connection_that_serves_a_console(w: VMWorld) -> None:
    a, console_a = w.vm(VM_A)
    b, console_b = w.vm(VM_B, "10.0.0.9", name=b"db")
    pair = a.begin()
    b.feed(sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    a.feed(sub(PEER, pair) + sub(COMPLETE, SEQUENCE))
    assert PEER_OK not in codes(a) + codes(b)
    assert (console_a.link, console_b.link) == (a.protocol, b.protocol)
    # And it is not used up by that.
    destination = w.destination(pair)
    complete(destination)
    assert console_a.link is destination.protocol


def test_a_connection_is_the_destination_of_one_vmotion_at_a_time(w: VMWorld) -> None:
    a, console_a = w.vm(VM_A)
    b, console_b = w.vm(VM_B, "10.0.0.9", name=b"db")
    pair_a, pair_b = a.begin(b"aaaa"), b.begin(b"bbbb")
    destination = w.destination(pair_a)
    destination.feed(sub(PEER, pair_b))
    assert PEER_OK not in codes(destination)
    destination.feed(sub(COMPLETE, b"bbbb"))
    assert console_b.link is b.protocol
    destination.feed(sub(COMPLETE, b"aaaa"))
    assert console_a.link is destination.protocol
    other = w.destination(pair_b, "10.0.0.3")
    complete(other, sequence=b"bbbb")
    assert console_b.link is other.protocol


def test_an_identity_that_contradicts_the_pair_before_peer_is_refused_and_leaves_the_pair_good(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    wrong = w.connect("10.6.6.6").feed(
        NEGOTIATION + sub(VC_UUID, SPELLED_B) + sub(PEER, pair) + sub(COMPLETE, SEQUENCE)
    )
    assert PEER_OK not in codes(wrong)
    assert console.link is source.protocol
    destination = w.destination(pair)
    complete(destination)
    assert console.link is destination.protocol


def test_an_identity_that_contradicts_the_pair_after_peer_closes_the_destination(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    wrong = w.destination(pair).feed(b"another vm's output")
    wrong.feed(sub(VC_UUID, SPELLED_B))
    assert wrong.closed
    assert console.link is source.protocol
    source.feed(sub(ABORT))
    assert source.data() == b"held"
    assert w.logged(console) == b""


def test_an_identity_that_contradicts_after_complete_closes_the_connection(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    complete(destination)
    destination.feed(sub(VC_UUID, SPELLED_B))
    assert destination.closed
    assert console.state == "down"


def test_a_uuid_that_is_none_on_the_destination_changes_nothing(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    destination.feed(sub(VC_UUID, b"rubbish"))
    complete(destination)
    assert console.link is destination.protocol


def test_do_proxy_on_a_pending_destination_does_not_disturb_the_vmotion(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin()).feed(b"early ")
    destination.feed(sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + sub(DO_PROXY, b"Sother"))
    assert codes(destination)[-1] == WONT_PROXY
    source.feed(b"last ")
    assert console.link is source.protocol
    complete(destination)
    assert console.link is destination.protocol
    assert w.logged(console) == b"last early "


# COMPLETE and ABORT in the wrong place.


def test_complete_on_the_source_is_ignored(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    source.feed(sub(COMPLETE, SEQUENCE) + sub(COMPLETE))
    assert (console.state, console.link) == ("migrating", source.protocol)
    complete(destination)
    assert console.link is destination.protocol


def test_abort_on_the_destination_is_ignored(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    destination.feed(sub(ABORT) + sub(ABORT, SEQUENCE))
    assert console.state == "migrating"
    complete(destination)
    assert console.link is destination.protocol


@pytest.mark.parametrize("sequence", [b"", b"other", SEQUENCE[:-1], SEQUENCE + b"\0"])
def test_complete_with_another_sequence_is_ignored(w: VMWorld, sequence: bytes) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    complete(destination, sequence=sequence)
    assert console.link is source.protocol
    complete(destination)
    assert console.link is destination.protocol


def test_complete_twice_is_once(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"once")
    destination = w.destination(pair)
    complete(destination)
    complete(destination)
    assert destination.data() == b"once"
    assert w.migrations.completed == 1
    assert len(w.trail(console, "up")) == 2


def test_complete_and_abort_without_any_vmotion_do_nothing(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(sub(COMPLETE, SEQUENCE) + sub(ABORT) + sub(ABORT, SEQUENCE) + b"on")
    assert host.sent() == b""
    assert (console.state, w.logged(console)) == ("up", b"on")


# ABORT.


@pytest.mark.parametrize("sequence", [b"", SEQUENCE])
@pytest.mark.parametrize("arrived", [False, True])
def test_abort_keeps_the_source_in_service_and_a_later_complete_moves_nothing(
    w: VMWorld, sequence: bytes, arrived: bool
) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair).feed(b"never ran") if arrived else None
    source.feed(b"before " + sub(ABORT, sequence) + b"after")
    assert (console.state, console.link) == ("up", source.protocol)
    assert source.data() == b"held"
    if destination is not None:
        complete(destination)
        assert console.link is source.protocol
        console.send(b"x")
        assert (source.data(), destination.data()) == (b"x", b"")
        # It has no part in this any more, and does not stay for ever.
        w.clock.advance(IDENTIFY_TIMEOUT + 1)
        assert destination.closed
    assert w.logged(console) == b"before after"
    w.turn()
    assert w.delayed() == []


def test_after_abort_and_data_the_same_connection_may_begin_again(w: VMWorld) -> None:
    source, console = w.vm()
    source.begin(b"one!")
    console.send(b"1")
    source.feed(sub(ABORT) + b"data ")
    assert source.data() == b"1"
    pair = source.begin(b"two!")
    console.send(b"2")
    destination = w.destination(pair)
    complete(destination, b"there", b"one!")
    assert console.link is source.protocol
    complete(destination, sequence=b"two!")
    assert console.link is destination.protocol
    assert (source.data(), destination.data()) == (b"", b"2")
    assert w.logged(console) == b"data there"


@pytest.mark.parametrize("how", ["abort", "begin"])
def test_a_destination_that_is_wanted_no_more_is_closed_at_once(w: VMWorld, how: str) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin(b"one!"))
    destination.feed(b"never ran")
    source.feed(sub(ABORT) if how == "abort" else sub(BEGIN, b"two!"))
    assert destination.closed
    assert [e["bytes"] for e in w.trail(console, "discarded")] == [len(b"never ran")]
    assert w.logged(console) == b""


# BEGIN twice.


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("arrived", [False, True])
def test_a_begin_while_one_is_pending_replaces_it(w: VMWorld, same: bool, arrived: bool) -> None:
    source, console = w.vm()
    second = SEQUENCE if same else b"second"
    old_pair = source.begin()
    old = w.destination(old_pair).feed(b"never ran") if arrived else None
    console.send(b"held")
    new_pair = source.begin(second)
    assert new_pair != old_pair
    if old is None:
        old = w.connect("10.0.0.2").feed(sub(PEER, old_pair))
        assert PEER_OK not in codes(old)
    complete(old)
    assert console.link is source.protocol
    new = w.destination(new_pair, "10.0.0.3")
    complete(new, b"here", second)
    assert console.link is new.protocol
    assert (source.data(), old.data(), new.data()) == (b"", b"", b"held")
    assert w.logged(console) == b"here"


def test_the_new_begin_has_its_full_time(w: VMWorld) -> None:
    source, console = w.vm()
    source.begin(b"one!")
    w.clock.advance(MIGRATION_TIMEOUT - 1)
    pair = source.begin(b"two!")
    w.clock.advance(MIGRATION_TIMEOUT - 1)
    destination = w.destination(pair)
    complete(destination, sequence=b"two!")
    assert console.link is destination.protocol
    source.lose()
    assert w.delayed() == []


# The destination.


def test_a_destination_that_dies_leaves_the_source_in_service(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair).feed(b"never ran")
    destination.die()
    assert (console.state, console.link) == ("migrating", source.protocol)
    source.feed(b"goes on" + sub(ABORT))
    assert source.data() == b"held"
    assert w.logged(console) == b"goes on"


def test_a_destination_that_dies_and_a_source_that_says_nothing_end_at_the_deadline(w: VMWorld) -> None:
    source, console = w.vm()
    pair = source.begin()
    console.send(b"held")
    w.destination(pair).die()
    w.clock.advance(MIGRATION_TIMEOUT + 0.1)
    assert (console.state, console.link) == ("up", source.protocol)
    assert source.data() == b"held"
    assert w.delayed() == []


def test_a_destination_that_dies_after_the_source_takes_the_console_down(w: VMWorld) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    pair = source.begin()
    console.send(b"held")
    destination = w.destination(pair)
    source.lose()
    destination.die()
    assert (console.state, console.link) == ("down", None)
    assert console.reason
    assert alice.told(InputLost) == [InputLost(4)]
    assert len(alice.told(LineDown)) == 1
    assert not console.send(b"x")
    assert w.delayed() == []


def test_a_source_that_dies_after_its_destination_takes_the_console_down(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    destination.die()
    assert console.state == "migrating"
    source.die()
    # The pair is used up: there is nothing left to wait for.
    assert console.state == "down"
    assert w.delayed() == []


def test_a_slow_destination_has_until_the_deadline(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    source.lose()
    w.clock.advance(MIGRATION_TIMEOUT - 0.1)
    complete(destination)
    assert (console.state, console.link) == ("up", destination.protocol)


def test_a_destination_that_never_tells_its_identity_serves_all_the_same(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.connect("10.0.0.2").feed(verb(WILL, EXT) + sub(PEER, source.begin()) + sub(COMPLETE, SEQUENCE))
    w.clock.advance(10 * IDENTIFY_TIMEOUT)
    assert not destination.closed
    assert console.link is destination.protocol
    destination.feed(b"x")
    assert w.logged(console) == b"x"


@pytest.mark.parametrize("when", ["before", "long before", "with it", "behind"])
def test_a_host_that_has_shown_the_pair_has_any_time_to_complete(w: VMWorld, when: str) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    pair = source.begin()
    console.send(b"held ")
    w.clock.advance(MIGRATION_TIMEOUT - 1)
    destination = w.destination(pair)
    for _ in range(20):
        w.clock.advance(MIGRATION_TIMEOUT / 2)
        assert (source.closed, destination.closed, console.state) == (False, False, "migrating")
    console.send(b"on")
    if when == "long before":
        source.lose()
        w.clock.advance(MIGRATION_TIMEOUT - 1)
    if when == "before":
        source.lose()
    complete(destination, b"early ").feed(b"and late")
    if when == "with it":
        source.lose()
    assert (console.state, console.link) == ("up", destination.protocol)
    assert (source.data(), destination.data()) == (b"", b"held on")
    assert alice.seen == w.logged(console) == b"early and late"
    w.clock.advance(RETIRED_SECONDS + 1)
    w.turn()
    assert w.delayed() == []


@pytest.mark.parametrize("seconds", [0, 10, 1000])
def test_a_lost_destination_leaves_the_source_its_full_time_to_abort(w: VMWorld, seconds: int) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin())
    console.send(b"held")
    w.clock.advance(seconds)
    destination.die()
    w.clock.advance(MIGRATION_TIMEOUT - 0.1)
    assert (source.data(), console.state) == (b"", "migrating")
    source.feed(sub(ABORT))
    assert (source.data(), console.state) == (b"held", "up")
    assert w.delayed() == []


@pytest.mark.parametrize("role", ["nobody", "late", "used", "another vm"])
def test_a_refused_peer_ends_its_connection_at_once(w: VMWorld, role: str) -> None:
    source, console = w.vm()
    pair = source.begin()
    if role == "late":
        w.clock.advance(MIGRATION_TIMEOUT + 1)
    elif role == "used":
        w.destination(pair, "10.0.0.7")
    told = sub(VC_UUID, SPELLED_B) if role == "another vm" else b""
    wrong = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + told)
    wrong.sent()
    wrong.feed(sub(PEER, pair if role != "nobody" else pair[:-1]) + sub(COMPLETE, SEQUENCE) + b"output")
    assert wrong.closed
    assert wrong.sent() == b""
    assert console.link is source.protocol


def test_a_connection_that_waits_for_its_name_claims_nothing_when_its_peer_is_refused(tmp_path: Path) -> None:
    w = VMWorld(tmp_path, needs_name=True)
    source, console = w.vm()
    uuid_and_uri = sub(VC_UUID, SPELLED_A) + sub(DO_PROXY, b"Svmproxy")
    wrong = w.connect("10.0.0.2").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + uuid_and_uri)
    wrong.feed(sub(PEER, b"nonsense"))
    assert wrong.closed
    w.turn()
    assert (console.link, source.closed) == (source.protocol, False)
    w.stop()


# Overtaken: another connection has claimed the console, and the destination is still there.


@pytest.mark.parametrize("source_first", [True, False])
def test_a_complete_counts_when_whoever_overtook_the_destination_is_gone(w: VMWorld, source_first: bool) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    destination = w.destination(source.begin()).feed(b"early ")
    if source_first:
        source.die()
    again = w.connect("10.0.0.1").feed(session())  # the source's host dials again, as hosts do
    w.clock.advance(10 * MIGRATION_TIMEOUT)
    assert (console.link, destination.closed) == (again.protocol, False)
    again.feed(b"source ").lose()
    assert console.state == "down"
    w.clock.advance(5)
    complete(destination, b"more ").feed(b"and more")
    assert (console.state, console.link) == ("up", destination.protocol)
    assert alice.seen == w.logged(console) == b"source early more and more"
    assert console.since == w.clock.seconds()
    console.send(b"typed")
    assert destination.data() == b"typed"
    assert w.delayed() == []


@pytest.mark.parametrize("migrating", [False, "begun", "alone", "arrived"])
def test_a_complete_while_another_connection_has_the_console_is_closed_so_that_its_host_claims(
    w: VMWorld, migrating: bool | str
) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin()).feed(b"never mind")
    again = w.connect("10.0.0.1").feed(session())
    if migrating:
        again.sent()
        pair = again.begin(b"next")
        if migrating == "alone":
            again.lose()
        elif migrating == "arrived":
            w.destination(pair, "10.0.0.3")
    complete(destination)
    assert destination.closed
    assert console.link is (None if migrating == "alone" else again.protocol)
    assert [e["bytes"] for e in w.trail(console, "discarded")] == [len(b"never mind")]
    w.turn()
    once_more = w.connect("10.0.0.2").feed(session())
    assert console.link is once_more.protocol


def test_an_overtaken_destination_that_is_lost_changes_nothing(w: VMWorld) -> None:
    source, console = w.vm()
    destination = w.destination(source.begin()).feed(b"never ran")
    again = w.connect("10.0.0.1").feed(session())
    destination.die()
    assert (console.state, console.link, w.logged(console)) == ("up", again.protocol, b"")
    assert [e["bytes"] for e in w.trail(console, "discarded")] == [len(b"never ran")]
    assert w.delayed() == []


# The deadline.


@pytest.mark.parametrize(("source_alive", "destination_there"), [(True, False), (False, True), (False, False)])
def test_abandoned_at_the_deadline_with_nothing_held_for_ever(
    w: VMWorld, source_alive: bool, destination_there: bool
) -> None:
    source, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    pair = source.begin()
    console.send(b"h" * 70_000)
    assert alice.held
    destination = w.destination(pair).feed(b"early") if destination_there else None
    source.feed(b"source ")
    if not source_alive:
        source.die()
    w.clock.advance(MIGRATION_TIMEOUT - 0.01)
    assert console.state == "migrating"
    w.clock.advance(0.02)
    assert not console.migrating
    assert not alice.held
    if source_alive:
        assert destination is None
        assert console.link is source.protocol
        assert source.data() == b"h" * 70_000
        assert w.logged(console) == b"source "
    elif destination is not None:
        assert console.link is destination.protocol
        assert destination.data() == b"h" * 70_000
        assert w.logged(console) == b"source early"
    else:
        assert console.state == "down"
        assert alice.told(InputLost) == [InputLost(70_000)]
    assert (w.migrations.abandoned, len(w.migrations)) == (1, 0)
    assert len(w.trail(console, "vmotion-abandoned")) == 1
    if destination is not None:
        complete(destination)
        assert console.link is destination.protocol
    w.clock.advance(IDENTIFY_TIMEOUT + 1)
    w.turn()
    assert w.delayed() == []


def test_after_an_abandoned_one_the_source_may_begin_again(w: VMWorld) -> None:
    source, console = w.vm()
    source.begin(b"one!")
    w.clock.advance(MIGRATION_TIMEOUT + 1)
    destination = w.destination(source.begin(b"two!"))
    complete(destination, sequence=b"two!")
    assert console.link is destination.protocol


# NOTNOW.


def test_notnow_only_before_the_vm_is_known(w: VMWorld) -> None:
    host = w.connect().feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy"))
    host.sent()
    host.feed(sub(BEGIN, SEQUENCE))
    assert host.subs() == [bytes((NOTNOW,)) + SEQUENCE]
    host.feed(sub(VC_UUID, SPELLED_A))
    host.begin()


def test_notnow_while_shutting_down(w: VMWorld) -> None:
    host, _ = w.vm()
    w.front.broker.stopping = True
    host.feed(sub(BEGIN, SEQUENCE))
    assert host.subs() == [bytes((NOTNOW,)) + SEQUENCE]


def test_no_notnow_however_busy_the_vm_is(w: VMWorld) -> None:
    host, console = w.vm()
    console.log_congested(True)
    host.feed(verb(WILL, COM_PORT) + com(8))
    host.transport.producer.pauseProducing()
    console.send(b"x" * 100_000)
    for n in range(50):
        w.clock.advance(10)
        host.begin(bytes((n,)))
        if n % 3 == 0:
            host.feed(sub(ABORT))


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
