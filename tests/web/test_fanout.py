"""The fan-out: viewers have every byte from their coming to their leaving, once and in order, hundreds in turns."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.properties import examples
from vmproxy.base.turns import Turns
from vmproxy.log.place import Place
from vmproxy.web.cursor import place_of
from vmproxy.web.fanout import AT_ONCE, CURSOR_BYTES, KEPT_BYTES, Fanout

CONSOLE: Any = SimpleNamespace(log=None, title="web01", uuid=UUID(int=1), port="1")


class Viewer:
    """A viewer.

    :ivar out: what it was sent; ``places``: where cursors came.
    """

    who = "alice"

    def __init__(self, start: int) -> None:
        self.start = start
        self.out = bytearray()
        self.places: list[int] = []

    def frame(self, frame: bytes, data: bytes) -> None:
        assert frame.endswith(data)
        self.out += data

    def cursor(self, frame: bytes) -> None:
        place = place_of(json.loads(frame[2:])["cursor"], CONSOLE).offset
        assert place == self.start + len(self.out)
        self.places.append(place)

    def failed(self) -> None:
        raise AssertionError


class Site:
    """A console that says something to viewers who come and go."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.log = SimpleNamespace(received=0, offset=0, place=lambda offset: Place("0" * 12, offset))
        CONSOLE.log = self.log
        self.fanout = Fanout(CONSOLE, self.clock, Turns(self.clock))
        self.said = bytearray()
        self.viewers: list[Viewer] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            viewer = Viewer(len(self.said))
            self.viewers.append(viewer)
            self.fanout.join(viewer)

    def say(self, data: bytes) -> None:
        self.said += data
        self.log.received = self.log.offset = len(self.said)
        for _ in self.viewers:
            self.fanout.offer(data)

    def check(self, viewer: Viewer) -> None:
        assert viewer.out == self.said[viewer.start :]


def test_hundreds_are_sent_a_frame_in_turns_and_who_is_told_something_else_has_it_before() -> None:
    site = Site()
    site.come(10 * AT_ONCE)
    site.say(b"first")
    assert sum(bool(viewer.out) for viewer in site.viewers) == AT_ONCE
    last = site.viewers[-1]
    site.fanout.catch_up(last)
    assert last.out == b"first"
    site.fanout.leave(site.viewers[-2])
    assert site.viewers[-2].out == b"first"
    site.clock.advance(0.01)
    for viewer in site.viewers:
        site.check(viewer)
    site.clock.advance(1)
    assert {tuple(viewer.places) for viewer in site.viewers} == {(5,), ()}
    assert not site.fanout._frames


def test_a_flood_is_not_kept_for_those_who_wait_for_a_turn() -> None:
    site = Site()
    site.come(4 * AT_ONCE)
    for _ in range(20):  # twice and a half what is kept
        site.say(b"x" * 65536)
        assert site.fanout._kept <= KEPT_BYTES + 65536
    site.clock.advance(1)
    for viewer in site.viewers:
        site.check(viewer)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.integers(1, 80)),
            st.tuples(st.just("leave"), st.integers(0, 1000)),
            st.tuples(st.just("tell"), st.integers(0, 1000)),
            st.tuples(st.just("say"), st.sampled_from((1, 100, 70_000, CURSOR_BYTES))),
            st.tuples(st.just("wait"), st.sampled_from((0, 1, 10, 2000))),
        ),
        max_size=40,
    )
)
@examples(100)
def test_each_has_every_byte_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    site = Site()
    for what, number in steps:
        if what == "come":
            site.come(number)
        elif what == "say":
            site.say(bytes([65 + len(site.said) % 26]) * number)
        elif what == "wait":
            site.clock.advance(number / 1000)
        elif site.viewers:
            viewer = site.viewers[number % len(site.viewers)]
            if what == "leave":
                site.viewers.remove(viewer)
                site.fanout.leave(viewer)
            else:
                site.fanout.catch_up(viewer)
            site.check(viewer)
        order = list(site.fanout.viewers.values())
        assert order == sorted(order)
    site.clock.advance(2)
    site.clock.advance(2)
    for viewer in site.viewers:
        site.check(viewer)
        assert viewer.places == sorted(viewer.places)
    assert not site.fanout._frames
