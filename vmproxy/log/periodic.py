"""Work that is due by time, on the thread of the log writer: what there is, and when the next of it is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Task(Protocol):
    """Periodic work."""

    def wait(self) -> float | None:
        """Seconds until :meth:`step` has something to do; None while there is nothing."""

    def step(self) -> None:
        """Do what is due, or a part of it; nothing if nothing is."""


class Timer:
    """When something that is done again and again is due next.

    Invariant: a clock that was set back puts nothing off; the work is due at once then.
    """

    __slots__ = ("_at", "_interval", "_now")

    def __init__(self, interval: float, now: Callable[[], float]) -> None:
        self._interval = interval
        self._now = now
        self._at = 0.0

    def wait(self) -> float:
        """Seconds until it is due; 0 if it is."""
        wait = self._at - self._now()
        return wait if 0 < wait <= self._interval else 0.0

    def start(self) -> None:
        """Make it due an interval from now."""
        self._at = self._now() + self._interval


def next_due(tasks: Sequence[Task]) -> float | None:
    """Seconds until the first of some tasks is due; None while none will be."""
    return min((wait for task in tasks if (wait := task.wait()) is not None), default=None)
