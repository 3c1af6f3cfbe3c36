"""Work whose size strangers choose has its share of each turn; nobody waits behind all of another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from tests.support.fakes import Logged, one_turn
from vmproxy.base.compat import quicken
from vmproxy.base.turns import RUN, SLICE, SPAN, Turns, sort_steps

PIECE = SLICE / 4


class Reactor(Clock):
    """A clock whose calls are made turn by turn."""

    def turn(self) -> float:
        """One turn; :returns: how long it took."""
        began = self.rightNow
        one_turn(self)
        return self.rightNow - began


class Worker:
    """Somebody with much to do.

    :ivar done: the pieces that are done; ``at``: in which turn each was.
    """

    def __init__(
        self, clock: Reactor | Counting, turns: Turns, who: str, pieces: int, told: Callable[[str], object]
    ) -> None:
        self.left = pieces
        self._clock, self._turns, self._who, self._told = clock, turns, who, told

    def work(self) -> None:
        while self.left:
            if not self._turns.open():
                self._turns.wait(self._who, self.work)
                return
            self.left -= 1
            self._clock.rightNow += PIECE
            self._told(self._who)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60)), min_size=1, max_size=8))
def test_all_is_done_in_turns_of_a_bounded_length(work: list[tuple[str, int]]) -> None:
    clock = Reactor()
    turns = Turns(clock)
    done: list[str] = []
    for who, pieces in work:
        Worker(clock, turns, who, pieces, done.append).work()
    assert clock.rightNow <= SPAN + PIECE
    while clock.calls:
        assert clock.turn() <= SPAN + PIECE
    assert len(done) == sum(pieces for _, pieces in work)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=3 * RUN))
def test_sorting_in_steps_is_sorting(things: list[tuple[int, int]]) -> None:
    ordered = sorted(things, key=lambda thing: thing[0])
    assert set(sort_steps(things, lambda thing: thing[0])) <= {None}
    assert things == ordered


def test_who_has_little_to_do_waits_for_one_slice_of_each_other() -> None:
    clock = Reactor()
    turns = Turns(clock)
    done: list[str] = []
    for _ in range(100):
        Worker(clock, turns, "crowd", 50, done.append).work()
    for who in ("b", "c"):
        Worker(clock, turns, who, 1, done.append).work()
    began = len(done)
    while clock.calls:
        clock.turn()
    assert {*done[began : began + 3 * int(SLICE / PIECE)]} >= {"b", "c"}


def test_a_turn_that_was_used_up_is_followed_by_another_and_nothing_ticks_afterwards() -> None:
    clock = Reactor()
    turns = Turns(clock)
    assert turns.open()
    clock.rightNow += SPAN
    assert not turns.open()
    clock.turn()
    assert turns.open()
    clock.turn()
    assert not clock.calls


def test_who_waits_is_not_overtaken() -> None:
    clock = Reactor()
    turns = Turns(clock)
    turns.wait("a", lambda: None)
    assert not turns.open()
    clock.turn()
    assert turns.open()


def test_a_wait_may_be_given_up() -> None:
    clock = Reactor()
    turns = Turns(clock)
    turn, other = turns.next("a"), turns.next("a")
    turn.addErrback(lambda failure: failure.trap(CancelledError))
    turn.cancel()
    clock.turn()
    assert other.called


def test_what_fails_costs_nobody_else_their_turn(logged: Logged) -> None:
    clock = Reactor()
    turns = Turns(clock)
    done: list[str] = []
    turns.wait("a", lambda: [][0], lambda: done.append("a failed"))
    turns.wait("b", lambda: [][0], lambda: [][0])
    turns.wait("c", lambda: done.append("c"), lambda: done.append("c failed"))
    clock.turn()
    assert done == ["a failed", "c"]
    assert str(logged).count("has waited for its turn") == 3


class Counting(EPollReactor):
    """A reactor that counts its turns, and has the time that a test gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 0.0
        setattr(self, "seconds", lambda: self.rightNow)  # noqa: B010  # as make_steady
        assert quicken(self)


@pytest.fixture
def counting() -> Iterator[Counting]:
    reactor = Counting()
    yield reactor
    reactor.removeAll()
    reactor._poller.close()


def test_a_reactor_that_counts_its_turns_is_not_woken_for_it(counting: Counting) -> None:
    turns = Turns(counting)
    for _ in range(2):
        assert turns.open()
        counting.rightNow += SPAN
        assert not turns.open()
        counting.doIteration(0)
    assert turns.open()
    assert not counting.getDelayedCalls()


def test_who_waits_has_what_is_left_of_a_turn_and_comes_first_in_the_next(counting: Counting) -> None:
    turns = Turns(counting)
    done: list[str] = []
    assert turns.open()
    counting.rightNow += SPAN - PIECE
    for who in "abc":
        Worker(counting, turns, who, 2, done.append).work()
    assert done == ["a"]
    counting.runUntilCurrent()
    assert done == ["a"]
    counting.doIteration(0)
    assert not turns.open()
    counting.runUntilCurrent()
    assert sorted(done) == [*"aabbcc"]
