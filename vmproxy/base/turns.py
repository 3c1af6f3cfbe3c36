"""Turns of the reactor: work whose size a stranger chooses is done in portions.

A guest in vMotion waits for us, and so does every operator. Whoever takes on such work asks :meth:`Turns.open` before
each piece of it, a packet or a row, and where the turn has been used up leaves the rest to :meth:`Turns.wait`. All of
them together have :data:`SPAN` in a turn of the reactor. Those who wait are served in the order of who they are: one of
an operator's, one of the next; everybody who is not known yet is one of them. So neither a thousand connections nor a
thousand commands of somebody make anybody else wait for more than a turn and the number of the others who wait.

Bound: a turn takes the span and the one piece that was begun in it. A turn lasts from one look of the reactor for what
has arrived to the next.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.compat import quick_turn_of

SPAN = 0.008
SLICE = 0.002  # of one that has waited, while others wait too
RUN = 200

T = TypeVar("T")

_log = Logger()


def sort_steps(things: list[T], key: Callable[[T], Any]) -> Iterator[None]:
    """Sort a list in steps of less than a millisecond; to sort thousands at once takes longer than a turn may."""
    runs: list[list[T]] = []
    for at in range(0, len(things), RUN):
        runs.append(sorted(things[at : at + RUN], key=key))
        yield
    merged: list[T] = []
    for thing in heapq.merge(*runs, key=key):
        merged.append(thing)
        if len(merged) % RUN == 0:
            yield
    things[:] = merged


class TurnCount(Protocol):
    """Counts the turns of a reactor."""

    @property
    def number(self) -> int:
        """Of this turn."""


class _AskedTurns:
    """Counts the turns of a reactor that does not do so itself: those in which somebody asks for the number."""

    __slots__ = ("_clock", "_coming", "_number")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._coming = False
        self._number = 0

    @property
    def number(self) -> int:
        if not self._coming:
            self._coming = True
            self._clock.callLater(0, self._next)
        return self._number

    def _next(self) -> None:
        self._coming = False
        self._number += 1


def _nothing() -> None: ...


def _does(work: Callable[[], object], who: Hashable) -> bool:
    try:
        work()
    except Exception:
        _log.failure("work of {who} that has waited for its turn failed", who=who or "somebody who is not known yet")
        return False
    return True


class Turns:
    """The time in each turn of the reactor for work whose size strangers choose.

    :ivar number: of the turn in which somebody has asked last.
    """

    __slots__ = ("_asked", "_clock", "_count", "_until", "_waiting", "number")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._count: TurnCount = quick_turn_of(clock) or _AskedTurns(clock)
        self.number = -1
        self._until = 0.0  # there is time until then, in that turn
        self._asked = False  # those who wait are served before the next turn
        self._waiting: dict[Hashable, deque[tuple[Callable[[], object], Callable[[], object]]]] = {}

    def open(self) -> bool:
        """Whether there is time for another piece of work."""
        now = self._clock.seconds()
        if self.number != self._count.number:
            self._renew(now)
        return now < self._until

    def _renew(self, now: float) -> None:
        self.number = self._count.number
        self._until = 0.0 if self._waiting else now + SPAN  # who waits comes first

    def wait(self, who: Hashable, go_on: Callable[[], object], failed: Callable[[], object] = _nothing) -> None:
        """Have work gone on with in a turn to come.

        :param who: whose work it is.
        :param go_on: does some of it; to be asked again if that was not all.
        :param failed: called if that raises, when it has been logged: ends what would wait for ever for the rest.
        """
        queue = self._waiting.get(who)
        if queue is None:
            queue = self._waiting[who] = deque()
        queue.append((go_on, failed))
        self._ask()

    def next(self, who: Hashable) -> Deferred[None]:
        """Fires in a turn to come; may be cancelled."""
        turn: Deferred[None] = Deferred()

        def go_on() -> None:
            if not turn.called:
                turn.callback(None)

        self.wait(who, go_on)
        return turn

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._asked = False
        now = self._clock.seconds()
        if self.number != self._count.number:
            self._renew(now)
        end = self._until or now + SPAN  # what those who came first have left; all of it if nobody was before them
        # Each that waits now, once; who is not done stands behind those who have come since.
        for _ in range(sum(map(len, self._waiting.values()))):
            if now >= end:
                break
            who, queue = next(iter(self._waiting.items()))
            go_on, failed = queue.popleft()
            del self._waiting[who]
            if queue:
                self._waiting[who] = queue
            self._until = min(end, now + SLICE)
            if not _does(go_on, who):
                _does(failed, who)
            now = self._clock.seconds()
        self._until = 0.0 if self._waiting else end
        if self._waiting:
            self._ask()
