"""Replay: the last lines of the log, shown to a viewer who attaches.

The log's files are opened behind everything that the VM had said by the moment of attaching; later output waits in a
:class:`~vmproxy.operators.viewer_queue.ViewerQueue`. So replay and live output join without a byte missing or doubled,
also if the log is rotated in between.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from vmproxy.log import tail
from vmproxy.log.reader import Segments, open_segments
from vmproxy.log.store import ConsoleLog


def opened(log: ConsoleLog) -> Deferred[Segments]:
    """The files that hold what has been said up to now, as many of them as a replay can need."""
    return log.on_writer(_open)


def _open(path: Path) -> Segments:
    return open_segments(path, enough=tail.REPLAY_LIMIT + 1, trails=False)


async def last_lines(
    files: Deferred[Segments],
    lines: int,
    in_thread: Callable[[Callable[[], bytes]], Deferred[bytes]],
    shown: Callable[[bytes], bytes],
) -> bytes:
    """The last lines of what was opened, which is closed.

    :param shown: makes of the bytes, on the thread, what is shown of them.
    :returns: that, an unfinished last line included; at most 64 KiB.
    :raises OSError: if there is something, and none of it can be read.
    """
    segments = await files
    try:
        return await in_thread(lambda: shown(tail.last_lines(segments, lines)))
    finally:
        segments.close()
