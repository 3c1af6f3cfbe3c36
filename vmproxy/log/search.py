"""Looking for a pattern: in all logs, the newest lines first, and in what a VM is about to say.

:class:`Search` goes through any number of logs and their old files, from those written to last backwards, a block at
a time, so that it can be given up between two blocks. It is bounded by the number of hits and by the bytes that it
reads, and holds the files of one log open at a time. It runs beside the rotation: a line that is moved from one file
to the next in the very moment may be missed.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vmproxy.base.sanitize import human_bytes
from vmproxy.log.files import numbered, places
from vmproxy.log.pattern import Match, Pattern
from vmproxy.log.reader import CHUNK, PROBLEMS_LIMIT, Segment, Source, open_segment
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
    :ivar line: as the VM said it, without its line end. Of a long one, a part with the match in it.
    """

    key: Hashable
    at: float
    segment: int
    offset: int
    line: bytes


class Search:
    """A search under way. Iterating does the work: a list of hits for each block, mostly an empty one.

    :ivar scanned: bytes looked at so far.
    :ivar hits: found so far.
    :ivar stopped: which limit ended it; empty where everything was looked at.
    :ivar problems: what could not be read, a line each, for a person.
    """

    def __init__(self, logs: Iterable[tuple[Hashable, Path]], pattern: Pattern, limits: Limits | None = None) -> None:
        """:param logs: what the hits are to be told apart by, and the path of the live log."""
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
        rest = b""  # the end of a line that begins in the block before
        end = log.size
        while end > 0:
            start = max(0, end - CHUNK)
            data = b"".join(log.blocks(start, end)) + rest
            cut = 0 if not start else data.find(b"\n") + 1
            if start and not cut and len(data) < _LINE_LIMIT:
                cut = len(data)
            rest, data = data[:cut], data[cut:]
            hits = self._found(key, segment, [(start + cut, data, match) for match in self._pattern.lines(data)])
            over = self._over(end - start)
            yield hits
            if over:
                return
            end = start

    def _forwards(self, key: Hashable, segment: Segment, log: Source) -> Iterator[list[Hit]]:
        found: deque[tuple[int, bytes, Match]] = deque(maxlen=self._limits.hits - self.hits)
        rest = b""
        at = 0
        for block in log.blocks():
            data = rest + block
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) >= _LINE_LIMIT:
                cut = len(data)
            data, rest = data[:cut], data[cut:]
            found.extend(self._short(at, data, match) for match in self._pattern.lines(data))
            at += cut
            over = self._over(len(block))
            yield []
            if over:
                break
        else:
            found.extend(self._short(at, rest, match) for match in self._pattern.lines(rest))
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

    def _short(self, at: int, data: bytes, match: Match) -> tuple[int, bytes, Match]:
        """A match with no more of the data than is shown, to be kept until the newest ones are known."""
        start = max(match.start, min(match.place - _BEFORE_MATCH, match.end - self._limits.line))
        line = data[start : min(match.end, start + self._limits.line)]
        return at + match.start, line, Match(0, len(line), 0)

    def _found(self, key: Hashable, segment: Segment, found: list[tuple[int, bytes, Match]]) -> list[Hit]:
        """Make hits of matches.

        :param found: for each, in ascending order, where the data stands in the file, the data, and the match.
        :returns: the last ones, as many as there is room for, the last one first.
        """
        room = self._limits.hits - self.hits
        found = found[-room:]
        if not found:
            return []
        short = [self._short(at, data, match) for at, data, match in found]
        trail = time_index_of(segment)
        times = trail.times([at + match.start for at, _, match in found]) if trail is not None else [None] * len(found)
        self.hits += len(found)
        return [
            Hit(key, segment.modified if at is None else at, segment.number, offset, line)
            for (offset, line, _), at in zip(reversed(short), reversed(times), strict=True)
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

    __slots__ = ("_line", "_pattern")

    def __init__(self, pattern: str, ignore_case: bool = False, fixed: bool = False) -> None:
        """:raises BadPattern: if the pattern cannot be used."""
        self._pattern = Pattern(pattern, ignore_case, fixed)
        self._line = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take what came, a read's worth at most.

        :returns: the line that matches first, without its line end, as far as it has come; None while there is none.
            Of an unfinished line the last 4 KiB are remembered.
        """
        data = self._line + data
        for match in self._pattern.lines(data):
            return data[match.start : match.end]
        self._line = data[data.rfind(b"\n") + 1 :][-WINDOW:]
        return None
