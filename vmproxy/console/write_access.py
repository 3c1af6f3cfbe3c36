"""Who writes: one pen per console, and a line of those who wait for it.

One viewer holds the pen; the others look on. When it is put down, the one who has waited longest gets it. Taking it
by force leaves the one who had it on the console, at the end of the line. Where a console allows it, others join: they
write too, and one of them holds the pen when the one who held it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmproxy.console.interfaces import IViewer


class WriteAccess:
    """The right to write on one console.

    :ivar writer: who has it.
    """

    __slots__ = ("_sharing", "_waiting", "writer")

    def __init__(self) -> None:
        self.writer: IViewer | None = None
        self._sharing: tuple[IViewer, ...] = ()
        self._waiting: list[IViewer] = []

    @property
    def writers(self) -> tuple[IViewer, ...]:
        """Everybody who may write now: who has the pen, and who has joined."""
        return () if self.writer is None else (self.writer, *self._sharing)

    def writes(self, viewer: IViewer) -> bool:
        """Whether a viewer may write now."""
        return viewer is self.writer or viewer in self._sharing

    def waits(self, viewer: IViewer) -> bool:
        """Whether a viewer is in the line."""
        return viewer in self._waiting

    def place(self, viewer: IViewer) -> int:
        """The position of a viewer that waits: 1 for the one that is next."""
        return self._waiting.index(viewer) + 1

    def take(self, viewer: IViewer) -> bool:
        """Take the pen if it is free, else stand in line.

        :returns: whether the viewer may write now.
        """
        if self.writer is None:
            self.writer = viewer
        if self.writes(viewer):
            return True
        if viewer not in self._waiting:
            self._waiting.append(viewer)
        return False

    def join(self, viewer: IViewer) -> None:
        """Write beside whoever has the pen."""
        if not self.take(viewer):
            self._waiting.remove(viewer)
            self._sharing += (viewer,)

    def force(self, viewer: IViewer) -> tuple[IViewer, ...]:
        """Take the pen from whoever has it.

        :returns: who lost it; they stand at the end of the line.
        """
        losers = tuple(writer for writer in self.writers if writer is not viewer)
        if viewer in self._waiting:
            self._waiting.remove(viewer)
        self.writer = viewer
        self._sharing = ()
        self._waiting += losers
        return losers

    def drop(self, viewer: IViewer) -> IViewer | None:
        """Put the pen down, or leave the line.

        :returns: who may write because of that and could not before, if anybody.
        """
        if viewer in self._waiting:
            self._waiting.remove(viewer)
        self._sharing = tuple(other for other in self._sharing if other is not viewer)
        if self.writer is not viewer:
            return None
        if self._sharing:
            self.writer, *rest = self._sharing
            self._sharing = tuple(rest)
            return None
        self.writer = self._waiting.pop(0) if self._waiting else None
        return self.writer

    @property
    def waiting(self) -> tuple[IViewer, ...]:
        """The queue of those who wait for write access."""
        return tuple(self._waiting)

    def restore(self, writers: Iterable[IViewer], waiting: Iterable[IViewer]) -> None:
        """Take over who has write access; where nobody has, the first who waits gets it."""
        some = list(writers)
        self._waiting = list(waiting)
        if not some and self._waiting:
            some = [self._waiting.pop(0)]
        self.writer = some[0] if some else None
        self._sharing = tuple(some[1:])
