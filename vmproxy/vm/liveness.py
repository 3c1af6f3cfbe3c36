"""Whether a host still answers while bytes are on their way to it.

The system's keepalive waits until a connection is idle, so a key that is typed towards a dead host puts it off; left to
itself, the system sends the key again and again for a quarter of an hour. TCP_USER_TIMEOUT is no help: its time begins
with the key, and it cuts off a host that is there but has no room, because its guest reads nothing. So whatever is
written is looked after: twice a second the system is asked whether all of it has been acknowledged, and when the host
was last heard. Who has been silent as long as keepalive would have waited, and leaves repeated questions unanswered, is
dead. Connections to which nothing is written cost nothing.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.deadlines import Deadlines
from vmproxy.vm.keepalive import noticed_after
from vmproxy.vm.sockets import socket_of

LOOK_SECONDS = 0.5
LEAST_TRIES = 2

# struct tcp_info of linux/tcp.h: retransmits, probes; unacked; last_data_recv, last_ack_recv; notsent_bytes.
_TCP_CLOSE = 7  # the state, which stands first: linux/tcp_states.h
_TCP_INFO = struct.Struct("=xxBB20xI24xII84xI")


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What the system knows about bytes that the other side has not acknowledged.

    :ivar silent: milliseconds since the other side was heard, be it an acknowledgement.
    :ivar tries: how often it was asked in vain: by sending again what it did not acknowledge, or for room.
    """

    silent: int
    tries: int


def under_way(handle: socket.socket) -> UnderWay | None:
    """Ask the system about a connection; None where everything is acknowledged, or it is gone."""
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
    """Whether the system has given a connection up: keepalive has, or the other side reset it.

    Whoever reads hears of it. A connection that is not read from, because what it says is held back, does not.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return False


class Connection(Protocol):
    """What is looked after."""

    peer: str

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
        """Something was written to a connection."""
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
