"""Two clocks: one that never jumps, for what is to be done after a while, and the one on the wall, for what is told.

Twisted's reactor counts by the clock on the wall. Set that back an hour, and for an hour nothing is done that waits:
no byte is handed to the disk, no deadline ends. Set it forward an hour, and every deadline is over at once: operators
and VMs are cut off that did nothing wrong. So ours counts by a clock that only goes on. It begins with the time of day,
so that both are the same until somebody sets the clock; what people read (logs, trails, *since when*) and what is
good until some date is by the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IReactorTime


def make_steady(reactor: IReactorTime) -> None:
    """Have a reactor count by a clock that never jumps, and know the time of day apart from that.

    It must not run yet. Its ``seconds()`` begin with those since the epoch.
    """
    offset = time.time() - time.monotonic()
    # Of a reactor all delayed calls ask seconds(), and so do its pauses.
    setattr(reactor, "seconds", lambda: time.monotonic() + offset)  # noqa: B010
    setattr(reactor, "wall", time.time)  # noqa: B010


def wall_of(clock: IReactorTime) -> Callable[[], float]:
    """What tells the time of day, in seconds since the epoch, where a clock counts: its own where it has no other."""
    return cast(Callable[[], float], getattr(clock, "wall", clock.seconds))
