"""Rotation: logs that are too large or too old are put aside, compressed, and in the end removed.

By size, a log is due when something is written to it; by age, when the sweep (:mod:`retention`) of the folder meets
it, whether its VM says anything or not. What is due waits in a line, of which a few are done per turn: ten thousand
logs that come due at midnight keep no VM's bytes waiting. A log may be cut anywhere, also within a line: its segments
put together, oldest first, and the live file behind them, are exactly what the VM sent, whatever fails on the way.

A log and its trail are rotated in one step. The new trail begins with ``rotated``, and the new log's first byte gets a
time mark, so that each segment can be read by itself. All of it runs on the writer's thread, but for compression, which
has one of its own (:mod:`compression`): what comes of it is put in place here, under the number that the segment has by
then.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from vmproxy.base import values
from vmproxy.base.jsonlines import mend
from vmproxy.base.schema import setting
from vmproxy.log.compression import Work, compress
from vmproxy.log.file_pool import FilePool, reason
from vmproxy.log.files import MOST, LogFiles

PER_TURN = 16
TURN_SECONDS = 0.05  # after which a turn ends earlier: some disks take milliseconds to remove a file
TRAIL_LEAST = 64 * 1024  # a trail is not rotated for its own size below this, however small the logs shall be
HOLD_SECONDS = 60.0

_log = Logger()

Done = Callable[[Exception | None], object]
Compressor = Callable[[Work, Done], object]


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When logs are rotated, and how much of them is kept.

    Where neither size nor age is set, somebody else rotates, or nobody: ``keep`` and ``compress`` mean nothing then,
    and what logrotate has made is left to logrotate. The two totals count in any case.

    :ivar size: bytes from which on a log is rotated, and a trail (if it has 64 KiB); 0 for any size. It is looked at
        after each batch of what came, so that a log may be larger by a batch.
    :ivar age: seconds after its first byte at which a log is rotated; 0 for any age.
    :ivar keep: how many old segments of a log are kept; 0 for as many as there are, up to 999.
    :ivar compress: whether old segments are compressed with gzip.
    :ivar console_total: bytes that all files of one log may have, trails included; 0 for any number. The oldest
        segments are removed, never the live files.
    :ivar folder_total: bytes that all files in the log folder may have; 0 for any number. The oldest segments of all
        logs are removed, and after them logs of consoles that are down; never the live file of one that is connected.
    """

    size: int = setting(values.size, 0, key="rotate-size")
    age: float = setting(values.span, 0.0, key="rotate-age")
    keep: int = setting(values.whole(0, MOST), 0)
    compress: bool = setting(values.flag, False)
    console_total: int = setting(values.size, 0)
    folder_total: int = setting(values.size, 0)

    @property
    def rotates(self) -> bool:
        """Whether anything is rotated here at all."""
        return bool(self.size or self.age)

    @property
    def compresses(self) -> bool:
        """Whether old segments are compressed here."""
        return self.compress and self.rotates


@dataclass(slots=True)
class _UnderWay:
    """A file that is being compressed.

    :ivar kind: the live file that it once was.
    :ivar pin: keeps it open until the result is in place, so that no other file can get its inode.
    """

    pin: int
    log: Path
    kind: Path
    found: os.stat_result
    temporary: Path


def compress_here(work: Work, done: Done) -> None:
    """Compress at once, and wait for it."""
    problem: Exception | None = None
    try:
        compress(work, lambda seconds: False)
    except OSError as error:
        problem = error
    done(problem)


class Rotation:
    """What waits to be rotated and compressed.

    :ivar compressor: compresses, here or elsewhere; calls back on the writer's thread.
    :ivar rotated: rotations since the start; ``removed``: segments removed; ``removed_bytes``: the bytes of them;
        ``failed``: rotations, removals and compressions that failed.
    """

    def __init__(
        self, pool: FilePool, now: Callable[[], float], on_rotated: Callable[[Path, str, int], object]
    ) -> None:
        """
        :param on_rotated: called with the log, why it was rotated (``size``, ``age``, ``folder`` for that of all, or
            ``trail`` for its size), and
            the bytes that the log had.
        """
        self._pool = pool
        self._now = now
        self._on_rotated = on_rotated
        self._due: dict[Path, str] = {}
        self._held: dict[Path, float] = {}
        self._uncompressed: dict[Path, None] = {}
        self._under_way: _UnderWay | None = None
        self.compressor: Compressor = compress_here
        self.rotated = self.removed = self.removed_bytes = self.failed = 0
        self.size_limit = self.trail_limit = math.inf
        self._policy = RotationPolicy()

    def compress_with(self, compressor: Compressor) -> None:
        """Have files compressed by another compressor: on a thread of its own."""
        self.compressor = compressor

    @property
    def policy(self) -> RotationPolicy:
        """When logs are rotated, and how much of them is kept."""
        return self._policy

    def use(self, policy: RotationPolicy) -> None:
        """Rotate by another policy from now on."""
        self._policy = policy
        self.size_limit = policy.size or math.inf
        self.trail_limit = max(TRAIL_LEAST, self.size_limit)

    def wait(self) -> float | None:
        """0 if there is something that :meth:`step` would do; else None."""
        return 0.0 if self._due or (self._uncompressed and self._under_way is None) else None

    @property
    def waiting(self) -> int:
        """How many logs are in the line."""
        return len(self._due)

    def due(self, path: Path, why: str) -> bool:
        """A log is to be rotated: it is put into the line.

        :returns: whether it is in it; not so for a while after it could not be rotated.
        """
        until = self._held.get(path)
        if until is not None:
            if 0 < until - self._now() <= HOLD_SECONDS:
                return False
            del self._held[path]
        self._due.setdefault(path, why)
        return True

    def to_compress(self, path: Path) -> None:
        """A log has segments that are not compressed."""
        self._uncompressed[path] = None

    def close(self) -> None:
        """Forget what is under way, and begin nothing any more: the process stops."""
        self._due.clear()
        self._uncompressed.clear()
        if self._under_way is not None:
            os.close(self._under_way.pin)
            # It may have ended well, but too late: nobody puts it in its place any more.
            self._under_way.temporary.unlink(missing_ok=True)
            self._under_way = None

    def is_temporary(self, path: Path) -> bool:
        """Whether a file is what is being compressed just now."""
        return self._under_way is not None and self._under_way.temporary == path

    def step(self) -> None:
        """Rotate a few logs of the line, and have one file compressed."""
        began = time.monotonic()
        for _ in range(min(PER_TURN, len(self._due))):
            path = next(iter(self._due))
            why = self._due.pop(path)
            try:
                self._rotate(path, why)
            except OSError as error:
                self.failed += 1
                self._held[path] = self._now() + HOLD_SECONDS
                _log.error("cannot rotate {path}: {problem}", path=str(path), problem=reason(error))
            if time.monotonic() - began >= TURN_SECONDS:
                break
        if self._under_way is None and self._uncompressed:
            self._compress_next()

    def _rotate(self, path: Path, why: str) -> None:
        files = LogFiles(path)
        if why == "trail":  # it has grown, though the VM said nothing: its log is put aside with it, also an empty one
            self._pool.get(path)
        for kind in files.kinds:
            self._check_open(kind)
        limits = {"size": self.size_limit, "trail": self.trail_limit, "age": 1, "folder": 1}
        try:
            found = os.lstat(path)
            large = os.lstat(files.kinds[1]) if why == "trail" else found
        except FileNotFoundError:
            return  # somebody else has moved it
        if not stat.S_ISREG(found.st_mode):
            raise FileExistsError(None, "it is not a file")
        if large.st_size < limits[why]:
            # Truncated by somebody else, or the limit is higher by now.
            self._pool.drop(path)
            return
        mend(files.kinds[1])  # nothing is written behind a torn line any more when it is put aside
        files.shift()
        try:
            files.put_aside()
        finally:
            for kind in files.kinds:
                self._pool.drop(kind)
        self.rotated += 1
        self._on_rotated(path, why, found.st_size)
        self.retain(path)
        if self._policy.compresses:
            self._uncompressed[path] = None

    def _check_open(self, path: Path) -> None:
        # What was moved under us is not ours to move again; the next write makes it anew.
        try:
            found = os.stat(path)
        except FileNotFoundError:
            self._pool.drop(path)
            return
        if not self._pool.stands_at(path, found):
            self._pool.drop(path)

    # How much is kept.

    def retain(self, path: Path) -> None:
        """Remove the oldest segments of a log, as far as the policy wants it."""
        policy = self._policy
        files = LogFiles(path)
        keep = min(policy.keep or MOST, MOST)
        for number in reversed(files.numbers(keep)) if policy.rotates else ():
            if not self.remove(files, number, f"only {keep} are kept"):
                return
        if not policy.console_total:
            return
        numbers = files.numbers()
        sizes = {number: files.size(number) for number in numbers}
        total = files.live_size() + sum(sizes.values())
        while numbers and total > policy.console_total:
            number = numbers.pop()
            if not self.remove(files, number, f"the log may have {policy.console_total} bytes in all"):
                return
            total -= sizes[number]

    def remove(self, files: LogFiles, number: int, why: str) -> bool:
        """Remove a segment of a log, and say so.

        :returns: whether it could be removed.
        """
        try:
            self._release(files, number)
            freed = files.remove(number)
        except OSError as error:
            self.failed += 1
            _log.error(
                "cannot remove old log {path}.{number}: {problem}",
                path=str(files.path),
                number=number,
                problem=reason(error),
            )
            return False
        self.removed += 1
        self.removed_bytes += freed
        _log.info(
            "old log {path}.{number} removed, {freed} bytes: {why}",
            path=str(files.path),
            number=number,
            freed=freed,
            why=why,
        )
        return True

    def _release(self, files: LogFiles, number: int) -> None:
        # Renamed by somebody else a moment ago, it may still be the one that we write to.
        for kind, path in files.parts(number):
            self._pool.release(kind, os.lstat(path))

    # Compression.

    def _compress_next(self) -> None:
        path = next(iter(self._uncompressed))
        if not self._policy.compresses:
            self._uncompressed.clear()
            return
        try:
            work = self._begin(path)
        except OSError as error:
            self._not_compressed(path, error)
            return
        if work is None:
            self._uncompressed.pop(path, None)
            return
        self.compressor(work, self._compressed)

    def _begin(self, path: Path) -> Work | None:
        files = LogFiles(path)
        for number in reversed(files.numbers()):
            for kind, place in files.parts(number):
                if place.name.endswith(".gz"):
                    continue
                fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    found = os.fstat(fd)
                    if not stat.S_ISREG(found.st_mode):
                        raise FileExistsError(None, f"{place.name} is not a file")
                    self._pool.release(kind, found)
                    temporary = kind.with_name(kind.name + ".gz.tmp")
                    temporary.unlink(missing_ok=True)
                    pin = os.dup(fd)
                except BaseException:
                    os.close(fd)
                    raise
                self._under_way = _UnderWay(pin, path, kind, found, temporary)
                return Work(fd, temporary, found.st_size, found.st_mtime_ns, stat.S_IMODE(found.st_mode))
        return None

    def _compressed(self, problem: Exception | None) -> None:
        task = self._under_way
        if task is None:
            return
        self._under_way = None
        try:
            if problem is not None:
                raise problem
            self._put_in_place(task)
        except Exception as error:
            self._not_compressed(task.log, error)
        finally:
            os.close(task.pin)

    def _put_in_place(self, task: _UnderWay) -> None:
        files = LogFiles(task.log)
        # Its number may have grown in the meantime; or it is gone, because there was too much.
        number = files.locate(task.found.st_dev, task.found.st_ino)
        place = task.kind.with_name(f"{task.kind.name}.{number}")
        if not number or os.lstat(place).st_size != task.found.st_size:
            task.temporary.unlink(missing_ok=True)
            return
        os.rename(task.temporary, place.with_name(place.name + ".gz"))
        os.unlink(place)

    def _not_compressed(self, path: Path, error: Exception) -> None:
        # It stays as it is; the next sweep comes across it again.
        self._uncompressed.pop(path, None)
        self.failed += 1
        _log.error("cannot compress an old log of {path}: {problem}", path=str(path), problem=reason(error))
