"""A log with its times made visible: as stamps in front of the lines, or as the pace at which it is played back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

IDLE_SECONDS = 2.0


class Stamper:
    """Puts the time in front of each line, and leaves the bytes as they are otherwise."""

    __slots__ = ("_at_start", "_shown")

    def __init__(self, shown: Callable[[float], str] | None = None) -> None:
        """:param shown: makes of a time, seconds since the epoch, what is put there; None: :func:`local_time`."""
        self._at_start = True
        self._shown = shown or local_time

    def feed(self, data: bytes, at: float) -> bytes:
        """Take bytes from the VM.

        :param at: when they came, seconds since the epoch.
        :returns: the same with ``2026-11-22 16:09:13.123+01:00`` and a blank in front of each line that begins in them.
            A line that began earlier has them already.
        """
        if not data:
            return b""
        stamp = self._shown(at).encode() + b" "
        starts = self._at_start
        self._at_start = data.endswith(b"\n")
        body = data[:-1] if self._at_start else data
        return (stamp if starts else b"") + body.replace(b"\n", b"\n" + stamp) + (b"\n" if self._at_start else b"")


def paced(
    pieces: Iterable[tuple[float, bytes]], speed: float = 1.0, idle: float = IDLE_SECONDS
) -> Iterator[tuple[float, bytes]]:
    """What ``replay`` plays: a timeline's pieces, each with the seconds to wait before it is shown.

    :param speed: how much faster than it was; more than 0.
    :param idle: seconds to wait at most, as they are waited: silence is cut short.
    """
    before: float | None = None
    for at, data in pieces:
        # Where the clock was set back there is no wait.
        wait = 0.0 if before is None else max(0.0, at - before) / speed
        before = at
        yield min(wait, idle), data


def local_time(at: float) -> str:
    """``2026-11-22 16:09:13.123+01:00`` for seconds since the epoch, in the server's time zone."""
    millis = int(at * 1000 // 1)
    whole, part = divmod(millis, 1000)
    moment = time.localtime(whole)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)}.{part:03d}{zone(moment)}"


def zone(moment: time.struct_time) -> str:
    """The zone of a local time as ``--since`` takes it: ``+01:00``, or ``Z`` for UTC."""
    hours, minutes = divmod(abs(moment.tm_gmtoff) // 60, 60)
    return f"{'-' if moment.tm_gmtoff < 0 else '+'}{hours:02d}:{minutes:02d}" if moment.tm_gmtoff else "Z"
