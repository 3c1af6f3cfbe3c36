"""A console's log as the files that it consists of: the live one and those that rotation has put aside.

Beside ``X.log`` and its trail ``X.log.events`` stand, after a rotation, ``X.log.1`` and ``X.log.events.1``, the newest
of the old ones, then ``.2`` and so on, possibly compressed: ``X.log.3.gz``. vmproxy's own rotation and logrotate's
default name them alike. Other schemes (logrotate's ``dateext``, ``start``, other compressors) are not read here.

Log N and trail N are a pair. All files are opened at once, so that what is read is one
consistent history whatever is renamed, compressed or removed afterwards. On the writer's thread, behind a flush, no
rotation of our own comes in between; elsewhere, and under logrotate, a file that is met twice counts once.

Functions that wait for the disk: call them on a thread, one at a time for one :class:`Segments`.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from vmproxy.log.files import numbered, places, trail_of

CHUNK = 64 * 1024
SEGMENTS_LIMIT = 64
PROBLEMS_LIMIT = 20
_GZIP_OVERHEAD = 4096  # ample: header with a name, trailer, five bytes for each block that could not be compressed


class Source:
    """An open file, of which what stood there when it was opened is read. Iterating gives pieces of 64 KiB at most.

    :ivar size: its bytes, as they stand on the disk: those of a compressed one are compressed.
    :ivar compressed: whether it is read through gzip.
    :ivar modified: when it was last written to, seconds since the epoch.
    :ivar damage: why it could not be read to its end; empty while it could.
    """

    __slots__ = ("_fd", "compressed", "damage", "identity", "modified", "path", "size")

    def __init__(self, path: Path, compressed: bool) -> None:
        """:raises OSError: if it cannot be opened, or is not a regular file."""
        self.path = path
        self.compressed = compressed
        self.damage = ""
        # Not blocking: a FIFO that stands there must not hold us.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(self._fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", str(path))
        except OSError:
            self.close()
            raise
        self.size = status.st_size
        self.modified = status.st_mtime
        self.identity = (status.st_dev, status.st_ino)

    @property
    def holds(self) -> int:
        """How many bytes its content has at least, if it is not damaged."""
        return max(0, self.size - _GZIP_OVERHEAD) if self.compressed else self.size

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Close the file; once is enough, twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, start: int, size: int) -> bytes:
        """Bytes as they stand on the disk: fewer at the end, and where the file has become shorter.

        :raises OSError: if they cannot be read.
        """
        return os.pread(self._fd, max(0, min(size, self.size - start)), start)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The content from ``start`` to ``end``. What cannot be read ends it and stands in ``damage``."""
        try:
            if not self.compressed:
                yield from self._plain(start, self.size if end is None else min(end, self.size))
                return
            place = 0
            for piece in self._unpacked():
                wanted = piece[max(0, start - place) : None if end is None else max(0, end - place)]
                place += len(piece)
                if wanted:
                    yield wanted
                if end is not None and place >= end:
                    return
        except (OSError, zlib.error) as error:
            self.damage = f"{self.path.name}: {(isinstance(error, OSError) and error.strerror) or error}"

    def _plain(self, place: int, end: int) -> Iterator[bytes]:
        while place < end:
            piece = self.read(place, min(CHUNK, end - place))
            if not piece:
                raise OSError(0, "became shorter while it was read")
            place += len(piece)
            yield piece

    def _unpacked(self) -> Iterator[bytes]:
        place = 0
        waiting = b""
        while True:
            member = zlib.decompressobj(31)
            begun = False
            while not member.eof:
                if not waiting:
                    waiting = self.read(place, CHUNK)
                    place += len(waiting)
                    if not begun:
                        waiting = waiting.lstrip(b"\0")  # padding between members, and behind the last one
                        if not waiting and place < self.size:
                            continue
                    if not waiting and not begun:
                        return
                    if not waiting:
                        raise OSError(0, "compressed data that ends too early")
                begun = True
                piece = member.decompress(waiting, CHUNK)
                waiting = member.unconsumed_tail
                while piece:
                    yield piece
                    piece = b"" if member.eof else member.decompress(waiting, CHUNK)
                    waiting = member.unconsumed_tail
            waiting = member.unused_data.lstrip(b"\0")


class Segment:
    """One of the files of a log, and its trail.

    :ivar number: 0 for the live one, 1 for the newest old one.
    :ivar log: None where there is a trail only.
    :ivar trail: None where there is none, or it is not wanted.
    """

    __slots__ = ("log", "number", "trail")

    def __init__(self, number: int, log: Source | None, trail: Source | None) -> None:
        self.number = number
        self.log = log
        self.trail = trail

    @property
    def modified(self) -> float:
        """When it was last written to, seconds since the epoch."""
        return max(source.modified for source in (self.log, self.trail) if source is not None)

    def close(self) -> None:
        for source in (self.log, self.trail):
            if source is not None:
                source.close()


class Segments:
    """The files of a log, oldest first, open. A context manager that closes them."""

    def __init__(self, newest_first: list[Segment], problems: list[str]) -> None:
        self._segments = newest_first[::-1]
        self._problems = problems

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __reversed__(self) -> Iterator[Segment]:
        return reversed(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def __enter__(self) -> Segments:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for segment in self._segments:
            segment.close()

    def complain(self, problem: str) -> None:
        """Note that something could not be read."""
        if len(self._problems) < PROBLEMS_LIMIT and problem not in self._problems:
            self._problems.append(problem)

    @property
    def problems(self) -> list[str]:
        """What could not be read so far, a line for each, for a person; at most 20 and those of damaged files."""
        sources = [source for segment in self._segments for source in (segment.log, segment.trail)]
        return self._problems + [source.damage for source in sources if source is not None and source.damage]


def open_segments(
    path: Path,
    since: float | None = None,
    enough: int | None = None,
    trails: bool = True,
    limit: int = SEGMENTS_LIMIT,
) -> Segments:
    """Open a log's files, from the live one back.

    :param path: of the live log.
    :param since: seconds since the epoch: files that were last written to before that are left out.
    :param enough: bytes: older files are left out once the newer ones hold so many.
    :param trails: whether the trails are opened too.
    :param limit: how many pairs of files are opened at most; what is older is left out, which is a problem to report.
    :returns: what there is, possibly nothing; what cannot be opened is left out and stands in ``problems``.
    """
    found: list[Segment] = []
    problems: list[str] = []
    seen: set[tuple[int, int]] = set()
    have = 0
    for segment in numbered(lambda number: open_segment(path, number, trails, seen, problems)):
        early = since is not None and segment.modified < since
        if early or len(found) == limit:
            segment.close()
            if not early:
                problems.append(f"{path.name}: only the newest {limit} files of it are read")
            break
        if segment.log is not None:
            have += segment.log.holds
        found.append(segment)
        if enough is not None and have >= enough:
            break
    return Segments(found, problems)


def open_one(path: Path, number: int) -> Segments:
    """Open one of a log's files alone, with its trail.

    :returns: nothing where there is none.
    """
    problems: list[str] = []
    segment = open_segment(path, number, True, set(), problems)
    return Segments([] if segment is None else [segment], problems)


def open_segment(
    path: Path, number: int, trails: bool, seen: set[tuple[int, int]], problems: list[str]
) -> Segment | None:
    """Open one of a log's files, and its trail.

    :param path: of the live log.
    :param number: 0 for the live one.
    :param seen: the files that were opened already, which are not opened again; added to.
    :param problems: added to if there is a file that cannot be opened.
    :returns: None where there is none.
    """
    log = _open(path, number, seen, problems)
    trail = _open(trail_of(path), number, seen, problems) if trails else None
    return Segment(number, log, trail) if log is not None or trail is not None else None


def _open(path: Path, number: int, seen: set[tuple[int, int]], problems: list[str]) -> Source | None:
    # While one is being compressed both are there, and the compressed one may not be complete.
    for compressed, candidate in enumerate(map(Path, places(path, number))):
        try:
            source = Source(candidate, bool(compressed))
        except FileNotFoundError:
            continue
        except OSError as error:
            if len(problems) < PROBLEMS_LIMIT:
                problems.append(f"{candidate.name}: {error.strerror}")
            continue
        if source.identity in seen:
            source.close()
            continue
        seen.add(source.identity)
        return source
    return None
