"""The virtual folder of logs that an operator sees over SFTP: flat and read-only.

For every console that the operator may read it holds ``ALIAS.log``, its trail ``ALIAS.log.events``, ``ALIAS.txt`` if
there is one, and rotated files: ``ALIAS.log.1``, ``ALIAS.log.events.2.gz``. The other names of a console find its files
too. Invariant: no path leads out of it. A name is split into a console, which the operator must be able to see, and one
of these endings; nothing else of a name reaches the disk.

Functions that wait for the disk are plain ones, to be called on a thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from vmproxy.access.policy import Right
from vmproxy.errors import VMProxyError
from vmproxy.log.files import LogFiles, plain_of

if TYPE_CHECKING:
    from vmproxy.base.turns import Turns
    from vmproxy.console.console import Console
    from vmproxy.operators.visible import VisibleConsoles

ENTRIES_AT_ONCE = 100
CONSOLES_AT_ONCE = 50

InThread = Callable[[Callable[[], list["FileEntry"]]], Deferred[list["FileEntry"]]]

_NAME = re.compile(r"(.+)(\.log|\.txt)((?:\.events)?(?:\.[1-9][0-9]{0,4}(?:\.gz)?)?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogPath:
    """A file of a console.

    :ivar name: its name in the folder.
    :ivar path: its path on the disk.
    :ivar live: whether it still grows.
    """

    console: Console
    name: str
    path: Path
    live: bool


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in the folder."""

    name: str
    size: int
    modified: float

    @property
    def attributes(self) -> dict[str, int]:
        """The attributes of SFTP."""
        seconds = max(0, int(self.modified)) & 0xFFFFFFFF
        return {"size": self.size, "permissions": stat.S_IFREG | 0o440, "atime": seconds, "mtime": seconds}

    @property
    def line(self) -> str:
        """A line of ``ls -l``."""
        when = time.strftime("%b %d %Y %H:%M", time.gmtime(self.modified))
        return f"-r--r-----    1 vmproxy  vmproxy  {self.size:>12} {when} {self.name}"


FOLDER_ATTRIBUTES = {"size": 0, "permissions": stat.S_IFDIR | 0o550, "atime": 0, "mtime": 0}


def canonical(path: str) -> str:
    """The path inside the folder: ``/`` or ``/NAME``. A path that leads out of it ends at its top.

    :raises FileNotFoundError: if it is not a path.
    """
    if "\0" in path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return "/" + os.path.normpath("/" + path).strip("/")


def place(view: VisibleConsoles, path: str) -> LogPath:
    """The file of a path.

    :raises FileNotFoundError: if the operator sees no such console, or there is no such ending.
    :raises PermissionError: if the operator may see the console, but not read it.
    """
    name = canonical(path)[1:]
    parts = _NAME.fullmatch(name)
    try:
        if parts is None or "/" in name:
            raise VMProxyError("no such file")
        console = view.find(parts[1])
    except VMProxyError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
    if not view.may(console, Right.SPY):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    log, rest = console.log.path, parts[3]
    base = log if parts[2] == ".log" else plain_of(log)
    return LogPath(console, name, base.with_name(base.name + rest), live=rest in ("", ".events"))


def open_file(path: Path) -> int:
    """Open a file for reading.

    :returns: its descriptor.
    :raises OSError: if it cannot be opened or is anything but a file, a symbolic link for example.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return fd


def look(path: Path | str, name: str) -> FileEntry | None:
    """The file at a path; None if there is none."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return FileEntry(name, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None


def files(alias: str, log: Path) -> Iterator[FileEntry]:
    """The existing files of one console."""
    names = (f"{alias}.log", f"{alias}.log.events", f"{alias}.txt")
    found = LogFiles(log)
    renamed = {kind: (name, len(str(kind))) for kind, name in zip(found.kinds, names, strict=True)}
    for _number, parts in found.segments():
        for kind, path in parts:
            name, length = renamed[kind]
            entry = look(path, name + str(path)[length:])
            if entry is not None:
                yield entry


class Listing:
    """The list of the folder, piece by piece: thousands of consoles must neither stall the reactor nor be one packet.

    Every piece holds the same number of readable consoles, so that the number of pieces does not tell of hidden ones.
    """

    def __init__(
        self,
        view: VisibleConsoles,
        consoles: Iterable[Console],
        in_thread: InThread,
        turns: Turns,
        who: str,
        closed: Callable[[], None],
    ) -> None:
        """
        :param consoles: all consoles; those that the operator may not read are left out.
        :param turns: has the time that it takes; ``who``: whose time.
        :param closed: called once, when the list is closed.
        """
        self._view = view
        self._left = iter(consoles)
        self._in_thread = in_thread
        self._turns = turns
        self._who = who
        self._closed: Callable[[], None] | None = closed
        self._found: Iterator[FileEntry] = iter(())

    async def read(self) -> list[FileEntry]:
        """The next files; none at the end."""
        while True:
            entries = await self._in_thread(self._look_on)
            if entries:
                return entries
            logs = []
            for console in await self._some():
                await self._turn()
                logs.append((self._view.alias(console), console.log.path))
            if not logs:
                return []
            self._found = chain.from_iterable(files(alias, path) for alias, path in logs)

    async def _some(self) -> list[Console]:
        """The next readable consoles; none at the end."""
        some: list[Console] = []
        for console in self._left:
            await self._turn()
            if self._view.may(console, Right.SPY):
                some.append(console)
                if len(some) == CONSOLES_AT_ONCE:
                    break
        return some

    async def _turn(self) -> None:
        await self._view.ready(self._turns, self._who)

    def _look_on(self) -> list[FileEntry]:
        return list(islice(self._found, ENTRIES_AT_ONCE))

    def close(self) -> None:
        self._left = iter(())
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
