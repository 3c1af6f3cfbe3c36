"""A vMotion at the console: a pair opens one door once, and whatever is left over goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import VM_B, FakeLink, FakeViewer
from vmproxy.console.console import Console
from vmproxy.console.migration import Migration
from vmproxy.console.migrations import PeerRefused, Wrong
from vmproxy.console.notices import LineDown, LineUp

SEQUENCE = b"\x01\x02\x03\x04"


@pytest.fixture
def source() -> FakeLink:
    return FakeLink("10.0.0.1")


@pytest.fixture
def console(world: World, source: FakeLink) -> Console:
    return world.claim(link=source)


@pytest.fixture
def migration(world: World, console: Console, source: FakeLink) -> Migration:
    return world.migrations.begin(console, source, SEQUENCE)


@pytest.fixture
def pair(migration: Migration) -> bytes:
    return migration.sequence + migration.secret


def test_it_goes_through_and_the_trail_tells(world: World, console: Console, source: FakeLink, pair: bytes) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, console.uuid)
    assert world.migrations.pending_at(destination) is not None
    assert world.migrations.complete(destination, SEQUENCE)
    assert console.link is destination
    assert (source.calls[-1], destination.calls) == ("retire", ["wait", "serve"])
    assert (world.migrations.completed, len(world.migrations)) == (1, 0)
    world.store.flush()
    assert [e["event"] for e in trail(console.log) if str(e["event"]).startswith("vmotion")] == [
        "vmotion-begin",
        "vmotion-peer",
        "vmotion-complete",
    ]


def test_what_the_source_still_brought_comes_before_what_the_destination_brings(
    world: World, console: Console, source: FakeLink, pair: bytes
) -> None:
    destination = FakeLink("10.0.0.2")
    source.under_way = lambda: console.feed(b"source ")
    destination.serve = lambda console: console.feed(b"destination")
    world.migrations.peer(destination, pair, None)
    world.migrations.complete(destination, SEQUENCE)
    world.store.flush()
    assert console.log.path.read_bytes() == b"source destination"


def test_the_pair_opens_the_door_once(world: World, console: Console, pair: bytes) -> None:
    world.migrations.peer(FakeLink("10.0.0.2"), pair, None)
    with pytest.raises(PeerRefused):
        world.migrations.peer(FakeLink("10.0.0.3"), pair, None)


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"\0", lambda p: b"", lambda p: b"\xff" + p[1:]])
def test_another_pair_does_not_open_it(world: World, console: Console, pair: bytes, change: Any) -> None:
    with pytest.raises(PeerRefused):
        world.migrations.peer(FakeLink("10.0.0.2"), change(pair), None)


def test_another_vms_connection_is_refused_and_the_door_stays_open(world: World, console: Console, pair: bytes) -> None:
    with pytest.raises(PeerRefused):
        world.migrations.peer(FakeLink("10.0.0.2"), pair, VM_B)
    assert world.migrations.peer(FakeLink("10.0.0.2"), pair, console.uuid)


def test_the_source_cannot_be_its_own_destination(world: World, source: FakeLink, pair: bytes) -> None:
    with pytest.raises(PeerRefused):
        world.migrations.peer(source, pair, None)


def test_the_pair_expires_and_the_source_goes_on(world: World, console: Console, source: FakeLink, pair: bytes) -> None:
    world.clock.advance(60)
    assert (console.state, console.link) == ("up", source)
    assert world.migrations.abandoned == 1
    with pytest.raises(PeerRefused):
        world.migrations.peer(FakeLink("10.0.0.2"), pair, None)
    assert [call for call in world.clock.getDelayedCalls() if call.getTime() > world.clock.seconds() + 1] == []


@pytest.mark.parametrize("sequence", [b"", b"\x01\x02\x03", b"\x01\x02\x03\x05"])
def test_complete_of_another_sequence_moves_nothing(
    world: World, console: Console, source: FakeLink, pair: bytes, sequence: bytes
) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    assert not world.migrations.complete(destination, sequence)
    assert console.link is source
    assert world.migrations.complete(destination, SEQUENCE)


def test_complete_without_peer_moves_nothing(
    world: World, console: Console, source: FakeLink, migration: Migration
) -> None:
    assert not world.migrations.complete(FakeLink("10.0.0.2"), SEQUENCE)
    assert console.link is source


def test_abort_releases_the_destination(world: World, console: Console, source: FakeLink, pair: bytes) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    assert not world.migrations.abort(destination, console, SEQUENCE)
    assert world.migrations.abort(source, console, SEQUENCE)
    assert destination.calls == ["release"]
    assert not world.migrations.complete(destination, SEQUENCE)
    assert (console.state, console.link) == ("up", source)


def test_the_source_may_be_gone_before_complete_and_viewers_see_one_line(
    world: World, console: Console, source: FakeLink, pair: bytes
) -> None:
    viewer = FakeViewer()
    console.viewers.attach(viewer, write=True)
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    world.directory.lost(console, source, "connection closed")
    assert console.state == "migrating"
    world.migrations.complete(destination, SEQUENCE)
    assert viewer.told(LineDown) == []
    assert len(viewer.told(LineUp)) == 1


def test_a_destination_whose_source_is_gone_carries_on_when_complete_never_comes(
    world: World, console: Console, source: FakeLink, pair: bytes
) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    world.directory.lost(console, source, "connection closed")
    world.clock.advance(60)
    assert (console.state, console.link) == ("up", destination)
    assert destination.calls == ["serve"]


def test_with_both_gone_the_console_is_down_at_once(
    world: World, console: Console, source: FakeLink, pair: bytes
) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    world.directory.lost(console, source, "connection closed")
    world.directory.lost(console, destination, "connection closed")
    assert console.state == "down"
    assert console.reason == "connection closed, in a vMotion"
    assert len(world.migrations) == 0


def test_begin_again_replaces_the_pending_one(world: World, console: Console, source: FakeLink, pair: bytes) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.peer(destination, pair, None)
    second = world.migrations.begin(console, source, SEQUENCE)
    assert destination.calls == ["release"]
    assert not world.migrations.complete(destination, SEQUENCE)
    assert world.migrations.peer(FakeLink("10.0.0.3"), SEQUENCE + second.secret, None) is second
    assert len(world.migrations) == 1


def test_a_new_connection_of_the_vm_ends_it(world: World, console: Console, source: FakeLink, pair: bytes) -> None:
    new = FakeLink("10.0.0.9")
    world.claim(link=new)
    assert (console.state, console.link) == ("up", new)
    with pytest.raises(PeerRefused):
        world.migrations.peer(FakeLink("10.0.0.2"), pair, None)


def test_many_that_expire_at_once_all_end(world: World) -> None:
    sources = [FakeLink(f"10.0.0.{n}") for n in range(20)]
    consoles = [world.claim(f"vm{n}", uri=f"u{n}", link=link) for n, link in enumerate(sources)]
    for console, source in zip(consoles, sources, strict=True):
        world.migrations.begin(console, source, SEQUENCE)
    world.clock.advance(60)
    assert {console.state for console in consoles} == {"up"}
    assert world.migrations.abandoned == 20


def test_what_is_wrong_with_pairs_is_counted_by_kind(
    world: World, console: Console, source: FakeLink, pair: bytes
) -> None:
    destination = FakeLink("10.0.0.2")
    world.migrations.reconfigure(60, may_differ=False)
    encrypted = FakeLink("10.0.0.3")
    encrypted.encrypted = True
    for link, shown, uuid in [
        (destination, b"invented", None),
        (destination, pair, VM_B),
        (encrypted, pair, None),
        (source, pair, None),
        (destination, pair, None),
        (FakeLink("10.0.0.4"), pair, None),
    ]:
        try:
            world.migrations.peer(link, shown, uuid)
        except PeerRefused:
            continue
    assert world.migrations.refused == dict.fromkeys(Wrong, 1)
