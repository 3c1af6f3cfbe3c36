"""Descriptors: a process may have so many, and who gets them.

Every VM, every operator and every open log needs one. VMs come in thousands and by themselves, so it is they who are
bounded, and the rest is kept for operators and logs: who wants to see what is wrong must get in. What none is left for
all the same is turned away with the help of one that is kept for that, or waits: a listening socket that cannot be
served would otherwise keep the process busy with nothing else.
"""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import dataclass, replace
from typing import Any

from vmproxy.auth.limits import LoginLimits

OWN = 32  # standard streams, the event loop, listeners, files that are opened for a moment
LEAST = 8
REFUSED_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Budget:
    """How the descriptors are shared out.

    :ivar limit: how many there are.
    :ivar vms: how many connections of VMs there may be.
    :ivar log_files: how many logs and trails may be open at once.
    :ivar strangers: how many connections to the operators' side there may be that have not logged in.
    """

    limit: int
    vms: int
    log_files: int
    strangers: int

    def of_logins(self, limits: LoginLimits) -> LoginLimits:
        """How many connections of operators there may be, where these many are wanted.

        Bound: one operator gets no more than all connections that have not logged in may be together, because one
        operator must not take what is kept for all.
        """
        return replace(
            limits,
            in_all=min(limits.in_all, self.strangers),
            per_operator=min(limits.per_operator, self.strangers),
        )


def share_out(limit: int, log_files: int, operators: int) -> Budget:
    """Share the descriptors out.

    :param limit: how many the process may have.
    :param log_files: how many logs and trails should be open at once.
    :param operators: how many operators may need, connections and files, at most.
    """
    there = max(LEAST, limit - OWN)
    kept = max(LEAST, min(log_files + operators, there // 4))
    if kept >= log_files + operators:
        return Budget(limit, there - kept, log_files, operators)
    return Budget(limit, max(LEAST, there - kept), max(2, min(log_files, kept // 2)), max(4, kept // 3))


def raise_limit() -> int:
    """Have as many descriptors as the process may have.

    :returns: how many that are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Spare:
    """One descriptor that is kept for when there are no others."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = -1

    def hold(self) -> bool:
        """Keep one, unless there is one already.

        :returns: whether there is one.
        """
        if self._fd < 0:
            try:
                self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False  # none is free; the next who asks may have more luck
        return True

    def close(self) -> None:
        """Give it up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def turn_away(self, listening: socket.socket) -> list[Any]:
        """Take whoever waits at a socket, and close the connection.

        :returns: the addresses of those who were turned away.
        """
        gone: list[Any] = []
        self.close()
        try:
            while len(gone) < REFUSED_AT_ONCE:
                connection, address = listening.accept()
                connection.close()
                gone.append(address)
        except OSError:
            pass  # nobody is waiting any more, or another thread has taken the descriptor: they wait
        finally:
            self.hold()
        return gone
