"""A bounded pool of open files, shared by all logs.

A process has a limited number of descriptors and the VMs' sockets need most of them. Files are opened for appending
when they are written to. When there are too many, the one not used for longest is closed, unless it is in use all the
time as well: when more logs are written to in turn than fit, closing the oldest would mean that none is ever found
open. Then the newest makes room, and a part of them stays. Runs on the writer's thread only: every call here may wait
for the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

IDLE = 15
"""How many looks at all files an open one outlasts that nobody uses."""

BUSY = 16
"""How many times as many files as may be open are used in turn before none of them is worth keeping."""

StrPath = str | os.PathLike[str]


@dataclass(slots=True)
class OpenFile:
    """An open file.

    :ivar size: where the next byte goes, as far as this process knows.
    :ivar used: the number of the call that asked for it last.
    :ivar followed: the number of the first look at all files since then.
    :ivar cut: whether somebody else was seen to have truncated it.
    """

    fd: int
    size: int
    device: int
    inode: int
    used: int
    followed: int | None = None
    cut: bool = False


class PartialWriteError(OSError):
    """Some of the data was written, ``rest`` was not."""

    def __init__(self, cause: OSError, rest: bytes) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.cause = cause
        self.rest = rest


class FilePool:
    """Files open for appending, the most recently used last."""

    __slots__ = ("_calls", "_files", "_followed", "_lent", "_limit")

    def __init__(self, limit: int | Callable[[], int]) -> None:
        """:param limit: how many files may be open at once, or what tells it; at least 2."""
        self._limit = limit if callable(limit) else (lambda: limit)
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._lent: tuple[str, OpenFile] | None = None
        self._calls = 0
        self._followed = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: StrPath) -> bool:
        return os.fspath(path) in self._files

    def get(self, path: StrPath) -> OpenFile:
        """The file, opened or made where it has to be, its folder too.

        :raises OSError: if it cannot be.
        """
        path = os.fspath(path)
        file = self._files.get(path)
        self._calls += 1
        if file is not None:
            self._files.move_to_end(path)
            file.used = self._calls
            file.followed = None
            return file
        self._make_room(1)
        fd = self._open(path)
        found = os.fstat(fd)
        file = self._files[path] = OpenFile(fd, found.st_size, found.st_dev, found.st_ino, self._calls)
        return file

    def borrow(self, path: StrPath, make: bool = True) -> OpenFile:
        """A file for one use, open for reading too where it was not open; :meth:`take_back` follows.

        It pushes out no other, for it does not stay open. It may be borrowed again before it is taken back.

        :param make: whether it is made where there is none.
        :raises OSError: if it cannot be opened.
        """
        path = os.fspath(path)
        file = self._files.get(path)
        if file is not None:
            return file
        if self._lent is not None:
            if self._lent[0] == path:
                return self._lent[1]
            self.take_back()
        if len(self._files) >= max(2, self._limit()):
            self._make_room(1)
        fd = self._open(path, os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if make else 0))
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(None, "Not a regular file")
        file = OpenFile(fd, found.st_size, found.st_dev, found.st_ino, self._calls)
        self._lent = path, file
        return file

    def take_back(self) -> None:
        """Close the file that was borrowed last, if it is open for nothing else."""
        if self._lent is not None:
            lent, self._lent = self._lent, None
            os.close(lent[1].fd)

    def _open(self, path: str, mode: int = os.O_WRONLY | os.O_CREAT) -> int:
        try:
            return _open(path, mode)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._files:
                raise
            self._drop_oldest()  # what else the process has open has taken all: make do with what is ours
            return _open(path, mode)

    def _make_room(self, files: int) -> None:
        limit = max(2, self._limit())
        while len(self._files) > limit - files:
            oldest = next(iter(self._files.values()))
            _, closed = self._files.popitem(last=self._calls - oldest.used < BUSY * limit)
            os.close(closed.fd)

    def _drop_oldest(self) -> None:
        _, oldest = self._files.popitem(last=False)
        os.close(oldest.fd)

    def stands_at(self, path: StrPath, found: os.stat_result) -> bool:
        """Whether the file open for a path, if there is one, is the file that was found there."""
        file = self._files.get(os.fspath(path))
        return file is None or (found.st_dev, found.st_ino) == (file.device, file.inode)

    def release(self, path: StrPath, found: os.stat_result) -> None:
        """Close what is open for a path if it is this file: somebody has given it another name.

        What is written next goes to a file at the path.
        """
        file = self._files.get(os.fspath(path))
        if file is not None and (found.st_dev, found.st_ino) == (file.device, file.inode):
            self.drop(path)

    def drop(self, path: StrPath) -> None:
        """Close the file; nothing happens if it is not open."""
        file = self._files.pop(os.fspath(path), None)
        if file is not None:
            os.close(file.fd)

    def close(self) -> None:
        """Close all files; they are opened again when they are next used."""
        while self._files:
            _, file = self._files.popitem()
            os.close(file.fd)

    def follow(self) -> list[str]:
        """See to files that were renamed, removed or truncated under us, and close those that nobody uses.

        :returns: the paths of those that were made anew or truncated.

        One that no longer stands at its path is closed and made anew there; of one that became shorter, the new size
        is taken. Errors are left to the next write, which reports them.
        """
        self._make_room(0)
        self._followed += 1
        changed: list[str] = []
        for path, file in list(self._files.items()):
            if file.followed is None:
                file.followed = self._followed
            elif self._followed - file.followed > IDLE:
                self.drop(path)
                continue
            if self.follow_one(path):
                if file.cut:
                    changed.append(path)
                continue
            try:
                self.get(path)
                changed.append(path)
            except OSError:
                continue  # the next write meets the same error and tells it
        return changed

    def follow_one(self, path: StrPath) -> bool:
        """See to one file: close it if it was renamed or removed under us, take its size if it became shorter.

        :returns: whether it is open, and where it was.
        """
        file = self._files.get(os.fspath(path))
        if file is None:
            return False
        try:
            found = os.stat(path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != (file.device, file.inode):
            self.drop(path)
            return False
        file.cut = file.cut or found.st_size < file.size
        file.size = found.st_size
        return True


def _open(path: StrPath, mode: int) -> int:
    flags = mode | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        if not mode & os.O_CREAT:
            raise
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o640)


def append_line(file: OpenFile, line: bytes) -> None:
    """Append a line, or several, as a whole or not at all.

    :raises OSError: if it cannot be.
    """
    try:
        write_all(file.fd, line)
    except PartialWriteError as error:
        os.ftruncate(file.fd, file.size)  # no torn line: it is written again as a whole
        raise error.cause from error
    file.size += len(line)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data.

    :raises PartialWriteError: if only some of it could be written.
    :raises OSError: if none could be.
    """
    written = os.write(fd, data)
    while written < len(data):
        try:
            written += os.write(fd, data[written:])
        except OSError as error:
            raise PartialWriteError(error, data[written:]) from error


def reason(error: Exception) -> str:
    """Why it failed, as the system puts it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
