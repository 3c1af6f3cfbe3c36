"""The self-check: looks every few seconds for what is wrong with vmproxy itself.

It is told as trouble. What concerns one console, its log or its connections, is told where it happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vmproxy.base.countdown import Countdown
from vmproxy.base.recent import Refusal
from vmproxy.base.troubles import Kind, Troubles

LOOK_SECONDS = 5.0
ROOM_SECONDS = 60.0
LEAST_SHARE, LEAST_ROOM = 0.05, 10 * 10**9
"""A file system is about to be full below both: this share of it, and these bytes."""


class SelfCheck:
    """Looks from time to time, and tells."""

    def __init__(
        self,
        clock: IReactorTime,
        troubles: Troubles,
        checks: Sequence[tuple[Kind, Callable[[], Iterable[str]]]],
        room: Callable[[], Deferred[list[str]]],
    ) -> None:
        """
        :param checks: give what is wrong now, for people.
        :param room: gives file systems that are about to be full; waits for the disk, elsewhere.
        """
        self._clock = clock
        self._troubles = troubles
        self._checks = checks
        self._room = room
        self._looks = Countdown(clock)
        self._room_at = 0.0

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._looks.stop()

    def _look(self) -> None:
        self._looks.start(LOOK_SECONDS, self._look)
        for kind, check in self._checks:
            self._tell(kind, check())
        now = self._clock.seconds()
        if not 0 <= now - self._room_at < ROOM_SECONDS:
            self._room_at = now
            self._room().addCallback(lambda found: self._tell(Kind.DISK, found))

    def _tell(self, kind: Kind, texts: Iterable[str]) -> None:
        for text in texts:
            self._troubles.tell(kind, text)


class Newest:
    """Refusals that have come since they were looked at."""

    def __init__(self, refused: Callable[[], list[Refusal]]) -> None:
        """:param refused: those of late, the newest first."""
        self._refused = refused
        self._at = 0.0

    def __call__(self) -> Iterator[str]:
        """The newest, if it was not there before."""
        for one in self._refused()[:1]:
            if one.at > self._at:
                self._at = one.at
                yield f"{one.who} was turned away: {one.why}; `refused' shows more"


class Room(NamedTuple):
    """The room in the file system of a folder, in bytes.

    :ivar free: for us.
    """

    device: int
    free: int
    size: int

    @classmethod
    def of(cls, folder: Path) -> Room | None:
        """None where it cannot be found out: whoever writes there tells why; waits for the disk."""
        try:
            there = os.statvfs(folder)
            return cls(os.stat(folder).st_dev, there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize)
        except OSError:
            return None


def short_of_room(rooms: Iterable[tuple[Path, Room]]) -> list[str]:
    """The folders whose file systems are about to be full."""
    found = {
        room.device: f"{folder}: only {100 * room.free // max(1, room.size)} % of the disk are free"
        for folder, room in rooms
        if room.free < LEAST_ROOM and room.free < LEAST_SHARE * room.size
    }
    return list(found.values())
