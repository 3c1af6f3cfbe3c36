"""What happens to consoles, in the process's own log: line by line while it is little, summed up when it is much.

When a thousand VMs come back in a second, a thousand lines say less than one; and with Twisted's logger each costs as
much time as a tenth of all else that a VM's arrival takes. Every console's own event trail has all of it.
"""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

LINES_PER_SECOND = 20

_log = Logger()


class News:
    """Tells what happened to consoles, at a bounded rate."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since = 0.0
        self._told = 0
        self._untold: Counter[str] = Counter()
        self._call: IDelayedCall | None = None

    def tell(self, kind: str, text: str, level: LogLevel = LogLevel.info, **fields: object) -> None:
        """Log something, or count it.

        :param kind: what it is counted as: ``consoles up``.
        :param text: what is logged, with ``fields`` filled in.
        """
        now = self._clock.seconds()
        if not 0 <= now - self._since < 1:
            self._since = now
            self._told = 0
        if self._told < LINES_PER_SECOND:
            self._told += 1
            _log.emit(level, text, **fields)
            return
        self._untold[kind] += 1
        if self._call is None:
            self._call = self._clock.callLater(1, self.sum_up)

    def sum_up(self) -> None:
        """Say how many were not told."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if self._untold:
            much = ", ".join(f"{count} {kind}" for kind, count in sorted(self._untold.items()))
            self._untold.clear()
            _log.info("and {much}: too many at once to tell one by one, the event trails have them", much=much)
