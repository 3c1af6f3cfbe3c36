"""The descriptors of the process, shared out between VMs, operators and logs.

Every VM, every operator and every open log needs a descriptor. VMs come in thousands and by themselves, so they are
bounded, and the rest is kept for operators and logs: an operator who looks for a fault must get in.

A connection without a descriptor is turned away with the help of a spare one, or waits: a listening socket that cannot
be served would keep the process busy with nothing else.
"""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import dataclass, replace
from typing import Any

from vmproxy.auth.limits import WAITING_SHARE, LoginLimits

OWN = 32  # standard streams, the event loop, listeners, files that are open for a moment
LEAST = 8
REFUSED_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Budget:
    """How many descriptors there are for each purpose.

    :ivar limit: descriptors in all.
    :ivar vms: connections of VMs.
    :ivar log_files: logs and trails that are open at once.
    :ivar unauthenticated: connections of operators who have not logged in, with those that wait for a place.
    :ivar web: connections of browsers and scripts.
    """

    limit: int
    vms: int
    log_files: int
    unauthenticated: int
    web: int

    def of_logins(self, limits: LoginLimits) -> LoginLimits:
        """The limits of the settings, reduced to what the budget allows.

        Bound: one operator has no more connections than all that have not logged in together, so that one operator
        cannot take what is kept for all.
        """
        return replace(
            limits,
            in_all=min(limits.in_all, self.unauthenticated * WAITING_SHARE // (WAITING_SHARE + 1)),
            per_operator=min(limits.per_operator, self.unauthenticated),
        )


def share_out(limit: int, log_files: int, operators: int, web: int = 0) -> Budget:
    """Share the descriptors out.

    :param limit: descriptors that the process may have.
    :param log_files: logs and trails that should be open at once.
    :param operators: descriptors for operators, connections and files, at most.
    :param web: descriptors for browsers and scripts, at most; if none are wanted now, those of operators may be used.
    """
    there = max(LEAST, limit - OWN)
    wanted = log_files + operators + web
    kept = max(LEAST, min(wanted, there // 4))
    if kept >= wanted:
        return Budget(limit, there - kept, log_files, operators, web or operators)
    of_web = kept * web // wanted
    rest = kept - of_web
    unauthenticated = max(4, rest // 3)
    return Budget(
        limit, max(LEAST, there - kept), max(2, min(log_files, rest // 2)), unauthenticated, of_web or unauthenticated
    )


def raise_limit() -> int:
    """Raise the limit on descriptors to the hard limit.

    :returns: the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class SpareDescriptor:
    """One descriptor that is kept for when there are no others."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = -1

    def hold(self) -> bool:
        """Open the descriptor, unless it is open.

        :returns: whether it is open.
        """
        if self._fd < 0:
            try:
                self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False  # none is free; a later call may succeed
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def turn_away(self, listening: socket.socket) -> list[Any]:
        """Accept and close the connections that wait at a socket.

        :returns: their addresses.
        """
        gone: list[Any] = []
        self.close()
        try:
            while len(gone) < REFUSED_AT_ONCE:
                connection, address = listening.accept()
                connection.close()
                gone.append(address)
        except OSError:
            pass  # no connection waits any more, or another thread has taken the descriptor: they wait
        finally:
            self.hold()
        return gone
