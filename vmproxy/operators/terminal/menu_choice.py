"""What fits a filter, of a list that may have thousands: looked at in steps.

While the list is looked through for the first time, what has been found so far is shown; later, what was found last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

STEP = 200  # that are looked at in one piece
AT_ONCE = 1000  # that are looked at as soon as somebody asks

T = TypeVar("T")


class Choice(Generic[T]):
    """What fits a filter.

    :ivar asked: the filter.
    :ivar among: the list that is looked through; replaced, never changed.
    :ivar found: what fits, in its order: the same again as long as nothing changes.
    :ivar whole: whether all of a list was looked through since the filter was asked.
    """

    __slots__ = ("_fits", "_next", "_place", "among", "asked", "found", "whole")

    def __init__(self, asked: object, fits: Callable[[T], bool]) -> None:
        self.asked = asked
        self.among: Sequence[T] = ()
        self.found: list[T] = []
        self.whole = False
        self._fits = fits
        self._next = self.found
        self._place = 0

    @property
    def busy(self) -> bool:
        """Whether there is more to be looked at."""
        return self._place < len(self.among)

    def look(self, among: Sequence[T]) -> None:
        """Look through a list; :meth:`step` goes on with it."""
        self.among = among
        self._place = 0
        self._next = []
        if not self.whole:
            self.found = self._next
        self.step()
        while self.busy and self._place < AT_ONCE:
            self.step()

    def step(self) -> None:
        """Look at some more."""
        self._next += filter(self._fits, self.among[self._place : self._place + STEP])
        self._place += STEP
        if not self.busy:
            self.whole = True
            if self._next != self.found:
                self.found = self._next

    def drop(self, gone: Iterable[T]) -> None:
        """Take out what may not be shown any more."""
        self.found = [one for one in self.found if one not in gone]
