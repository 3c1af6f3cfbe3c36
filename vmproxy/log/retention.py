"""The sweep: what becomes of logs in which nobody writes, and of the folder as a whole.

Every few minutes, or more often if logs do not get that old, the whole log folder is gone through, in small slices
between the writer's other work. A log that is old enough (or too large, if the limit was lowered) is put into the line
of those to be rotated, whether its console is open or not; segments that are too many are removed, those that were not
compressed are, and what a crash left half-compressed goes. If all files together have too many bytes, the oldest
segments are removed, whosesoever they are. Where that is not enough, logs of consoles that are down are rotated, those
first that have been silent longest, and removed in the next pass. The log says when that is not enough either.

A file counts as a log if it has an event trail beside it: nothing else in the folder is touched.
"""

from __future__ import annotations

import heapq
import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from twisted.logger import Logger

from vmproxy.log.file_pool import reason
from vmproxy.log.files import SEGMENT, LogFiles, places, trail_of
from vmproxy.log.rotation import PER_TURN, Rotation, RotationPolicy

SWEEP_SECONDS = 300.0
TOTAL_SECONDS = 60.0
SLICE_SECONDS = 0.02
SLICE = 256  # files looked at
CANDIDATES = 4096  # the oldest segments that are remembered, and removed at most, in one sweep
HEAD = 64 * 1024  # of a trail, in which its first time mark must be

_log = Logger()


class Sweep:
    """Goes through the log folder, again and again."""

    def __init__(
        self,
        folder: Path,
        rotation: Rotation,
        now: Callable[[], float],
        in_use: Callable[[], set[str]] = set,
    ) -> None:
        """:param in_use: the paths of the logs of consoles that are connected."""
        self._in_use = in_use
        self._live: list[tuple[int, str, int]] = []  # logs that are no segments: newest write first, path, bytes
        self._again = False
        self._told_over = False
        self._folder = folder
        self._rotation = rotation
        self._now = now
        self._policy: RotationPolicy | None = None  # of the pass
        self._pass: Iterator[int] | None = None
        self._at = 0.0
        self._oldest: list[tuple[int, int, int, str]] = []
        self._total = 0

    @property
    def _interval(self) -> float:
        if self._pass is not None:
            return SLICE_SECONDS
        if self._again:
            return SLICE_SECONDS
        policy = self._rotation.policy
        seconds = TOTAL_SECONDS if policy.folder_total else SWEEP_SECONDS
        return max(1.0, min(seconds, policy.age / 10)) if policy.age else seconds

    def wait(self) -> float | None:
        """Seconds until :meth:`step` has something to do; None if there is nothing to sweep for."""
        policy = self._rotation.policy
        if not (policy.rotates or policy.console_total or policy.folder_total):
            return None
        if policy != self._policy:
            return 0.0
        if self._pass is not None and self._rotation.waiting >= PER_TURN:
            return SLICE_SECONDS
        wait = self._at - self._now()
        return wait if 0 < wait <= self._interval else 0.0

    def step(self) -> None:
        """Do the slice that is due, if one is."""
        wait = self.wait()
        # A line that is long enough is not made longer: those at its end would only be looked at again.
        if wait is None or wait > 0 or self._rotation.waiting >= PER_TURN:
            return
        if self._pass is None or self._policy != self._rotation.policy:
            self._policy = self._rotation.policy  # another one begins anew
            self._pass = self._sweep()
        work = 0
        for cost in self._pass:
            work += cost
            if work >= SLICE or self._rotation.waiting >= PER_TURN:
                break
        else:
            self._pass = None
        self._at = self._now() + self._interval

    def _sweep(self) -> Iterator[int]:
        """One pass.

        :returns: from time to time what has been done, in files looked at.
        """
        self._oldest = []
        self._live = []
        self._again = False
        self._total = 0
        removed = self._rotation.removed_bytes
        folders = [self._folder]
        while folders:
            folder = folders.pop()
            # The names are read at once, so that what rotation makes of them meanwhile is not met again.
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    if folder != self._folder or entry.name != "by-name":
                        folders.append(Path(entry.path))
                    yield 1
                elif entry.is_file(follow_symlinks=False):
                    yield self._look(entry)
        # Some of what has been removed since was counted, some not. Rather too little is removed now than too much.
        self._total -= self._rotation.removed_bytes - removed
        yield from self._reduce()

    def _look(self, entry: os.DirEntry[str]) -> int:
        """Look at a file.

        :returns: how much work it was.
        """
        try:
            return self._look_at(entry)
        except FileNotFoundError:
            return 1  # removed, or renamed, a moment ago
        except OSError as error:
            _log.error("cannot look at {path}: {problem}", path=entry.path, problem=reason(error))
            return 1

    def _look_at(self, entry: os.DirEntry[str]) -> int:
        policy = self._rotation.policy
        size = 0
        if policy.folder_total:
            size = entry.stat(follow_symlinks=False).st_size
            self._total += size
        if entry.name.endswith(".events"):
            return self._look_at_log(Path(entry.path.removesuffix(".events")), Path(entry.path))
        if entry.name.endswith(".gz.tmp"):
            path = Path(entry.path)
            if not self._rotation.is_temporary(path):
                path.unlink()
            self._total -= size  # also of the one that is being made: it takes the place of another
            return 1
        match = SEGMENT.fullmatch(entry.name)
        if match is None or not (policy.folder_total or (policy.compresses and not match[3])):
            return 1
        log, number = Path(entry.path).with_name(match[1]), int(match[2])
        if not _is_ours(log, number):
            return 2
        if policy.compresses and not match[3]:
            self._rotation.to_compress(log)
        if policy.folder_total:
            found = entry.stat(follow_symlinks=False)
            # The heap's first is the newest of the oldest.
            candidate = (-found.st_mtime_ns, found.st_dev, found.st_ino, str(log))
            if len(self._oldest) < CANDIDATES:
                heapq.heappush(self._oldest, candidate)
            else:
                heapq.heappushpop(self._oldest, candidate)
        return 2

    def _look_at_log(self, log: Path, trail: Path) -> int:
        policy = self._rotation.policy
        cost = 1
        if policy.keep or policy.console_total:
            self._rotation.retain(log)
            cost += 4
        found = os.lstat(log)
        if not found.st_size or not stat.S_ISREG(found.st_mode):
            return cost
        if policy.folder_total:
            self._remember_live(found.st_mtime_ns, log, found.st_size)
        if policy.size and found.st_size >= policy.size:
            self._rotation.due(log, "size")
        elif policy.age and self._now() - _began(trail, found, self._now()) >= policy.age:
            self._rotation.due(log, "age")
        return cost + 2

    def _remember_live(self, written: int, log: Path, size: int) -> None:
        item = (-written, str(log), size)
        if len(self._live) < CANDIDATES:
            heapq.heappush(self._live, item)
        else:
            heapq.heappushpop(self._live, item)

    def _reduce(self) -> Iterator[int]:
        yield from self._remove_oldest()
        limit, live = self._rotation.policy.folder_total, sorted(self._live, reverse=True)
        self._live = []
        if not limit or self._total <= limit:
            self._told_over = False
            return
        in_use = self._in_use()
        left = self._total
        for _, log, size in live:
            if left <= limit:
                break
            if log not in in_use and self._rotation.due(Path(log), "folder"):
                self._again = True  # what is put aside now is removed in the next pass
                left -= size
            yield 1
        if left > limit and not self._told_over:
            self._told_over = True
            _log.warn(
                "the log folder has {total} bytes, and log.folder-total is {limit}: what is left belongs to consoles"
                " that are connected, or cannot be rotated; rotate-size bounds the log of each",
                total=self._total,
                limit=limit,
            )

    def _remove_oldest(self) -> Iterator[int]:
        oldest = sorted(self._oldest, reverse=True)
        self._oldest = []
        for _, device, inode, log in oldest:
            limit = self._rotation.policy.folder_total
            if not limit or self._total <= limit:
                return
            files = LogFiles(Path(log))
            number = files.locate(device, inode)  # it may have grown since
            if number:
                size = files.size(number)
                if self._rotation.remove(files, number, f"the log folder may have {limit} bytes in all"):
                    self._total -= size
            yield 8


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []  # there is no log yet, or its folder was removed
    except OSError as error:
        _log.error("cannot look through {folder}: {problem}", folder=str(folder), problem=reason(error))
        return []


def _is_ours(log: Path, number: int) -> bool:
    trail = trail_of(log)
    return any(os.path.lexists(path) for path in (str(trail), *places(trail, number)))


def _began(trail: Path, found: os.stat_result, now: float) -> float:
    """When the first byte of a log came: the first time mark in its trail tells it.

    :param found: the log; when it was last written is the next best, if the trail cannot be read, or tells of a time
        that is still to come: the clock was wrong then.
    """
    with trail.open("rb") as file:
        lines = file.read(HEAD).split(b"\n")[:-1]
    first: float | None = None
    for line in lines:
        try:
            entry = json.loads(line)
            at = datetime.fromisoformat(entry["at"]).timestamp()
            kind = entry["event"]
        except (ValueError, TypeError, KeyError):
            continue  # not ours, or torn by a crash: the next one will do
        if at > now:
            continue
        if kind == "time":
            return at
        if first is None and kind != "format":
            first = at
    return found.st_mtime if first is None else first
