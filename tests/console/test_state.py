"""What a console holds goes on in another process: input, write access, links, and what is known of its line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B, FakeLink, FakeViewer
from vmproxy.access.console_options import ConsoleOptions
from vmproxy.console.console import Console
from vmproxy.console.input_queue import INPUT_HIGH
from vmproxy.console.state import ConsoleState

LINKS = ("type", "paste", "break", "busy", "ready", "begin", "abort", "lose", "claim", "log off", "log on")
VIEWERS = ("attach", "spy", "join", "force", "take", "drop", "detach")


@contextmanager
def worlds() -> Iterator[tuple[World, World]]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        yield World(Path(one)), World(Path(other))


def taken_over(world: World, state: ConsoleState, links: list[FakeLink], viewers: list[FakeViewer]) -> Console:
    """The console in the process that takes over."""
    console = Console(VM_A, "1", world.log("web.log"), world.directory)
    world.directory.names.add(console)
    console.restore(state, {link.peer: link for link in links}, {viewer.who: viewer for viewer in viewers})
    return console


def state_of(console: Console) -> ConsoleState:
    return console.snapshot(lambda link: link.peer, lambda viewer: viewer.who)


@given(
    st.lists(
        st.tuples(st.sampled_from(LINKS), st.just(0)) | st.tuples(st.sampled_from(VIEWERS), st.integers(0, 3)),
        max_size=40,
    )
)
def test_it_goes_on_as_it_was(steps: list[tuple[str, int]]) -> None:
    with worlds() as (world, other):
        links = [FakeLink("10.0.0.0")]
        viewers = [FakeViewer(f"viewer {n}") for n in range(4)]
        console = world.claim(link=links[0])
        console.set_options(ConsoleOptions(shared=True))
        console.set_uuids(VM_B, None)
        for step, number in steps:
            play(world, console, links, step, viewers[number])
        state = state_of(console)
        again = taken_over(other, state, links, viewers)
        again.set_options(console.options)
        assert state_of(again) == state
        assert (again.undelivered, again.congested, again.bytes_in) == (
            console.undelivered,
            console.congested,
            console.bytes_in,
        )
        assert (again.link, again.viewers.all) == (console.link, console.viewers.all)
        assert again.write_access.writers == console.write_access.writers
        assert again.write_access.waiting == console.write_access.waiting
        # From here on both do the same.
        if not console.migrating and isinstance(link := console.link, FakeLink):
            link.ready, link.written, link.calls = True, b"", []
            again.link_ready()
            delivered = link.written, [call for call in link.calls if call == "break"]
            link.written, link.calls = b"", []
            console.link_ready()
            assert (link.written, [call for call in link.calls if call == "break"]) == delivered
        for viewer in viewers:
            console.viewers.detach(viewer)
            again.viewers.detach(viewer)
            assert state_of(again).viewers == state_of(console).viewers
        world.stop()
        other.stop()


def play(world: World, console: Console, links: list[FakeLink], step: str, viewer: FakeViewer) -> None:
    link = console.link
    assert link is None or isinstance(link, FakeLink)
    there = viewer in console.viewers.all
    match step:
        case "type" | "paste":
            console.send(b"k" if step == "type" else b"p" * (INPUT_HIGH // 2 + 1))
        case "break":
            console.send_break("alice")
        case "busy" | "ready" if link is not None:
            link.ready = step == "ready"
            console.link_ready()
        case "begin" if link is not None:
            world.migrations.begin(console, link, b"1234")
        case "abort" if link is not None:
            world.migrations.abort(link, console, b"")
        case "lose" if link is not None:
            world.lose(console)
        case "claim":
            links.append(FakeLink(f"10.0.0.{len(links)}"))
            links[-2].more_to_come = True
            world.claim(link=links[-1])
        case "log off" | "log on":
            console.set_logging(step == "log on", "alice")
        case "attach" | "spy" | "join" if not there:
            console.viewers.attach(viewer, write=step != "spy", join=step == "join")
        case "force" if there:
            console.viewers.force_write(viewer)
        case "take" if there:
            console.viewers.take_write(viewer)
        case "drop" if there:
            console.viewers.drop_write(viewer)
        case "detach":
            console.viewers.detach(viewer)


def test_viewers_that_are_not_there_any_more_leave_their_place_to_the_next() -> None:
    with worlds() as (world, other):
        console = world.claim()
        viewers = [FakeViewer(f"viewer {n}") for n in range(3)]
        for viewer in viewers:
            console.viewers.attach(viewer, write=True)
        again = taken_over(other, state_of(console), [], viewers[1:])
        assert again.viewers.all == (viewers[1], viewers[2])
        assert again.write_access.writer is viewers[1]
        assert again.write_access.waiting == (viewers[2],)
        assert again.link is None
        world.stop()
        other.stop()


def test_a_link_that_was_being_read_out_is_read_out_and_then_it_is_the_turn_of_the_next() -> None:
    with worlds() as (world, other):
        old, new = FakeLink("10.0.0.1"), FakeLink("10.0.0.2")
        old.more_to_come = True
        console = world.claim(link=old)
        world.claim(link=new)
        again = taken_over(other, state_of(console), [old, new], [])
        assert old.done is not None
        new.calls = []
        old.done()
        assert new.calls == ["serve"]
        assert new.console is again
        world.stop()
        other.stop()


def test_a_link_whose_turn_comes_because_the_one_before_it_is_lost_is_heard() -> None:
    with worlds() as (world, other):
        first, second = FakeLink("10.0.0.1"), FakeLink("10.0.0.2")
        first.more_to_come = True
        console = world.claim(link=first)
        world.claim(link=second)
        assert second.calls == ["wait"]
        again = taken_over(other, state_of(console), [second], [])
        assert (again.link, second.calls) == (second, ["wait", "serve"])


def test_a_link_is_read_from_unless_the_log_is_behind_here_too() -> None:
    with worlds() as (world, other):
        link = FakeLink("10.0.0.1")
        console = world.claim(link=link)
        console.log_congested(True)
        assert link.held[-1]
        taken_over(other, state_of(console), [link], [])
        assert not link.held[-1]
