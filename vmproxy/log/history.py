"""A console's log as one text to move about in: all its files, plain and compressed, one behind the other.

Places are counts of bytes that stay the same as the log grows and is rotated: the place behind the last byte is given
by whoever opens the files, and those before it follow from the sizes. Only what is looked at is read, so it does not
matter how large a log is.

Lines are what a terminal shows, as :class:`~vmproxy.log.shown.ShownText` makes it. A line without an end is broken into
pieces of :data:`LINE_LIMIT`; where it is met from behind, the pieces may be others than from before.

Functions that wait for the disk: call them on a thread, one at a time for one :class:`History`.
"""

from __future__ import annotations

import time
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from vmproxy.log.line_match import find
from vmproxy.log.pattern import Pattern
from vmproxy.log.reader import CHUNK, Segment, Segments, Source
from vmproxy.log.recovery import packed_size
from vmproxy.log.shown import LINE_LIMIT, ShownText
from vmproxy.log.time_index import TimeIndex, time_index_of
from vmproxy.log.writer import MARK_SECONDS

BLOCK = 64 * 1024
SEARCH_BLOCK = 256 * 1024
ROWS_SIZE = 1024 * 1024  # bytes that are looked at for one screen, however long the lines are
MARKS = 32  # of a compressed file: places from which it can be unpacked, at some 40 KiB of memory each
MARK_SIZE = 1024 * 1024  # bytes between two of them at least


class Place(NamedTuple):
    """The place of a row.

    :ivar position: that of the first byte of its line.
    :ivar row: which of the rows it is that the line is shown as: what paints is shown as several.
    """

    position: int
    row: int = 0


class HistoryRow(NamedTuple):
    """A row of text.

    :ivar text: UTF-8, but for bytes that are no part of a character.
    """

    place: Place
    text: bytes


class Window(NamedTuple):
    """Rows that are shown together.

    :ivar end: the position behind the line of the last one.
    :ivar is_last: whether there is nothing behind them.
    """

    rows: list[HistoryRow]
    end: int
    is_last: bool


class Seen(NamedTuple):
    """How far a search has come.

    :ivar found: the position of the line that matches; None: none up to here.
    :ivar position: where to go on.
    :ivar done: whether there is nothing more to look at.
    """

    found: int | None
    position: int
    done: bool


class _Line(NamedTuple):
    position: int
    end: int
    rows: list[bytes]


class _Unpacked:
    """The content of a compressed file, from any place on.

    Bound: the state of the unpacking is kept at :data:`MARKS` places.
    """

    __slots__ = ("_every", "_last", "_marks", "_source")

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._every = max(MARK_SIZE, size // MARKS)
        self._marks = [(0, 0, zlib.decompressobj(31))]  # a place, that in the file, and the state there
        self._last = self._marks[0]

    def read(self, start: int, size: int) -> bytes:
        """:raises OSError: if it is damaged."""
        near = self._marks[bisect_right(self._marks, start, key=lambda mark: mark[0]) - 1]
        place, at, kept = self._last if near[0] <= self._last[0] <= start else near
        state = kept.copy()
        end = start + size
        parts: list[bytes] = []
        try:
            while place < end and not state.eof and (packed := self._source.read(at, CHUNK)):
                piece = state.decompress(packed, min(CHUNK, (start if place < start else end) - place))
                at += len(packed) - len(state.unconsumed_tail)
                if place >= start:
                    parts.append(piece)
                place += len(piece)
                if place - self._marks[-1][0] >= self._every and not state.eof:
                    self._marks.append((place, at, state.copy()))
        except zlib.error as error:
            raise OSError(0, str(error)) from None
        self._last = (place, at, state)
        return b"".join(parts)


class _Part:
    """One of the files.

    :ivar start: the position of its first byte; ``end``: behind the last.
    """

    __slots__ = ("_index", "_log", "_unpacked", "end", "segment", "start")

    def __init__(self, segment: Segment, log: Source, end: int) -> None:
        size = packed_size(log.fileno()) if log.compressed else log.size
        self.segment = segment
        self.start, self.end = end - size, end
        self._log = log
        self._unpacked = _Unpacked(log, size) if log.compressed else None
        self._index: TimeIndex | None = None

    def read(self, position: int, size: int) -> bytes:
        start = position - self.start
        return self._log.read(start, size) if self._unpacked is None else self._unpacked.read(start, size)

    @property
    def index(self) -> TimeIndex | None:
        """When what came; None where nothing says so."""
        if self._index is None:
            self._index = time_index_of(self.segment)
        return self._index


class History:
    """All there is of a log.

    :ivar start: the position of the first byte; ``end``: behind the last.
    """

    def __init__(self, segments: Segments, end: int, encoding: str = "utf-8") -> None:
        """
        :param segments: its files; whoever has opened them closes them.
        :param encoding: that of the characters in it.
        """
        self.start = self.end = end
        self._text = ShownText(encoding)
        self._parts: list[_Part] = []
        for segment in reversed(segments):
            if segment.log is not None:
                self._parts.insert(0, part := _Part(segment, segment.log, self.start))
                self.start = part.start

    def _part(self, position: int) -> _Part | None:
        number = bisect_right(self._parts, position, key=lambda part: part.start) - 1
        return self._parts[number] if number >= 0 else None

    def read(self, position: int, size: int) -> bytes:
        """Bytes; NULs, which are not shown, in place of what cannot be read."""
        position = max(position, self.start)
        stop = min(position + size, self.end)
        found: list[bytes] = []
        while position < stop and (part := self._part(position)) is not None:
            wanted = min(stop, part.end) - position
            try:
                data = part.read(position, wanted)
            except OSError:
                data = b""
            found.append(data.ljust(wanted, b"\0"))
            position += wanted
        return b"".join(found)

    # Lines.

    def line_at(self, position: int) -> int:
        """Where the line begins in which a byte is."""
        position = min(max(position, self.start), self.end)
        begin = max(self.start, position - LINE_LIMIT)
        return begin + self.read(begin, position - begin).rfind(b"\n") + 1

    def _rows(self, position: int, line: bytes, end: int) -> Iterator[_Line]:
        """A line as pieces that can be shown."""
        for piece in self._text.pieces(line):
            behind = position + len(piece)
            is_last = behind - position >= len(line)
            line = line[len(piece) :]
            yield _Line(position, end if is_last else behind, self._text.rows(piece))
            position = behind

    def _forwards(self, position: int) -> Iterator[_Line]:
        """Lines from the beginning of one on."""
        while position < self.end:
            data = self.read(position, BLOCK)
            stop = len(data) if position + len(data) >= self.end else data.rfind(b"\n") + 1
            if not stop:  # the pieces of a line that goes on, but for the last, which may not be whole
                *pieces, _ = self._rows(position, data, -1)
                yield from pieces
                position = pieces[-1].end
                continue
            at = 0
            while at < stop:
                end = data.find(b"\n", at, stop)
                behind = stop if end < 0 else end + 1
                yield from self._rows(position + at, data[at : behind if end < 0 else end], position + behind)
                at = behind
            position += stop

    def _backwards(self, position: int) -> Iterator[_Line]:
        """Lines from the one that ends at a place back."""
        while position > self.start:
            begin = max(self.start, position - BLOCK)
            data = self.read(begin, position - begin)
            cut = 0
            if begin > self.start:
                cut = data.find(b"\n", 0, len(data) - 1) + 1 or len(data) - LINE_LIMIT
            end = len(data)
            while end > cut:
                at = max(cut, data.rfind(b"\n", cut, end - 1) + 1)
                line = data[at : end - 1 if data[end - 1 : end] == b"\n" else end]
                yield from reversed(list(self._rows(begin + at, line, begin + end)))
                end = at
            position = begin + cut

    def window(self, top: Place, height: int, move: int = 0) -> Window:
        """Rows from a place on.

        :param move: by how many rows to go on first, or back. The last row of all stays at the bottom.
        """
        top = Place(min(max(top.position, self.start), self.end), top.row)
        if move < 0:
            top = self._back(top, -move)
            move = 0
        rows: list[HistoryRow] = []
        skip = top.row + move
        end, stop = top.position, 0
        for line in self._forwards(top.position):
            rows += (HistoryRow(Place(line.position, n), text) for n, text in enumerate(line.rows))
            end = line.end
            stop = stop or line.position + ROWS_SIZE
            if len(rows) >= skip + height or line.end >= stop:
                break
        is_last = end >= self.end and len(rows) <= skip + height
        first = min(skip, max(top.row, len(rows) - height)) if is_last else skip
        shown = rows[first : first + height]
        return Window(shown, end, is_last)

    def last(self, height: int) -> Window:
        return self.window(self._back(Place(self.end), height), height) if self.end > self.start else _NOTHING

    def _back(self, place: Place, rows: int) -> Place:
        """The place so many rows before another, or the first."""
        if place.row >= rows:
            return Place(place.position, place.row - rows)
        rows -= place.row
        found = Place(place.position)
        for line in self._backwards(place.position):
            found = Place(line.position, max(0, len(line.rows) - rows))
            rows -= len(line.rows)
            if rows <= 0 or place.position - line.position > ROWS_SIZE:
                break
        return found

    # What is looked for.

    def seek(self, pattern: Pattern, position: int, back: bool = False, seconds: float = 0.1) -> Seen:
        """Look for a line that matches, for a while.

        :param position: where a line begins; those from there on are looked at, or those before it.
        """
        until = time.monotonic() + seconds
        while True:
            found, position = (self._before if back else self._behind)(pattern, position)
            done = position <= self.start if back else position >= self.end
            if found is not None or done or time.monotonic() >= until:
                return Seen(found, position, done)

    def _behind(self, pattern: Pattern, position: int) -> tuple[int | None, int]:
        data = self.read(position, SEARCH_BLOCK)
        if position + len(data) < self.end:
            data = data[: data.rfind(b"\n") + 1] or data
        match = next(find(pattern, data, self._text), None)
        return (None if match is None else position + match.offset), position + len(data)

    def _before(self, pattern: Pattern, position: int) -> tuple[int | None, int]:
        begin = max(self.start, position - SEARCH_BLOCK)
        data = self.read(begin, position - begin)
        if begin > self.start:
            cut = data.find(b"\n", 0, len(data) - 1) + 1
            begin, data = begin + cut, data[cut:]
        found = None
        for match in find(pattern, data, self._text):
            found = begin + match.offset
        return found, begin

    def place_of(self, when: float) -> int:
        """The position of what came at a time, seconds since the epoch, or next; it may begin a second earlier."""
        when -= MARK_SECONDS
        for part in self._parts:
            if part.segment.modified < when:
                continue
            if part.index is None:
                return part.start
            entry = next(part.index.entries(when), None)
            if entry is not None:
                return min(part.start + entry.offset, part.end)
        return self.end

    def time_of(self, position: int) -> float | None:
        """When a byte came, seconds since the epoch; None where nothing says so."""
        part = self._part(min(position, self.end - 1))
        if part is None:
            return None
        found = None if part.index is None else part.index.times([position - part.start])[0]
        return part.segment.modified if found is None else found


_NOTHING = Window([], 0, True)
