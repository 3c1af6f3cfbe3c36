"""One console: the log first, then viewers who cannot harm each other; its line; the log's news."""

from __future__ import annotations

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import EPOCH, FakeLink, FakeViewer, Logged
from vmproxy.console.console import Console
from vmproxy.console.input_queue import INPUT_HIGH
from vmproxy.console.notices import (
    GuestBreak,
    Left,
    LineDown,
    LineUp,
    LogFailed,
    LogRecovered,
    Notice,
    Promoted,
)


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def console(world: World, link: FakeLink) -> Console:
    return world.claim(link=link)


def events(world: World, console: Console, *kinds: str) -> list[dict[str, object]]:
    world.store.flush()
    return trail(console.log, *kinds)


class Failing(FakeViewer):
    """A viewer that raises, in the calls that it is told to."""

    def __init__(self, *calls: str) -> None:
        super().__init__("mallory@10.6.6.6")
        self.calls = list(calls)

    def _fail(self, call: str) -> None:
        if call in self.calls:
            raise RuntimeError("the viewer's own fault")

    def output(self, data: bytes) -> None:
        self._fail("output")
        super().output(data)

    def notice(self, notice: Notice) -> None:
        self._fail("notice")
        self._fail(type(notice).__name__)
        super().notice(notice)

    def hold_input(self, on: bool) -> None:
        self._fail("hold_input")
        self._fail(f"hold_input {on}")
        super().hold_input(on)


class TestFeeding:
    def test_the_log_comes_first_then_the_viewers_in_their_order(
        self, console: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        append = type(console.log).append
        monkeypatch.setattr(type(console.log), "append", lambda log, data: (order.append("log"), append(log, data))[1])
        for who in ("first", "second"):
            viewer = FakeViewer(who)
            viewer.output = lambda data, who=who: order.append(who)
            console.viewers.attach(viewer, write=False)
        console.feed(b"x")
        assert order == ["log", "first", "second"]

    def test_every_viewer_sees_every_byte_from_its_attach_on(self, world: World, console: Console) -> None:
        early, late = FakeViewer("early"), FakeViewer("late")
        console.viewers.attach(early, write=False)
        console.feed(b"one ")
        console.viewers.attach(late, write=True)
        console.feed(b"two ")
        console.viewers.detach(early)
        console.feed(b"three")
        assert (early.seen, late.seen) == (b"one two ", b"two three")
        world.store.flush()
        assert console.log.path.read_bytes() == b"one two three"
        assert console.bytes_out == 13

    @pytest.mark.parametrize("where", [0, 1, 2])
    def test_a_viewer_that_raises_is_taken_off_and_nobody_else_notices(
        self, world: World, console: Console, where: int
    ) -> None:
        viewers = [FakeViewer("alice"), FakeViewer("bob")]
        failing = Failing("output")
        everybody = [*viewers[:where], failing, *viewers[where:]]
        for viewer in everybody:
            console.viewers.attach(viewer, write=False)
        with Logged() as lines:
            console.feed(b"one ")
        console.feed(b"two")
        assert [viewer.seen for viewer in viewers] == [b"one two"] * 2
        assert failing not in console.viewers.all
        assert any("mallory" in line for line in lines)
        assert all(viewer.told(Left) == [Left("mallory@10.6.6.6")] for viewer in viewers)
        world.store.flush()
        assert console.log.path.read_bytes() == b"one two"

    def test_all_of_them_may_fail_at_once(self, world: World, console: Console) -> None:
        for _ in range(3):
            console.viewers.attach(Failing("output"), write=True)
        with Logged():
            console.feed(b"x")
        assert console.viewers.all == ()
        assert console.write_access.writer is None

    def test_a_writer_that_raises_loses_the_pen_to_the_next_in_line(self, console: Console) -> None:
        next_one = FakeViewer("bob")
        failing = Failing("output")
        console.viewers.attach(failing, write=True)
        console.viewers.attach(next_one, write=True)
        with Logged():
            console.feed(b"x")
        assert console.write_access.writer is next_one
        assert next_one.told(Promoted) == [Promoted()]

    def test_a_viewer_that_leaves_while_it_is_served_does_not_disturb(self, console: Console) -> None:
        leaving, staying = FakeViewer("alice"), FakeViewer("bob")
        console.viewers.attach(leaving, write=False)
        console.viewers.attach(staying, write=False)
        leaving.output = lambda data: console.viewers.detach(leaving)
        console.feed(b"x")
        assert staying.seen == b"x"
        assert console.viewers.all == (staying,)

    def test_a_break_of_the_guest_is_told_and_recorded_and_is_no_byte(self, world: World, console: Console) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=False)
        console.feed(b"123")
        console.guest_break()
        assert viewer.told(GuestBreak) == [GuestBreak()]
        assert viewer.seen == b"123"
        assert [e["offset"] for e in events(world, console, "guest-break")] == [3]


class TestViewersThatFailElsewhere:
    """Whatever a viewer raises, and whenever, is its own misfortune: the caller is somebody else."""

    def test_when_told_something(self, console: Console) -> None:
        failing, good = Failing("notice"), FakeViewer()
        console.viewers.attach(failing, write=False)
        with Logged():
            console.viewers.attach(good, write=False)
            console.guest_break()
        assert failing not in console.viewers.all
        assert good.told(GuestBreak)

    def test_when_promoted(self, console: Console) -> None:
        leaving, failing, third = FakeViewer("alice"), Failing("Promoted"), FakeViewer("carol")
        for viewer in (leaving, failing, third):
            console.viewers.attach(viewer, write=True)
        with Logged():
            console.viewers.detach(leaving)
        assert failing not in console.viewers.all
        assert console.write_access.writer is third
        assert third.told(Promoted)

    def test_when_demoted(self, console: Console) -> None:
        failing, taker = Failing("Demoted"), FakeViewer("bob")
        console.viewers.attach(failing, write=True)
        with Logged():
            assert console.viewers.attach(taker, write=True, force=True)
        assert console.write_access.writer is taker
        assert taker in console.viewers.all
        assert failing not in console.viewers.all

    def test_when_it_may_go_on(self, console: Console, link: FakeLink) -> None:
        # The caller is the connection from the host: it must not be the one that pays.
        failing = Failing("hold_input False")
        console.viewers.attach(failing, write=False)
        console.write_access.writer = failing
        link.ready = False
        console.send(b"x" * (INPUT_HIGH + 1))
        link.ready = True
        with Logged():
            console.link_ready()
        assert link.written == b"x" * (INPUT_HIGH + 1)
        assert failing not in console.viewers.all

    def test_when_the_line_goes_down(self, world: World, console: Console, link: FakeLink) -> None:
        failing, other = Failing("hold_input False"), FakeViewer("bob")
        console.viewers.attach(other, write=False)
        with Logged():
            console.viewers.attach(failing, write=False)
            console.write_access.writer = failing
            link.ready = False
            console.send(b"x" * (INPUT_HIGH + 1))
            world.lose(console, "power failure")
        assert failing not in console.viewers.all
        assert other.told(LineDown)
        (known,) = world.restarted().directory
        assert known.reason == "power failure"


class TestTheLine:
    def test_up_and_down_are_told_with_since_when_and_why(self, world: World, console: Console, link: FakeLink) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=False)
        assert (console.state, console.since) == ("up", EPOCH)
        world.clock.advance(10)
        world.lose(console, "connection reset")
        assert (console.state, console.since, console.reason) == ("down", EPOCH + 10, "connection reset")
        assert viewer.told(LineDown) == [LineDown("connection reset", EPOCH + 10)]
        world.clock.advance(5)
        world.claim(link=FakeLink("10.0.0.2"))
        assert viewer.told(LineUp) == [LineUp("10.0.0.2", 5, vmotion=False)]
        assert console.host == "10.0.0.2"
        assert [(e["event"], e["host"]) for e in events(world, console, "up", "down")] == [
            ("up", "10.0.0.1"),
            ("down", "10.0.0.1"),
            ("up", "10.0.0.2"),
        ]

    def test_a_new_console_was_not_away(self, world: World) -> None:
        viewer = FakeViewer()
        console = world.claim()
        console.viewers.attach(viewer, write=False)
        world.claim(link=FakeLink("10.0.0.9"))  # replaced while it was up
        assert viewer.told(LineUp) == [LineUp("10.0.0.9", None, vmotion=False)]

    def test_what_the_old_connection_brought_is_taken_before_it_is_replaced(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        link.more_to_come = True
        new = FakeLink("10.0.0.2")
        world.claim(link=new)
        assert console.send(b"input goes to the new one at once")
        assert new.written == b"input goes to the new one at once"
        assert new.calls == ["wait"]
        console.feed(b"last words ")
        link.done()
        assert new.calls == ["wait", "serve"]
        console.feed(b"first words")
        world.store.flush()
        assert console.log.path.read_bytes() == b"last words first words"
        assert link.calls == ["serve", "retire", "close"]

    def test_a_vmotion_does_not_change_since_when_it_is_up(
        self, world: World, console: Console, link: FakeLink
    ) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=False)
        world.clock.advance(100)
        migration = world.migrations.begin(console, link, b"1234")
        destination = FakeLink("10.0.0.2")
        world.migrations.peer(destination, b"1234" + migration.secret, None)
        world.clock.advance(2)
        world.migrations.complete(destination, b"1234")
        assert console.since == EPOCH
        assert viewer.told(LineUp) == [LineUp("10.0.0.2", 2, vmotion=True)]
        assert viewer.told(LineDown) == []
        assert "retire" in link.calls

    def test_the_title_is_fit_for_a_terminal(self, world: World, console: Console) -> None:
        world.directory.rename(console, "\x1b[2Jx")
        assert console.title == "\\x1b[2Jx"
        world.directory.rename(console, "")
        assert console.title == str(console.uuid)


class TestTheLogsNews:
    def test_viewers_are_told_that_it_fails_and_recovers_even_quiet_ones(self, console: Console) -> None:
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=False)
        console.log_failed("No space left on device")
        console.log_recovered(118_400)
        assert viewer.notices == [LogFailed("No space left on device"), LogRecovered(118_400)]
        assert LogFailed.essential
        assert LogRecovered.essential

    def test_a_log_that_is_behind_asks_the_host_to_wait(self, console: Console, link: FakeLink) -> None:
        console.log_congested(True)
        console.log_congested(False)
        assert link.held == [False, True, False]  # the first when it began to serve

    def test_a_link_that_comes_meanwhile_waits_too(self, world: World, console: Console, link: FakeLink) -> None:
        console.log_congested(True)
        world.lose(console)
        new = FakeLink("10.0.0.2")
        world.claim(link=new)
        assert new.held == [True]
        console.log_congested(False)
        assert new.held == [True, False]

    def test_relief_while_the_console_is_down_is_not_forgotten(self, world: World, console: Console) -> None:
        console.log_congested(True)
        world.lose(console)
        console.log_congested(False)
        new = FakeLink("10.0.0.2")
        world.claim(link=new)
        assert not any(new.held)

    def test_a_log_that_cannot_be_written_stops_neither_output_nor_input(self, world: World, link: FakeLink) -> None:
        console = world.claim(link=link)
        viewer = FakeViewer()
        console.viewers.attach(viewer, write=True)
        world.store.flush()
        world.writer.reopen()
        console.log.path.unlink(missing_ok=True)
        console.log.path.mkdir()
        for n in range(20):
            console.feed(b"%d" % (n % 10))
            world.tick(1)
        console.send(b"x")
        assert viewer.seen == b"01234567890123456789"
        assert link.written == b"x"
        assert [type(n) for n in viewer.notices] == [LogFailed]
        console.log.path.rmdir()
        world.tick(1)
        assert console.log.path.read_bytes() == viewer.seen
        assert [type(n) for n in viewer.notices] == [LogFailed, LogRecovered]
