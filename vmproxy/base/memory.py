"""Giving freed memory back to the operating system.

The C library keeps what a program has freed as long as anything behind it is in use, and something always is. What
thousands of TLS connections have had, some 25 KiB each, would stay with the process after they have gone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

LEAST = 200
"""So many have to go before it is worth the while."""


def trimmer() -> Callable[[], object]:
    """What gives freed memory back, some ms for each 100 MiB; it does nothing where the C library cannot (musl)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return (lambda: None) if trim is None else lambda: trim(0)


class Population:
    """Large things that come and go; when many have gone, their memory is given back.

    To look for it takes time that grows with what there is. So a fifth of them has to go first: however many there are,
    each that goes costs about the same.

    :ivar there: how many there are now.
    """

    __slots__ = ("_give_back", "_gone", "there")

    def __init__(self, give_back: Callable[[], object]) -> None:
        """:param give_back: starts giving back what is free; it may take a while, so on a thread."""
        self._give_back = give_back
        self._gone = 0
        self.there = 0

    def came(self) -> None:
        """One more."""
        self.there += 1

    def went(self) -> None:
        """One less; its memory is free already, or will be in a moment."""
        self.there -= 1
        self._gone += 1
        if self._gone >= max(LEAST, self.there // 4):
            self._gone = 0
            self._give_back()
