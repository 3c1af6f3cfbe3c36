"""Refusals: counted, and told at a bounded rate. Whoever is turned away a thousand times a second must not fill a disk.

Of each kind the first is told, and then one every :data:`SAY_EVERY` seconds, with how many there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SAY_EVERY = 10.0


class Refusals:
    """What was turned away.

    :ivar counts: how often, by kind.
    """

    __slots__ = ("_clock", "_tell", "_told", "_untold", "counts")

    def __init__(self, clock: IReactorTime, tell: Callable[[str, str, int], None]) -> None:
        """:param tell: ``tell(who, why, n)``: who was turned away last and why, and how many since it was last told."""
        self._clock = clock
        self._tell = tell
        self._told: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, who: str, why: str, times: int = 1) -> None:
        """Somebody is turned away.

        :param kind: one of a few; each is told at its own pace.
        :param why: for people to read.
        """
        self.counts[kind] += times
        self._untold[kind] += times
        now = self._clock.seconds()
        if not 0 <= now - self._told.get(kind, float("-inf")) < SAY_EVERY:
            self._told[kind] = now
            self._tell(who, why, self._untold.pop(kind))
