"""Work whose size strangers choose has its share of each turn; nobody waits behind all of another's."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from tests.support.fakes import Logged
from vmproxy.base.turns import RUN, SLICE, SPAN, Turns, sort_steps

PIECE = SLICE / 4


class Reactor(Clock):
    """A clock whose calls are made turn by turn."""

    def turn(self) -> float:
        """One turn; :returns: how long it took."""
        began = self.rightNow
        due, self.calls = [call for call in self.calls if call.getTime() <= began], []
        for call in due:
            call.func(*call.args, **call.kw)
        return self.rightNow - began


class Worker:
    """Somebody with much to do.

    :ivar done: the pieces that are done; ``at``: in which turn each was.
    """

    def __init__(self, clock: Reactor, turns: Turns, who: str, pieces: int, told: Callable[[str], object]) -> None:
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
    turns.wait("a", lambda: [][0])
    turns.wait("b", lambda: done.append("b"))
    clock.turn()
    assert done == ["b"]
    assert "has waited for its turn" in str(logged)
