"""Rounds: many things that are visited again and again, each once in a span of time, evenly spread over it.

There is one timer for all of them, which stands still while there are none. What comes is put where fewest are visited,
so that thousands that have come at once are not visited at once; what is due is visited in turns of the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmproxy.base.turns import Turns

PLACES = 50
AT_ONCE = 32  # visits in a turn: what each of them has sent is written in a later one

T = TypeVar("T", bound=Hashable)

_log = Logger()


class Rounds(Generic[T]):
    """Things that are visited."""

    __slots__ = (
        "_call",
        "_clock",
        "_due",
        "_here",
        "_next",
        "_pause",
        "_place_of",
        "_places",
        "_turns",
        "_visit",
        "_waits",
        "_who",
    )

    def __init__(
        self, clock: IReactorTime, turns: Turns, who: str, seconds: float, visit: Callable[[T], object]
    ) -> None:
        """
        :param who: whose turns are used.
        :param seconds: from one visit of a thing to the next; the first one comes at most so much later.
        :param visit: called with each thing that is still there.
        """
        self._clock = clock
        self._turns = turns
        self._who = who
        self._pause = seconds / PLACES
        self._visit = visit
        self._places: list[dict[T, None]] = [{} for _ in range(PLACES)]
        self._place_of: dict[T, int] = {}
        self._here = 0  # where the last visits were
        self._due: dict[T, None] = {}
        self._next = 0.0  # when what comes next is due
        self._waits = False  # what is due waits for a turn
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._place_of)

    def add(self, thing: T) -> None:
        """Visit a thing from now on."""
        # Of the places where fewest are, the one that is visited last.
        behind = min(range(PLACES), key=lambda n: (len(self._places[self._here - n]), n))
        place = (self._here - behind) % PLACES
        self._places[place][thing] = None
        self._place_of[thing] = place
        if self._call is None:
            self._next = self._clock.seconds()
            self._wait()

    def discard(self, thing: T) -> None:
        """Visit a thing no more; nothing happens if it is not there."""
        place = self._place_of.pop(thing, None)
        if place is None:
            return
        del self._places[place][thing]
        self._due.pop(thing, None)
        if not self._place_of and self._call is not None:
            self._call.cancel()
            self._call = None

    def _wait(self) -> None:
        now = self._clock.seconds()
        # What is late is made up for, but nothing is visited twice for that.
        self._next = max(self._next, now - self._pause * PLACES) + self._pause
        self._call = self._clock.callLater(max(0.0, self._next - now), self._go_on)

    def _go_on(self) -> None:
        self._wait()
        self._here = (self._here + 1) % PLACES
        self._due.update(self._places[self._here])
        if not self._waits:
            self._visit_due()

    def _visit_due(self) -> None:
        self._waits = False
        for number, thing in enumerate(list(self._due)):
            if number == AT_ONCE or not self._turns.open():
                self._waits = True
                self._turns.wait(self._who, self._visit_due)
                return
            if thing in self._due:  # else it has been taken away meanwhile
                del self._due[thing]
                try:
                    self._visit(thing)
                except Exception:
                    _log.failure("a visit failed")
