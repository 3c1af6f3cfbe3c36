"""Many deadlines of one length, one timer.

All connections that have not identified themselves wait equally long, and so do all pending migrations; the first to
come expires first. So a queue in order of arrival and a single delayed call for its head do for any number of them.
Nothing ticks while the queue is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Deadlines of one length: calls back for every item that is still there when its time is up."""

    __slots__ = ("_call", "_clock", "_due", "_expired", "_seconds")

    def __init__(self, clock: IReactorTime, seconds: float, expired: Callable[[T], None]) -> None:
        """
        :param seconds: how long each item has.
        :param expired: called with an item that was not discarded in time, after it has been taken out.
        """
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._due: dict[T, float] = {}  # in order of expiry, because the span is the same for all
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def start(self, item: T, age: float = 0.0) -> None:
        """Give an item its full time from now on, also if it is running already.

        :param age: seconds of its time that are over; no item that was started before may be younger.
        """
        self._due.pop(item, None)
        self._due[item] = self._clock.seconds() + self._seconds - age
        if self._call is None:
            self._call = self._clock.callLater(max(0.0, self._seconds - age), self._ring)

    def discard(self, item: T) -> None:
        """Forget an item; nothing happens if it is not there."""
        if self._due.pop(item, None) is not None and not self._due:
            self.stop()

    def age(self, item: T) -> float | None:
        """The seconds of an item's time that are over; None if it has none."""
        due = self._due.get(item)
        return None if due is None else self._clock.seconds() + self._seconds - due

    def oldest(self) -> tuple[T, float] | None:
        """The item that has waited longest, and for how many seconds."""
        for item, due in self._due.items():
            return item, self._clock.seconds() + self._seconds - due
        return None

    def use(self, seconds: float) -> None:
        """Give all items, also those that are running, another time."""
        more, self._seconds = seconds - self._seconds, seconds
        if not more or not self._due:
            return
        self._due = {item: due + more for item, due in self._due.items()}
        if self._call is not None:
            self._call.cancel()
        first = next(iter(self._due.values()))
        self._call = self._clock.callLater(max(0.0, first - self._clock.seconds()), self._ring)

    def stop(self) -> None:
        """Forget all items."""
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self) -> None:
        self._call = None
        now = self._clock.seconds()
        # Listed first: to look for the head of a dictionary again and again, past all that has been taken out there,
        # takes a tenth of a second for 16,000 items, and more than a second for four times as many.
        expired: list[tuple[T, float]] = []
        for item, due in self._due.items():
            if due > now:
                break
            expired.append((item, due))
        # One at a time: a callback may start, discard, or stop others, or fail.
        try:
            for item, due in expired:
                if self._due.get(item) == due:
                    del self._due[item]
                    self._expired(item)
        finally:
            if self._due:
                first = next(iter(self._due.values()))
                if self._call is not None:
                    self._call.cancel()
                self._call = self._clock.callLater(max(0.0, first - now), self._ring)
