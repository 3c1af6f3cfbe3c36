"""Write access to one console: the writer, those who joined the writer, and a queue of those who wait.

All other viewers are read-only. When the writer gives up write access, the viewer that has waited longest gets it.
Taking it by force leaves the former writer on the console, at the end of the queue. Where a console is shared, others
join the writer, and one of them becomes the writer when the writer leaves.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmproxy.console.interfaces import IViewer


class WriteAccess:
    """Write access to one console.

    Invariant: there is a writer while anybody waits; a viewer either writes or waits, never both.

    :ivar writer: the viewer with write access; of several, the one that did not join.
    """

    __slots__ = ("_sharing", "_waiting", "writer")

    def __init__(self) -> None:
        self.writer: IViewer | None = None
        self._sharing: tuple[IViewer, ...] = ()
        self._waiting: tuple[IViewer, ...] = ()

    @property
    def writers(self) -> tuple[IViewer, ...]:
        """All viewers that may write now, the writer first."""
        return () if self.writer is None else (self.writer, *self._sharing)

    def writes(self, viewer: IViewer) -> bool:
        return viewer is self.writer or viewer in self._sharing

    def waits(self, viewer: IViewer) -> bool:
        return viewer in self._waiting

    def place(self, viewer: IViewer) -> int:
        """The position of a viewer that waits: 1 for the one that is next."""
        return self._waiting.index(viewer) + 1

    def take(self, viewer: IViewer) -> bool:
        """Take write access if nobody has it, else wait for it.

        :returns: whether the viewer may write now.
        """
        if self.writer is None:
            self.writer = viewer
        if self.writes(viewer):
            return True
        if viewer not in self._waiting:
            self._waiting += (viewer,)
        return False

    def join(self, viewer: IViewer) -> None:
        """Write beside the writer."""
        if not self.take(viewer):
            self._leave_queue(viewer)
            self._sharing += (viewer,)

    def force(self, viewer: IViewer) -> tuple[IViewer, ...]:
        """Take write access from the writers.

        :returns: the former writers, which are at the end of the queue now.
        """
        losers = tuple(writer for writer in self.writers if writer is not viewer)
        self._leave_queue(viewer)
        self.writer = viewer
        self._sharing = ()
        self._waiting += losers
        return losers

    def drop(self, viewer: IViewer) -> IViewer | None:
        """Give up write access, or leave the queue.

        :returns: the viewer that may write because of that and could not before, if there is one.
        """
        self._leave_queue(viewer)
        self._sharing = tuple(other for other in self._sharing if other is not viewer)
        if self.writer is not viewer:
            return None
        if self._sharing:
            self.writer, *rest = self._sharing
            self._sharing = tuple(rest)
            return None
        self.writer, *waiting = self._waiting or (None,)
        self._waiting = tuple(waiting)
        return self.writer

    def _leave_queue(self, viewer: IViewer) -> None:
        self._waiting = tuple(other for other in self._waiting if other is not viewer)

    @property
    def waiting(self) -> tuple[IViewer, ...]:
        """The queue of those who wait for write access."""
        return self._waiting

    def restore(self, writers: Iterable[IViewer], waiting: Iterable[IViewer]) -> None:
        """Take over who has write access; where nobody has, the first who waits gets it."""
        some, queue = tuple(writers), tuple(waiting)
        if not some:
            some, queue = queue[:1], queue[1:]
        self.writer = some[0] if some else None
        self._sharing, self._waiting = some[1:], queue
