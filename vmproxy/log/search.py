"""Looking for a pattern: in all logs, the newest lines first, and in what a VM is about to say.

:class:`Search` goes through any number of logs and their old files, from those written to last backwards, a block at
a time, so that it can be given up between two blocks. It is bounded by the number of hits and by the bytes that it
reads, and holds the files of one log open at a time. It runs beside the rotation: a line that is moved from one file
to the next in the very moment may be missed.

What is looked at is the text as a terminal shows it, or, without a :class:`ShownText`, the bytes as they stand.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vmproxy.base.sanitize import human_bytes
from vmproxy.log.files import numbered, places
from vmproxy.log.pattern import Pattern
from vmproxy.log.reader import CHUNK, PROBLEMS_LIMIT, Segment, Source, open_segment
from vmproxy.log.shown import ShownText, replaced
from vmproxy.log.time_index import time_index_of

WINDOW = 4 * 1024
_LINE_LIMIT = 64 * 1024
_BEFORE_MATCH = 64
_LOGS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a search may do.

    :ivar hits: how many it finds at most.
    :ivar scanned: how many bytes it looks at, decompressed.
    :ivar line: how many bytes of a line a hit holds.
    """

    hits: int = 100
    scanned: int = 1024 * 1024 * 1024
    line: int = 512


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that matches.

    :ivar key: which log, as the caller named it.
    :ivar at: when it came, seconds since the epoch, to a second; that of the file where its trail does not say.
    :ivar segment: in which of the log's files: 0 for the live one, 1 for the newest old one.
    :ivar offset: where the line begins in that file.
    :ivar line: as the VM said it, without its line end. Of a long one, a part, with the match in it if that is known.
    :ivar text: as it is shown, or as it stands where that was searched. Of a long one, a part with the match in it.
    """

    key: Hashable
    at: float
    segment: int
    offset: int
    line: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A line that matches.

    :ivar offset: where the line begins in what was searched.
    :ivar line: as it stands, without its line end; ``text``: as it is shown, or the same.
    :ivar place: where the first match begins in the text, about.
    """

    offset: int
    line: bytes
    text: bytes
    place: int


def find(pattern: Pattern, data: bytes, text: ShownText | None) -> Iterator[Found]:
    """The lines in some bytes that match, each once."""
    if text is None or text.is_plain(data):
        for match in pattern.lines(data):
            line = data[match.start : match.end]
            yield Found(match.start, line, line, match.place - match.start)
        return
    numbers: list[int] = []  # of the line of which each row is one; none where each is one
    shown = text.simple(data)
    if shown is None:
        rows: list[bytes] = []
        for number, line in enumerate(data.split(b"\n")):
            painted = text.rows(line)
            rows += painted
            numbers += [number] * len(painted)
        shown = b"\n".join(rows)
    searched = replaced(shown)
    rows = []
    at = row = number = offset = 0
    for match in pattern.lines(searched):
        row += searched.count(b"\n", at, match.start)
        at = match.start
        rows = rows or shown.split(b"\n")
        wanted = numbers[row] if numbers else row
        while number < wanted:
            offset = data.find(b"\n", offset) + 1
            number += 1
        end = data.find(b"\n", offset)
        line = data[offset : end if end >= 0 else None].rstrip(b"\r")
        yield Found(offset, line, rows[row], match.place - match.start)


class Search:
    """A search under way. Iterating does the work: a list of hits for each block, mostly an empty one.

    :ivar scanned: bytes looked at so far.
    :ivar hits: found so far.
    :ivar stopped: which limit ended it; empty where everything was looked at.
    :ivar problems: what could not be read, a line each, for a person.
    """

    def __init__(
        self,
        logs: Iterable[tuple[Hashable, Path]],
        pattern: Pattern,
        limits: Limits | None = None,
        text: Callable[[Hashable], ShownText | None] = lambda _: None,
    ) -> None:
        """
        :param logs: what the hits are to be told apart by, and the path of the live log.
        :param text: how the output of a log is shown; None: the bytes are looked at.
        """
        self._text = text
        self.scanned = 0
        self.hits = 0
        self.stopped = ""
        self.problems: list[str] = []
        self._logs = list(logs)
        self._pattern = pattern
        self._limits = limits or Limits()
        self._steps = self._run()

    def __iter__(self) -> Iterator[list[Hit]]:
        return self._steps

    def work(self, seconds: float = 0.1) -> list[Hit] | None:
        """Search for a while.

        :param seconds: about how long, unless something is found before.
        :returns: what was found; None when the search is over.
        """
        until = time.monotonic() + seconds
        for hits in self._steps:
            if hits or time.monotonic() >= until:
                return hits
        return None

    def close(self) -> None:
        """Give up: close the file that is open. Not while :meth:`work` runs on another thread."""
        self._steps.close()

    def _run(self) -> Generator[list[Hit], None, None]:
        # Of each log only the next file is in the heap: those before it are newer.
        heap: list[tuple[float, int, int]] = []
        seen: list[set[tuple[int, int]]] = [set() for _ in self._logs]
        for index, (_, path) in enumerate(self._logs):
            _push(heap, index, path, 0)
            if index % _LOGS_AT_ONCE == _LOGS_AT_ONCE - 1:
                yield []
        while heap and not self.stopped:
            _, index, number = heapq.heappop(heap)
            key, path = self._logs[index]
            segment = open_segment(path, number, True, seen[index], self.problems)
            if segment is not None:
                try:
                    if segment.log is not None:
                        yield from self._segment(key, segment, segment.log)
                finally:
                    segment.close()
                    del self.problems[PROBLEMS_LIMIT:]
            _push(heap, index, path, number + 1)

    def _segment(self, key: Hashable, segment: Segment, log: Source) -> Iterator[list[Hit]]:
        if log.compressed:
            yield from self._forwards(key, segment, log)
        else:
            yield from self._backwards(key, segment, log)
        if log.damage:
            self.problems.append(log.damage)

    def _backwards(self, key: Hashable, segment: Segment, log: Source) -> Iterator[list[Hit]]:
        text = self._text(key)
        rest = b""  # the end of a line that begins in the block before
        end = log.size
        while end > 0:
            start = max(0, end - CHUNK)
            data = b"".join(log.blocks(start, end)) + rest
            cut = 0 if not start else data.find(b"\n") + 1
            if start and not cut and len(data) < _LINE_LIMIT:
                cut = len(data)
            rest, data = data[:cut], data[cut:]
            hits = self._found(key, segment, list(self._look(start + cut, data, text)))
            over = self._over(end - start)
            yield hits
            if over:
                return
            end = start

    def _forwards(self, key: Hashable, segment: Segment, log: Source) -> Iterator[list[Hit]]:
        text = self._text(key)
        found: deque[Found] = deque(maxlen=self._limits.hits - self.hits)
        rest = b""
        at = 0
        for block in log.blocks():
            data = rest + block
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) >= _LINE_LIMIT:
                cut = len(data)
            data, rest = data[:cut], data[cut:]
            found.extend(map(self._short, self._look(at, data, text)))
            at += cut
            over = self._over(len(block))
            yield []
            if over:
                break
        else:
            found.extend(map(self._short, self._look(at, rest, text)))
        hits = self._found(key, segment, list(found))
        self._over(0)
        yield hits

    def _over(self, scanned: int) -> bool:
        self.scanned += scanned
        if self.hits >= self._limits.hits:
            self.stopped = f"there may be more: only the newest {self._limits.hits} are shown"
        elif self.scanned >= self._limits.scanned:
            self.stopped = f"only the newest {human_bytes(self._limits.scanned)} of the logs were searched"
        return bool(self.stopped)

    def _look(self, at: int, data: bytes, text: ShownText | None) -> Iterator[Found]:
        return (replace(found, offset=at + found.offset) for found in find(self._pattern, data, text))

    def _short(self, found: Found) -> Found:
        """What was found with no more of the line than is shown, to be kept until the newest ones are known."""
        limit = self._limits.line
        start = max(0, min(found.place - _BEFORE_MATCH, len(found.text) - limit))
        text = found.text[start : start + limit]
        return Found(found.offset, text if found.line is found.text else found.line[:limit], text, 0)

    def _found(self, key: Hashable, segment: Segment, found: list[Found]) -> list[Hit]:
        """Make hits of lines.

        :param found: in ascending order, with offsets in the file.
        :returns: the last ones, as many as there is room for, the last one first.
        """
        room = self._limits.hits - self.hits
        found = found[-room:]
        if not found:
            return []
        trail = time_index_of(segment)
        times = trail.times([one.offset for one in found]) if trail is not None else [None] * len(found)
        self.hits += len(found)
        return [
            Hit(key, segment.modified if at is None else at, segment.number, one.offset, one.line, one.text)
            for one, at in zip(map(self._short, reversed(found)), reversed(times), strict=True)
        ]


def _push(heap: list[tuple[float, int, int]], index: int, path: Path, number: int) -> None:
    """Put a log's next file into the heap, the newest of all first; nothing where it has no more."""

    def newest(candidate: int) -> tuple[float, int, int] | None:
        for name in places(path, candidate):
            with suppress(OSError):
                return -os.stat(name).st_mtime, index, candidate
        return None

    if (found := next(numbered(newest, number), None)) is not None:
        heapq.heappush(heap, found)


class Expecter:
    """Waits for a line that matches in what a VM says. The line need not be finished: a prompt is one too."""

    __slots__ = ("_line", "_pattern", "_text")

    def __init__(
        self, pattern: str, ignore_case: bool = False, fixed: bool = False, text: ShownText | None = None
    ) -> None:
        """
        :param text: how the output is shown; None: the bytes are looked at.
        :raises BadPattern: if the pattern cannot be used.
        """
        self._pattern = Pattern(pattern, ignore_case, fixed)
        self._text = text
        self._line = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take what came, a read's worth at most.

        :returns: the line that matches first, without its line end, as far as it has come; None while there is none.
            Of an unfinished line the last 4 KiB are remembered.
        """
        data = self._line + data
        for found in find(self._pattern, data, self._text):
            return found.text
        self._line = data[data.rfind(b"\n") + 1 :][-WINDOW:]
        return None
