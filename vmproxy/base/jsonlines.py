"""Files of lines that a crash has torn: their last line is mended before anything is written behind it.

A process that is killed, or a machine that loses power, may leave half a line at the end of a file. What is written
next would be joined to it, and both could not be read. A whole line without its end gets one; any other was not
written, and goes. Runs on the writer's thread, for it waits for the disk.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from twisted.logger import Logger

LINE_LIMIT = 2 * 1024 * 1024
_CHUNK = 64 * 1024

_log = Logger()


def mend(path: str | Path) -> None:
    """Mend a file of JSON lines; nothing happens if there is none.

    :raises OSError: if it cannot be opened or changed.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        mend_open(fd, path)
    finally:
        os.close(fd)


def mend_open(fd: int, path: str | Path) -> int:
    """Mend a file of JSON lines that is open for reading and writing.

    :param path: what it is called where something is told about it.
    :returns: its size then.
    :raises OSError: if it cannot be read or changed.
    """
    found = os.fstat(fd)
    size = found.st_size
    if not size or not stat.S_ISREG(found.st_mode) or os.pread(fd, 1, size - 1) == b"\n":
        return size
    start = _last_line(fd, size)
    line = b"" if start is None else os.pread(fd, size - start, start)
    if start is None or _is_whole(line):
        os.pwrite(fd, b"\n", size)
        return size + 1
    os.ftruncate(fd, start)
    _log.warn("{path}: its last line was torn and is removed, {size} bytes", path=str(path), size=size - start)
    return start


def _last_line(fd: int, size: int) -> int | None:
    # Where what has no end begins; None if it is too long for any line of ours.
    end = size
    while end > 0 and size - end < LINE_LIMIT:
        begin = max(0, end - _CHUNK)
        at = os.pread(fd, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0 if end == 0 else None


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
