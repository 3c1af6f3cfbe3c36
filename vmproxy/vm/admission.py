"""Limits on connections from hosts, by address: networks, number, rate.

Looked at before anything is made for a connection, for thousands of hosts may come back at once, and a scanner comes a
thousand times a second. Addresses count by their :func:`neighbourhood`. A whole
datacentre may come from one address, behind a NAT, so by default there is no bound on the connections of one address
but the one on all; and those are as many as there are descriptors for.

Connections without an identity must not keep out others: where room becomes scarce, the oldest of them goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base import values
from vmproxy.base.addresses import Network, neighbourhood, numeric_address
from vmproxy.base.form import form_of, formed
from vmproxy.base.ratelimit import RefusalLog, TokenBucket
from vmproxy.base.schema import setting

RATE_SECONDS = 20.0
REMEMBERED = 10_000
SCARCE = 16  # the last sixteenth

MOST = 1_000_000

_log = Logger()


@formed(form_of(values.networks))
def _networks(value: Any) -> tuple[Network, ...] | None:
    found = values.networks(value)
    return None if {ip_network("0.0.0.0/0"), ip_network("::/0")} <= set(found) else found


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Limits on connections from hosts.

    :ivar networks: from where; None is anywhere.
    :ivar connections: how many in all; 0: as many as there is room for.
    :ivar per_address: how many from one address; 0: no bound of its own.
    :ivar per_second: how many new ones a second from one address, over :data:`RATE_SECONDS`; 0: no bound.
    """

    networks: tuple[Network, ...] | None = setting(_networks, None)
    connections: int = setting(values.whole(0, MOST), 0)
    per_address: int = setting(values.whole(0, MOST), 0, key="connections-per-address")
    per_second: int = setting(values.whole(0, MOST), 1000, key="connects-per-second")


class Admission:
    """Lets connections in, and counts them.

    :ivar refusals: how many were turned away, by kind.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: AdmissionLimits,
        room: int,
        make_room: Callable[[int], None] = lambda live: None,
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        :param room: how many connections there can be, whatever the limits say.
        :param others: how much of the room is taken by what is no connection of a host.
        :param make_room: called when room is scarce, with the connections of the address: may have one closed that
            nobody will miss.
        """
        self._clock = clock
        self._room = room
        self._make_room = make_room
        self._others = others
        self._places: dict[str, _Place] = {}
        self._forget_at = REMEMBERED
        self._allowed: dict[str, bool] = {}
        self._live = 0
        self.refusals = RefusalLog(clock, _tell)
        self.reconfigure(limits)

    def __len__(self) -> int:
        """The number of connections."""
        return self._live

    @property
    def scarce(self) -> bool:
        """Whether the room that is left should be kept for hosts."""
        return self._live + self._others() >= self._room - self._room // SCARCE

    @property
    def remembered(self) -> int:
        """The number of addresses remembered."""
        return len(self._places)

    def reconfigure(self, limits: AdmissionLimits) -> None:
        """Take other limits, for who comes from now on; nobody who is there has to go."""
        self._limits = limits
        self._allowed.clear()
        self._burst = limits.per_second * RATE_SECONDS
        for place in self._places.values():
            place.bucket.fill(self._burst)

    def enter(self, address: str) -> bool:
        """Count a new connection.

        :returns: whether it may stay; :meth:`leave` follows then.
        """
        limits = self._limits
        if limits.networks is not None and not self._may_come(address):
            return self._refuse("networks", address, "its address is in none of vm.networks")
        where = neighbourhood(address)
        place = self._places.get(where)
        now = self._clock.seconds()
        if place is None:
            place = self._place(where, now)
        if limits.per_address and place.live >= limits.per_address:
            why = f"{place.live} connections from {where} (vm.connections-per-address)"
            return self._refuse("per address", address, why)
        if self._burst and not place.bucket.take(now, limits.per_second, self._burst):
            why = f"more than {limits.per_second} connections a second from {where} (vm.connects-per-second)"
            return self._refuse("per second", address, why)
        room = self._room - self._others()
        in_all = min(limits.connections or room, room)
        if self._live >= in_all - in_all // SCARCE:
            self._make_room(place.live)
            if self._live >= in_all:
                bound = "vm.connections" if in_all < room else "descriptors, LimitNOFILE"
                return self._refuse("in all", address, f"{self._live} connections in all ({bound})")
        place.live += 1
        self._live += 1
        return True

    def take_over(self, address: str) -> None:
        """Count a connection that another process has let in; :meth:`leave` follows."""
        where = neighbourhood(address)
        place = self._places.get(where) or self._place(where, self._clock.seconds())
        place.live += 1
        self._live += 1

    def live(self, address: str) -> int:
        """The connections of an address."""
        place = self._places.get(neighbourhood(address))
        return 0 if place is None else place.live

    def leave(self, address: str) -> None:
        """A connection that was let in is gone."""
        self._live -= 1
        self._places[neighbourhood(address)].live -= 1

    def _may_come(self, address: str) -> bool:
        allowed = self._allowed.get(address)
        if allowed is None:
            numeric = numeric_address(address)
            # What has no address has come over a Unix socket, which has permissions of its own.
            allowed = numeric is None or any(numeric in network for network in self._limits.networks or ())
            if len(self._allowed) >= REMEMBERED:
                self._allowed.clear()
            self._allowed[address] = allowed
        return allowed

    def _place(self, where: str, now: float) -> _Place:
        if len(self._places) >= self._forget_at:
            self._forget(now)
        place = self._places[where] = _Place(self._burst, now)
        return place

    def _forget(self, now: float) -> None:
        # Those without connections; if there is still no end of them, also those of which there is something to know.
        for known in (True, False):
            kept = {w: p for w, p in self._places.items() if p.live or (known and p.matters(now))}
            if len(kept) < REMEMBERED:
                break
        self._places = kept
        self._forget_at = max(REMEMBERED, 2 * len(kept))

    def _refuse(self, kind: str, address: str, why: str) -> bool:
        self.refusals.add(kind, address, why)
        return False


class _Place:
    """The history of one address."""

    __slots__ = ("bucket", "live")

    def __init__(self, budget: float, now: float) -> None:
        self.live = 0
        self.bucket = TokenBucket(budget, now)  # how many more may come

    def matters(self, now: float) -> bool:
        """Whether it must be remembered while there are no connections."""
        return now - self.bucket.at < RATE_SECONDS


def _tell(who: str, why: str, count: int) -> None:
    _log.warn("{peer}: connection refused: {why} ({n} refused)", peer=who, why=why, n=count)
