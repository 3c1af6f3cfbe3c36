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
    COMPLETE,
    DESTINATION_LOST,
    EXPIRED,
    INPUTS,
    LEFT,
    MOVING,
    OVER,
    PEER,
    REPLACED,
    SOURCE_LOST,
    STATES,
    TABLE,
    Migration,
    MigrationState,
    table_text,
)
from vmproxy.console.migrations import Migrations, MigrationsState

SEQUENCE = b"\x01\x02\xff\x04"
WAY = {
    AWAITED: [],
    ALONE: [SOURCE_LOST],
    ARRIVED: [PEER],
    MOVING: [PEER, SOURCE_LOST],
    LEFT: [PEER, DESTINATION_LOST],
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
            case "replaced":
                migrations.cancel(console)

    def hand_over(self) -> None:
        """Have another process go on."""
        links: dict[str, ILink[Console]] = {link.peer: link for link in (self.source, self.destination)}
        state = self.migrations.snapshot(lambda link: link.peer)
        self.migrations.stop()
        read = unpack(MigrationsState, json.loads(json.dumps(pack(state))))
        assert read == state
        self.migrations = Migrations(self.world.clock, 60, lambda: b"other")
        self.migrations.restore(read, self.find, links)
        self.migration = self.migrations.pending_of(self.console) or self.migration

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
        assert (motion.console.state == "migrating") == (after != OVER)
        assert len(motion.migrations) == (after != OVER)
        outcomes.append(motion.outcome())
        motion.world.writer.close()
    assert outcomes[0] == outcomes[1]


def test_what_is_left_of_the_time_is_handed_over(tmp_path: Path) -> None:
    motion = Motion(tmp_path)
    motion.world.clock.advance(50)
    motion.hand_over()
    motion.world.clock.advance(9)
    assert motion.console.state == "migrating"
    motion.world.clock.advance(1)
    assert (motion.console.state, motion.migrations.abandoned) == ("up", 1)
    motion.world.writer.close()


def test_a_pair_that_is_used_up_is_no_guess_after_a_hand_over_either(tmp_path: Path) -> None:
    motion = Motion(tmp_path)
    motion.input(PEER)
    motion.hand_over()
    with pytest.raises(Exception, match="no pending vMotion") as refused:
        motion.migrations.peer(FakeLink("10.0.0.3"), motion.migration.pair, None)
    assert not refused.value.guess  # type: ignore[attr-defined]
    motion.world.writer.close()


def test_the_table_leads_to_every_state_and_to_an_end() -> None:
    assert {after for after, _ in TABLE.values()} | {AWAITED} == set(STATES)
    assert {state for state, _ in TABLE} == set(STATES) - {OVER}
    assert {what for _, what in TABLE} == set(INPUTS)
    for state in set(STATES) - {OVER}:
        for what in (EXPIRED, REPLACED):
            assert TABLE[state, what][0] == OVER
    assert {state for state, what in TABLE if what == COMPLETE} == {ARRIVED, MOVING}
    assert {state for state, what in TABLE if what == ABORT} == {AWAITED, ARRIVED, LEFT}


def test_every_slot_is_handed_over() -> None:
    renamed = {"console": "uuid", "started": "age"}
    kept = {renamed.get(slot, slot) for slot in Migration.__slots__}
    assert kept | {"port"} == {field.name for field in fields(MigrationState)}


def test_the_table_can_be_printed() -> None:
    lines = table_text().splitlines()
    assert len(lines) == len(TABLE)
    assert "arrived  ABORT             -> over     release, resume" in lines
