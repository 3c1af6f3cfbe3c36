"""Who writes: one pen per console, and a line of those who wait for it.

One viewer holds the pen; the others look on. When it is put down, the one who has waited longest gets it. Taking it
by force leaves the one who had it on the console, at the end of the line.
"""

from __future__ import annotations

from vmproxy.console.interfaces import IViewer


class Pen:
    """The right to write on one console.

    :ivar writer: who has it.
    """

    __slots__ = ("_waiting", "writer")

    def __init__(self) -> None:
        self.writer: IViewer | None = None
        self._waiting: list[IViewer] = []

    def waits(self, viewer: IViewer) -> bool:
        """Whether a viewer is in the line."""
        return viewer in self._waiting

    def take(self, viewer: IViewer) -> bool:
        """Take the pen if it is free, else stand in line.

        :returns: whether the viewer has it now.
        """
        if self.writer is None:
            self.writer = viewer
        if self.writer is viewer:
            return True
        if viewer not in self._waiting:
            self._waiting.append(viewer)
        return False

    def force(self, viewer: IViewer) -> IViewer | None:
        """Take the pen from whoever has it.

        :returns: who lost it, if anybody did.
        """
        loser = self.writer
        if viewer in self._waiting:
            self._waiting.remove(viewer)
        self.writer = viewer
        if loser is None or loser is viewer:
            return None
        self._waiting.append(loser)
        return loser

    def drop(self, viewer: IViewer) -> IViewer | None:
        """Put the pen down, or leave the line.

        :returns: who has the pen because of that, if anybody.
        """
        if viewer in self._waiting:
            self._waiting.remove(viewer)
        if self.writer is not viewer:
            return None
        self.writer = self._waiting.pop(0) if self._waiting else None
        return self.writer
