"""A log by time: its bytes with the times at which they came, and its events, across all of its files.

What ``log --since``, ``log -t``, ``record``, ``replay`` and ``events`` are made of. The times are those of the marks
in the event trail, some 10 ms apart, or a second where there are too many: what is asked for *since* a moment may begin
up to a second before it, what is asked for *until* a moment may end up to a second after it; nothing of the range is
missing. Bytes that no mark precedes get the time of the first mark, or, in a file without a trail, that at which the
file was last written to.

Where the clock was set back, times go back here too. A range then begins at the first time that reaches its start and
ends at the first one behind that which reaches its end: at the start there may be more than was asked for.

Generators that wait for the disk: call ``next`` on a thread. Memory is bounded whatever the size of the files.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from itertools import chain

from vmproxy.log.reader import Segment, Segments, Source
from vmproxy.log.time_index import Entry, TimeIndex, time_index_of
from vmproxy.log.writer import MARK_SECONDS

Fields = dict[str, object]
_Item = tuple[float, bytes | Fields]


class Timeline:
    """Some files of a log, in a range of time.

    What cannot be read is left out and noted in the segments' ``problems``.

    :ivar where: the file that the last bytes were in, and the place behind them there.
    """

    def __init__(self, segments: Segments, since: float | None = None, until: float | None = None) -> None:
        """
        :param since: seconds since the epoch; None: from the beginning.
        :param until: seconds since the epoch, not included; None: to the end.
        """
        self._segments = segments
        self._since = since
        self._until = until
        self.where: tuple[Segment, int] | None = None

    def pieces(self) -> Iterator[tuple[float, bytes]]:
        """The bytes, in order, none twice: when each piece came, in seconds since the epoch, and at most 64 KiB."""
        for at, item in self._items(True, False):
            if isinstance(item, bytes):
                yield at, item

    def events(self) -> Iterator[tuple[float, Fields]]:
        """The events without the time marks: when each happened, and its line as an object."""
        for at, item in self._items(False, True):
            if not isinstance(item, bytes):
                yield at, item

    def items(self) -> Iterator[_Item]:
        """Bytes and events in the order in which they came."""
        return self._items(True, True)

    def _items(self, data: bool, events: bool) -> Iterator[_Item]:
        for segment in self._segments:
            done = yield from self._segment(segment, data, events)
            if done:
                break

    def _segment(self, segment: Segment, data: bool, events: bool) -> Generator[_Item, None, bool]:
        """The part of the range that is in one file.

        :returns: whether the end of the range has been reached.
        """
        # A mark says when the first of the bytes came that came within a second.
        since = None if self._since is None else self._since - MARK_SECONDS
        trail = time_index_of(segment)
        entries = trail.entries(since) if trail is not None else iter(())
        first = next(entries, None)
        log = segment.log if data else None
        if first is None or trail is None:
            self._report(trail)
            if log is not None and not (trail is not None and trail.skipped) and self._within(log.modified):
                for piece in self._taken(segment, _Reader(log, 0), None):
                    yield log.modified, piece
            return False
        reader = _Reader(log, first.offset if trail.skipped else 0)
        at = first.at
        done = False
        for entry in chain((first,), entries):
            if done := self._until is not None and entry.at >= self._until:
                if entry is not first:
                    for piece in self._taken(segment, reader, entry.offset):
                        yield at, piece
                break
            for piece in self._taken(segment, reader, entry.offset):
                yield at, piece
            at = entry.at
            if entry.line and events and (self._since is None or at >= self._since):
                fields = _fields(entry)
                if fields is None:
                    trail.count_torn()
                else:
                    yield at, fields
        else:
            for piece in self._taken(segment, reader, None):
                yield at, piece
        self._report(trail)
        return done

    def _taken(self, segment: Segment, reader: _Reader, end: int | None) -> Iterator[bytes]:
        for piece in reader.take(end):
            self.where = segment, reader.place
            yield piece

    def _report(self, trail: TimeIndex | None) -> None:
        if trail is not None and trail.torn:
            self._segments.complain(f"{trail.name}: {trail.torn} of its lines cannot be read")

    def _within(self, at: float) -> bool:
        return (self._since is None or at >= self._since) and (self._until is None or at < self._until)


class _Reader:
    """A log's content from a place on, stretch by stretch.

    :ivar place: behind what was taken last.
    """

    def __init__(self, source: Source | None, start: int) -> None:
        self._blocks = source.blocks(start) if source is not None else iter(())
        self._block = b""
        self._used = 0
        self.place = start

    def take(self, end: int | None) -> Iterator[bytes]:
        """What comes next, up to an offset; None: all that is left."""
        while end is None or self.place < end:
            if self._used == len(self._block):
                self._block = next(self._blocks, b"")
                self._used = 0
                if not self._block:
                    return
            stop = None if end is None else self._used + end - self.place
            piece = self._block[self._used : stop] if self._used or stop is not None else self._block
            self._used += len(piece)
            self.place += len(piece)
            yield piece


def _fields(entry: Entry) -> Fields | None:
    try:
        fields = json.loads(entry.line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None
