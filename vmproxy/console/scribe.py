"""The writer behind the logs: everything that touches the disk, on a thread of its own.

The reactor never waits for a disk. It collects what arrives, console by console, and hands it over in batches
several times a second; the scribe opens, appends, makes links, and looks for files that were moved. Each log's items
(bytes and events) are written in order, so that an event's offset is exact.

When a write fails, the log's items wait here, bounded, and are tried again every second; what is over the bound is
counted, and when writing works again stands in the trail as a ``gap`` of that size, at the offset where the bytes
are missing. A trail that cannot be written keeps no byte of the VM's waiting: its lines wait apart.

:class:`Scribe` is the work itself and knows no threads; :class:`ScribeThread` runs it.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger

from vmproxy.console.filepool import FilePool
from vmproxy.console.trail import Event, event, time_mark

BACKLOG_PER_LOG = 256 * 1024
BACKLOG_IN_ALL = 64 * 1024 * 1024
BACKLOG_EVENTS = 1000
RETRY_SECONDS = 1.0
FOLLOW_SECONDS = 2.0
MARK_SECONDS = 1.0

_log = Logger()

Item = bytes | Event


class LogFile:
    """A log as the scribe sees it.

    :ivar problem: why it cannot be written now; empty while it can.
    :ivar lost: bytes dropped since it could not.
    :ivar lines: of the trail, that could not be written.
    """

    __slots__ = (
        "backlog",
        "backlog_events",
        "backlog_size",
        "lines",
        "lost",
        "marked",
        "path",
        "problem",
        "report",
        "trail_path",
    )

    def __init__(self, path: Path, report: Callable[[str, int], None]) -> None:
        """
        :param report: called with the problem and 0 when writing begins to fail, with an empty string and the number of
            bytes lost when it works again. Called on the scribe's thread.
        """
        self.path = path
        self.trail_path = path.with_name(path.name + ".events")
        self.report = report
        self.problem = ""
        self.lost = 0
        self.marked = 0.0
        self.backlog: deque[bytearray | Event] = deque()
        self.backlog_size = 0
        self.backlog_events = 0
        self.lines: deque[bytes] = deque()


class Scribe:
    """Writes logs and trails.

    :ivar lost: bytes lost for good since the start, over all logs.
    """

    def __init__(self, open_files: int, now: Callable[[], float] = time.time) -> None:
        """:param open_files: how many descriptors the logs and trails may hold."""
        self._pool = FilePool(open_files)
        self._now = now
        self._failing: dict[LogFile, None] = {}
        self._failing_size = 0
        self._failing_trails: dict[LogFile, None] = {}
        self._retry_at = 0.0
        self._follow_at = 0.0
        self.lost = 0

    def write(self, file: LogFile, items: Sequence[Item], at: float) -> None:
        """Append items to a log and its trail.

        :param at: when they arrived, seconds since the epoch.
        """
        if file.problem:
            self._keep(file, items)
            return
        if all(type(item) is bytes for item in items):
            items = [b"".join(items)]  # type: ignore[arg-type]
        done = 0
        try:
            for item in items:
                if isinstance(item, Event):
                    at = max(at, item.at)  # a mark behind it must not be earlier
                    self._tell(file, item.line(self._position(file)))
                else:
                    self._append_data(file, item, at)
                done += 1
        except _PartialWriteError as error:
            self._fail(file, error.cause)
            self._keep(file, [error.rest, *items[done + 1 :]])
        except (OSError, ValueError) as error:
            self._fail(file, error)
            self._keep(file, items[done:])

    def _append_data(self, file: LogFile, data: bytes, at: float) -> None:
        log = self._pool.get(file.path)
        # A clock that was set back is due too.
        if not 0 <= at - file.marked < MARK_SECONDS:
            file.marked = at
            self._tell(file, time_mark(at, log.size))
            log = self._pool.get(file.path)  # opening the trail may have closed it
        _write_all(log.fd, data)
        log.size += len(data)

    def _tell(self, file: LogFile, line: bytes) -> None:
        if not file.lines:
            try:
                self._append_line(file.trail_path, line)
            except (OSError, ValueError) as error:
                _log.error("cannot write {path}: {problem}", path=str(file.trail_path), problem=_reason(error))
                self._pool.drop(file.trail_path)
                self._will_retry()
                self._failing_trails[file] = None
            else:
                return
        if len(file.lines) < BACKLOG_EVENTS:
            file.lines.append(line)

    def _append_line(self, path: Path, line: bytes) -> None:
        trail = self._pool.get(path)
        try:
            _write_all(trail.fd, line)
        except _PartialWriteError as error:
            os.ftruncate(trail.fd, trail.size)  # no torn line: it is written again as a whole
            raise error.cause from error
        trail.size += len(line)

    def size(self, file: LogFile) -> int:
        """How long a log is now; 0 where it is not there or cannot be asked."""
        try:
            return self._position(file)
        except OSError:
            return 0

    def _position(self, file: LogFile) -> int:
        # An event before the first byte must not make the log; a log that exists is opened for its size, which is
        # that of the file and not what we remember.
        if file.path in self._pool:
            return self._pool.get(file.path).size
        try:
            return file.path.stat().st_size
        except FileNotFoundError:
            return 0

    # Failing and recovering.

    def _will_retry(self) -> None:
        if not self._failing and not self._failing_trails:
            self._retry_at = self._now() + RETRY_SECONDS

    def _fail(self, file: LogFile, error: Exception) -> None:
        file.problem = _reason(error)
        self._pool.drop(file.path)
        self._will_retry()
        self._failing[file] = None
        _log.error("cannot write {path}: {problem}", path=str(file.path), problem=file.problem)
        file.report(file.problem, 0)

    def _keep(self, file: LogFile, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                if file.backlog_events < BACKLOG_EVENTS:
                    file.backlog_events += 1
                    file.backlog.append(item)
                continue
            room = min(BACKLOG_PER_LOG - file.backlog_size, BACKLOG_IN_ALL - self._failing_size)
            # Once bytes are missing, what follows them is missing too: one gap, not a sieve.
            kept = item[: 0 if file.lost else max(0, room)]
            file.lost += len(item) - len(kept)
            file.backlog_size += len(kept)
            self._failing_size += len(kept)
            last = file.backlog[-1] if file.backlog else None
            if isinstance(last, bytearray):
                last += kept
            elif kept:
                file.backlog.append(bytearray(kept))

    def _retry(self) -> None:
        for file in list(self._failing):
            try:
                self._write_backlog(file)
            except (OSError, ValueError) as error:
                file.problem = _reason(error)
                self._pool.drop(file.path)
                continue
            lost = file.lost
            if lost:
                gap = event(self._now(), "gap", {"bytes": lost, "reason": file.problem})
                self._tell(file, gap.line(self.size(file)))
            del self._failing[file]
            file.problem = ""
            file.lost = 0
            self.lost += lost
            _log.info("writing {path} again, {lost} bytes lost", path=str(file.path), lost=lost)
            file.report("", lost)
        for file in list(self._failing_trails):
            try:
                while file.lines:
                    self._append_line(file.trail_path, file.lines[0])
                    file.lines.popleft()
            except (OSError, ValueError):
                self._pool.drop(file.trail_path)
                continue
            del self._failing_trails[file]

    def _write_backlog(self, file: LogFile) -> None:
        while file.backlog:
            item = file.backlog[0]
            if isinstance(item, Event):
                self._tell(file, item.line(self._position(file)))
                file.backlog_events -= 1
            else:
                log = self._pool.get(file.path)
                written = os.write(log.fd, item)
                log.size += written
                file.backlog_size -= written
                self._failing_size -= written
                if written < len(item):
                    del item[:written]
                    continue
            file.backlog.popleft()
        self._pool.get(file.path)  # it must be there to be written again, also if nothing waits

    # What is due by time, and on demand.

    def tick(self) -> None:
        """Do what is due: retries, and looking for files that were moved."""
        if self._failing_anything and self._wait(self._retry_at, RETRY_SECONDS) <= 0:
            self._retry()
            self._retry_at = self._now() + RETRY_SECONDS
        if self._wait(self._follow_at, FOLLOW_SECONDS) <= 0:
            self._pool.follow()
            self._follow_at = self._now() + FOLLOW_SECONDS

    def next_tick(self) -> float | None:
        """Seconds until :meth:`tick` has something to do; None while nothing is open and nothing fails."""
        if not self._failing_anything and not len(self._pool):
            return None
        wait = self._wait(self._follow_at, FOLLOW_SECONDS)
        return min(wait, self._wait(self._retry_at, RETRY_SECONDS)) if self._failing_anything else wait

    @property
    def _failing_anything(self) -> bool:
        return bool(self._failing or self._failing_trails)

    def _wait(self, due: float, interval: float) -> float:
        # A clock that was set back must not put things off: they are due at once.
        wait = due - self._now()
        return wait if 0 < wait <= interval else 0.0

    def reopen(self) -> None:
        """Close every file, so that the next write finds or makes it at its path."""
        self._pool.close()

    def close(self) -> None:
        """Write what still waits, as far as it can be written, and close every file."""
        if self._failing_anything:
            self._retry()
        for file in self._failing:
            missing = file.backlog_size + file.lost
            self.lost += missing
            _log.error("{path}: {lost} bytes could not be written", path=str(file.path), lost=missing)
        self._pool.close()

    def link(self, folder: Path, name: str, target: Path, old: str) -> None:
        """Make the link ``name`` in a folder point to a log, and remove the one that it had before.

        :param old: the link's former name; empty where there was none.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            where = os.path.relpath(target, folder)
            if old and old != name:
                _unlink(folder / old, where)
            new = folder / name
            if new.is_symlink() and new.readlink() == Path(where):
                return
            if new.exists() and not new.is_symlink():
                raise FileExistsError(errno.EEXIST, "there is a file of that name", str(new))
            temporary = folder / f".{name}.new"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(where)
            temporary.replace(new)
        except OSError as error:
            _log.error("cannot link {name} to {target}: {error}", name=name, target=str(target), error=str(error))


def _unlink(link: Path, where: str) -> None:
    if link.is_symlink() and link.readlink() == Path(where):
        link.unlink()


class _PartialWriteError(OSError):
    """Some of the data was written, ``rest`` was not."""

    def __init__(self, cause: OSError, rest: bytes) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.cause = cause
        self.rest = rest


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        try:
            written += os.write(fd, data[written:])
        except OSError as error:
            raise _PartialWriteError(error, data[written:]) from error


class ScribeThread:
    """Runs the scribe's work, one job after the other, on a thread of its own."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vmproxy-scribe", daemon=True)

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> None:
        """Have something done on the thread, after all that was submitted before."""
        self._jobs.put(job)

    def stop(self, done: Callable[[], object]) -> None:
        """Finish what was submitted, close everything, and call ``done`` on the thread."""

        def last() -> None:
            try:
                self.scribe.close()
            finally:
                done()

        self._jobs.put(last)
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self.scribe.next_tick())
            except queue.Empty:
                job = self.scribe.tick
            if job is None:
                return
            try:
                job()
                due = self.scribe.next_tick()
                if due is not None and due <= 0:
                    self.scribe.tick()
            except Exception:
                _log.failure("the log writer failed at a job; it goes on with the next")
