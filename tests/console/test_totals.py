"""What is counted over all consoles. That it is what one finds who looks, every test of a world checks at its end."""

from __future__ import annotations

from collections import Counter

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B, VM_C, FakeLink, FakeRemoteEnd, FakeViewer
from vmproxy.console.console import Console


def states(world: World) -> dict[str, int]:
    found = world.directory.totals.states(len(world.directory))
    return {state: number for state, number in found.items() if number}


def state_changes(world: World) -> dict[str, int]:
    changes = world.directory.totals.changes
    return {state: changes[state] for state in ("up", "down", "migrating")}


class TestStates:
    def test_a_console_comes_goes_and_comes_again(self, world: World) -> None:
        console = world.claim()
        assert state_changes(world) == {"up": 1, "down": 0, "migrating": 0}
        world.claim(link=FakeLink("10.0.0.2"))  # another connection in its place: it was up, and is
        assert state_changes(world) == {"up": 1, "down": 0, "migrating": 0}
        world.lose(console)
        assert (state_changes(world), states(world)) == ({"up": 1, "down": 1, "migrating": 0}, {"down": 1})
        world.claim()
        assert (state_changes(world), states(world)) == ({"up": 2, "down": 1, "migrating": 0}, {"up": 1})

    def move(self, world: World, source_goes_first: bool) -> Console:
        source, destination = FakeLink("10.0.0.1"), FakeLink("10.0.0.2")
        console = world.claim(link=source)
        migration = world.migrations.begin(console, source, b"\0\0\0\1")
        assert states(world) == {"migrating": 1}
        world.migrations.peer(destination, migration.pair, None)
        if source_goes_first:
            world.lose(console)
        world.clock.advance(2)
        assert world.migrations.complete(destination, b"\0\0\0\1")
        return console

    def test_a_vmotion_takes_it_from_up_to_up_and_its_time_is_measured(self, world: World) -> None:
        for number, source_goes_first in enumerate((False, True), 1):
            console = self.move(world, source_goes_first)
            assert state_changes(world) == {"up": 2 * number, "down": number - 1, "migrating": number}
            assert states(world) == {"up": 1}
            assert (sum(world.migrations.durations.counts), world.migrations.durations.total) == (number, 2.0 * number)
            world.lose(console)

    def test_one_that_is_aborted_leaves_it_up(self, world: World) -> None:
        source = FakeLink()
        console = world.claim(link=source)
        world.migrations.begin(console, source, b"\0\0\0\1")
        world.migrations.abort(source, console, b"")
        assert state_changes(world) == {"up": 2, "down": 0, "migrating": 1}
        assert sum(world.migrations.durations.counts) == 0

    def test_those_of_a_former_process_are_down_and_nothing_has_happened(self, world: World) -> None:
        for uuid in (VM_A, VM_B, VM_C):
            world.claim(str(uuid), uuid)
        after = world.restarted()
        assert (states(after), after.directory.totals.changes) == ({"down": 3}, Counter())
        after.stop()


class TestInput:
    def test_what_was_delivered_is_counted_though_its_console_is_forgotten(self, world: World) -> None:
        console = world.claim()
        console.send(b"uptime\r")
        world.lose(console)
        world.directory.forget(console, "alice", remove_log=True)
        assert (world.directory.totals.delivered, world.directory.totals.lost) == (7, 0)

    def test_what_is_held_is_delivered_or_lost(self, world: World) -> None:
        link = FakeLink(ready=False)
        console = world.claim(link=link)
        console.send(b"held")
        assert (world.directory.totals.held, world.directory.totals.delivered) == (4, 0)
        link.ready = True
        console.link_ready()
        assert (world.directory.totals.held, world.directory.totals.delivered) == (0, 4)
        link.ready = False
        console.send(b"lost")
        world.lose(console)
        assert (world.directory.totals.held, world.directory.totals.delivered, world.directory.totals.lost) == (0, 4, 4)


class TestViewers:
    def test_they_count_by_front_and_mode_and_remote_ends_are_none(self, world: World) -> None:
        first, second = world.claim("a", VM_A), world.claim("b", VM_B)
        first.viewers.attach(FakeViewer("alice"), write=True)
        first.viewers.attach(FakeViewer("bob", front="web"), write=True)
        first.viewers.attach(FakeViewer("carol", front="web"), write=False)
        second.viewers.attach(FakeViewer("dave", front="api"), write=False)
        remote = FakeRemoteEnd()
        second.set_remote(remote)
        second.viewers.attach(remote, write=True)
        assert sum((watched.modes() for watched in world.directory.totals.watched), Counter()) == {
            ("ssh", "write"): 1,
            ("web", "waits"): 1,
            ("web", "spy"): 1,
            ("api", "spy"): 1,
        }
        for console in (first, second):
            for viewer in console.watchers:
                console.viewers.detach(viewer)
        assert world.directory.totals.watched == {}

    def test_force_counts_for_the_front_of_who_took_it_and_only_where_somebody_lost(self, world: World) -> None:
        console = world.claim()
        console.viewers.attach(FakeViewer("alice"), write=True, force=True)
        assert world.directory.totals.forced == {}
        console.viewers.attach(FakeViewer("bob", front="web"), write=True, force=True)
        assert world.directory.totals.forced == {"web": 1}


def test_those_that_are_not_recorded_are_counted(world: World) -> None:
    console = world.claim()
    assert world.directory.totals.off == 0
    console.set_logging(False, "alice")
    assert world.directory.totals.off == 1
    console.set_logging(True, "alice")
    assert world.directory.totals.off == 0
    console.set_logging(False, "alice")
    world.lose(console)
    world.directory.forget(console, "alice", remove_log=True)
    assert world.directory.totals.off == 0
