"""Who gets a console that has a connection already, and what is said when that happens again and again.

A vMotion is no such case: its destination shows a pair and claims nothing. What counts as a connection is one that
nobody has closed and that keepalive has not given up: a host that lost power says nothing, so under ``refuse`` its VM
comes back when keepalive has found the old connection dead, and not before.

Two connections that claim one console may take it from each other without end, as fast as their hosts dial. The first
times in a minute are told one by one, the others as a number at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.addresses import same_network
from vmproxy.base.deadlines import Deadlines
from vmproxy.errors import VMProxyError

REPLACE, REFUSE, SAME_NETWORK = "replace", "refuse", "same-network"
POLICIES = (REPLACE, REFUSE, SAME_NETWORK)
OFTEN_SECONDS = 60.0
TOLD_EACH = 10

K = TypeVar("K", bound=Hashable)


class ClaimRefused(VMProxyError):
    """A connection may not have the console that it claims; the text says why."""


@dataclass(frozen=True, slots=True)
class Newcomers:
    """What holds for a second connection.

    :ivar policy: one of :data:`POLICIES`.
    :ivar bits4: how many leading bits make the network of an IPv4 address, ``bits6`` of an IPv6 one.
    """

    policy: str = REPLACE
    bits4: int = 24
    bits6: int = 64

    def problem(self, there: str, newcomer: str) -> str:
        """Why a newcomer may not take the place of who is there; ``""`` if it may.

        :param there: the address of the host that serves the console; ``newcomer`` that of the other.
        """
        if self.policy == REFUSE:
            return f"it is connected from {there} already"
        if self.policy == SAME_NETWORK and not same_network(there, newcomer, self.bits4, self.bits6):
            return f"it is connected from {there} already, which is another network"
        return ""


class Often(Generic[K]):
    """Counts what happens again, and says when it need not be told."""

    __slots__ = ("_clock", "_late", "_seen", "_summary")

    def __init__(self, clock: IReactorTime, summary: Callable[[K, int], None]) -> None:
        """:param summary: called at the end of a minute in which something happened untold, with how often."""
        self._clock = clock
        self._summary = summary
        self._seen: dict[K, tuple[float, int]] = {}  # since when and how often, in order of the first
        self._late: Deadlines[K] = Deadlines(clock, OFTEN_SECONDS, self._over)

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._seen)

    def again(self, key: K) -> bool:
        """It happens.

        :returns: whether it is to be told now.
        """
        now = self._clock.seconds()
        over: list[K] = []
        for other, (since, _) in self._seen.items():
            if other in self._late or 0 <= now - since < OFTEN_SECONDS:
                break
            over.append(other)
        for other in over:
            del self._seen[other]
        since, times = self._seen.get(key, (now, 0))
        if key not in self._late and not 0 <= now - since < OFTEN_SECONDS:
            del self._seen[key]
            since, times = now, 0
        self._seen[key] = since, times + 1
        if times < TOLD_EACH:
            return True
        if key not in self._late:
            self._late.start(key)
        return False

    def untold(self, key: K) -> bool:
        """Whether something is known that was not told."""
        return key in self._late

    def stop(self) -> None:
        """The end: say now what has not been told."""
        for key in list(self._seen):
            if key in self._late:
                self._over(key)
        self._late.stop()

    def _over(self, key: K) -> None:
        self._late.discard(key)
        _, times = self._seen.pop(key)
        self._summary(key, times - TOLD_EACH)
