"""Deadlines: each item gets its full time, no more and no less, whatever the callback does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from vmproxy.base.deadlines import Deadlines


class Ringer:
    """Deadlines of ten seconds, and what rang when.

    :ivar then: what else happens when an item's time is up.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.rang: list[tuple[str, float]] = []
        self.then = lambda item: None
        self.deadlines: Deadlines[str] = Deadlines(self.clock, 10, self._expired)

    def _expired(self, item: str) -> None:
        assert item not in self.deadlines, "it is still in there when it rings"
        self.rang.append((item, self.clock.seconds()))
        self.then(item)

    def run(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(int(seconds / step)):
            self.clock.advance(step)


@pytest.fixture
def ringer() -> Ringer:
    return Ringer()


def test_an_item_rings_when_its_time_is_up_and_not_before(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.clock.advance(9.99)
    assert ringer.rang == []
    assert "a" in ringer.deadlines
    ringer.clock.advance(0.01)
    assert ringer.rang == [("a", 10)]
    assert "a" not in ringer.deadlines
    assert len(ringer.deadlines) == 0


def test_items_ring_in_the_order_in_which_they_were_started(ringer: Ringer) -> None:
    for item in "abc":
        ringer.deadlines.start(item)
        ringer.clock.advance(1)
    ringer.run(20)
    assert ringer.rang == [("a", 10), ("b", 11), ("c", 12)]


def test_starting_again_gives_the_full_time_again(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.deadlines.start("b")
    ringer.clock.advance(6)
    ringer.deadlines.start("a")
    assert len(ringer.deadlines) == 2
    ringer.run(20)
    assert ringer.rang == [("b", 10), ("a", 16)]


def test_a_discarded_item_does_not_ring(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.deadlines.start("b")
    ringer.deadlines.discard("a")
    ringer.deadlines.discard("never there")
    ringer.run(20)
    assert ringer.rang == [("b", 10)]


def test_one_timer_serves_any_number_and_none_is_left_when_there_is_nothing(ringer: Ringer) -> None:
    items = [str(n) for n in range(1000)]
    for item in items:
        ringer.deadlines.start(item)
    assert len(ringer.clock.getDelayedCalls()) == 1
    for item in items:
        ringer.deadlines.discard(item)
    assert ringer.clock.getDelayedCalls() == []


def test_stop_forgets_everything(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.deadlines.stop()
    ringer.deadlines.stop()
    assert ringer.clock.getDelayedCalls() == []
    ringer.deadlines.start("b")
    ringer.run(20)
    assert ringer.rang == [("b", 10)]


def test_discarding_the_head_does_not_change_when_the_next_rings(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.clock.advance(3)
    ringer.deadlines.start("b")
    ringer.deadlines.discard("a")
    ringer.run(20)
    assert ringer.rang == [("b", 13)]


# What rings may have an effect on the others: a connection that is closed takes another one with it.


def test_an_item_that_discards_another_one_due_at_the_same_time(ringer: Ringer) -> None:
    for item in "abc":
        ringer.deadlines.start(item)
    ringer.then = lambda item: ringer.deadlines.discard("b")
    ringer.clock.advance(10)
    assert ringer.rang == [("a", 10), ("c", 10)]


def test_an_item_that_stops_everything(ringer: Ringer) -> None:
    for item in "ab":
        ringer.deadlines.start(item)
    ringer.then = lambda item: ringer.deadlines.stop()
    ringer.clock.advance(10)
    assert ringer.rang == [("a", 10)]
    assert ringer.clock.getDelayedCalls() == []


def test_an_item_that_gives_another_one_due_at_the_same_time_its_time_again(ringer: Ringer) -> None:
    for item in "ab":
        ringer.deadlines.start(item)
    ringer.then = lambda item: ringer.deadlines.start("b") if item == "a" else None
    ringer.run(30)
    assert ringer.rang == [("a", 10), ("b", 20)]


def test_an_item_that_starts_again_when_it_rings_delays_nobody(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.clock.advance(1)
    ringer.deadlines.start("b")
    ringer.then = lambda item: ringer.deadlines.start("a") if item == "a" and len(ringer.rang) < 2 else None
    ringer.run(30)
    assert ringer.rang == [("a", 10), ("b", 11), ("a", 20)]


def test_an_item_whose_callback_fails_does_not_keep_the_others_from_ringing(ringer: Ringer) -> None:
    ringer.deadlines.start("a")
    ringer.deadlines.start("b")
    ringer.clock.advance(1)
    ringer.deadlines.start("c")

    def fail(item: Any) -> None:
        if item == "a":
            raise RuntimeError("the callback's own fault")

    ringer.then = fail
    with suppress(RuntimeError):  # a reactor logs what a delayed call raises and goes on; Clock hands it to us
        ringer.clock.advance(9)
    ringer.run(5)
    assert [item for item, _ in ringer.rang] == ["a", "b", "c"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "discard", "wait"]), st.sampled_from("abcd"), st.integers(0, 12)),
        max_size=40,
    )
)
def test_it_agrees_with_one_timer_for_each_item(steps: list[Any]) -> None:
    ringer = Ringer()
    due: dict[str, float] = {}
    expected: list[tuple[str, float]] = []
    for verb, item, seconds in [*steps, ("wait", "a", 12)]:
        if verb == "start":
            ringer.deadlines.start(item)
            due[item] = ringer.clock.seconds() + 10
        elif verb == "discard":
            ringer.deadlines.discard(item)
            due.pop(item, None)
        else:
            until = ringer.clock.seconds() + seconds
            expected += [(i, at) for i, at in sorted(due.items(), key=lambda pair: pair[1]) if at <= until]
            due = {i: at for i, at in due.items() if at > until}
            for _ in range(seconds):
                ringer.clock.advance(1)
        assert set(due) == {i for i in "abcd" if i in ringer.deadlines}
    assert sorted(ringer.rang, key=lambda pair: pair[1]) == ringer.rang
    assert sorted(ringer.rang) == sorted(expected)


def test_another_time_holds_for_those_who_wait_too_and_keeps_their_order() -> None:
    clock = Clock()
    rung: list[object] = []
    deadlines: Deadlines[str] = Deadlines(clock, 30, lambda item: rung.append((item, clock.seconds())))
    deadlines.use(20)
    deadlines.start("a")
    clock.advance(5)
    deadlines.start("b")
    deadlines.use(10)
    deadlines.start("c")
    clock.advance(5)
    assert rung == [("a", 10)]
    deadlines.use(60)
    clock.pump([1] * 60)
    assert rung[1:] == [("b", 65), ("c", 65)]
    assert clock.getDelayedCalls() == []


def test_a_shorter_time_that_is_over_already_ends_at_once() -> None:
    clock = Clock()
    rung: list[object] = []
    deadlines: Deadlines[str] = Deadlines(clock, 30, rung.append)
    deadlines.start("a")
    clock.advance(20)
    deadlines.use(10)
    assert rung == [], "not while somebody is in the middle of something else"
    clock.advance(0)
    assert rung == ["a"]


def test_who_has_waited_longest_and_for_how_long() -> None:
    clock = Clock()
    deadlines: Deadlines[str] = Deadlines(clock, 30, lambda item: None)
    assert deadlines.oldest() is None
    deadlines.start("a")
    clock.advance(4)
    deadlines.start("b")
    assert deadlines.oldest() == ("a", 4)
    deadlines.use(10)
    deadlines.discard("a")
    clock.advance(1)
    assert deadlines.oldest() == ("b", 1)
    deadlines.stop()
