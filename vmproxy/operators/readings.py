"""Shared limits for commands that read logs."""

from __future__ import annotations

from collections import Counter
from weakref import WeakValueDictionary

from twisted.internet.defer import DeferredSemaphore

SEARCHES = 3
THREADS = 4  # of those that there are: logins and attached sessions need some too


class Readings:
    """The logs that commands read now, and the turns of those that wait for the disk.

    :ivar of_operator: how many logs each operator has open.
    :ivar searches: the searches that may go on at once.
    :ivar threads: the threads that commands may use at once.
    """

    def __init__(self) -> None:
        self.of_operator: Counter[str] = Counter()
        self.searches = DeferredSemaphore(SEARCHES)
        self.threads = DeferredSemaphore(THREADS)
        self._searches_of: WeakValueDictionary[str, DeferredSemaphore] = WeakValueDictionary()

    def searches_of(self, operator: str) -> DeferredSemaphore:
        """The searches that one operator may have at once: one. Kept while it is in use."""
        return self._searches_of.setdefault(operator, DeferredSemaphore(1))
