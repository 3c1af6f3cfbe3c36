"""Trouble: what is wrong with vmproxy itself, told in one place.

The parts that notice something know nothing of those who are told. Everything is on the reactor's thread.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple


class Kind(enum.Enum):
    """The kinds of trouble."""

    LOG = "log"  # the log of a console cannot be written
    DISK = "disk"  # nor another file
    CERTIFICATE = "certificate"
    UNSTEADY = "unsteady"  # a console connects again and again
    REFUSED = "refused"  # a host was turned away
    WATCH = "watch"  # there was more output than could be looked at
    VCENTER = "vcenter"  # vCenter cannot be read
    HOOK = "hook"  # a program or a webhook failed


class Trouble(NamedTuple):
    """One trouble.

    :ivar about: the console that has it; None if it is nobody's.
    """

    kind: Kind
    text: str
    about: object = None


class Troubles:
    """The place where trouble is told. What comes before somebody takes it waits, :data:`WAITING` of it."""

    WAITING = 100

    def __init__(self) -> None:
        self._taker: Callable[[Trouble], object] | None = None
        self._waiting: list[Trouble] = []

    def tell(self, kind: Kind, text: str, about: object = None) -> None:
        """Tell of trouble; may be told again and again."""
        trouble = Trouble(kind, text, about)
        if self._taker is not None:
            self._taker(trouble)
        elif len(self._waiting) < self.WAITING:
            self._waiting.append(trouble)

    def take(self, taker: Callable[[Trouble], object] | None) -> None:
        """Have all trouble taken from now on; None: nobody takes it."""
        self._taker = taker
        if taker is not None:
            waiting, self._waiting = self._waiting, []
            for trouble in waiting:
                taker(trouble)
