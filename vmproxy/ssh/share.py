"""The output that one operator may be sent in a turn of the reactor.

Each packet is encrypted here, and an operator may have hundreds of connections with dozens of viewers on each: what one
VM prints would keep the reactor busy for as long as the operator likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

PACKETS_AT_ONCE = 256


class Sender(Protocol):
    """A channel."""

    def pump(self) -> None:
        """Send as much as the client accepts now."""


class Share:
    """The packets that one operator may be sent in a turn, over all channels and connections.

    :ivar left: how many more; who finds none left calls :meth:`wait`.
    """

    __slots__ = ("__weakref__", "_next_turn", "_waiting", "left")

    def __init__(self, next_turn: Callable[[Callable[[], None]], None]) -> None:
        """:param next_turn: has something done in the operator's next turn."""
        self.left = PACKETS_AT_ONCE
        self._next_turn = next_turn
        self._waiting: dict[Sender, None] = {}

    def take(self) -> None:
        """Count a packet."""
        self.left -= 1

    def wait(self, channel: Sender) -> None:
        """Have a channel go on in a turn to come."""
        if not self._waiting:
            self._next_turn(self._renew)
        self._waiting[channel] = None

    def _renew(self) -> None:
        self.left = PACKETS_AT_ONCE
        waiting, self._waiting = self._waiting, {}
        for channel in waiting:
            channel.pump()
