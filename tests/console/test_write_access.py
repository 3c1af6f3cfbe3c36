"""Several who write, and what operators do to a whole console: join, kick, reopen, logging off, recorded input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import VM_B, FakeLink, FakeViewer
from vmproxy.access.policy import Policy
from vmproxy.access.policy_file import parse_policy
from vmproxy.console.console import Console
from vmproxy.console.input_queue import INPUT_HIGH
from vmproxy.console.notices import Demoted, Kicked, LoggingOff, LoggingOn, Promoted, Shares, TookOver
from vmproxy.console.write_access import WriteAccess


@pytest.fixture
def w(tmp_path: Path) -> World:
    return World(tmp_path)


def said(**values: object) -> Policy:
    policy, problems = parse_policy(None, [{"on": "*", **values}])
    assert problems == []
    return policy


@pytest.fixture
def shared(w: World) -> Console:
    """A console on which others may join."""
    w.directory.use(said(write="shared"))
    return w.claim()


def at(console: Console, who: str, **how: Any) -> FakeViewer:
    viewer = FakeViewer(who)
    console.viewers.attach(viewer, **{"write": True, **how})
    return viewer


class TestJoining:
    def test_who_joins_writes_beside_the_first(self, shared: Console) -> None:
        alice, bob = at(shared, "alice"), at(shared, "bob")
        assert not shared.write_access.writes(bob)
        assert shared.viewers.join_write(bob)
        assert shared.write_access.writers == (alice, bob)
        assert not shared.write_access.waits(bob)
        assert not alice.told(Demoted)
        assert alice.told(Shares) == [Shares("bob")]
        assert not bob.told(Shares)

    def test_who_writes_when_stands_in_the_trail(self, w: World) -> None:
        console = w.claim()
        alice, bob = at(console, "alice"), at(console, "bob")
        console.viewers.drop_write(bob)
        console.viewers.drop_write(alice)
        assert console.viewers.take_write(bob)
        assert console.viewers.take_write(bob)
        w.store.flush()
        kinds = ("attach", "take", "drop", "promote", "join")
        told = [(e["event"], e["who"]) for e in trail(console.log, *kinds)]
        assert told == [("attach", "alice"), ("attach", "bob"), ("drop", "alice"), ("take", "bob")]

    def test_the_others_hear_who_took_over(self, w: World) -> None:
        console = w.claim()
        alice, bob, carol = at(console, "alice"), at(console, "bob"), at(console, "carol")
        console.viewers.force_write(bob)
        assert carol.told(TookOver) == [TookOver("bob", "alice")]
        assert not alice.told(TookOver)
        assert not bob.told(TookOver)

    def test_a_console_that_is_not_shared_any_more_has_one_writer(self, shared: Console, w: World) -> None:
        alice, bob = at(shared, "alice"), at(shared, "bob", join=True)
        w.directory.use(said(write="one"))
        assert shared.write_access.writers == (alice,)
        assert bob.told(Demoted)
        assert not alice.told(Demoted)

    def test_on_attach(self, shared: Console, w: World) -> None:
        at(shared, "alice")
        bob = at(shared, "bob", join=True)
        assert shared.write_access.writes(bob)
        w.store.flush()
        assert [e["mode"] for e in trail(shared.log, "attach")] == ["write", "write"]
        assert trail(shared.log, "join") == []

    def test_not_where_only_one_may_write(self, w: World) -> None:
        console = w.claim()
        at(console, "alice")
        bob = at(console, "bob", join=True)
        assert not console.viewers.join_write(bob)
        assert not console.write_access.writes(bob)
        assert console.write_access.waits(bob)

    def test_with_nobody_there_it_is_the_same_as_attaching(self, shared: Console) -> None:
        bob = at(shared, "bob", join=True)
        assert shared.write_access.writer is bob

    def test_one_who_joined_goes_on_when_the_first_leaves_and_nobody_is_promoted(self, shared: Console) -> None:
        alice, carol = at(shared, "alice"), at(shared, "carol")
        bob = at(shared, "bob", join=True)
        shared.viewers.detach(alice)
        assert shared.write_access.writers == (bob,)
        assert not bob.told(Promoted)
        shared.viewers.detach(bob)
        assert shared.write_access.writers == (carol,)
        assert carol.told(Promoted) == [Promoted()]

    def test_one_who_joined_may_leave(self, shared: Console) -> None:
        alice, bob = at(shared, "alice"), at(shared, "bob", join=True)
        shared.viewers.drop_write(bob)
        assert shared.write_access.writers == (alice,)

    def test_force_takes_it_from_all(self, shared: Console, w: World) -> None:
        alice, bob = at(shared, "alice"), at(shared, "bob", join=True)
        carol = FakeViewer("carol")
        shared.viewers.attach(carol, write=True, force=True, reason="on call")
        assert shared.write_access.writers == (carol,)
        for loser in (alice, bob):
            assert loser.told(Demoted) == [Demoted("carol", "on call")]
            assert shared.write_access.waits(loser)
        w.store.flush()
        (event,) = trail(shared.log, "force")
        assert (event["who"], event["was"], event["reason"]) == ("carol", "alice, bob", "on call")

    def test_everybody_who_writes_holds_his_input_while_the_vm_takes_none(self, shared: Console) -> None:
        alice, bob = at(shared, "alice"), at(shared, "bob", join=True)
        link = shared.link
        assert isinstance(link, FakeLink)
        link.ready = False
        shared.send(b"x" * (INPUT_HIGH + 1))
        assert (alice.held, bob.held) == (True, True)
        carol = at(shared, "carol", join=True)
        assert carol.held
        link.ready = True
        shared.link_ready()
        assert (alice.held, bob.held, carol.held) == (False, False, False)

    @given(st.lists(st.tuples(st.sampled_from(["take", "join", "force", "drop"]), st.integers(0, 3)), max_size=40))
    def test_the_pen_is_always_with_somebody_who_wants_it(self, steps: list[tuple[str, int]]) -> None:
        access, people = WriteAccess(), [FakeViewer(str(n)) for n in range(4)]
        inside: set[str] = set()
        for step, n in steps:
            getattr(access, step)(people[n])
            inside = inside - {str(n)} if step == "drop" else inside | {str(n)}
            writing = [v.who for v in access.writers]
            waiting = [v.who for v in people if access.waits(v)]
            assert sorted(writing + waiting) == sorted(inside)
            places = sorted(access.place(v) for v in people if access.waits(v))
            assert places == list(range(1, len(waiting) + 1))
            assert (access.writer is None) == (not inside)
            assert all(access.writes(v) == (v.who in writing) for v in people)


class TestKick:
    def test_who_is_kicked_is_told_and_off(self, w: World) -> None:
        console = w.claim()
        alice, bob = at(console, "alice"), at(console, "bob")
        console.viewers.kick(alice, "root@10.9.9.9", "maintenance")
        assert alice.told(Kicked) == [Kicked("root@10.9.9.9", "maintenance")]
        assert console.viewers.all == (bob,)
        assert console.write_access.writer is bob
        w.store.flush()
        (event,) = trail(console.log, "kick")
        assert (event["who"], event["by"], event["reason"]) == ("alice", "root@10.9.9.9", "maintenance")


class TestReopen:
    def test_the_connection_is_closed_so_that_the_host_dials_again(self, w: World) -> None:
        console = w.claim()
        link = console.link
        assert isinstance(link, FakeLink)
        assert console.reopen("alice")
        assert link.calls[-1] == "close"

    def test_not_while_it_is_down_or_moves(self, w: World) -> None:
        console = w.claim()
        assert console.link is not None
        w.migrations.begin(console, console.link, b"\x01")
        assert not console.reopen("alice")
        other = w.claim("db", VM_B)
        w.lose(other)
        assert not other.reopen("alice")


class TestLoggingOff:
    def test_what_is_said_meanwhile_is_seen_but_not_recorded(self, w: World) -> None:
        console = w.claim()
        viewer = at(console, "alice")
        console.feed(b"one ")
        console.set_logging(False, "alice")
        console.feed(b"secret ")
        console.set_logging(True, "alice")
        console.feed(b"two")
        w.store.flush()
        assert console.log.path.read_bytes() == b"one two"
        assert viewer.seen == b"one secret two"
        assert viewer.told(LoggingOff) == [LoggingOff("alice")]
        assert viewer.told(LoggingOn) == [LoggingOn("alice", 7)]
        (off,), (on,) = trail(console.log, "logging-off"), trail(console.log, "logging-on")
        assert (off["who"], off["offset"]) == ("alice", 4)
        assert (on["who"], on["offset"], on["bytes"]) == ("alice", 4, 7)

    def test_twice_off_is_off(self, w: World) -> None:
        console = w.claim()
        viewer = at(console, "alice")
        console.set_logging(False, "alice")
        console.set_logging(False, "bob")
        assert viewer.told(LoggingOff) == [LoggingOff("alice")]


class TestRecordedInput:
    def test_input_is_not_recorded_unless_the_console_says_so(self, w: World) -> None:
        console = w.claim()
        console.send(b"secret", "alice")
        assert not w.inputs.path.exists()

    def test_what_is_typed_goes_to_a_file_of_its_own_once_also_what_is_held(self, w: World) -> None:
        w.directory.use(said(**{"record-input": True}))
        console = w.claim()
        console.send(b"ls\r", "alice")
        link = console.link
        assert isinstance(link, FakeLink)
        link.ready = False
        console.send(b"\xff\x1b[A", "bob")
        link.ready = True
        console.link_ready()
        w.store.flush()
        recorded = [json.loads(line) for line in w.inputs.path.read_text().splitlines()]
        assert [(e["console"], e["who"], e["data"]) for e in recorded] == [
            ("web01", "alice", "ls\r"),
            ("web01", "bob", "\\xff\x1b[A"),
        ]
        assert (recorded[0]["uuid"], recorded[0]["port"]) == (str(console.uuid), "1")
        assert not console.log.path.exists()
        assert b"ls" not in Path(console.log.file.trail_path).read_bytes()

    def test_what_is_not_taken_is_not_recorded(self, w: World) -> None:
        w.directory.use(said(**{"record-input": True}))
        console = w.claim()
        w.lose(console)
        assert not console.send(b"x", "alice")
        assert not w.inputs.path.exists()
