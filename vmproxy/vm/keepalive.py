"""How a host that died without a word is noticed: TCP keepalive by the formula that hosts use themselves.

A host probes an idle connection after keepIdle seconds, up to five times, every keepIdle/100 seconds; so a dead peer is
noticed after keepIdle x 1.05 at the latest. The same is done here in the other direction. A second is the shortest
interval that the system knows: where five of them would take longer than the formula and a second, there are fewer.

Keepalive does not run while bytes are on their way to the host; what is done then stands in :mod:`liveness`.
"""

from __future__ import annotations

import contextlib
import math
import socket

PROBES = 5
_TCP_RTO_MAX_MS = 44  # linux/tcp.h; Python does not know it yet
_RTO_MAX = 120  # seconds, if nothing else is said


def probes(keep_idle: int) -> tuple[int, int]:
    """How an idle connection is probed.

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
