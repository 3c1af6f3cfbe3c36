"""How much a console has said when: the bytes of a log by time, and its markers, from the event trails alone.

What waits for the disk: call it on a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from vmproxy.log.asciicast import MARKERS
from vmproxy.log.reader import Segments
from vmproxy.log.recovery import packed_size
from vmproxy.log.time_index import time_index_of
from vmproxy.log.writer import MARK_SECONDS

MARKERS_LIMIT = 1000
STEP = 2000  # lines of a trail in one go


@dataclass(slots=True)
class Density:
    """What was found.

    :ivar since: where the first bucket begins, seconds since the epoch; ``until``: where the last one ends.
    :ivar buckets: bytes.
    :ivar first: when the first of these bytes came; ``last``: the last.
    :ivar markers: when something happened, and what; ``more``: how many did not fit.
    """

    since: float
    until: float
    buckets: list[int]
    first: float | None = None
    last: float | None = None
    markers: list[tuple[float, str, str]] = field(default_factory=list)
    more: int = 0

    def add(self, at: float, size: int) -> None:
        """Count bytes that came at a time."""
        if size <= 0 or not self.since <= at <= self.until:
            return
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        number = (
            int((at - self.since) / (self.until - self.since) * len(self.buckets)) if self.until > self.since else 0
        )
        self.buckets[min(number, len(self.buckets) - 1)] += size

    def mark(self, at: float, line: bytes) -> None:
        """Take an event of a trail."""
        try:
            kind = str(json.loads(line)["event"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if kind not in MARKERS or not self.since <= at <= self.until:
            return
        if len(self.markers) < MARKERS_LIMIT:
            self.markers.append((at, kind, MARKERS[kind]))
        else:
            self.more += 1


def span_of(files: Segments) -> tuple[float, float] | None:
    """When the first bytes of a log came, and the last; None if there are none."""
    first = last = None
    for segment in files:
        if segment.log is None or not segment.log.size:
            continue
        trail = time_index_of(segment)
        entry = next(trail.entries(), None) if trail is not None else None
        begin = segment.log.modified if entry is None else entry.at
        first = begin if first is None else min(first, begin)
        last = segment.log.modified if last is None else max(last, segment.log.modified)
    return None if first is None or last is None else (first, max(first, last))


def measure(files: Segments, found: Density) -> Iterator[None]:
    """Fill in the bytes and markers of a log, step by step."""
    lines = 0
    for segment in files:
        log, trail = segment.log, time_index_of(segment)
        size = 0 if log is None else packed_size(log.fileno()) if log.compressed else log.size
        at, place = (log.modified if log is not None else 0.0), 0
        begun = trail is None
        for entry in trail.entries(found.since - MARK_SECONDS) if trail is not None else ():
            if not begun:
                begun, at, place = True, entry.at, entry.offset if trail is not None and trail.skipped else 0
            found.add(at, entry.offset - place)
            at, place = entry.at, entry.offset
            if entry.line:
                found.mark(at, entry.line)
            if at > found.until:
                break
            lines += 1
            if lines % STEP == 0:
                yield
        if begun:
            found.add(at, size - place)
