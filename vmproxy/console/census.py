"""How all consoles are now: looked at one by one when somebody asks, so that no number can drift from the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from vmproxy.console.console import Console

STATES = ("up", "down", "migrating")
MODES = ("write", "spy", "waits")
SLICE = 500
"""Consoles that are looked at together: less than a millisecond."""


class Census:
    """Counts of consoles, and of those who look at them.

    :ivar states: consoles by state.
    :ivar off: consoles whose output is not recorded, as an operator has turned that off.
    :ivar held: bytes of input that wait for VMs.
    :ivar viewers: by front and by mode, one of :data:`MODES`; remote ends are none.
    """

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.off = self.held = 0
        self.viewers: Counter[tuple[str, ...]] = Counter()

    def steps(self, consoles: Iterable[Console]) -> Iterator[None]:
        """Look at all of them, some at a time."""
        for number, console in enumerate(consoles, 1):
            self.states[console.state] += 1
            self.off += not console.logging
            self.held += console.undelivered
            for viewer in console.watchers:
                if viewer is not console.remote:
                    access = console.write_access
                    mode = "write" if access.writes(viewer) else "waits" if access.waits(viewer) else "spy"
                    self.viewers[viewer.front, mode] += 1
            if number % SLICE == 0:
                yield
