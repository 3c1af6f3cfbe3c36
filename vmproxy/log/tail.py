"""The last lines of a log, across the files that rotation made, for replay and ``log -n``.

A line is what a line feed ends, and what comes after the last of them: a prompt is a line too.

Functions that wait for the disk: call them on a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from vmproxy.log.reader import Segment, Segments, Source

TAIL_LIMIT = 256 * 1024  # that is read at once
REPLAY_LIMIT = 64 * 1024
_CONTINUATION = bytes(range(0x80, 0xC0))
_CLEARS = (b"\x1b[2J", b"\x1b[H\x1b[J", b"\x1bc")


def last_lines(segments: Segments, lines: int, limit: int = REPLAY_LIMIT) -> bytes:
    """The last lines of a log, also of those in older files: what replay shows.

    What paints its screen ends no lines: of that it is what came since the screen was cleared last, and a beginning
    within a sequence or a character is left out.

    :param segments: opened with ``enough=limit + 1, trails=False``: no more files than it takes, and to know whether
        there is more.
    :param limit: bytes at most.
    :returns: the bytes as they stand. What cannot be read is left out and noted in the segments' ``problems``.
    :raises OSError: if there is something, and none of it can be read.
    """
    data = b""
    cut = False  # whether there is more before it
    for segment in reversed(segments):
        if data.count(b"\n") > lines:
            break
        if segment.log is None:
            continue
        if cut:
            break
        room = limit - len(data)
        older = _last_bytes(segment.log, room + 1)
        if segment.log.damage:
            break  # what is before a damaged part does not join what is behind it
        cut = len(older) > room
        data = older[len(older) - room if cut else 0 :] + data
    if not data and segments.problems:
        raise OSError(segments.problems[0])
    shown = _last_of(data, lines)
    return from_safe_place(shown) if len(shown) == len(data) >= limit and cut else shown


def from_safe_place(data: bytes) -> bytes:
    """The end of some output, from where a terminal can begin: a cleared screen, a line, a sequence."""
    cleared = max(data.rfind(clear) for clear in _CLEARS)
    if cleared >= 0:
        return data[cleared:]
    line = data.find(b"\n") + 1
    if 0 < line < len(data):
        return data[line:]
    escape = data.find(b"\x1b")
    if escape >= 0 and data[escape + 1 : escape + 2] != b"\\":  # the end of a string ends a sequence, it begins none
        return data[escape:]
    return data[len(data) - len(data.lstrip(_CONTINUATION)) :] if data[:1] > b"\x7f" else data


def from_last_lines(segments: Segments, lines: int | None) -> Iterator[bytes]:
    """The last lines of a log, however long they are and in however many files: what ``log -n`` prints.

    :param lines: how many; None: all there are.
    :returns: a generator of pieces of 64 KiB at most. What cannot be read is left out and noted in the segments'
        ``problems``.
    """
    files, start = last_lines_begin(segments, lines)
    for segment in files:
        if segment.log is not None:
            yield from segment.log.blocks(start)
            start = 0


def last_lines_begin(segments: Segments, lines: int | None) -> tuple[list[Segment], int]:
    """Where the last lines of a log begin.

    :param lines: how many; None: all there are.
    :returns: the files that they are in, and the place in the first of these.
    """
    files = [segment for segment in segments if segment.log is not None]
    if lines is None:
        return files, 0
    start = 0
    missing = lines + 1  # the line ends to find, that of the last line included if it is there
    rest: list[Segment] = []
    ended = False
    while files and missing:
        segment = files.pop()
        assert segment.log is not None
        if not ended and (last := _last_bytes(segment.log, 1)):
            missing -= last != b"\n"
            ended = True
        missing, start = _back(segment.log, missing)
        rest.insert(0, segment)
    return (rest, start) if lines else ([], 0)


def last_bytes(segments: Segments, size: int) -> bytes:
    """The last bytes of a log, across its files.

    :param segments: opened with ``enough=size``.
    """
    data = b""
    for segment in reversed(segments):
        if segment.log is not None and len(data) < size:
            data = _last_bytes(segment.log, size - len(data)) + data
    return data


def _last_bytes(source: Source, size: int) -> bytes:
    if not source.compressed:
        return b"".join(source.blocks(max(0, source.size - size)))
    blocks: deque[bytes] = deque()
    have = 0
    for block in source.blocks():
        blocks.append(block)
        have += len(block)
        while have - len(blocks[0]) >= size:
            have -= len(blocks.popleft())
    return b"".join(blocks)[-size:] if size else b""


def _back(source: Source, missing: int) -> tuple[int, int]:
    """Go back over so many line ends.

    :returns: how many are still missing, and the offset behind the last one that was found; 0 if there are too few.
    """
    if source.compressed:
        left = sum(block.count(b"\n") for block in source.blocks()) - missing
        if left < 0:
            return -left, 0
        at = 0
        for block in source.blocks():
            ends = block.count(b"\n")
            if left < ends:
                cut = -1
                for _ in range(left + 1):
                    cut = block.find(b"\n", cut + 1)
                return 0, at + cut + 1
            left -= ends
            at += len(block)
        return 0, at
    at = source.size
    while at > 0:
        start = max(0, at - TAIL_LIMIT)
        data = b"".join(source.blocks(start, at))
        cut = len(data)
        while missing and (cut := data.rfind(b"\n", 0, cut)) >= 0:
            missing -= 1
        if not missing:
            return 0, start + cut + 1
        at = start
    return missing, 0


def _last_of(data: bytes, lines: int) -> bytes:
    cut = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        cut = data.rfind(b"\n", 0, cut)
        if cut < 0:
            return data
    return data[cut + 1 :]
