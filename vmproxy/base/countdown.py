"""Something that is due later, once: started, started again, stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Countdown:
    """At most one call that is due later. Stopped, or over, it keeps nothing alive."""

    __slots__ = ("_call", "_clock")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call is due."""
        return self._call is not None

    def start(self, seconds: float, over: Callable[..., object], *args: Any) -> None:
        """Have ``over`` called after a time; what was due before is not called any more."""
        self.stop()
        self._call = self._clock.callLater(seconds, self._ring, over, args)

    def stop(self) -> None:
        """Have nothing called."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _ring(self, over: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._call = None
        over(*args)
