"""Limits on how much is told: a stranger who is turned away a thousand times a second must not fill a disk.

:class:`RateLimit` is a budget per span of time, :class:`TokenBucket` one that saves up. On top of them are three ways
to tell what goes beyond the budget: summed up by kind (:class:`RateLimitedLog`), with the next line of its kind
(:class:`RefusalLog`), and as a number at the end of the minute (:class:`RepeatSummary`).

When a thousand VMs come back in a second, a thousand lines say less than one; and with Twisted's logger each costs as
much time as a tenth of all else that a VM's arrival takes. Every console's own event trail has all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from vmproxy.base.clock import wall_of
from vmproxy.base.deadlines import Deadlines
from vmproxy.base.recent import RecentRefusals

LINES_PER_SECOND = 20
REFUSALS_EVERY = 10.0
REPEAT_SECONDS = 60.0
REPEATS_TOLD = 10

K = TypeVar("K", bound=Hashable)

_log = Logger()


def _nobody(skipped: int) -> None: ...


class RateLimit:
    """A number of events per span of time.

    Bound: ``limit`` events in each span. A clock that is set back begins a new span.
    """

    __slots__ = ("_clock", "_limit", "_seconds", "_since", "_skipped", "_used")

    def __init__(
        self, clock: IReactorTime, limit: int, seconds: float, skipped: Callable[[int], None] = _nobody
    ) -> None:
        """:param skipped: called at the first event of a new span with the number of events refused in the former."""
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._skipped = skipped
        self._since = 0.0
        self._used = 0

    def allow(self) -> bool:
        """Count an event.

        :returns: whether it is within the limit.
        """
        now = self._clock.seconds()
        if not 0 <= now - self._since < self._seconds:
            over = self._used - self._limit
            self._since = now
            self._used = 0
            if over > 0:
                self._skipped(over)
        self._used += 1
        return self._used <= self._limit


class TokenBucket:
    """A rate with a burst: tokens come at a steady rate, up to a maximum, and each event takes one.

    :ivar at: the time of the last event.
    :ivar tokens: how many there were then.
    """

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.at = now

    def fill(self, tokens: float) -> None:
        """Set the number of tokens."""
        self.tokens = tokens

    def take(self, now: float, rate: float, burst: float) -> bool:
        """Take a token.

        :param rate: how many come each second, up to ``burst``.
        :returns: whether there was one.
        """
        tokens = min(burst, self.tokens + max(0.0, now - self.at) * rate)
        self.at = now
        if tokens < 1:
            self.tokens = tokens
            return False
        self.tokens = tokens - 1
        return True


class RateLimitedLog:
    """What happens to consoles, in the process's own log: line by line while it is little, else summed up.

    Bound: :data:`LINES_PER_SECOND` lines and one summary a second.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._limit = RateLimit(clock, LINES_PER_SECOND, 1.0)
        self._untold: Counter[str] = Counter()
        self._call: IDelayedCall | None = None

    def tell(self, kind: str, text: str, level: LogLevel = LogLevel.info, **fields: object) -> None:
        """Log a line, or count it.

        :param kind: the plural under which the line is counted: ``consoles up``.
        :param text: the line, with ``fields`` filled in.
        """
        if self.allows(kind):
            self.emit(text, level, **fields)

    def allows(self, kind: str) -> bool:
        """Count a line.

        :returns: whether it is to be logged, by :meth:`emit`: so its fields are made for nothing else.
        """
        if self._call is None and self._limit.allow():
            return True
        self._untold[kind] += 1
        if self._call is None:
            self._call = self._clock.callLater(1, self.sum_up)
        return False

    def emit(self, text: str, level: LogLevel = LogLevel.info, **fields: object) -> None:
        """Log a line that is allowed."""
        _log.emit(level, text, **fields)

    def sum_up(self) -> None:
        """Log how many lines were only counted."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if self._untold:
            much = ", ".join(f"{count} {kind}" for kind, count in sorted(self._untold.items()))
            self._untold.clear()
            _log.info("and {much}: too many at once to tell one by one, the event trails have them", much=much)


class RefusalLog:
    """Refused connections: all counted; of each kind the first is told, then one every :data:`REFUSALS_EVERY` seconds.

    :ivar counts: how many, by kind.
    """

    __slots__ = ("_clock", "_tell", "_told", "_untold", "counts", "recent")

    def __init__(self, clock: IReactorTime, tell: Callable[[str, str, int], None]) -> None:
        """:param tell: ``tell(who, why, n)``: the last one refused, the reason, and how many since the last call."""
        self._clock = clock
        self._tell = tell
        self._told: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.recent = RecentRefusals(wall_of(clock))

    def add(self, kind: str, who: str, why: str, times: int = 1) -> None:
        """Count a refusal, and tell it if one of its kind is due.

        :param kind: one of a few.
        :param why: for people to read.
        """
        self.counts[kind] += times
        self._untold[kind] += times
        self.recent.add(who, why, times)
        now = self._clock.seconds()
        if not 0 <= now - self._told.get(kind, float("-inf")) < REFUSALS_EVERY:
            self._told[kind] = now
            self._tell(who, why, self._untold.pop(kind))


class RepeatSummary(Generic[K]):
    """Events that repeat: the first few of a thing in a minute are told one by one, the others as a number.

    Bound: one key for each thing that had an event in the last minute.
    """

    __slots__ = ("_clock", "_late", "_seen", "_summary", "_told")

    def __init__(self, clock: IReactorTime, summary: Callable[[K, int], None], told: int = REPEATS_TOLD) -> None:
        """
        :param summary: called at the end of a minute with events untold, with their number.
        :param told: how many are told in a minute.
        """
        self._clock = clock
        self._told = told
        self._summary = summary
        self._seen: dict[K, tuple[float, int]] = {}  # since when and how often, in order of the first
        self._late: Deadlines[K] = Deadlines(clock, REPEAT_SECONDS, self._over)

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, key: K) -> bool:
        return key in self._seen

    def again(self, key: K) -> bool:
        """Count an event.

        :returns: whether it is to be told now.
        """
        now = self._clock.seconds()
        over: list[K] = []
        for other, (since, _) in self._seen.items():
            if 0 <= now - since < REPEAT_SECONDS or other in self._late:
                break
            over.append(other)
        for other in over:
            del self._seen[other]
        since, times = self._seen.get(key, (now, 0))
        if not 0 <= now - since < REPEAT_SECONDS and key not in self._late:
            del self._seen[key]
            since, times = now, 0
        self._seen[key] = since, times + 1
        if times < self._told:
            return True
        if key not in self._late:
            self._late.start(key)
        return False

    def use(self, told: int) -> None:
        """Tell another number in a minute from now on."""
        self._told = told

    def untold(self, key: K) -> bool:
        """Whether events of a key wait for the end of the minute."""
        return key in self._late

    def forget(self, key: K) -> None:
        """Forget a thing, and what was not told of it."""
        self._late.discard(key)
        self._seen.pop(key, None)

    def stop(self) -> None:
        """Sum up now, at the end of the process."""
        for key in list(self._seen):
            if key in self._late:
                self._over(key)
        self._late.stop()

    def _over(self, key: K) -> None:
        self._late.discard(key)
        _, times = self._seen.pop(key)
        if times > self._told:
            self._summary(key, times - self._told)
