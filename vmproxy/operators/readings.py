"""Shared limits for those who read logs, through whatever front."""

from __future__ import annotations

from collections import Counter
from weakref import WeakValueDictionary

from twisted.internet.defer import DeferredSemaphore

from vmproxy.operators import exit_status
from vmproxy.operators.commands.errors import CommandError

READINGS_PER_OPERATOR = 8
READINGS_IN_ALL = 32
READINGS_SCARCE = 16
UNREAD_SECONDS = 60.0
"""How long somebody may read nothing, where places are scarce."""
SEARCHES = 3
THREADS = 4  # of those that there are: logins and attached sessions need some too


class TooManyReadings(CommandError):
    """As many logs are being read as may be."""

    def __init__(self) -> None:
        super().__init__("too many logs are being read at once; end one of the others first", exit_status.BUSY)


class Readings:
    """The logs that are read now, and the turns of those that wait for the disk.

    Bound: logs that are open at once, per operator and in all, so an operator who reads none of many takes nothing from
    the others.

    :ivar of_operator: how many logs each operator has open.
    :ivar searches: the searches that may go on at once.
    :ivar threads: the threads that readers may use at once.
    """

    def __init__(self) -> None:
        self.of_operator: Counter[str] = Counter()
        self.searches = DeferredSemaphore(SEARCHES)
        self.threads = DeferredSemaphore(THREADS)
        self._searches_of: WeakValueDictionary[str, DeferredSemaphore] = WeakValueDictionary()

    def searches_of(self, operator: str) -> DeferredSemaphore:
        """The searches that one operator may have at once: one. Kept while it is in use."""
        return self._searches_of.setdefault(operator, DeferredSemaphore(1))

    def begun(self, operator: str) -> None:
        """Take a place for an operator's log.

        :raises TooManyReadings: if there is none.
        """
        if self.of_operator[operator] >= READINGS_PER_OPERATOR or self.of_operator.total() >= READINGS_IN_ALL:
            raise TooManyReadings
        self.of_operator[operator] += 1

    def ended(self, operator: str) -> None:
        """Give a place back."""
        self.of_operator[operator] -= 1
        if not self.of_operator[operator]:
            del self.of_operator[operator]

    def scarce_for(self, operator: str) -> bool:
        """Whether others, or the operator's own logs, wait for places: who reads nothing has to give theirs up."""
        return self.of_operator.total() > READINGS_SCARCE or self.of_operator.get(operator, 0) >= READINGS_PER_OPERATOR
