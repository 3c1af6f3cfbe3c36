"""Reading event trails: which byte of a log came when.

A trail is JSON lines in the order in which things happened; ``time`` marks stand in it each 10 ms at most while data
flows, and every other event says the time as well. A trail may be large, so it is never held as a whole: one that is
not compressed is surveyed, a line or two in each 64 KiB, and then read in detail from the block that matters.

Offsets are those of the output; ``format`` lines say where in the file they are (see :mod:`vmproxy.log.events`). Before
the first of them they are places in the file, as version 0.1.0 wrote them.

Places grow along a trail. Where one is smaller than that before it, the log was truncated there (logrotate's
``copytruncate``) or moved away while its trail was not: what is before belongs to another file. Of a live trail what
follows the last such place counts, of an old one what precedes the first.

A line that cannot be read, torn by a crash say, costs only itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from vmproxy.log.events import FORMAT, FORMAT_MARK
from vmproxy.log.reader import CHUNK, Segment, Source

LINE_LIMIT = 2 * 1024 * 1024

_HEAD = re.compile(
    rb'^\{"at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z","offset":(\d{1,18}),"event":"(?:(time)"\}$|(format)")?',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a trail.

    :ivar at: seconds since the epoch.
    :ivar offset: where in the file the byte is that came then, or next.
    :ivar line: the whole line, if it is more than a time mark.
    """

    at: float
    offset: int
    line: bytes = b""


@dataclass(frozen=True, slots=True)
class Format:
    """A format line: from here on in the trail, the place in the file of an offset is that minus ``shift``.

    :ivar position: of the line in the trail.
    :ivar offset: that of the byte at ``byte`` in the file.
    :ivar cut: how the file was changed by somebody else, where it was.
    :ivar run: who wrote it, and ``begun``: from which offset on; see :mod:`vmproxy.log.place`.
    """

    position: int
    offset: int
    byte: int
    cut: str = ""
    run: str = ""
    begun: int = 0

    @property
    def shift(self) -> int:
        """By how much offsets are more than places in the file."""
        return self.offset - self.byte


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line of a trail stands that was looked at in the survey, and what it says."""

    position: int
    at: float
    offset: int


class TimeIndex:
    """One file's trail.

    :ivar torn: how many lines could not be read so far.
    :ivar skipped: whether the last :meth:`entries` left out entries at the beginning.
    """

    __slots__ = ("_block", "_formats", "_live", "_places", "_source", "skipped", "torn")

    def __init__(self, source: Source, live: bool) -> None:
        """:param live: whether it is that of the live log."""
        self._source = source
        self._live = live
        self._places: list[_Place] | None = None
        self._formats: list[Format] | None = None
        self._block: tuple[int, list[int], list[float]] = (-1, [], [])
        self.torn = 0
        self.skipped = False

    def count_torn(self) -> None:
        """Count a line that cannot be read, as its reader has found."""
        self.torn += 1

    def entries(self, since: float | None = None) -> Iterator[Entry]:
        """The entries that belong to this log.

        :param since: seconds since the epoch: begin with the first one that is not earlier. Where the clock was set
            back, earlier ones may follow.
        """
        start = 0
        self.skipped = False
        wanted = self._live or since is not None
        if wanted and not self._source.compressed and (places := self._survey()):
            # The first that is late enough is in the block before, of which an early one is read too.
            late = next((i for i, place in enumerate(places) if since is None or place.at >= since), len(places))
            start = places[max(0, late - 1)].position
        offset = -1
        begun = False
        for entry in self._read(start):
            if entry.offset < offset and not self._live:
                return
            offset = entry.offset
            if begun or since is None or entry.at >= since:
                begun = True
                yield entry
            else:
                self.skipped = True

    def times(self, offsets: Sequence[int]) -> list[float | None]:
        """When bytes came.

        :param offsets: of the log, in ascending order.
        :returns: seconds since the epoch for each; for bytes before the first entry its time; None where the trail
            says nothing.
        """
        if not self._source.compressed:
            places = self._survey()
            return [self._time(places, offset) for offset in offsets] if places else [None] * len(offsets)
        times: list[float | None] = []
        now: float | None = None
        for entry in self.entries():
            now = entry.at if now is None else now
            while len(times) < len(offsets) and offsets[len(times)] < entry.offset:
                times.append(now)
            if len(times) == len(offsets):
                break
            now = entry.at
        return times + [now] * (len(offsets) - len(times))

    def _time(self, places: list[_Place], offset: int) -> float:
        number = max(0, bisect_right(places, offset, key=lambda place: place.offset) - 1)
        if self._block[0] != number:
            stop = places[number + 1].position if number + 1 < len(places) else None
            block = list(_ascending(self._read(places[number].position, stop)))
            self._block = (number, [entry.offset for entry in block], [entry.at for entry in block])
        _, known, times = self._block
        if not times:
            return places[number].at
        return times[max(0, bisect_right(known, offset) - 1)]

    @property
    def formats(self) -> list[Format]:
        """The format lines, in order; none in a trail that version 0.1.0 wrote."""
        if self._formats is None:
            self._formats = []
            start, rest = 0, b""
            for block in self._source.blocks():
                text = rest + block
                cut = text.rfind(b"\n") + 1
                if FORMAT_MARK in text:
                    self._formats.extend(_formats(text[:cut], start))
                rest = text[cut:] if len(text) - cut < CHUNK else b""
                start += len(text) - len(rest)
        return self._formats

    def _shift(self, position: int) -> int:
        """By how much offsets are more than places in the file, at a place of the trail."""
        number = bisect_right(self.formats, position, key=lambda line: line.position)
        return self.formats[number - 1].shift if number else 0

    @property
    def name(self) -> str:
        return self._source.path.name

    # How the lines are found.

    def _survey(self) -> list[_Place]:
        """A place in each block of the trail, as far as it belongs to this log; of a block without any, none."""
        if self._places is not None:
            return self._places
        places: list[_Place] = []
        offset = -1
        for start in range(0, self._source.size, CHUNK):
            block = self._source.read(start, CHUNK)
            first, last = self._first(block, start), self._last(block, start)
            if first is None:
                continue
            if first.offset < offset or last < first.offset:
                # Somewhere between the place before and the end of this block.
                begin = places[-1].position if places else first.position
                fresh = self._restart(begin, start + len(block))
                if not self._live:
                    if first.offset >= offset:
                        places.append(first)
                    break
                places = [fresh] if fresh is not None else [first]
                if fresh is not None and first.position > fresh.position and first.offset >= fresh.offset:
                    places.append(first)
            else:
                places.append(first)
            offset = max(last, 0)
        self._places = places
        return places

    def _first(self, block: bytes, start: int) -> _Place | None:
        """The first entry in a block that begins in it."""
        where = block.find(b"\n") if start else 0  # what it begins with may be the end of a line
        while where >= 0 and (match := _HEAD.search(block, where)):
            if not match[4]:
                try:
                    at = start + match.start()
                    return _Place(at, _seconds(match[1]), int(match[2]) - self._shift(at))
                except ValueError:
                    pass
            where = match.end()
        return None

    def _last(self, block: bytes, start: int) -> int:
        """The place in the file of the last entry in a block; -1 where there is none."""
        end = len(block)
        while end > 0:
            begin = block.rfind(b"\n", 0, end - 1) + 1
            if (match := _HEAD.match(block, begin)) and not match[4]:
                return int(match[2]) - self._shift(start + begin)
            end = begin
        return -1

    def _restart(self, start: int, stop: int) -> _Place | None:
        """The last place between two at which the offsets begin anew."""
        found: _Place | None = None
        before = -1
        for position, entry in self._positions(start, stop):
            if entry.offset < before:
                found = _Place(position, entry.at, entry.offset)
            before = entry.offset
        return found

    def _read(self, start: int, stop: int | None = None) -> Iterator[Entry]:
        return (entry for _, entry in self._positions(start, stop))

    def _positions(self, start: int, stop: int | None) -> Iterator[tuple[int, Entry]]:
        shift = self._shift(start) if start else 0
        position = start
        for line in lines_of(self._source.blocks(start, stop)):
            if (match := _HEAD.match(line)) is None:
                self.torn += 1
            elif match[4]:
                shift = next((form.shift for form in _formats(line, position)), shift)
            else:
                try:
                    yield position, Entry(_seconds(match[1]), int(match[2]) - shift, b"" if match[3] else line)
                except ValueError:
                    self.torn += 1
            position += len(line)


def time_index_of(segment: Segment) -> TimeIndex | None:
    """The trail of one of a log's files; None where there is none."""
    return TimeIndex(segment.trail, not segment.number) if segment.trail is not None else None


def _formats(text: bytes, start: int) -> Iterator[Format]:
    for match in FORMAT.finditer(text):
        cut, run = ((match[number] or b"").decode("ascii") for number in (3, 4))
        yield Format(start + match.start(), int(match[1]), int(match[2]), cut, run, int(match[5] or match[1]))


def _ascending(entries: Iterable[Entry]) -> Iterator[Entry]:
    offset = -1
    for entry in entries:
        if entry.offset < offset:
            return
        offset = entry.offset
        yield entry


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a trail, with their ends. Of one of more than 2 MiB only its end is there, which is no event."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > LINE_LIMIT:
            yield rest
            rest = b""
    if rest:
        yield rest


def _seconds(text: bytes) -> float:
    return datetime.fromisoformat(f"{text.decode('ascii')}+00:00").timestamp()
