"""Numbers over all consoles: how they are now, and what has happened since the start.

Counted where it changes: with thousands of consoles to look at all of them takes too long for who asks each 15 seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

FRONTS = ("ssh", "web", "api")
"""How operators come here."""

REMOTE = "far-end"
"""The front of remote ends, which are viewers too."""

MODES = ("write", "spy", "waits")


class Linked(Protocol):
    """A console."""

    @property
    def link(self) -> object:
        """Its connection; None if it has none."""


class Watched(Protocol):
    """The viewers of one console."""

    def modes(self) -> Counter[tuple[str, ...]]:
        """How many there are, by front and mode."""


class Totals:
    """Numbers over all consoles; of what has happened, those that are forgotten count on.

    :ivar linked: consoles that have a connection; ``migrating``: that are in a vMotion, with a connection or without.
    :ivar off: consoles that are not recorded, as an operator has turned that off.
    :ivar held: bytes and breaks of input that wait for VMs.
    :ivar watched: the viewers of all consoles that have some.
    :ivar delivered: bytes of input that hosts were given.
    :ivar lost: bytes of input that were lost, as the VM went down before it took them.
    :ivar changes: how often a console became what it is, by its state.
    :ivar forced: how often write access was taken by force, by the front of who took it.
    """

    __slots__ = ("changes", "delivered", "forced", "held", "linked", "lost", "migrating", "off", "watched")

    def __init__(self) -> None:
        self.linked = self.off = self.held = self.delivered = self.lost = 0
        self.migrating: dict[Linked, None] = {}
        self.watched: dict[Watched, None] = {}
        self.changes: Counter[str] = Counter()
        self.forced: Counter[str] = Counter()

    def states(self, known: int) -> dict[str, int]:
        """How many consoles are up, down and in a vMotion now.

        :param known: how many there are.
        """
        migrating = len(self.migrating)
        up = self.linked - sum(console.link is not None for console in self.migrating)
        return {"up": up, "down": known - up - migrating, "migrating": migrating}

    def links(self, more: int) -> None:
        """So many more consoles have a connection."""
        self.linked += more

    def not_recorded(self, more: int) -> None:
        """So many more consoles are not recorded."""
        self.off += more

    def input_waits(self, more: int) -> None:
        """So much more input waits."""
        self.held += more

    def input_delivered(self, size: int) -> None:
        """A host was given bytes of input."""
        self.delivered += size

    def input_lost(self, size: int) -> None:
        self.lost += size
