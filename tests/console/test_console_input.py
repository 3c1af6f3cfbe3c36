"""Who writes to a console, and what becomes of what they type."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World, trail
from tests.support.fakes import FakeLink, FakeViewer
from tests.support.properties import examples
from vmproxy.console.console import Console
from vmproxy.console.input_queue import INPUT_HIGH, INPUT_LIMIT, INPUT_LOW
from vmproxy.console.notices import (
    Demoted,
    InputLost,
    Joined,
    Left,
    Promoted,
)
from vmproxy.console.viewers import CROWD
from vmproxy.console.write_access import WriteAccess


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def console(world: World, link: FakeLink) -> Console:
    return world.claim(link=link)


def events(world: World, console: Console, *kinds: str) -> list[dict[str, object]]:
    world.store.flush()
    return trail(console.log, *kinds)


class TestThePen:
    def test_one_writes_and_the_next_looks_on_and_waits(self, console: Console) -> None:
        alice, bob = FakeViewer("alice"), FakeViewer("bob")
        assert console.viewers.attach(alice, write=True) is True
        assert console.viewers.attach(bob, write=True) is False
        assert console.write_access.writer is alice
        assert console.write_access.waits(bob)
        assert alice.told(Joined) == [Joined("bob", writing=False)]

    def test_of_a_crowd_nobody_is_told_of_each_that_comes_and_goes(self, console: Console) -> None:
        viewers = [FakeViewer(f"operator{n}") for n in range(CROWD + 10)]
        for viewer in viewers:
            console.viewers.attach(viewer, write=False)
        assert len(viewers[0].told(Joined)) == CROWD - 1
        for viewer in viewers[:0:-1]:
            console.viewers.detach(viewer)
        assert len(viewers[0].told(Left)) == CROWD - 1

    def test_the_one_who_waits_longest_is_promoted_and_told(self, world: World, console: Console) -> None:
        viewers = [FakeViewer(who) for who in ("alice", "bob", "carol")]
        for viewer in viewers:
            console.viewers.attach(viewer, write=True)
        console.viewers.detach(viewers[0])
        assert console.write_access.writer is viewers[1]
        assert [v.told(Promoted) for v in viewers] == [[], [Promoted()], []]
        console.viewers.drop_write(viewers[1])
        assert console.write_access.writer is viewers[2]
        assert [e["who"] for e in events(world, console, "promote")] == ["bob", "carol"]

    def test_a_spy_is_never_promoted(self, console: Console) -> None:
        alice, spy = FakeViewer("alice"), FakeViewer("spy")
        console.viewers.attach(alice, write=True)
        console.viewers.attach(spy, write=False)
        console.viewers.detach(alice)
        assert console.write_access.writer is None
        assert spy.told(Promoted) == []

    def test_a_spy_may_take_a_free_pen(self, console: Console) -> None:
        spy = FakeViewer()
        console.viewers.attach(spy, write=False)
        assert console.viewers.take_write(spy) is True
        assert console.viewers.take_write(spy) is True

    def test_who_left_the_line_is_passed_over(self, console: Console) -> None:
        viewers = [FakeViewer(who) for who in ("alice", "bob", "carol")]
        for viewer in viewers:
            console.viewers.attach(viewer, write=True)
        console.viewers.drop_write(viewers[1])  # became a spy
        console.viewers.detach(viewers[0])
        assert console.write_access.writer is viewers[2]

    def test_force_demotes_the_writer_who_is_told_by_whom_and_stays(self, world: World, console: Console) -> None:
        alice, bob = FakeViewer("alice"), FakeViewer("bob")
        console.viewers.attach(alice, write=True)
        assert console.viewers.attach(bob, write=True, force=True) is True
        assert console.write_access.writer is bob
        assert alice.told(Demoted) == [Demoted("bob")]
        assert alice in console.viewers.all
        assert [(e["who"], e["was"]) for e in events(world, console, "force")] == [("bob", "alice")]
        # The one who lost it waits for it, behind the others.
        console.viewers.detach(bob)
        assert console.write_access.writer is alice

    def test_force_of_a_free_pen_or_of_ones_own_demotes_nobody(self, world: World, console: Console) -> None:
        alice = FakeViewer("alice")
        console.viewers.attach(alice, write=True, force=True)
        assert console.viewers.force_write(alice) == ()
        assert alice.told(Demoted) == []
        assert events(world, console, "force") == []

    def test_attach_and_detach_are_recorded_with_the_mode(self, world: World, console: Console) -> None:
        alice, bob = FakeViewer("alice"), FakeViewer("bob")
        console.viewers.attach(alice, write=True)
        console.viewers.attach(bob, write=False)
        console.viewers.detach(bob)
        console.viewers.detach(bob)  # twice does nothing
        told = [(e["event"], e["who"], e.get("mode")) for e in events(world, console, "attach", "detach")]
        assert told == [("attach", "alice", "write"), ("attach", "bob", "spy"), ("detach", "bob", None)]
        assert alice.told(Left) == [Left("bob")]

    def test_a_detach_of_somebody_unknown_does_nothing(self, world: World, console: Console) -> None:
        console.viewers.detach(FakeViewer())
        assert events(world, console, "detach") == []

    @given(st.lists(st.tuples(st.sampled_from(["take", "force", "drop"]), st.integers(0, 3)), max_size=40))
    def test_there_is_one_writer_and_the_line_is_in_order(self, steps: list[tuple[str, int]]) -> None:
        pen = WriteAccess()
        viewers = [FakeViewer(str(n)) for n in range(4)]
        line: list[FakeViewer] = []  # the first has the pen
        for verb, number in steps:
            viewer = viewers[number]
            if verb == "take":
                if viewer not in line:
                    line.append(viewer)
                assert pen.take(viewer) is (line[0] is viewer)
            elif verb == "force":
                losers = (line[0],) if line and line[0] is not viewer else ()
                if viewer in line:
                    line.remove(viewer)
                if losers:
                    line.append(line.pop(0))
                line.insert(0, viewer)
                assert pen.force(viewer) == losers
            else:
                had = bool(line) and line[0] is viewer
                if viewer in line:
                    line.remove(viewer)
                assert pen.drop(viewer) is (line[0] if had and line else None)
            assert pen.writer is (line[0] if line else None)
            assert [v for v in viewers if pen.waits(v)] == [v for v in viewers if v in line[1:]]


class TestInput:
    def test_it_goes_straight_to_the_vm(self, console: Console, link: FakeLink) -> None:
        assert console.send(b"ls\r") is True
        assert link.written == b"ls\r"
        assert console.bytes_in == 3

    def test_it_is_not_taken_while_the_console_is_down(self, world: World, console: Console) -> None:
        world.lose(console)
        assert console.send(b"x") is False
        assert console.send_break("alice") is False
        assert console.bytes_in == 0

    def test_it_is_held_in_a_migration_and_goes_to_the_destination_in_order(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        migration = world.migrations.begin(console, link, b"1234")
        assert console.state == "migrating"
        for key in (b"a", b"b", b"c"):
            assert console.send(key) is True
        destination = FakeLink("10.0.0.2")
        world.migrations.peer(destination, b"1234" + migration.secret, console.uuid)
        world.directory.lost(console, link, "connection closed")
        console.send(b"d")
        assert link.written == b""
        assert world.migrations.complete(destination, b"1234")
        console.send(b"e")
        assert destination.written == b"abcde"
        assert console.bytes_in == 5
        assert console.state == "up"

    def test_it_goes_to_the_source_if_the_migration_is_aborted_or_never_ends(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        world.migrations.begin(console, link, b"1234")
        console.send(b"a")
        world.migrations.abort(link, console, b"1234")
        assert link.written == b"a"
        world.migrations.begin(console, link, b"1235")
        console.send(b"b")
        world.clock.advance(60)
        assert link.written == b"ab"
        assert console.state == "up"

    def test_it_is_held_while_the_vm_takes_nothing_and_nothing_overtakes_it(
        self, console: Console, link: FakeLink
    ) -> None:
        link.ready = False
        console.send(b"1")
        console.send(b"2")
        link.ready = True
        console.send(b"3")  # link_ready is still to come
        console.link_ready()
        assert link.written == b"123"

    def test_the_writer_is_told_to_hold_above_the_mark_and_to_go_on_below_the_other(
        self, console: Console, link: FakeLink
    ) -> None:
        alice, spy = FakeViewer("alice"), FakeViewer("spy")
        console.viewers.attach(alice, write=True)
        console.viewers.attach(spy, write=False)
        alice.holds.clear()
        link.ready = False
        chunk = b"x" * 1024
        for _ in range(INPUT_HIGH // 1024):
            console.send(chunk)
        assert alice.holds == []
        console.send(b"x")
        console.send(chunk)
        assert alice.holds == [True]

        class Slow(FakeLink):
            """Takes one chunk each time it is asked."""

            def write(self, data: bytes) -> None:
                super().write(data)
                self.ready = False

        slow = Slow()
        console.claim(slow)
        while not alice.holds[1:]:
            assert len(slow.written) < INPUT_HIGH + 1025
            slow.ready = True
            console.link_ready()
        assert alice.holds == [True, False]
        assert INPUT_LOW - 1024 < INPUT_HIGH + 1025 - len(slow.written) <= INPUT_LOW
        assert spy.holds == []

    def test_it_is_bounded_and_what_is_over_the_bound_is_refused(self, console: Console, link: FakeLink) -> None:
        link.ready = False
        assert console.send(b"x" * INPUT_LIMIT) is True
        assert console.send(b"y") is False
        assert console.send(b"") is True
        link.ready = True
        console.link_ready()
        assert link.written == b"x" * INPUT_LIMIT
        assert console.send(b"z") is True

    def test_whoever_gets_the_pen_meanwhile_holds_and_whoever_loses_it_does_not(
        self, console: Console, link: FakeLink
    ) -> None:
        alice, bob, carol = FakeViewer("alice"), FakeViewer("bob"), FakeViewer("carol")
        console.viewers.attach(alice, write=True)
        console.viewers.attach(bob, write=True)
        link.ready = False
        console.send(b"x" * (INPUT_HIGH + 1))
        assert (alice.held, bob.held) == (True, False)
        console.viewers.drop_write(alice)
        assert (alice.held, bob.held) == (False, True)
        console.viewers.attach(carol, write=True, force=True)
        assert (bob.held, carol.held) == (False, True)
        link.ready = True
        console.link_ready()
        assert carol.held is False

    def test_when_the_console_goes_down_what_was_held_is_lost_and_that_is_told(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        alice, spy = FakeViewer("alice"), FakeViewer("spy")
        console.viewers.attach(alice, write=True)
        console.viewers.attach(spy, write=False)
        link.ready = False
        console.send(b"x" * (INPUT_HIGH + 10))
        assert alice.held
        world.lose(console, "connection lost")
        assert alice.told(InputLost) == spy.told(InputLost) == [InputLost(INPUT_HIGH + 10)]
        assert not alice.held
        assert [e["bytes"] for e in events(world, console, "input-lost")] == [INPUT_HIGH + 10]
        # It does not reach the VM when it comes back: nobody expects it any more.
        again = FakeLink()
        world.claim(link=again)
        assert again.written == b""

    def test_nothing_is_told_lost_when_nothing_was_held(self, world: World, console: Console) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=True)
        console.send(b"x")
        world.lose(console)
        assert viewer.told(InputLost) == []

    def test_a_migration_that_nobody_completes_loses_what_was_held_with_the_console(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=True)
        world.migrations.begin(console, link, b"1234")
        console.send(b"abc")
        world.directory.lost(console, link, "connection closed")
        assert console.state == "migrating"
        world.clock.advance(60)
        assert console.state == "down"
        assert viewer.told(InputLost) == [InputLost(3)]

    def test_a_break_goes_to_the_guest_and_is_recorded(self, world: World, console: Console, link: FakeLink) -> None:
        assert console.send_break("alice") is True
        assert "break" in link.calls
        assert [e["who"] for e in events(world, console, "break")] == ["alice"]

    def test_a_break_in_a_migration_waits_for_its_turn_among_the_input(
        self, world: World, console: Console, link: FakeLink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[bytes] = []
        monkeypatch.setattr(link, "write", order.append)
        monkeypatch.setattr(link, "send_break", lambda: order.append(b"BREAK"))
        world.migrations.begin(console, link, b"1234")
        console.send(b"a")
        assert console.send_break("alice") is True
        console.send(b"h")
        assert order == []
        world.migrations.abort(link, console, b"")
        assert order == [b"a", b"BREAK", b"h"]

    def test_breaks_are_held_within_the_bound_like_other_input(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        # ssh sends a break request for a few bytes, as often as its user likes.
        link.ready = False
        console.send(b"x" * INPUT_LIMIT)
        assert console.send_break("alice") is False

    @examples(60)
    @given(
        st.lists(
            st.sampled_from(["type", "paste", "busy", "ready", "begin", "abort", "complete", "lose", "claim"]),
            max_size=40,
        )
    )
    def test_input_arrives_in_order_or_is_told_lost_or_refused_and_the_hold_never_sticks(
        self, steps: list[str]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            writer = FakeViewer()
            links = [FakeLink("10.0.0.0")]
            console = world.claim(link=links[0])
            console.viewers.attach(writer, write=True)
            taken = 0
            for step in steps:
                link = console.link
                assert link is None or isinstance(link, FakeLink)
                match step:
                    case "type" | "paste":
                        data = b"k" if step == "type" else b"p" * 50_000
                        taken += len(data) if console.send(data) else 0
                    case "busy" if link is not None:
                        link.ready = False
                    case "ready" if link is not None:
                        link.ready = True
                        console.link_ready()
                    case "begin" if link is not None:
                        world.migrations.begin(console, link, b"1234")
                    case "abort" if link is not None:
                        world.migrations.abort(link, console, b"")
                    case "complete" if console.migrating:
                        links.append(FakeLink(f"10.0.0.{len(links)}"))
                        pending = world.migrations.pending_of(console)
                        assert pending is not None
                        pair = b"1234" + pending.secret
                        world.migrations.peer(links[-1], pair, None)
                        world.migrations.complete(links[-1], b"1234")
                    case "lose" if link is not None:
                        world.lose(console)
                    case "claim":
                        links.append(FakeLink(f"10.0.0.{len(links)}"))
                        world.claim(link=links[-1])
                lost = sum(n.size for n in writer.told(InputLost))
                arrived = sum(len(link.written) for link in links)
                held = console.undelivered
                assert arrived + lost + held == taken
                assert held <= INPUT_LIMIT
                assert writer.held or held <= INPUT_HIGH
                if held == 0:
                    assert not writer.held
            world.clock.advance(61)
            assert console.undelivered == 0 or (console.link is not None and not console.link.ready)
            world.stop()
