"""vMotions that end otherwise: COMPLETE and ABORT in the wrong place, BEGIN twice, the deadline, NOTNOW."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeViewer
from tests.support.vm import (
    ABORT,
    BEGIN,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO_PROXY,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    MIGRATION_TIMEOUT,
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
    sub,
    verb,
)
from vmproxy.console.notices import InputLost

SEQUENCE = b"\x01\x02\x03\x04"


def codes(host: Host) -> list[int]:
    return [s[0] for s in host.subs()]


def complete(host: Host, data: bytes = b"", sequence: bytes = SEQUENCE) -> Host:
    return host.feed(data + sub(COMPLETE, sequence))


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
