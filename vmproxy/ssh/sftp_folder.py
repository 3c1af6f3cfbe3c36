"""The folder that an operator sees over SFTP, as conch's server asks for it.

Every change is refused. A thread waits for the disk. The size of a growing file is told when all output up to now is in
it. Bound: an open file costs a descriptor, an open folder a list of all consoles; both are counted by operator.
"""

from __future__ import annotations

import errno
import os

from twisted.conch.interfaces import ISFTPFile, ISFTPServer
from twisted.conch.ssh.filetransfer import FXF_READ
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vmproxy.access.policy import Right
from vmproxy.base.tasks import spawn
from vmproxy.operators import log_listing
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services

READ_LIMIT = 64 * 1024
FILE_SIZE_LIMIT = 1 << 63


def as_path(name: bytes) -> str:
    """A name as the client sent it."""
    return name.decode("utf-8", "surrogateescape")


def as_bytes(name: str) -> bytes:
    """A name as the client gets it."""
    return name.encode("utf-8", "surrogateescape")


def denied() -> PermissionError:
    """The error for any change."""
    return PermissionError(errno.EACCES, "these files are read-only")


@implementer(ISFTPFile)
class SFTPFile:
    """A file that is open for reading."""

    def __init__(
        self, operator: Operator, services: Services, place: log_listing.LogPath, fd: int, share: object
    ) -> None:
        """:param share: its entry in the count of open files, until it is closed."""
        self._operator = operator
        self._services = services
        self._place = place
        self._fd = fd
        self._share = share
        self._busy = False
        self._closed = False

    def readChunk(self, offset: int, length: int) -> Deferred[bytes]:
        """Bytes from an offset on; at most so many, none at the end."""
        return spawn(self._read(offset, min(length, READ_LIMIT)))

    def _ask(self) -> None:
        if not self._operator.view.may(self._place.console, Right.SPY):
            raise PermissionError(errno.EACCES, "you may no longer read this")

    async def _read(self, offset: int, length: int) -> bytes:
        self._ask()
        if offset + length >= FILE_SIZE_LIMIT or not length:  # no file reaches so far
            return b""
        self._busy = True
        try:
            data = await self._pread(offset, length)
            if not data and self._place.live and not self._closed:
                # Output that came after the opening may still be on its way to the disk.
                await self._place.console.log.settled()
                self._ask()
                data = await self._pread(offset, length)
            return data
        finally:
            self._busy = False
            if self._closed:
                self._close()

    def _pread(self, offset: int, length: int) -> Deferred[bytes]:
        return self._services.in_thread(lambda: os.pread(self._fd, length, offset))

    def getAttrs(self) -> Deferred[dict[str, int]]:
        """Its size and times."""
        return spawn(self._attributes())

    async def _attributes(self) -> dict[str, int]:
        if self._place.live:
            await self._place.console.log.settled()
        self._ask()
        if self._closed:
            raise EOFError
        found = os.fstat(self._fd)
        return log_listing.FileEntry(self._place.name, found.st_size, found.st_mtime).attributes

    def close(self) -> None:
        """Close it, after a read that is under way."""
        if not self._closed:
            self._closed = True
            if not self._busy:
                self._close()

    def _close(self) -> None:
        # On a thread: the last to close a file that was removed waits for the disk.
        self._services.in_thread(lambda: os.close(self._fd)).addBoth(self._have_closed)

    def _have_closed(self, outcome: object) -> object:
        self._services.open_files.give_back(self._share)
        return outcome

    def _refuse(self, *arguments: object) -> None:
        raise denied()

    writeChunk = setAttrs = _refuse


@implementer(ISFTPServer)
class LogFolder:
    """The folder of one operator."""

    def __init__(self, operator: Operator, services: Services) -> None:
        self._services = services
        self.avatar = self._operator = operator
        self._view = operator.view

    def gotVersion(self, otherVersion: int, extData: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The extensions: none."""
        return {}

    def openFile(self, filename: bytes, flags: int, attrs: dict[str, object]) -> Deferred[SFTPFile]:
        return spawn(self._open(as_path(filename), flags))

    async def _open(self, path: str, flags: int) -> SFTPFile:
        if flags != FXF_READ:
            raise denied()
        place = log_listing.place(self._view, path)
        share = self._take_share()
        try:
            if place.live:
                await place.console.log.settled()
            fd = await self._services.in_thread(lambda: log_listing.open_file(place.path))
        except BaseException:
            self._services.open_files.give_back(share)
            raise
        self._operator.audit("sftp-read", console=place.console.title, file=place.name)
        return SFTPFile(self._operator, self._services, place, fd, share)

    def _take_share(self) -> object:
        share = object()
        if not self._services.open_files.take(share, self._operator.name):
            raise OSError(errno.EMFILE, "too many open files")
        return share

    def getAttrs(self, path: bytes, followLinks: int) -> Deferred[dict[str, int]]:
        """The attributes of a file or of the folder."""
        return spawn(self._look(as_path(path)))

    async def _look(self, path: str) -> dict[str, int]:
        if log_listing.canonical(path) == "/":
            return log_listing.FOLDER_ATTRIBUTES
        place = log_listing.place(self._view, path)
        if place.live:
            await place.console.log.settled()
        entry = await self._services.in_thread(lambda: log_listing.look(place.path, place.name))
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place.name)
        return entry.attributes

    def openDirectory(self, path: bytes) -> log_listing.Listing:
        """List the folder; there is only one."""
        if log_listing.canonical(as_path(path)) != "/":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), as_path(path))
        # It has no descriptor, but holds the list of all consoles: counted like a file.
        services, share = self._services, self._take_share()
        return log_listing.Listing(
            self._view,
            self._view,
            services.in_thread,
            services.turns,
            self._operator.name,
            lambda: services.open_files.give_back(share),
        )

    def realPath(self, path: bytes) -> bytes:
        return as_bytes(log_listing.canonical(as_path(path)))

    def readLink(self, path: bytes) -> bytes:
        """Fail: there are no links."""
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), as_path(path))

    def extendedRequest(self, extendedName: bytes, extendedData: bytes) -> bytes:
        """Fail: no extension is known."""
        raise NotImplementedError("there are no extensions")

    def _refuse(self, *arguments: object) -> None:
        raise denied()

    removeFile = renameFile = makeDirectory = removeDirectory = setAttrs = makeLink = _refuse
