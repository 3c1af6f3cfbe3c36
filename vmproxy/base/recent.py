"""What was refused lately: for people who look for a host that does not come through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

KEPT = 100
_TEXT = 200


class Refusal(NamedTuple):
    """Refusals of one peer for one reason.

    :ivar at: when the last one was, seconds since the epoch.
    """

    at: float
    who: str
    why: str
    times: int


class RecentRefusals:
    """The newest refusals. Bound: :data:`KEPT` peers and reasons; the oldest make place."""

    __slots__ = ("_found", "_wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        """:param wall: the time of day, seconds since the epoch."""
        self._wall = wall
        self._found: dict[tuple[str, str], tuple[float, int]] = {}

    def __iter__(self) -> Iterator[Refusal]:
        """The newest first."""
        return (Refusal(at, who, why, times) for (who, why), (at, times) in reversed(list(self._found.items())))

    def add(self, who: str, why: str, times: int = 1) -> None:
        key = (who, why[:_TEXT])
        _, before = self._found.pop(key, (0.0, 0))
        if len(self._found) >= KEPT:
            del self._found[next(iter(self._found))]
        self._found[key] = (self._wall(), before + times)
