"""The output of a console from an offset on, out of the files of its log: past and present without a seam.

A :class:`LogStream` reads forwards. :meth:`LogStream.look`, on the thread of the log writer and behind everything
appended before, opens the files that hold what comes next: no rotation comes in between there, and what is open can
be read whatever becomes of its name. :meth:`LogStream.read`, on any thread, takes the next block. A reader that looks
again from time to time follows the log over any number of rotations; one that has reached what its console said since
it began to listen is live.

Invariant: each byte that is read is the one that the VM sent at that offset. A file that somebody else changes is
noticed by its size, which the writer knows; bytes that were not recorded are a hole of known size.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.errors import VMProxyError
from vmproxy.log.events import FORMAT
from vmproxy.log.files import numbered
from vmproxy.log.reader import Segment, Source, open_segment
from vmproxy.log.recovery import packed_size
from vmproxy.log.store import ConsoleLog
from vmproxy.log.time_index import TimeIndex

BLOCK = 64 * 1024
LINE = 512  # ample for a format line
FILES_LIMIT = 8
"""How many files one reader holds open, beside the one that it reads."""
LOOK_LIMIT = 256
"""How many files of a log are looked at for the next ones."""


class NotInLog(VMProxyError):
    """The log cannot give what comes next; the text says why.

    :ivar missing: the size of the hole, where that is known and something follows it; else 0.
    """

    def __init__(self, text: str, missing: int = 0) -> None:
        super().__init__(text)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of the output that are in one file in a row.

    :ivar offset: of the first; ``end``: behind the last.
    :ivar byte: where in the file the first one is.
    """

    offset: int
    end: int
    byte: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of a log holds of the output, as its trail tells.

    :ivar begin: the offset of its first byte; None where the trail does not say: it is of format 1, or not there.
    :ivar end: the offset behind its last byte, and behind what is missing there.
    :ivar cut: whether somebody else truncated it.
    """

    begin: int | None
    end: int | None
    cut: bool
    extents: list[Extent]


def contents(segment: Segment, size: int) -> Contents:
    """What a file of a log holds.

    :param size: of the file, unpacked.
    """
    formats = TimeIndex(segment.trail, not segment.number).formats if segment.trail is not None else []
    found: list[Extent] = []
    first: int | None = None
    cut = False
    shift: int | None = None
    place = 0  # in the file: of what has this shift
    for line in formats:
        if line.byte > size:
            continue  # the file was cut since
        if line.cut:
            found.clear()
            cut = True
            place, shift = (line.byte if line.cut == "foreign" else 0), line.shift
            first = place + shift
        elif line.shift != shift:
            if shift is not None and line.byte > place:
                found.append(Extent(place + shift, line.byte + shift, place))
            place, shift = (line.byte if shift is not None else 0), line.shift
            first = place + shift if first is None else first
    if shift is not None and size > place:
        found.append(Extent(place + shift, size + shift, place))
    return Contents(first, None if shift is None else size + shift, cut, found)


class _File:
    """A file of the log that is open.

    :ivar extents: what it holds, in order.
    """

    __slots__ = ("_block", "_blocks", "_place", "extents", "source")

    def __init__(self, source: Source, held: list[Extent]) -> None:
        self.source = source
        self.extents = held
        self._blocks: Iterator[bytes] = iter(())
        self._block = b""
        self._place = -1  # in the file: behind the block

    def read(self, byte: int, size: int) -> bytes:
        """Bytes of it; fewer where they are not there."""
        if not self.source.compressed:
            return os.pread(self.source.fileno(), size, byte)
        if self._place - len(self._block) > byte or self._place < 0:
            self._blocks, self._block, self._place = self.source.blocks(), b"", 0
        while self._place <= byte:
            self._block = next(self._blocks, b"")
            self._place += len(self._block)
            if not self._block:
                return b""
        at = len(self._block) - (self._place - byte)
        return self._block[at : at + size]


class LogStream:
    """A reader of one console's output.

    :ivar position: the offset of the byte that is read next; -1 before the first look, where it was given as a count.
    :ivar end: up to which offset the files are known.
    :ivar has_more: whether there are files behind them, for which there is no room yet.
    """

    def __init__(self, log: ConsoleLog, offset: int | None = None, received: int = 0) -> None:
        """
        :param offset: where to begin; None: at ``received``, a count of the bytes that this process has had of it.
        """
        self._log = log
        self._received = received
        self.position = -1 if offset is None else offset
        self.end = 0
        self.has_more = False
        self._files: deque[_File] = deque()
        self._new: list[Segment] = []
        self._cuts = -1
        self._live: tuple[int, int] | None = None
        self._shift = 0  # of the live file
        self._closed = False

    async def refresh(self) -> None:
        """Look again; see :meth:`look`.

        :raises NotInLog: also where what was appended up to now is not recorded.
        """
        received = self._log.received
        await self._log.on_writer(lambda _path: self.look())
        if self.end < self._log.file.base + received and not self.has_more:
            raise NotInLog("the log is not complete")

    def look(self) -> None:
        """Open the files that hold what has come since the last look; on the thread of the log writer.

        :raises NotInLog: if somebody else changed a file that is being read.
        """
        try:
            self._look()
        finally:
            self._see_closed()

    def _look(self) -> None:
        self._log.settle()
        file = self._log.file
        if self._cuts < 0:
            self._cuts = file.cuts
            if self.position < 0:
                self.position = file.base + self._received
            self.end = self.position
        if file.cuts != self._cuts or self._was_cut:
            raise NotInLog("the log was cut")
        held = {one.source.identity for one in self._files} | {one.identity for one in self._logs()}
        if self._live is not None and self._shift != file.shift:
            held.discard(self._live)  # its trail says what is new in it
        self._shift = file.shift
        if self._live is not None and self._live in held and _stands(file.path, self._live):
            self._extend(file.offset, file.since)
            end = file.offset
        elif not held and self.end - file.shift >= file.since:
            self._open_live()
            end = file.offset
        else:
            end = self._open_all(held)
        self.end, self.has_more = end, end < file.offset

    @property
    def _was_cut(self) -> bool:
        """Whether the live file was cut since the last look: the writer counts that only of files that it has open."""
        # A file that was put aside is not where it was; behind a gap, output goes on behind what is known.
        file = self._log.file
        changed = self._live is not None and self._shift != file.shift and file.since < self.end - self._shift
        return changed and self._live is not None and _stands(file.path, self._live)

    def _extend(self, end: int, since: int) -> None:
        """The live file has become longer."""
        for log in self._logs():
            if log.identity == self._live:
                log.size = end - self._shift
                return
        held = self._files[-1].extents
        if held[-1].offset - held[-1].byte == self._shift:
            held[-1] = Extent(held[-1].offset, end, held[-1].byte)
        elif end > since + self._shift:  # it ended with a gap
            held.append(Extent(since + self._shift, end, since))

    def _logs(self) -> list[Source]:
        return [segment.log for segment in self._new if segment.log is not None]

    def _open_live(self) -> None:
        """Everything that is wanted is in the live file, behind the last gap."""
        file = self._log.file
        try:
            source = Source(self._log.path, False)
        except FileNotFoundError:
            if file.offset > self.end:
                raise NotInLog("the log is not complete") from None
            return
        self._live = source.identity
        self._files.append(_File(source, [Extent(file.since + file.shift, file.offset, file.since)]))

    def _open_all(self, held: set[tuple[int, int]]) -> int:
        """Open the oldest files that can hold something new, as many as there is room for.

        :returns: the offset behind them.
        """
        file = self._log.file
        end = file.offset
        room = FILES_LIMIT + 1 - len(self._files) - len(self._new)
        self._live = None
        if room <= 0:
            return self.end
        enough = end - self.end if self._sizes_tell else None
        found: deque[Segment] = deque()  # the oldest first
        seen: set[tuple[int, int]] = set()
        for segment in numbered(lambda number: open_segment(self._log.path, number, True, seen, [])):
            log = segment.log
            if log is not None and log.identity in held:
                segment.close()
                break
            if len(found) == room:
                if (begin := _begin(found[-1])) is None or begin <= self.end:
                    segment.close()
                    break
                if segment.number > LOOK_LIMIT:
                    for one in (segment, *found):
                        one.close()
                    raise NotInLog("the log has been rotated too often")
                found.pop().close()
                end = begin
            found.appendleft(segment)
            if log is None:
                continue
            if not segment.number:
                log.size = min(log.size, file.offset - file.shift)
            if enough is not None and (enough := enough - _content(log)) <= 0:
                break
        for segment in found:
            self._take(segment)
            if not segment.number and segment.log is not None:
                self._live = segment.log.identity
        return end

    @property
    def _sizes_tell(self) -> bool:
        """Whether the files hold no bytes but the VM's from ``end`` on: they may hold fewer, never more."""
        # A cut since the first look ends the reading.
        return bool(self._files or self._new) or (not self._cuts and self.end >= self._log.file.base)

    def _take(self, segment: Segment) -> None:
        for number, one in enumerate(self._new):
            if one.log is not None and segment.log is not None and one.log.identity == segment.log.identity:
                if segment.trail is None:
                    segment.close()
                else:  # it tells more by now
                    self._new[number] = segment
                    one.close()
                return
        self._new.append(segment)

    def read(self) -> bytes:
        """The next bytes, at most 64 KiB; none where the files end. It waits for the disk.

        :raises NotInLog: if they are not there.
        """
        try:
            found = self._next()
            return b"" if found is None else self._read(*found)
        finally:
            self._see_closed()

    def check(self) -> None:
        """See whether the next byte is there. It waits for the disk.

        :raises NotInLog: if it is not.
        """
        found = self._next()
        if found is not None and found[1].offset > self.position:
            raise NotInLog("the log is not complete", found[1].offset - self.position)

    def _next(self) -> tuple[_File, Extent] | None:
        """Where the next byte is, or the first behind it that is there; None where the files end."""
        self._survey()
        while len(self._files) > 1 and self._files[0].extents[-1].end <= self.position:
            self._files.popleft().source.close()
        if self.position >= self.end:
            return None
        for one in self._files:
            for extent in one.extents:
                if extent.end > self.position:
                    return one, extent
        raise NotInLog("the log is not complete", self.end - self.position)

    def _read(self, one: _File, extent: Extent) -> bytes:
        if extent.offset > self.position:
            raise NotInLog("the log is not complete", extent.offset - self.position)
        size = min(BLOCK, extent.end - self.position)
        data = one.read(extent.byte + self.position - extent.offset, size)
        if not data or not self._intact(one):
            raise NotInLog("the log has become shorter")
        self.position += len(data)
        return data

    def _intact(self, one: _File) -> bool:
        """Whether nobody has cut a file before it was read."""
        if one.source.compressed:
            return True
        file = self._log.file
        offset = file.offset  # before the shift: by a rotation in between too little is expected, never too much
        shift = file.shift
        last = one.extents[-1]
        least = last.byte + last.end - last.offset
        if one.source.identity == self._live:
            if shift == self._shift:
                least = offset - shift
            elif self._was_cut:
                return False
        return file.cuts == self._cuts and os.fstat(one.source.fileno()).st_size >= least

    def _survey(self) -> None:
        """See what is in the files that are open since the last look."""
        new, self._new = self._new, []
        pairs: list[tuple[Source, list[Extent]]] = []
        limit, exactly = self.end, True  # where the file before begins
        for segment in reversed(new):
            log, size = segment.log, 0
            if log is not None:
                size = packed_size(log.fileno()) if log.compressed else log.size
            held = contents(segment, size)
            if segment.trail is not None:
                segment.trail.close()
            fits = held.end is not None and (held.end == limit or (held.end < limit and not exactly))
            if log is not None:
                if fits and held.extents:
                    pairs.append((log, held.extents))
                else:  # where it does not lead to the next one, log and trail are not of one time
                    log.close()
            limit, exactly = (limit - size, False) if held.begin is None else (held.begin, not held.cut)
        for log, found in reversed(pairs):
            self._complete(found[0].offset)
            after = max(self.position, self._files[-1].extents[-1].end if self._files else 0)
            wanted = [_behind(extent, after) for extent in found if extent.end > after]
            if wanted:
                self._files.append(_File(log, wanted))
            else:
                log.close()
        self._complete(self.end)

    def _complete(self, end: int) -> None:
        """What was written to the last file since the last look, and before it was put aside, ends at this offset.

        It does if the file is so long: had there been a gap in between, it would be shorter.
        """
        if not self._files or self._files[-1].source.compressed:
            return
        one = self._files[-1]
        last = one.extents[-1]
        if last.end < end == os.fstat(one.source.fileno()).st_size + last.offset - last.byte:
            one.extents[-1] = Extent(last.offset, end, last.byte)

    def skip(self, size: int) -> None:
        """Go on behind what is missing."""
        self.position += size

    def close(self) -> None:
        """Close the files, now and when other threads that use it are done; twice does no harm."""
        self._closed = True
        while self._files:
            self._files.popleft().source.close()
        while self._new:
            self._new.pop().close()

    def _see_closed(self) -> None:
        if self._closed:  # meanwhile: who has given it up does not wait for the thread
            self.close()


def _begin(segment: Segment) -> int | None:
    """The offset at which a file begins; None if its trail does not say so."""
    head = b"" if segment.trail is None else b"".join(segment.trail.blocks(0, LINE))
    match = FORMAT.match(head)
    return int(match[1]) - int(match[2]) if match is not None else None


def _content(log: Source) -> int:
    """How many bytes a file holds, 0 where that cannot be told."""
    if not log.compressed:
        return log.size
    try:
        return packed_size(log.fileno())
    except OSError:
        return 0


def _behind(extent: Extent, offset: int) -> Extent:
    """The part of an extent that is not before an offset."""
    cut = max(0, offset - extent.offset)
    return Extent(extent.offset + cut, extent.end, extent.byte + cut)


def _stands(path: str, identity: tuple[int, int]) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == identity
