"""A coroutine that waits until it is woken, or until a time is over."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Wakeup:
    """Where one coroutine waits. To wake it while it does not wait does nothing: it looks before it waits."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: Deferred[bool] | None = None

    def wait(self, clock: IReactorTime | None = None, seconds: float = 0.0) -> Deferred[bool]:
        """Wait; may be cancelled.

        :param clock: counts the seconds; None: however long it takes.
        :returns: fires with True when it is woken, with False when the time is over.
        """
        waiting: Deferred[bool] = Deferred()
        self._waiting = waiting
        if clock is not None:
            waiting.addTimeout(seconds, clock, lambda _result, _seconds: False)
        return waiting

    def wake(self) -> None:
        """End the wait."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(True)
