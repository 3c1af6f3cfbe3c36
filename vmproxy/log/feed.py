"""What is written to the event trails, told to the reactor while somebody wants to know."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from vmproxy.log.events import TIME_MARK_END
from vmproxy.log.file_state import LogFile

Follower = Callable[[LogFile, bytes], object]


class EventFeed:
    """The events in all trails, as lines, in the order in which they are written. Time marks are left out.

    :ivar followers: are called on the reactor's thread with a log and some lines; may be added to and taken from at any
        time. A line that was written before a follower was added may be told as well.
    """

    def __init__(self, on_reactor: Callable[[Callable[[], object]], object]) -> None:
        self.followers: set[Follower] = set()
        self._on_reactor = on_reactor
        self._lines: deque[tuple[LogFile, bytes]] = deque()  # filled by the writer, emptied by the reactor
        self._submitted = False

    def tell(self, file: LogFile, lines: Sequence[bytes]) -> None:
        """Lines were written; on the writer's thread."""
        # Each log that is written to has a time mark a second: too many to bother the reactor for nothing.
        told = b"".join(line for line in lines if not line.endswith(TIME_MARK_END))
        if not told:
            return
        self._lines.append((file, told))
        if not self._submitted:
            self._submitted = True
            self._on_reactor(self._deliver)

    def _deliver(self) -> None:
        self._submitted = False  # what is written from here on is submitted again
        while self._lines:
            file, lines = self._lines.popleft()
            for follower in tuple(self.followers):
                follower(file, lines)
