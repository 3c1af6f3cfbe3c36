"""Where a log ends, found from its files: what the process before this one left, however it ended.

The trail's last ``format`` line says which byte of the file has which offset; the size of the file says the rest. A
trail of format 1, which version 0.1.0 wrote, has no such line: what there is in older files counts then. Runs on the
thread of the log writer, once for each log.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vmproxy.base.jsonlines import mend_open
from vmproxy.log.events import FORMAT, FORMAT_MARK
from vmproxy.log.files import HOLES, numbered, places

_OFFSET = re.compile(rb'^\{"at":"[^"]*","offset":(\d{1,18}),"event":"', re.MULTILINE)
NEVER = -(1 << 62)
_CHUNK = 64 * 1024
_LINE = 512  # ample for a format line


class End(NamedTuple):
    """Where a log ends.

    :ivar offset: that of the next byte.
    :ivar shift: by how much that is more than the size of the file.
    :ivar since: from which place in the file on that is known.
    :ivar cut: whether the file holds less than its trail tells of.
    :ivar trail: the size of its trail.
    :ivar run: the name of what was written last; empty if it is not known.
    """

    offset: int
    shift: int
    since: int
    cut: bool = False
    trail: int = 0
    run: str = ""


def find_end(path: str, fd: int = -1, trail: int = 0) -> End:
    """Find where a log ends, and mend its trail.

    :param path: of the live log.
    :param fd: its trail, if that is open for reading and writing, and a regular file of the size ``trail``.
    :raises OSError: if its files cannot be read.
    """
    size = _size(path)
    if fd >= 0:
        return _end_of(path, size, fd, trail)
    try:
        fd = os.open(f"{path}.events", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return _from_older(path, size)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(None, "Not a regular file")
        return _end_of(path, size, fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _end_of(path: str, size: int, fd: int, trail: int) -> End:
    end = os.pread(fd, _CHUNK + _LINE, max(0, trail - _CHUNK))
    if not end.endswith(b"\n"):
        trail = mend_open(fd, f"{path}.events")
        if not trail:
            return _from_older(path, size)
        end = os.pread(fd, _CHUNK + _LINE, max(0, trail - _CHUNK))
    if (last := _last_format(fd, trail, end)) is None:
        begin = _legacy_size(path)
        return End(begin + size, begin, 0, trail=trail)
    shift, since, told, run = last
    offset = shift + size
    if offset < told:  # the offset never goes back
        return End(told, told - size, size, True, trail, run)
    return End(offset, shift, since, False, trail, run)


def _last_format(fd: int, size: int, block: bytes) -> tuple[int, int, int, str] | None:
    """What the last format line of a trail says.

    :param block: the last :data:`_CHUNK` of it.
    :returns: the shift, the byte, the highest offset behind it, and the run; None where there is none.
    """
    told = -1
    start = size
    while start > 0:
        end, start = start, max(0, start - _CHUNK)
        if end < size:
            block = os.pread(fd, end - start + _LINE, start)
        if told < 0:
            line = _OFFSET.match(block, block.rfind(b"\n", 0, len(block) - 1) + 1)
            told = int(line[1]) if line is not None else 0
        at = block.rfind(FORMAT_MARK)
        if at >= 0 and (match := FORMAT.match(block, block.rfind(b"\n", 0, at) + 1)) is not None:
            offset = int(match[1])
            byte = int(match[2])
            return offset - byte, byte, max(offset, told), _run(match)
        if start and size - end >= _CHUNK and FORMAT.match(os.pread(fd, _LINE, 0)) is None:
            return None  # one would be in the last 32 KiB: it is of format 1
    return None


def _from_older(path: str, size: int) -> End:
    """Where a log ends whose trail says nothing: behind the newest of those that were put aside."""
    if not any(map(os.path.lexists, places(f"{path}.events", 1))):
        return End(size, 0, 0)
    newer = 0  # in files whose trail is empty
    for number in range(1, HOLES + 2):
        for place in places(f"{path}.events", number):
            if os.path.lexists(place) and (text := _unpacked(place)):
                if number == 1 and _content(path, 1) is None and (last := _last_of(text)) is not None:
                    # The process ended between putting aside the trail and the log: it tells of the live one.
                    shift, told, run = last
                    end = max(shift + size, told)
                    return End(end, end - size, 0 if end == shift + size else size, run=run)
                begin, run = _end_of_old(path, number, text)
                return End(begin + newer + size, begin + newer, 0, run=run)
        if (content := _content(path, number)) is None:
            break
        newer += content
    return End(newer + size, newer, 0)


def _unpacked(trail: str) -> bytes:
    text = Path(trail).read_bytes()
    if trail.endswith(".gz"):
        with suppress(zlib.error):
            return zlib.decompress(text, 31)
    return text


def _end_of_old(path: str, number: int, text: bytes) -> tuple[int, str]:
    if (last := _last_of(text)) is None:
        return _legacy_size(path), ""
    shift, told, run = last
    return max(told, shift + (_content(path, number) or 0)), run


def _run(match: re.Match[bytes]) -> str:
    return sys.intern((match[4] or b"").decode("ascii"))  # thousands of logs have the same


def _last_of(text: bytes) -> tuple[int, int, str] | None:
    """What the last format line in a trail says: the shift, the highest offset from there on, and the run."""
    formats = list(FORMAT.finditer(text))
    if not formats:
        return None
    offset = int(formats[-1][1])
    told = max((int(match[1]) for match in _OFFSET.finditer(text, formats[-1].start())), default=offset)
    return offset - int(formats[-1][2]), told, _run(formats[-1])


def _legacy_size(path: str) -> int:
    """The bytes in all files of a log that were put aside."""
    return sum(numbered(lambda number: _content(path, number), 1))


def _content(path: str, number: int) -> int | None:
    """The bytes that a file holds, those of a compressed one as its end tells; None where there is none."""
    plain, packed = places(path, number)
    with suppress(FileNotFoundError):
        return os.stat(plain).st_size
    with suppress(OSError), open(packed, "rb") as file:
        return packed_size(file.fileno())
    return None


def packed_size(fd: int) -> int:
    """How many bytes a file that rotation compressed unpacks to."""
    size = os.fstat(fd).st_size
    return int.from_bytes(os.pread(fd, 4, size - 4), "little") if size >= 18 else 0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
