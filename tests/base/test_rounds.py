"""Rounds: each thing is visited once in a span, those that come together are spread, and no turn takes many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import Logged
from vmproxy.base.rounds import AT_ONCE, PLACES, Rounds
from vmproxy.base.turns import Turns

SECONDS = 25.0


class Visits:
    """What was visited when."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.times: dict[int, list[float]] = {}
        self.in_turn: Counter[int] = Counter()
        self.turns = Turns(self.clock)
        self.rounds = self.with_visit(self.visit)

    def with_visit(self, visit: Callable[[int], object]) -> Rounds[int]:
        """Rounds in which something else is done."""
        self.rounds = Rounds(self.clock, self.turns, "them", SECONDS, visit)
        return self.rounds

    def visit(self, thing: int) -> None:
        self.in_turn[self.turns.number] += 1
        self.times.setdefault(thing, []).append(self.clock.seconds())

    def run(self, seconds: float, step: float = SECONDS / PLACES / 4) -> None:
        for _ in range(int(seconds / step)):
            self.clock.advance(step)


@pytest.fixture
def v() -> Visits:
    return Visits()


def test_a_thousand_that_come_together_are_visited_evenly_and_each_once_in_the_span(v: Visits) -> None:
    for number in range(1000):
        v.rounds.add(number)
    assert len(v.clock.getDelayedCalls()) == 1
    v.run(4 * SECONDS)
    assert len(v.times) == 1000
    for times in v.times.values():
        assert times[0] <= SECONDS
        assert {late - early for early, late in pairwise(times)} == {SECONDS}
        assert len(times) == 4
    assert set(Counter(times[0] for times in v.times.values()).values()) == {1000 / PLACES}


def test_no_turn_takes_more_than_some_and_none_is_forgotten_or_visited_twice(v: Visits) -> None:
    count = PLACES * AT_ONCE * 3
    for number in range(count):
        v.rounds.add(number)
    v.run(SECONDS)
    assert {number: len(times) for number, times in v.times.items()} == dict.fromkeys(range(count), 1)
    assert max(v.in_turn.values()) == AT_ONCE


def test_who_is_discarded_is_visited_no_more_also_within_a_visit(v: Visits) -> None:
    def visit(thing: int) -> None:
        v.visit(thing)
        v.rounds.discard(thing + PLACES)  # which is visited in the same turn

    v.with_visit(visit)
    for number in range(2 * PLACES):
        v.rounds.add(number)
    v.rounds.discard(3)
    v.rounds.discard(3)
    v.run(SECONDS)
    assert set(v.times) == {*range(PLACES), PLACES + 3} - {3}
    for number in range(2 * PLACES):
        v.rounds.discard(number)
    assert len(v.rounds) == 0
    assert v.clock.getDelayedCalls() == []


def test_after_a_long_sleep_each_is_visited_once_and_a_visit_that_fails_costs_the_others_nothing(
    v: Visits, logged: Logged
) -> None:
    def visit(thing: int) -> None:
        v.visit(thing)
        if thing == 0:
            raise ValueError("no")

    v.with_visit(visit)
    for number in range(3):
        v.rounds.add(number)
    v.clock.rightNow += 100 * SECONDS
    v.clock.pump([0.0] * 2 * PLACES)
    assert {number: len(times) for number, times in v.times.items()} == {0: 1, 1: 1, 2: 1}
    assert "a visit failed" in logged
    v.run(SECONDS)
    assert {len(times) for times in v.times.values()} == {2}
