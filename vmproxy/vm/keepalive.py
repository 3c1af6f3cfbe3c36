"""TCP keepalive by the formula of hosts, and a look at what is not acknowledged.

A host probes an idle connection after keepIdle seconds, up to five times, every keepIdle/100 seconds; so a dead peer is
noticed after keepIdle x 1.05 at the latest. The same is done here in the other direction. A second is the shortest
interval that the system knows: where five of them would take longer than the formula and a second, there are fewer.

Keepalive does not run while bytes are on their way to the host. A key that is typed towards a dead host puts it off;
left to itself, the system sends the key again and again for a quarter of an hour. TCP_USER_TIMEOUT is no help: its time
begins with the key, and it cuts off a host that is there but has no room, because its guest reads nothing. So
:class:`Liveness` looks after whatever is written: twice a second the system is asked whether all of it has been
acknowledged, and when the host was last heard. A host that has been silent as long as keepalive would have waited, and
leaves repeated questions unanswered, is dead. Connections to which nothing is written cost nothing.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.deadlines import Deadlines
from vmproxy.vm.sockets import socket_of

PROBES = 5
_TCP_RTO_MAX_MS = 44  # linux/tcp.h; Python does not know it yet
_RTO_MAX = 120  # seconds, if nothing else is said
LOOK_SECONDS = 0.5
LEAST_TRIES = 2

# struct tcp_info of linux/tcp.h: retransmits, probes; unacked; last_data_recv, last_ack_recv; notsent_bytes.
_TCP_CLOSE = 7  # the state, which stands first: linux/tcp_states.h
_TCP_INFO = struct.Struct("=xxBB20xI24xII84xI")


def probes(keep_idle: int) -> tuple[int, int]:
    """The keepalive probes of an idle connection.

    :param keep_idle: seconds, at least 1.
    :returns: how many probes must go unanswered, and the seconds from one to the next. Together with ``keep_idle`` this
        is at most keepIdle x 1.05 and a second, and never less than one probe.
    """
    interval = max(1, math.ceil(keep_idle / 100))
    return min(PROBES, max(1, (keep_idle + 20) // (20 * interval))), interval


def noticed_after(keep_idle: int) -> int:
    """After how many seconds of silence a host is dead."""
    count, interval = probes(keep_idle)
    return keep_idle + count * interval


def change_options(handle: socket.socket, keep_idle: int) -> None:
    """Have another time hold for a connection that is prepared already.

    :param keep_idle: seconds; 0 turns keepalive off.
    :raises OSError: if the connection is gone.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # as in set_options, which leaves it alone where that is right
        handle.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, 1000 * _RTO_MAX)
    if keep_idle:
        set_options(handle, keep_idle)
    else:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)


def set_options(handle: socket.socket, keep_idle: int) -> None:
    """Prepare a connection from a host: keepalive, and no waiting to fill packets.

    :param keep_idle: seconds; 0 leaves keepalive off.
    :raises OSError: if the connection is gone already.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not keep_idle:
        return
    count, interval = probes(keep_idle)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_idle)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    # Not TCP_USER_TIMEOUT: that also cuts off a host that is there, answers, and has no room for what is typed.
    longest = max(1, keep_idle // 4)
    if longest < _RTO_MAX:
        # A host that has no room is asked less and less often, up to every two minutes: too seldom for a short bound.
        with contextlib.suppress(OSError):  # Linux before 6.15 does not know it; the bound is missed there
            handle.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, 1000 * longest)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Bytes that the other side has not acknowledged.

    :ivar silent: milliseconds since the other side was heard, be it an acknowledgement.
    :ivar tries: how often it was asked in vain: by sending again what it did not acknowledge, or for room.
    """

    silent: int
    tries: int


def under_way(handle: socket.socket) -> UnderWay | None:
    """Ask the system about a connection; None if all is acknowledged, or it is gone."""
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    if len(info) < _TCP_INFO.size:
        return None
    retransmits, probes, unacknowledged, data_seen, ack_seen, unsent = _TCP_INFO.unpack(info)
    if not unacknowledged and not unsent:
        return None
    return UnderWay(min(data_seen, ack_seen), max(retransmits, probes))


def is_dead(handle: socket.socket) -> bool:
    """Whether the system has given a connection up, by keepalive or a reset.

    A reader is told so. A connection that is not read from, because its output is held back, is not.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return False


class Connection(Protocol):
    """A connection that is looked after."""

    @property
    def peer(self) -> str:
        """The address of the other end."""

    @property
    def transport(self) -> object:
        """Where its socket is."""

    def close(self, reason: str) -> None:
        """Close it at once."""

    def __hash__(self) -> int:
        """It is the key of its deadline."""


class Liveness:
    """The connections that have something under way."""

    __slots__ = ("_limit", "_looks")

    def __init__(self, clock: IReactorTime, keep_idle: int) -> None:
        """:param keep_idle: seconds; 0 looks after nothing."""
        self._limit = 0
        self.use(keep_idle)
        self._looks: Deadlines[Connection] = Deadlines(clock, LOOK_SECONDS, self._look)

    def use(self, keep_idle: int) -> None:
        """Let another time hold from now on."""
        self._limit = 1000 * noticed_after(keep_idle) if keep_idle else 0

    def written(self, connection: Connection) -> None:
        """Look after bytes that were written to a connection."""
        if self._limit and connection not in self._looks:
            self._looks.start(connection)

    def discard(self, connection: Connection) -> None:
        """A connection is gone."""
        self._looks.discard(connection)

    def stop(self) -> None:
        """Look after nothing any more."""
        self._looks.stop()

    def _look(self, connection: Connection) -> None:
        handle = socket_of(connection.transport)
        found = under_way(handle) if handle is not None and handle.family != socket.AF_UNIX else None
        if found is None or not self._limit:
            return
        if found.silent >= self._limit and found.tries >= LEAST_TRIES:
            connection.close(f"connection lost to {connection.peer}: it does not answer")
        else:
            self._looks.start(connection)
