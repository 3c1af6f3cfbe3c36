"""Addresses that guess the pairs of vMotions: what they show is not looked at for a while.

Only PEERs are concerned: whoever connects from there otherwise is a VM, as before. And only the address itself: its
neighbours are other hosts. After a start nobody knows which pairs the former process gave out, and hosts in the middle
of an evacuation show them in good faith, so nothing counts in the first minutes.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

WRONG_PAIRS = 10
LOCKED_SECONDS = 60.0
LENIENT_SECONDS = 600.0
REMEMBERED = 10_000

V = TypeVar("V")


class PeerLockout:
    """Counts wrong pairs by address.

    Bound: :data:`REMEMBERED` addresses; those that guessed last are kept.

    :ivar refused: how many pairs were not looked at.
    """

    __slots__ = ("_clock", "_counts_from", "_locked_until", "_wrong", "refused")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.refused = 0
        self._counts_from = clock.seconds() + LENIENT_SECONDS
        self._wrong: dict[str, list[float]] = {}  # when, of the last minute; who guessed last stands last
        self._locked_until: dict[str, float] = {}

    def __len__(self) -> int:
        """The number of addresses remembered."""
        return len(self._wrong) + len(self._locked_until)

    def locked(self, address: str) -> bool:
        """Whether a pair from there is not to be looked at."""
        until = self._locked_until.get(address)
        if until is None:
            return False
        if self._clock.seconds() < until:
            self.refused += 1
            return True
        del self._locked_until[address]
        return False

    def wrong_pair(self, address: str) -> bool:
        """Count a pair that never was.

        :returns: whether no further one from there is looked at from now on.
        """
        now = self._clock.seconds()
        if now < self._counts_from:
            return False
        times = [*(at for at in self._wrong.pop(address, ()) if 0 <= now - at < LOCKED_SECONDS), now]
        if len(times) < WRONG_PAIRS:
            _add(self._wrong, address, times)
            return False
        _add(self._locked_until, address, now + LOCKED_SECONDS)
        return True


def _add(kept: dict[str, V], address: str, value: V) -> None:
    if len(kept) >= REMEMBERED:
        del kept[next(iter(kept))]
    kept[address] = value
