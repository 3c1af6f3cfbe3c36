"""Consoles that came to be since the start: how many there may be, and which of them nobody would miss.

Anybody who knows the service URI can make consoles, each with a log and a place in every list. So their number is
bounded, and the rate at which one neighbourhood makes new ones. Those that have never printed anything make place for
others, oldest first: a real VM among them comes back and is a new console again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from vmproxy.base import values
from vmproxy.base.addresses import neighbourhood
from vmproxy.base.schema import setting
from vmproxy.console.console import Console

MOST = 1_000_000
MINUTE = 60.0
REMEMBERED = 10_000
UNMISSED_SECONDS = 2.0  # so long a new console is left alone


@dataclass(frozen=True, slots=True)
class ConsoleLimits:
    """Limits on consoles.

    :ivar most: how many there may be.
    :ivar per_minute: how many new ones may come from one neighbourhood in a minute; 0 for any number.
    """

    most: int = setting(values.whole(1, MOST), 100_000, key="consoles")
    per_minute: int = setting(values.whole(0, MOST), 20_000, key="new-consoles-per-minute")


class Newcomers:
    """The new consoles that have never printed anything, and the numbers of new ones.

    Bound: :data:`REMEMBERED` neighbourhoods; those that have begun to make consoles last are kept.
    """

    __slots__ = ("_came", "_clock", "_silent", "limits")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.limits = ConsoleLimits()
        self._silent: dict[Console, float] = {}  # since when, oldest first
        # Since when and how many, by neighbourhood, oldest first; a plain dict finds its first slower and slower.
        self._came: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def use(self, limits: ConsoleLimits) -> None:
        """Take other limits; consoles that are there stay."""
        self.limits = limits

    def problem(self, address: str) -> str:
        """Count a new console; :returns: why there may be no more of them from an address now."""
        most = self.limits.per_minute
        if not most:
            return ""
        where, now = neighbourhood(address), self._clock.seconds()
        since, number = self._came.get(where, (now, 0))
        if not 0 <= now - since < MINUTE:
            del self._came[where]
            since, number = now, 0
        if number >= most:
            return f"more than {most} new consoles a minute from {where} (vm.new-consoles-per-minute)"
        self._came[where] = since, number + 1
        if len(self._came) > REMEMBERED:
            self._came.popitem(last=False)
        return ""

    @property
    def remembered(self) -> int:
        """The number of neighbourhoods remembered."""
        return len(self._came)

    def add(self, console: Console) -> None:
        self._silent[console] = self._clock.seconds()

    def discard(self, console: Console) -> None:
        self._silent.pop(console, None)

    def oldest_silent(self) -> Console | None:
        """The console that nobody would miss first; None if there is none."""
        silent = self._silent
        while silent:
            console = next(iter(silent))
            if not (console.bytes_out or console.watchers or console.migrating):
                return console if self._clock.seconds() - silent[console] >= UNMISSED_SECONDS else None
            del silent[console]  # it is somebody's: each is looked at once
        return None
