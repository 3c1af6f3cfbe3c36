"""The log as history: its last lines, and its bytes from an offset on. What replay, ``log`` and ``tail`` are made of.

Functions that wait for the disk: call them on a thread.
"""

from __future__ import annotations

from pathlib import Path

TAIL_LIMIT = 256 * 1024


def tail(path: Path, end: int, lines: int, limit: int = TAIL_LIMIT) -> bytes:
    """The last lines of a log.

    :param end: where the log ended at the moment that counts; what has been appended since is left out.
    :param lines: how many; an unfinished last line, a prompt say, is one of them.
    :param limit: bytes at most.
    :returns: the bytes as they stand; empty where there is no log.
    :raises OSError: if it cannot be read.
    """
    start = max(0, end - limit)
    data = read(path, start, end - start)
    cut = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        cut = data.rfind(b"\n", 0, cut)
        if cut < 0:
            return data
    return data[cut + 1 :]


def tail_start(path: Path, end: int, lines: int) -> int:
    """Where the last lines of a log begin, however long they are.

    :raises OSError: if the log cannot be read.
    """
    at = end
    missing = lines + 1  # the line ends to find, that of the last line included if it is there
    while at > 0:
        start = max(0, at - TAIL_LIMIT)
        data = read(path, start, at - start)
        if at == end and data and not data.endswith(b"\n"):
            missing -= 1
        cut = len(data)
        while missing and (cut := data.rfind(b"\n", 0, cut)) >= 0:
            missing -= 1
        if not missing:
            return start + cut + 1
        at = start
    return 0


def read(path: Path, start: int, size: int) -> bytes:
    """Bytes of a log.

    :returns: ``size`` bytes from ``start`` on, fewer at its end, none where there is no log.
    :raises OSError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        return b""
