"""What repeats with every request and is recorded once an hour: more would fill the audit trail."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

REMEMBERED = 4096
TOLD_SECONDS = 3600.0


class Repeats:
    """When each thing was recorded last. Bound: :data:`REMEMBERED` things, the one seen longest ago goes first."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._told: dict[Hashable, float] = {}

    def again(self, *key: Hashable) -> bool:
        """Whether something was recorded within the last hour; if not, it counts as recorded now."""
        now = self._clock.seconds()
        before = self._told.pop(key, None)
        fresh = before is not None and now - before < TOLD_SECONDS
        self._told[key] = before if before is not None and fresh else now
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return fresh
