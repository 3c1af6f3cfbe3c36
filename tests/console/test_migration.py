"""The table of a vMotion, walked through: with the machine alone, at a console, and after it was handed over."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import FakeLink
from vmproxy.base.state import pack, unpack
from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink
from vmproxy.console.migration import (
    ABORT,
    ALONE,
    ARRIVED,
    AWAITED,
    CLAIMED,
    COMPLETE,
    DESTINATION_LOST,
    EXPIRED,
    INPUTS,
    LEFT,
    MOVING,
    OVER,
    OVERTAKEN,
    PEER,
    PENDING,
    REPLACED,
    SOURCE_LOST,
    STATES,
    TABLE,
    Migration,
    MigrationState,
    table_text,
)
from vmproxy.console.migrations import Migrations, MigrationsState, PeerRefused, Wrong

SEQUENCE = b"\x01\x02\xff\x04"
WAY = {
    AWAITED: [],
    ALONE: [SOURCE_LOST],
    ARRIVED: [PEER],
    MOVING: [PEER, SOURCE_LOST],
    LEFT: [PEER, DESTINATION_LOST],
    OVERTAKEN: [PEER, CLAIMED],
}


class Motion:
    """A console in a vMotion."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.source = FakeLink("10.0.0.1")
        self.destination = FakeLink("10.0.0.2")
        self.console = self.world.claim(link=self.source)
        self.migrations = self.world.migrations
        self.migration = self.migrations.begin(self.console, self.source, SEQUENCE)

    def input(self, what: str) -> None:
        migrations, console = self.migrations, self.console
        match what:
            case "PEER":
                migrations.peer(self.destination, self.migration.pair, console.uuid)
            case "COMPLETE":
                if self.migration.state == OVERTAKEN:
                    console.link_lost(self.source)
                assert migrations.complete(self.destination, SEQUENCE)
            case "ABORT":
                assert migrations.abort(self.source, console, b"")
            case "source lost":
                console.link_lost(self.source)
                assert migrations.source_lost(console, "gone")
            case "destination lost":
                assert migrations.destination_lost(self.destination, "gone")
            case "expired":
                self.world.clock.advance(60)
            case "claimed":
                migrations.cancel(console)
            case "replaced" if self.migration.state == OVERTAKEN:
                assert not migrations.complete(self.destination, SEQUENCE)
            case "replaced":
                migrations.begin(console, self.source, b"another")
                assert migrations.abort(self.source, console, b"another")

    def hand_over(self, *lost: FakeLink) -> None:
        """Have another process go on, without some of the connections."""
        both = (self.source, self.destination)
        links: dict[str, ILink[Console]] = {link.peer: link for link in both if link not in lost}
        state = self.migrations.snapshot(lambda link: link.peer)
        self.migrations.stop()
        read = unpack(MigrationsState, json.loads(json.dumps(pack(state))))
        assert read == state
        self.migrations = Migrations(self.world.clock, 60, lambda: b"other")
        self.migrations.restore(read, self.find, links)
        there = self.migrations.pending_of(self.console) or self.migrations.pending_at(self.destination)
        self.migration = there or self.migration

    def find(self, uuid: UUID, port: str) -> Console:
        assert (uuid, port) == (self.console.uuid, self.console.port)
        return self.console

    def outcome(self) -> tuple[object, ...]:
        self.world.store.flush()
        counts = self.migrations.completed, self.migrations.aborted, self.migrations.abandoned
        return (
            *(self.migration.state, self.console.state, self.console.reason, len(self.migrations), counts),
            *(self.source.calls, self.destination.calls),
            [event["event"] for event in trail(self.console.log)],
        )


@pytest.mark.parametrize(("state", "what"), TABLE)
def test_at_a_console_each_input_leads_where_the_table_says_handed_over_or_not(
    tmp_path: Path, state: str, what: str
) -> None:
    outcomes = []
    for handed_over in (False, True):
        motion = Motion(tmp_path / str(handed_over))
        for step in WAY[state]:
            motion.input(step)
        assert motion.migration.state == state
        if handed_over:
            motion.hand_over()
        motion.input(what)
        after, _ = TABLE[state, what]
        assert motion.migration.state == after
        assert (motion.console.state == "migrating") == (after in PENDING)
        assert len(motion.migrations) == (after in PENDING)
        outcomes.append(motion.outcome())
        motion.world.writer.close()
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("state", [AWAITED, ALONE, MOVING, LEFT])
def test_what_is_left_of_the_time_is_handed_over(tmp_path: Path, state: str) -> None:
    motion = Motion(tmp_path)
    motion.world.clock.advance(30)
    for step in WAY[state]:
        motion.input(step)
    # Of what waits since BEGIN half is over; the others wait for something else from here on.
    motion.world.clock.advance(20 if state in (AWAITED, ALONE) else 50)
    motion.hand_over()
    motion.world.clock.advance(9)
    assert motion.console.state == "migrating"
    motion.world.clock.advance(1)
    assert (motion.console.state == "migrating", motion.migrations.abandoned) == (False, 1)
    motion.world.writer.close()


def test_what_has_no_deadline_has_none_when_it_was_handed_over(tmp_path: Path) -> None:
    for state in (ARRIVED, OVERTAKEN):
        motion = Motion(tmp_path / state)
        for step in WAY[state]:
            motion.input(step)
        motion.world.clock.advance(100)
        motion.hand_over()
        motion.world.clock.advance(100_000)
        assert motion.migration.state == state
        motion.input(COMPLETE)
        assert motion.console.link is motion.destination
        motion.world.writer.close()


@pytest.mark.parametrize("state", WAY)
@pytest.mark.parametrize("lost", ["source", "destination", "both"])
def test_a_connection_that_is_not_handed_over_is_lost(tmp_path: Path, state: str, lost: str) -> None:
    motion = Motion(tmp_path)
    for step in WAY[state]:
        motion.input(step)
    source_lost, destination_lost = lost != "destination", lost != "source"
    if source_lost and motion.migration.source is not None:
        motion.console.link_lost(motion.source)
    motion.hand_over(*([motion.source] * source_lost), *([motion.destination] * destination_lost))
    expected = state
    for what, gone in ((DESTINATION_LOST, destination_lost), (SOURCE_LOST, source_lost)):
        expected = TABLE.get((expected, what), (expected,))[0] if gone else expected
    pending = motion.migrations.pending_of(motion.console)
    assert (pending.state if pending is not None else OVER) == (expected if expected in PENDING else OVER)
    assert (motion.migrations.pending_at(motion.destination) is not None) == (expected in (ARRIVED, MOVING, OVERTAKEN))
    motion.world.clock.advance(100)
    motion.world.writer.close()


def test_a_pair_that_is_used_up_is_no_guess_after_a_hand_over_either(tmp_path: Path) -> None:
    motion = Motion(tmp_path)
    motion.input(PEER)
    motion.hand_over()
    with pytest.raises(PeerRefused, match="no pending vMotion") as refused:
        motion.migrations.peer(FakeLink("10.0.0.3"), motion.migration.pair, None)
    assert refused.value.wrong is Wrong.SPENT
    motion.world.writer.close()


def test_the_table_leads_to_every_state_and_to_an_end() -> None:
    assert {after for after, _ in TABLE.values()} | {AWAITED} == set(STATES)
    assert {state for state, _ in TABLE} == set(STATES) - {OVER}
    assert {what for _, what in TABLE} == set(INPUTS)
    # To wait for a connection has an end; a host that is there may take its time.
    assert {state for state, what in TABLE if what == EXPIRED} == PENDING - {ARRIVED}
    assert {state for state, what in TABLE if what == CLAIMED} == PENDING
    for (state, what), (after, _) in TABLE.items():
        if what in (EXPIRED, REPLACED, ABORT, COMPLETE):
            assert after == OVER
        if what == REPLACED:
            assert state not in (ALONE, MOVING), "only a source says BEGIN"
    assert {state for state, what in TABLE if what == COMPLETE} == {ARRIVED, MOVING, OVERTAKEN}
    assert {state for state, what in TABLE if what == ABORT} == {AWAITED, ARRIVED, LEFT}


def test_every_slot_is_handed_over() -> None:
    renamed = {"console": "uuid", "started": "age"}
    kept = {renamed.get(slot, slot) for slot in Migration.__slots__}
    assert kept | {"port", "waited"} == {field.name for field in fields(MigrationState)}


def test_the_table_can_be_printed() -> None:
    lines = table_text().splitlines()
    assert len(lines) == len(TABLE)
    assert "arrived   ABORT             -> over      release, resume" in lines
