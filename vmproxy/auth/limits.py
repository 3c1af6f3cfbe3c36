"""Limits before and after the login: connections, open files, and the delay of answers to failed logins.

Connections without a login count by :func:`neighbourhood`; after the login they count by operator, so that none of them
can take all descriptors.

The delay of an answer grows with each failure from a neighbourhood, and is forgotten some time after the last one; a
success forgets the failures of that operator alone. A password waits for the present delay before it is checked, right
or wrong, so that a client that closes the connection gets no more tries than one that waits; that wait is not repeated
after the check. Keys are checked at once: they cannot be guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base import values
from vmproxy.base.addresses import neighbourhood
from vmproxy.base.deadlines import Deadlines
from vmproxy.base.ratelimit import RefusalLog
from vmproxy.base.schema import setting

MOST = 1_000_000
FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
FORGET_AFTER = 600.0
REMEMBERED = 10_000
NAMES_REMEMBERED = 8
NAME_LIMIT = 64
LOGINS_IN_ALL = 1000
WAIT_SECONDS = 5.0
WAITING_SHARE = 4  # a quarter of the places in all may wait for one
RESERVED_SHARE = 8  # an eighth of the places is for neighbourhoods that have none
UNMISSED_SECONDS = 2.0  # so long nobody has to make place: a login takes less
SESSIONS_EACH = 1000  # what a VM prints is looked at for each of them at once
SESSIONS_IN_ALL = 4000
FILES_EACH = 64
FILES_IN_ALL = 256

H = TypeVar("H", bound=Hashable)

_log = Logger()


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Bounds on connections.

    :ivar in_all: connections that have not logged in, from everywhere.
    :ivar per_address: connections that have not logged in, from one address.
    :ivar per_operator: connections of one operator.
    """

    in_all: int = setting(values.whole(1, MOST), 200, key="connections")
    per_address: int = setting(values.whole(1, MOST), 100, key="connections-per-address")
    per_operator: int = setting(values.whole(1, LOGINS_IN_ALL), 250, key="connections-per-operator")

    @property
    def descriptors(self) -> int:
        """How many connections there may be that have not logged in, with those that wait for a place."""
        return self.in_all + self.in_all // WAITING_SHARE


class Guest(Protocol):
    """A connection that has not logged in."""

    @property
    def silent(self) -> bool:
        """Whether it has done nothing for a login yet, not even a key exchange."""

    def come_in(self) -> None:
        """Begin: there is a place, after a wait."""

    def make_place(self) -> None:
        """Close: there was no place in time, or another connection has the place."""

    def __hash__(self) -> int:
        """It is the key of its place."""


class ConnectionLimiter:
    """Bounds the connections that have not logged in, in all and for each neighbourhood.

    Where all places are taken, the oldest connection of the neighbourhood that has most makes place for one that has
    fewer, silent ones first. The last places are for neighbourhoods that have none. Who finds no place waits a moment.
    Bound: a quarter of the places in all may wait, half of them from one neighbourhood.
    """

    def __init__(
        self,
        clock: IReactorTime,
        audit: Callable[..., None],
        limits: LoginLimits = LoginLimits(),
    ) -> None:
        """:param audit: told of refusals, at a bounded rate, with how many there were."""
        self._clock = clock
        self._audit = audit
        self.reconfigure(limits)
        self._inside: dict[Guest, tuple[str, float]] = {}  # in order of their coming
        self._counts: Counter[str] = Counter()
        self._waiting: dict[Guest, tuple[str, str]] = {}  # address and neighbourhood, in order
        self._patience: Deadlines[Guest] = Deadlines(clock, WAIT_SECONDS, self._waited)
        self._refusals = RefusalLog(clock, self._tell)

    def reconfigure(self, limits: LoginLimits) -> None:
        """Take other limits; connections that are there stay."""
        self._per_address = limits.per_address
        self._in_all = limits.in_all

    @property
    def refused(self) -> int:
        """The connections refused so far."""
        return self._refusals.counts.total()

    def __len__(self) -> int:
        """The connections that have not logged in."""
        return len(self._inside)

    def enter(self, connection: Guest, address: str) -> bool:
        """Count a new connection.

        :returns: whether it may begin. If not, it is told later to come in, or to make place.
        """
        where = neighbourhood(address)
        if self._has_place(where) or self._made_place(where):
            self._take_in(connection, where)
            return True
        room = self._in_all // WAITING_SHARE
        same = sum(other == where for _, other in self._waiting.values())
        if len(self._waiting) < room and same < max(1, room // 2):
            self._waiting[connection] = address, where
            self._patience.start(connection)
        else:
            self._refuse(address)
            connection.make_place()
        return False

    def _has_place(self, where: str) -> bool:
        mine = self._counts[where]
        kept = self._in_all // RESERVED_SHARE if mine else 0
        return mine < self._per_address and len(self._inside) < self._in_all - kept

    def _made_place(self, where: str) -> bool:
        mine = self._counts[where]
        loser = self._loser(mine) if mine < self._per_address else None
        if loser is None:
            return False
        its, _ = self._inside[loser]
        self.leave(loser, next_in=False)
        self._refusals.add("made place", its, "its place was needed: it had not logged in, and others waited")
        loser.make_place()
        return True

    def _take_in(self, connection: Guest, where: str) -> None:
        self._inside[connection] = where, self._clock.seconds()
        self._counts[where] += 1

    def _loser(self, fewer: int) -> Guest | None:
        most = max(self._counts.values(), default=0)
        if most <= fewer:
            return None
        old = self._clock.seconds() - UNMISSED_SECONDS
        oldest = None
        for guest, (where, since) in self._inside.items():
            if since > old:
                break
            if self._counts[where] == most:
                if guest.silent:
                    return guest
                oldest = oldest or guest
        return oldest

    def leave(self, connection: Guest, next_in: bool = True) -> None:
        """Count a connection no more: it has logged in, or is gone. An unknown one is ignored."""
        self._forget_waiting(connection)
        where, _ = self._inside.pop(connection, ("", 0.0))
        if where:
            self._counts[where] -= 1
            if not self._counts[where]:
                del self._counts[where]
            if next_in:
                self._let_in()

    def _let_in(self) -> None:
        # Nobody makes place here: with thousands of places, all who wait would look through all who are inside.
        for waiting, (_, where) in list(self._waiting.items()):
            if len(self._inside) >= self._in_all:
                break
            if waiting in self._waiting and self._has_place(where):
                self._forget_waiting(waiting)
                self._take_in(waiting, where)
                waiting.come_in()

    def _forget_waiting(self, connection: Guest) -> None:
        if self._waiting.pop(connection, None) is not None:
            self._patience.discard(connection)

    def _waited(self, connection: Guest) -> None:
        address, where = self._waiting.pop(connection)
        if self._has_place(where) or self._made_place(where):  # somebody is old enough by now
            self._take_in(connection, where)
            connection.come_in()
        else:
            self._refuse(address)
            connection.make_place()

    def stop(self) -> None:
        """Let nobody wait any more: the process is being stopped."""
        waiting, self._waiting = self._waiting, {}
        self._patience.stop()
        for connection in waiting:
            connection.make_place()

    def _refuse(self, address: str) -> None:
        where = neighbourhood(address)
        if self._counts[where] >= self._per_address:
            limit = "ssh.connections-per-address"
            why = f"{self._per_address} connections from {where} have not logged in ({limit})"
        else:
            why = f"{self._in_all} connections in all have not logged in (ssh.connections)"
        self._refusals.add("not logged in", address, why)

    def _tell(self, address: str, why: str, count: int) -> None:
        _log.warn("{peer}: connection refused: {why} ({n} refused)", peer=address, why=why, n=count)
        self._audit("login-refused", reason=why, connections=count, **{"from": address})


class Quota(Generic[H]):
    """Bounds a resource, in all and for each operator.

    :ivar each: the share of one operator, over all connections.
    """

    __slots__ = ("_counts", "_holders", "_in_all", "each")

    def __init__(self, each: int, in_all: int) -> None:
        """
        :param each: the share of one operator, over all connections.
        :param in_all: the share of all operators together.
        """
        self.each = each
        self._in_all = in_all
        self._holders: dict[H, str] = {}
        self._counts: dict[str, int] = {}

    def use(self, each: int) -> None:
        """Use another share; nothing is taken away."""
        self.each = each

    def __len__(self) -> int:
        """The number in use."""
        return len(self._holders)

    def __iter__(self) -> Iterator[tuple[H, str]]:
        """The holders and their operators, as they are now."""
        return iter(list(self._holders.items()))

    def problem(self, name: str) -> str:
        """Why an operator may have no more, as in "32 of yours are open"; ``""`` if they may."""
        if self._counts.get(name, 0) >= self.each:
            return f"{self.each} of yours are open"
        return f"{self._in_all} in all are open" if len(self._holders) >= self._in_all else ""

    def take(self, holder: H, name: str) -> bool:
        """Take one for an operator.

        :param holder: stands for it until it is given back; each only once.
        :returns: whether the operator gets it.
        """
        if self.problem(name):
            return False
        self._holders[holder] = name
        self._counts[name] = self._counts.get(name, 0) + 1
        return True

    def give_back(self, holder: H) -> None:
        """Give one back. An unknown holder is ignored."""
        name = self._holders.pop(holder, None)
        if name is not None:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]


class LoginBackoff:
    """The delays of answers to failed logins."""

    __slots__ = ("_clock", "_failures")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}  # in order of the last

    def __len__(self) -> int:
        """The neighbourhoods with failures."""
        return len(self._failures)

    def present(self, address: str) -> float:
        """The present delay in seconds for an address; 0 without failures."""
        self._forget(self._clock.seconds())
        found = self._failures.get(neighbourhood(address))
        return _delay(found.count) if found is not None else 0.0

    def failed(self, address: str, name: str) -> float:
        """Count a failure.

        :param name: the operator that it claimed.
        :returns: the seconds after which to answer.
        """
        now = self._clock.seconds()
        self._forget(now)
        where = neighbourhood(address)
        found = self._failures.pop(where, None) or _Failures()
        if len(self._failures) >= REMEMBERED:
            del self._failures[next(iter(self._failures))]
        self._failures[where] = found
        found.count += 1
        found.last = now
        if len(name) <= NAME_LIMIT and (name in found.names or len(found.names) < NAMES_REMEMBERED):
            found.names[name] = found.names.get(name, 0) + 1
        return _delay(found.count)

    def succeeded(self, address: str, name: str) -> None:
        """Forget the failures of an operator who has logged in, and of nobody else.

        Else an operator could guess the passwords of others without a delay.
        """
        where = neighbourhood(address)
        found = self._failures.get(where)
        if found is not None:
            found.count -= found.names.pop(name, 0)
            if not found.count:
                del self._failures[where]

    def _forget(self, now: float) -> None:
        while self._failures:
            where, found = next(iter(self._failures.items()))
            if now - found.last < FORGET_AFTER:
                break
            del self._failures[where]


class _Failures:
    """The failures of a neighbourhood: their number, by name too, and the time of the last."""

    __slots__ = ("count", "last", "names")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.names: dict[str, int] = {}


def _delay(failures: int) -> float:
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (min(failures, 30) - 1)) if failures else 0.0
