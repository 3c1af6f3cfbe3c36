"""Two clocks: a steady one for timers, which never jumps, and the time of day for people.

Twisted's reactor counts by the time of day. Set that back an hour, and for an hour no timer ends: no byte is handed to
the disk. Set it forward an hour, and every deadline is over at once: operators and VMs are cut off that did nothing
wrong. So the reactor counts by a steady clock. It begins with the time of day, and both are the same until somebody
sets the clock. Logs, trails, *since when* and dates of expiry are by the time of day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IReactorTime


def make_steady(reactor: IReactorTime) -> None:
    """Have a reactor count by a steady clock, and know the time of day apart from it.

    It must not run yet. Its ``seconds()`` begin with those since the epoch.
    """
    offset = time.time() - time.monotonic()
    # Of a reactor all delayed calls ask seconds(), and so do its pauses.
    setattr(reactor, "seconds", lambda: time.monotonic() + offset)  # noqa: B010
    setattr(reactor, "wall", time.time)  # noqa: B010


def wall_of(clock: IReactorTime) -> Callable[[], float]:
    """The function that tells the time of day, in seconds since the epoch, beside a clock."""
    return cast(Callable[[], float], getattr(clock, "wall", clock.seconds))
