"""The files of one log by number: the live ones, and those that rotation has put aside.

A log ``web01.log`` has a trail, ``web01.log.events``, and may have plain text beside it, ``web01.txt``. Rotation
numbers all of them alike, as logrotate does by default: ``web01.log.1`` is the newest old log, ``web01.log.events.1``
its trail; compressed they end in ``.gz``. What has one
number is one segment, and is moved and removed together. (:mod:`vmproxy.log.reader` reads them.)

Moving several files is several steps, and any of them may fail or be the last before the power does. The order of the
steps keeps the bytes: numbers only ever grow, the oldest first, into a place that is free; what fails half-way is put
back; and what a crash has left half-way is brought together by the next move. Runs on the writer's thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

MOST = 999
"""The highest number that is kept."""

HOLES = 3
"""How many numbers may be free between others: a crash, a person, or logrotate at work leaves some."""

SEGMENT = re.compile(r"(.+)\.([1-9]\d{0,2})(\.gz)?")
"""The name of a file that was put aside: the live one's, the number, and whether it is compressed."""

_OF_A_LOG = re.compile(r"(?:\.events)?(?:\.[1-9]\d{0,3}(?:\.gz)?)?$")

T = TypeVar("T")


def numbered(look: Callable[[int], T | None], start: int = 0) -> Iterator[T]:
    """What there is under the numbers of a log's segments, the newest first.

    :param look: what there is under a number; None for nothing.
    """
    missing = 0
    for number in range(start, MOST + HOLES + 2):
        found = look(number)
        if found is not None:
            missing = 0
            yield found
        elif (missing := missing + 1) > HOLES:
            return


def logs_in(folder: str) -> set[str]:
    """The names of the logs of which there is anything in a folder.

    :raises OSError: if it cannot be read; where there is none, there are no logs.
    """
    try:
        return {_OF_A_LOG.sub("", name) for name in os.listdir(folder)}
    except FileNotFoundError:
        return set()


def places(live: Path | str, number: int) -> tuple[str, ...]:
    """Where a file of a number may be: as it was written, or compressed; both while it is being compressed.

    :param live: the live file.
    """
    return (f"{live}.{number}", f"{live}.{number}.gz") if number else (str(live),)


def trail_of(path: Path) -> Path:
    """The event trail of a log."""
    return path.with_name(path.name + ".events")


def plain_of(path: Path) -> Path:
    """The plain text of a log."""
    return path.with_name(path.name.removesuffix(".log") + ".txt")


class LogFiles:
    """The files that belong to one log.

    :ivar kinds: the live ones: the log, its trail, its plain text; not all of them need be there.
    """

    __slots__ = ("kinds", "path")

    def __init__(self, path: Path) -> None:
        """:param path: the log's."""
        self.path = path
        self.kinds = (path, trail_of(path), plain_of(path))

    def segments(self, start: int = 0) -> Iterator[tuple[int, list[tuple[Path, Path]]]]:
        """The segments that are there, the newest first: the number and the :meth:`parts` of each."""
        return numbered(lambda number: (number, parts) if (parts := self.parts(number)) else None, start)

    def numbers(self, above: int = 0) -> list[int]:
        """The numbers of the segments that are there, the newest first; those above a number only."""
        return [number for number, _ in self.segments(above + 1)]

    def parts(self, number: int) -> list[tuple[Path, Path]]:
        """The files of a segment.

        :returns: of which kind each is, and where it stands. One that is there both as it was and compressed is given
            twice, as it was first.
        """
        # Paths are dear, and most of these are not there.
        there = ((kind, place) for kind in self.kinds for place in places(kind, number) if os.path.lexists(place))
        return [(kind, Path(place)) for kind, place in there]

    def size(self, number: int) -> int:
        """The bytes of a segment's files."""
        return sum(_size(path) for _, path in self.parts(number))

    def live_size(self) -> int:
        """The bytes of the live files."""
        return sum(_size(path) for path in self.kinds)

    def locate(self, device: int, inode: int) -> int:
        """The number under which a file stands now; 0 if it is gone."""
        for number, parts in self.segments(1):
            for _, path in parts:
                found = _lstat(path)
                if found is not None and (found.st_dev, found.st_ino) == (device, inode):
                    return number
        return 0

    def shift(self) -> None:
        """Make the number 1 free.

        :raises OSError: if that cannot be; nothing is lost then, and a number may be left out.
        """
        taken: list[list[tuple[Path, Path]]] = []
        moving = {kind for kind in self.kinds if os.path.lexists(kind)}
        while not self._takes(there := self.parts(len(taken) + 1), moving):
            moving = {kind for kind, _ in there}
            taken.append(there)
        while taken:
            number = len(taken) + 1
            self._move([(path, self._renumbered(kind, path, number)) for kind, path in self._single(taken.pop())])

    def _takes(self, there: list[tuple[Path, Path]], moving: set[Path]) -> bool:
        # A number without a log takes a segment that has nothing of what is there: both are parts of one that was on
        # its way when the process ended.
        kinds = {kind for kind, _ in there}
        return self.path not in kinds and not kinds & moving

    def _single(self, found: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
        parts: dict[Path, Path] = {}
        for kind, path in found:
            if kind in parts:
                os.unlink(path)  # what it was made of is still there, and surely whole: it is made again
                continue
            parts[kind] = path
            if path.suffix != ".gz" and kind == self.path and os.path.lexists(trail_of(path)):
                raise OSError(errno.EEXIST, f"{path.name} is the log of another console")
        # The log last: while it is there, the number is taken.
        return list(reversed(parts.items()))

    @staticmethod
    def _renumbered(kind: Path, path: Path, number: int) -> Path:
        return kind.with_name(f"{kind.name}.{number}{'.gz' if path.suffix == '.gz' else ''}")

    def put_aside(self) -> None:
        """Move the live files to the number 1, which must be free.

        :raises OSError: if that cannot be; they are where they were then.
        """
        self._move([(kind, kind.with_name(f"{kind.name}.1")) for kind in reversed(self.kinds) if _is_file(kind)])

    @staticmethod
    def _move(moves: list[tuple[Path, Path]]) -> None:
        done: list[tuple[Path, Path]] = []
        try:
            for source, target in moves:
                os.rename(source, target)
                done.append((source, target))
        except OSError:
            for source, target in reversed(done):
                os.rename(target, source)
            raise

    def remove(self, number: int) -> int:
        """Remove a segment.

        :returns: the bytes that it had.
        :raises OSError: if it cannot be; it may lack its trail then.
        """
        freed = 0
        # The log last: what is left is found again as long as that is there.
        for _, path in reversed(self.parts(number)):
            size = _size(path)
            os.unlink(path)
            freed += size
        return freed


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _size(path: Path) -> int:
    found = _lstat(path)
    return found.st_size if found is not None else 0


def _is_file(path: Path) -> bool:
    found = _lstat(path)
    return found is not None and stat.S_ISREG(found.st_mode)
