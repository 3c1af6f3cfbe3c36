"""What has happened on all consoles since the start, as plain numbers."""

from __future__ import annotations

from collections import Counter


class Totals:
    """Numbers over all consoles, those included that are forgotten.

    :ivar delivered: bytes of input that hosts were given.
    :ivar lost: bytes of input that were lost, as the VM went down before it took them.
    :ivar changes: how often a console became what it is, by its state.
    :ivar forced: how often write access was taken by force, by the front of who took it.
    """

    __slots__ = ("changes", "delivered", "forced", "lost")

    def __init__(self) -> None:
        self.delivered = self.lost = 0
        self.changes: Counter[str] = Counter()
        self.forced: Counter[str] = Counter()

    def input_delivered(self, size: int) -> None:
        """A host was given bytes of input."""
        self.delivered += size

    def input_lost(self, size: int) -> None:
        """Bytes of input are lost."""
        self.lost += size
