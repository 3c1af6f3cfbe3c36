"""How a raw stream whose reader is slow catches up from the log: nothing lost, nothing twice, little kept.

A raw stream must be complete, a viewer must not slow the VM, and memory is bounded. So when too much waits for the
client, what follows is not kept: it is in the log, at a place that is known, for the console gives every byte to the
log first. From there it is read as fast as the client takes it, in blocks; the last of what the VM says is kept
meanwhile, and when the reading reaches it the stream is live again.

Better broken than wrong: of every block that is not kept there is a checksum, and a block from the log that has another
one ends the stream: bytes were not recorded, or the file was cut. Files are opened on the scribe's thread, where no
rotation comes in between. One that rotation puts aside stays open here, and its successor is opened, if there is only
one within a second.

Positions count from the first byte that was too much.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from twisted.internet.defer import Deferred

from vmproxy.errors import VMProxyError
from vmproxy.operators.log_listing import open_file

if TYPE_CHECKING:
    from vmproxy.log.store import ConsoleLog
    from vmproxy.operators.services import Services
    from vmproxy.operators.session import OutputStream

BLOCK = 64 * 1024
RECENT_LIMIT = 512 * 1024
LAG_LIMIT = 16 * 1024 * 1024 * 1024  # a megabyte of checksums
LOOK_SECONDS = 1.0
FILES_LIMIT = 8
TRIM_AT = 4096


class LostTrack(VMProxyError):
    """The log cannot give what was missed; the text says why."""


class LogReader:
    """The bytes that were missed, in the log's files. It waits for the disk: to be used on threads, by one at a time.

    :ivar position: what is read next.
    :ivar end: up to where the log's files are known.
    """

    def __init__(self, path: Path, end: int) -> None:
        """
        :param end: the position behind the last byte that is in the log now.
        :raises LostTrack, OSError: if that cannot be.
        """
        fd = open_file(path)
        size = os.fstat(fd).st_size
        if size < end:
            os.close(fd)
            raise LostTrack("the log does not hold what it missed")
        self._files = deque([(fd, end - size)])  # descriptors, and the position of the first byte of each
        self.position = 0
        self.end = end

    def extend(self, path: Path, end: int) -> None:
        """There is more.

        :param end: a position up to which all is in the log now.
        :raises LostTrack, OSError: if that cannot be: something is missing.
        """
        fd, base = self._files[-1]
        there = os.fstat(fd)
        if base + there.st_size < end:
            if len(self._files) >= FILES_LIMIT:
                raise LostTrack("the log has been rotated too often")
            new = open_file(path)
            found = os.fstat(new)
            if os.path.samestat(there, found) or base + there.st_size + found.st_size < end:
                os.close(new)
                raise LostTrack("the log is not complete")
            self._files.append((new, base + there.st_size))
        self.end = end

    def read(self, checksum: int) -> bytes:
        """The next block.

        :param checksum: what it must have.
        :raises LostTrack, OSError: if it cannot be read.
        """
        parts: list[bytes] = []
        missing = BLOCK
        while missing:
            while len(self._files) > 1 and self.position >= self._files[1][1]:
                os.close(self._files.popleft()[0])
            fd, base = self._files[0]
            here = self._files[1][1] - self.position if len(self._files) > 1 else missing
            data = os.pread(fd, min(missing, here), self.position - base)
            if not data:
                raise LostTrack("the log has become shorter")
            parts.append(data)
            missing -= len(data)
            self.position += len(data)
        block = b"".join(parts)
        if crc32(block) != checksum:
            raise LostTrack("the log does not hold what the VM has said")
        return block

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popleft()[0])


class CatchUp:
    """Brings a channel from the first byte that was too much for it back to what the VM says now."""

    def __init__(self, channel: OutputStream, log: ConsoleLog, services: Services, data: bytes) -> None:
        """:param data: what the VM has just said."""
        self._channel = channel
        self._log = log
        self._services = services
        self._end = 0
        self._sums = array("I")  # of the blocks from _first_sum on, without the last, which is not full
        self._first_sum = 0
        self._sum = 0
        self._recent = bytearray()
        self._recent_from = 0  # where a block begins
        self._looked = services.clock.seconds()
        self._wake: Callable[[], None] | None = None
        self.output(data)
        began = self._end
        self._opened = log.on_scribe(lambda path: LogReader(path, began))

    @property
    def kept(self) -> int:
        """Bytes that are kept here."""
        return len(self._recent)

    def output(self, data: bytes) -> None:
        """The VM says more."""
        rest = memoryview(data)
        while rest:
            part = rest[: BLOCK - self._end % BLOCK]
            rest = rest[len(part) :]
            self._sum = crc32(part, self._sum)
            self._end += len(part)
            if self._end % BLOCK == 0:
                self._sums.append(self._sum)
                self._sum = 0
        self._recent += data
        too_much = len(self._recent) - RECENT_LIMIT
        if too_much > 0:
            blocks = -(-too_much // BLOCK)
            del self._recent[: blocks * BLOCK]
            self._recent_from += blocks * BLOCK

    def wake(self) -> None:
        """The channel has sent everything, or is closed."""
        if self._wake is not None:
            self._wake()

    async def run(self) -> bytes:
        """Send what was missed, as fast as the client takes it.

        :returns: what has still to be sent for the channel to be live again.
        :raises LostTrack, OSError: if the log cannot give it.
        """
        reader = await self._opened
        try:
            while await self._room(reader):
                if reader.position >= self._recent_from:
                    return bytes(self._recent[reader.position - self._recent_from :])
                if reader.position + BLOCK > reader.end:
                    await self._extend(reader)
                checksum = self._next_sum(reader.position // BLOCK)
                self._channel.send(await self._services.in_thread(partial(reader.read, checksum)))
            return b""
        finally:
            self._services.in_thread(reader.close)  # the last to close a file that was removed waits for the disk

    def _next_sum(self, number: int) -> int:
        used = number - self._first_sum
        if used >= TRIM_AT:
            del self._sums[:used]
            self._first_sum = number
        return self._sums[number - self._first_sum]

    async def _extend(self, reader: LogReader) -> None:
        self._looked = self._services.clock.seconds()
        end = self._end
        await self._log.on_scribe(lambda path: reader.extend(path, end))

    async def _room(self, reader: LogReader) -> bool:
        # True when the client has taken what was sent; False if the channel is closed.
        while not self._channel.over:
            if self._end - reader.position > LAG_LIMIT:
                raise LostTrack("it is too far behind")
            if self._end != reader.end and self._services.clock.seconds() - self._looked >= LOOK_SECONDS:
                await self._extend(reader)  # before its file is rotated away
            elif self._channel.queued:
                await self._woken()
            else:
                return True
        return False

    def _woken(self) -> Deferred[None]:
        woken: Deferred[None] = Deferred()

        def wake() -> None:
            self._wake = None
            if timer.active():
                timer.cancel()
            woken.callback(None)

        timer = self._services.clock.callLater(LOOK_SECONDS, wake)
        self._wake = wake
        return woken
