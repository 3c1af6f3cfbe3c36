"""A passage of a log: a part of it, with the place in the console's output behind each piece.

It begins at a moment, with the last lines, or at an offset. Places are offsets of the output (see
:mod:`vmproxy.log.stream`), as the trails tell them; of files without such trails they are not known.

What waits for the disk: call it on a thread, one call at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.log.place import PlaceGone
from vmproxy.log.reader import Segment, Segments
from vmproxy.log.recovery import packed_size
from vmproxy.log.stream import Extent, contents
from vmproxy.log.tail import last_lines_begin
from vmproxy.log.time_index import time_index_of
from vmproxy.log.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes.

    :ivar at: when they came, seconds since the epoch; 0 if nobody has asked for times.
    :ivar end: the offset behind them; None if it is not known.
    """

    at: float
    data: bytes
    end: int | None


class Places:
    """Which bytes of a console's output are where in the files of its log."""

    def __init__(self, files: Segments) -> None:
        self._files = files
        self._extents: dict[int, list[Extent]] = {}

    def extents(self, segment: Segment) -> list[Extent]:
        """What a file holds, in order."""
        found = self._extents.get(segment.number)
        if found is None:
            log = segment.log
            size = 0 if log is None else packed_size(log.fileno()) if log.compressed else log.size
            found = self._extents[segment.number] = contents(segment, size).extents if log is not None else []
        return found

    def offset(self, segment: Segment, byte: int) -> int | None:
        """The offset behind what precedes a place in a file; None if it is not known."""
        for extent in self.extents(segment):
            if extent.byte <= byte <= extent.byte + extent.end - extent.offset:
                return extent.offset + byte - extent.byte
        return None

    def find(self, offset: int) -> tuple[Segment, int]:
        """The file in which an offset is, and the place there; of bytes that are missing, where the next ones are.

        :raises PlaceGone: if it is before everything that there is, or behind it.
        """
        behind: tuple[Segment, int] | None = None
        for segment in reversed(self._files):
            for extent in reversed(self.extents(segment)):
                if extent.offset <= offset:
                    if offset <= extent.end and (offset < extent.end or behind is None):
                        return segment, extent.byte + offset - extent.offset
                    if behind is None:
                        raise PlaceGone("the log does not go so far")
                    return behind
                behind = segment, extent.byte
        raise PlaceGone("that part of the log is not there any more")


class Passage:
    """A part of a log.

    What cannot be read is left out and noted in the files' ``problems``.

    :ivar places: where its bytes are in the output.
    """

    def __init__(
        self,
        files: Segments,
        since: float | None = None,
        until: float | None = None,
        lines: int | None = None,
        start: int | None = None,
    ) -> None:
        """
        :param files: with their trails.
        :param since: begin at this moment, seconds since the epoch; ``until``: end at that one.
        :param lines: begin with so many last lines.
        :param start: begin at this offset.
        """
        self._files = files
        self._since = since
        self._until = until
        self._lines = lines
        self._start = start
        self.places = Places(files)

    def pieces(self, timed: bool = False) -> Iterator[Piece]:
        """The bytes, in order, 64 KiB at most at once.

        :param timed: whether it matters when they came.
        :raises PlaceGone: if it is to begin at an offset that is not there.
        """
        if self._since is not None or (self._until is not None and self._start is None):
            return self._timed(self._since, None)
        files, byte = self._beginning()
        if not files:
            return iter(())
        if not timed and self._until is None:
            return self._plain(files, byte)
        trail = time_index_of(files[0])
        since = trail.times([byte])[0] if trail is not None else None
        return self._timed(since, (files[0], byte))

    def check(self) -> None:
        """See whether the offset at which it is to begin is there.

        :raises PlaceGone: if it is not.
        """
        if self._start is not None:
            self._beginning()

    def _beginning(self) -> tuple[list[Segment], int]:
        if self._start is None:
            return last_lines_begin(self._files, self._lines)
        if not any(segment.log is not None for segment in self._files) and not self._start:
            return [], 0  # nothing has been said yet
        first, byte = self.places.find(self._start)
        return [segment for segment in self._files if segment.number <= first.number], byte

    def _plain(self, files: list[Segment], byte: int) -> Iterator[Piece]:
        for segment in files:
            if segment.log is not None:
                for data in segment.log.blocks(byte):
                    byte += len(data)
                    yield from self._placed(0.0, data, segment, byte)
            byte = 0

    def _timed(self, since: float | None, begin: tuple[Segment, int] | None) -> Iterator[Piece]:
        """What came since a moment; where a place is given, without what is before it."""
        timeline = Timeline(self._files, since, self._until)
        for at, data in timeline.pieces():
            assert timeline.where is not None
            segment, byte = timeline.where
            if begin is not None:
                first, place = begin
                if segment.number > first.number or (segment.number == first.number and byte <= place):
                    continue
                if segment.number == first.number and byte - len(data) < place:
                    data = data[place - byte :]  # the end of it
                begin = None
            yield from self._placed(at, data, segment, byte)

    def _placed(self, at: float, data: bytes, segment: Segment, byte: int) -> Iterator[Piece]:
        """Bytes with their places, cut where some are missing in between."""
        for extent in self.places.extents(segment):
            end = extent.byte + extent.end - extent.offset
            if byte - len(data) < end < byte:
                cut = end - byte + len(data)
                yield Piece(at, data[:cut], extent.end)
                data = data[cut:]
        yield Piece(at, data, self.places.offset(segment, byte))

    def end(self) -> int | None:
        """The offset at which it ends because of ``until``; None if it is not known, or ends where the files do."""
        if self._until is None:
            return None
        for segment in self._files:
            trail = time_index_of(segment)
            if trail is not None and segment.log is not None:
                for entry in trail.entries(self._until):
                    return self.places.offset(segment, entry.offset)
        return None
