"""Looking for a pattern in all logs, the newest lines first.

:class:`Search` goes through any number of logs and their old files, from those written to last backwards, a block at
a time, so that it can be given up between two blocks. It is bounded by the number of hits and by the bytes that it
reads, and holds the files of one log open at a time. It runs beside the rotation: a line that is moved from one file
to the next in the very moment may be missed.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vmproxy.base.sanitize import human_bytes
from vmproxy.log.files import numbered, places
from vmproxy.log.line_match import Found, find
from vmproxy.log.pattern import Pattern
from vmproxy.log.reader import CHUNK, PROBLEMS_LIMIT, Segment, Source, open_segment
from vmproxy.log.shown import ShownText
from vmproxy.log.time_index import TimeIndex, time_index_of

_LINE_LIMIT = 64 * 1024
_BEFORE_MATCH = 64
_LOGS_AT_ONCE = 200
_AROUND = 16 * 1024  # bytes in which the lines around a hit are looked for, before and behind a block
_FOUND_AT_ONCE = 20_000  # lines of a compressed file whose times are looked up together
_MTIME_SLACK = 1.0  # seconds: a line may have a time a little later than the file system says


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a search may do.

    :ivar hits: how many it finds at most.
    :ivar scanned: how many bytes it looks at, decompressed.
    :ivar line: how many bytes of a line a hit holds.
    :ivar since: lines that came before are left out, seconds since the epoch; ``until``: those that came later.
    :ivar context: how many lines before and behind a hit are kept with it.
    """

    hits: int = 100
    scanned: int = 1024 * 1024 * 1024
    line: int = 512
    since: float = -math.inf
    until: float = math.inf
    context: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that matches.

    :ivar key: which log, as the caller named it.
    :ivar at: when it came, seconds since the epoch, to a second; that of the file where its trail does not say.
    :ivar segment: in which of the log's files: 0 for the live one, 1 for the newest old one.
    :ivar offset: where the line begins in that file.
    :ivar line: as the VM said it, without its line end. Of a long one, a part, with the match in it if that is known.
    :ivar text: as it is shown, or as it stands where that was searched. Of a long one, a part with the match in it.
    :ivar before: the lines before it, as they are shown, as far as they are within 16 KiB; ``after``: those behind it.
    """

    key: Hashable
    at: float
    segment: int
    offset: int
    line: bytes
    text: bytes
    before: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()


class Search:
    """A search under way. Iterating does the work: a list of hits for each block, mostly an empty one.

    The newest line of all logs comes first: a hit is kept until nothing that has not been looked at can be newer, as
    the times of the files tell. Bound: as many hits are kept as are wanted.

    :ivar scanned: bytes looked at so far.
    :ivar hits: given so far.
    :ivar stopped: which limit ended it; empty where everything was looked at.
    :ivar problems: what could not be read, a line each, for a person.
    """

    def __init__(
        self,
        logs: Iterable[tuple[Hashable, Path]],
        pattern: Pattern,
        limits: Limits | None = None,
        text: Callable[[Hashable], ShownText | None] = lambda _: None,
        counts: Counter[Hashable] | None = None,
    ) -> None:
        """
        :param counts: where the lines of each log are counted; they are not kept then, and not bounded in number.
        :param logs: what the hits are to be told apart by, and the path of the live log.
        :param text: how the output of a log is shown; None: the bytes are looked at.
        """
        self._text = text
        self._counts = counts
        self.scanned = 0
        self.hits = 0
        self.stopped = ""
        self.problems: list[str] = []
        self._given = logs
        self._logs: list[tuple[Hashable, Path]] = []
        self._pattern = pattern
        self._limits = limits or Limits()
        self._kept: list[tuple[float, int, Hit]] = []  # a heap, the oldest first
        self._count = 0
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
        self._logs = list(self._given)  # here, on the thread that searches: there may be thousands
        # Of each log only the next file is in the heap: those before it are newer.
        heap: list[tuple[float, int, int]] = []
        seen: list[set[tuple[int, int]]] = [set() for _ in self._logs]
        for index, (_, path) in enumerate(self._logs):
            _push(heap, index, path, 0)
            if index % _LOGS_AT_ONCE == _LOGS_AT_ONCE - 1:
                yield []
        while heap and not self.stopped:
            modified, index, number = heapq.heappop(heap)
            newest = _MTIME_SLACK - modified
            if given := self._give(newest):
                yield given
            if newest < self._oldest:
                break  # as is everything that is left
            key, path = self._logs[index]
            segment = open_segment(path, number, True, seen[index], self.problems)
            if segment is not None:
                try:
                    if segment.log is not None:
                        others = _MTIME_SLACK - heap[0][0] if heap else -math.inf
                        yield from self._segment(key, segment, segment.log, others)
                finally:
                    segment.close()
                    del self.problems[PROBLEMS_LIMIT:]
            _push(heap, index, path, number + 1)
        if given := self._give(-math.inf):
            yield given
        if self.hits >= self._limits.hits:
            self.stopped = f"there may be more: only the newest {self._limits.hits} are shown"

    @property
    def _oldest(self) -> float:
        """The time before which no line is wanted any more."""
        full = len(self._kept) + self.hits >= self._limits.hits
        since = self._limits.since
        return max(since, self._kept[0][0] if self._kept else math.inf) if full else since

    def _keep(self, hits: Iterable[Hit]) -> None:
        for hit in hits:
            self._count += 1  # of lines of the same time, what is found first is the newest
            item = (hit.at, -self._count, hit)
            if hit.at < self._limits.since:
                continue
            if len(self._kept) + self.hits < self._limits.hits:
                heapq.heappush(self._kept, item)
            elif self._kept:
                heapq.heappushpop(self._kept, item)

    def _give(self, bound: float) -> list[Hit]:
        """The hits that nothing of before ``bound`` can precede, the newest first."""
        given = sorted((item for item in self._kept if item[0] >= bound), reverse=True)
        if given:
            self._kept = [item for item in self._kept if item[0] < bound]
            heapq.heapify(self._kept)
            self.hits += len(given)
        return [hit for _, _, hit in given]

    def _segment(self, key: Hashable, segment: Segment, log: Source, others: float) -> Iterator[list[Hit]]:
        """Look through one file.

        :param others: the time of the newest line that the other logs can have.
        """
        if log.compressed:
            yield from self._forwards(key, segment, log)
        else:
            yield from self._backwards(key, segment, log, others)
        if log.damage:
            self.problems.append(log.damage)

    def _backwards(self, key: Hashable, segment: Segment, log: Source, others: float) -> Iterator[list[Hit]]:
        trail = time_index_of(segment)
        found = 0
        text = self._text(key)
        rest = newer = b""  # the end of a line that begins in the block before; what is behind that
        skipped = False
        end = log.size
        while end > 0:
            start = max(0, end - CHUNK)
            if start and self._is_too_new(trail, start):
                rest = newer = b""
                end, skipped = start, True
                continue
            if skipped:
                skipped = False
                rest = b"".join(log.blocks(end, min(log.size, end + _LINE_LIMIT)))
                rest = rest[: rest.find(b"\n") + 1]
            data = b"".join(log.blocks(start, end)) + rest
            cut = 0 if not start else data.find(b"\n") + 1
            if start and not cut and len(data) < _LINE_LIMIT:
                cut = len(data)
            rest, data = data[:cut], data[cut:]
            look = list(self._look(start + cut, data, text))
            if look and self._limits.context:
                older = max(0, start - _AROUND)
                lead = b"".join(log.blocks(older, start)) + rest
                lead = lead if not older else lead[lead.find(b"\n") + 1 :]
                look = list(self._look(start + cut, data, text, lead, newer))
            newer = data[: data.rfind(b"\n", 0, _AROUND) + 1]
            hits = self._found(key, segment, look)
            self._keep(hits)
            found += len(hits)
            over = self._over(end - start)
            yield self._give(max(others, hits[-1].at)) if hits else []
            if over or (found >= self._limits.hits and self._counts is None) or self._is_too_old(trail, start):
                return
            end = start

    def _is_too_old(self, trail: TimeIndex | None, offset: int) -> bool:
        """Whether what is before an offset came before anything that is wanted."""
        if trail is None or self._oldest == -math.inf:
            return False
        (at,) = trail.times([offset])
        return at is not None and at + _MTIME_SLACK < self._oldest

    def _is_too_new(self, trail: TimeIndex | None, offset: int) -> bool:
        """Whether what is behind an offset came later than anything that is wanted."""
        if trail is None or self._limits.until == math.inf:
            return False
        (at,) = trail.times([offset])
        return at is not None and at - _MTIME_SLACK > self._limits.until

    def _forwards(self, key: Hashable, segment: Segment, log: Source) -> Iterator[list[Hit]]:
        text = self._text(key)
        bounded = self._limits.until == math.inf and self._counts is None
        found: deque[Found] = deque(maxlen=self._limits.hits if bounded else None)
        rest = data = lead = b""
        at = 0  # of the data, which waits for what is behind it

        def look(after: bytes) -> None:
            nonlocal lead, at
            found.extend(map(self._short, self._look(at, data, text, lead, after)))
            at += len(data)
            lead = data[data.rfind(b"\n", 0, max(0, len(data) - _AROUND)) + 1 :] if self._limits.context else b""
            if not bounded and len(found) >= _FOUND_AT_ONCE:
                self._keep(self._found(key, segment, list(found)))
                found.clear()

        for block in log.blocks():
            rest += block
            cut = rest.rfind(b"\n") + 1
            if not cut and len(rest) >= _LINE_LIMIT:
                cut = len(rest)
            if cut > _AROUND:
                look(rest[:_AROUND])
                data, rest = rest[:cut], rest[cut:]
            over = self._over(len(block))
            yield []
            if over:
                break
        look(rest[:_AROUND])
        data = rest
        look(b"")
        self._keep(self._found(key, segment, list(found)))
        yield []

    def _over(self, scanned: int) -> bool:
        self.scanned += scanned
        if self.scanned >= self._limits.scanned:
            self.stopped = f"only the newest {human_bytes(self._limits.scanned)} of the logs were searched"
        return bool(self.stopped)

    def _look(
        self, at: int, data: bytes, text: ShownText | None, lead: bytes = b"", after: bytes = b""
    ) -> Iterator[Found]:
        """Look through a block.

        :param lead: whole lines before it, for the context; ``after``: some behind it.
        """
        context = self._limits.context
        whole = lead + data + after if context else data
        first = len(lead) if context else 0
        for found in find(self._pattern, whole, text, context):
            if first <= found.offset < first + len(data):
                yield replace(found, offset=at + found.offset - first)

    def _short(self, found: Found) -> Found:
        """What was found with no more of the line than is shown, to be kept until the newest ones are known."""
        limit = self._limits.line
        start = max(0, min(found.place - _BEFORE_MATCH, len(found.text) - limit))
        text = found.text[start : start + limit]
        around = (tuple(row[:limit] for row in rows) for rows in (found.before, found.after))
        return Found(found.offset, text if found.line is found.text else found.line[:limit], text, 0, *around)

    def _found(self, key: Hashable, segment: Segment, found: list[Found]) -> list[Hit]:
        """Make hits of lines.

        :param found: in ascending order, with offsets in the file.
        :returns: the last ones, as many as there is room for, the last one first.
        """
        since, until, counts = self._limits.since, self._limits.until, self._counts
        if until == math.inf and counts is None:
            found = found[-self._limits.hits :]
        if not found:
            return []
        if counts is not None and until == math.inf and since == -math.inf:
            counts[key] += len(found)
            return []
        trail = time_index_of(segment)
        told = trail.times([one.offset for one in found]) if trail is not None else [None] * len(found)
        times = [segment.modified if at is None else at for at in told]
        if until < math.inf or counts is not None:
            wanted = [n for n, at in enumerate(times) if since <= at <= until]
            if counts is not None:
                counts[key] += len(wanted)
                return []
            wanted = wanted[-self._limits.hits :]
            found, times = [found[n] for n in wanted], [times[n] for n in wanted]
        return [
            Hit(key, at, segment.number, one.offset, one.line, one.text, one.before, one.after)
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
