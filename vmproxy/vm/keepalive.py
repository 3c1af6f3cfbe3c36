"""How a host that died without a word is noticed: TCP keepalive by the formula that hosts use themselves.

A host probes an idle connection after keepIdle seconds, up to five times, every keepIdle/100 seconds; so a dead peer is
noticed after keepIdle x 1.05 at the latest. The same is done here in the other direction. Keepalive does not run while
bytes are on their way to the host, so the same bound is put on those (TCP_USER_TIMEOUT).
"""

from __future__ import annotations

import math
import socket

PROBES = 5


def change_options(handle: socket.socket, keep_idle: int) -> None:
    """Have another time hold for a connection that is prepared already.

    :param keep_idle: seconds; 0 turns keepalive off.
    :raises OSError: if the connection is gone.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
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
    interval = max(1, math.ceil(keep_idle / 100))
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_idle)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * (keep_idle + PROBES * interval))
