"""PEER: what the pair of a vMotion opens, and what becomes of the destination."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.vm import (
    ABORT,
    CAPTURED_LIST,
    COMPLETE,
    DO_PROXY,
    EXT,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    MIGRATION_TIMEOUT,
    NEGOTIATION,
    PEER,
    PEER_OK,
    SPELLED_A,
    SPELLED_B,
    VC_UUID,
    WILL,
    WONT_PROXY,
    Host,
    VMWorld,
    session,
    sub,
    verb,
)
from vmproxy.console.notices import InputLost, LineDown

SEQUENCE = b"\x01\x02\x03\x04"


RETIRED_SECONDS = 10.0


def codes(host: Host) -> list[int]:
    return [s[0] for s in host.subs()]


def complete(host: Host, data: bytes = b"", sequence: bytes = SEQUENCE) -> Host:
    return host.feed(data + sub(COMPLETE, sequence))


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
