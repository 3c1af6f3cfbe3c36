"""What could not be written, and is tried again every second.

A log's items wait in its backlog; what is over the bounds is counted, and when writing works again stands in the
trail as a ``gap`` of that size, at the offset where the bytes are missing. A trail that cannot be written keeps no byte
of the VM's waiting: its lines wait apart. Jobs of others that failed wait here too.

Bound: 256 KiB and 1,000 events a log, 64 MiB over all logs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.logger import Logger

from vmproxy.log.events import Event, event
from vmproxy.log.file_pool import FilePool, reason
from vmproxy.log.file_state import LogFile, LogItem
from vmproxy.log.periodic import Timer

BACKLOG_PER_LOG = 256 * 1024
BACKLOG_IN_ALL = 64 * 1024 * 1024
BACKLOG_EVENTS = 1000
RETRY_SECONDS = 1.0

_log = Logger()


class Appender(Protocol):
    """The writer, as far as it is needed to try again."""

    def append_some(self, file: LogFile, data: bytearray) -> int:
        """Append bytes to a log; returns how many could be written, one at least.

        :raises OSError: if none could be.
        """

    def recover(self, file: LogFile) -> None:
        """Find out the offset of a log."""

    def tell_event(self, file: LogFile, item: Event) -> None:
        """Append an event to a log's trail; a line that cannot be written is kept."""

    def append_lines(self, file: LogFile, lines: bytes) -> None:
        """Append lines to a log's trail.

        :raises OSError: if they cannot be written.
        """


class Retry:
    """The logs, trails and jobs that failed.

    :ivar lost: bytes lost for good since the start, over all logs.
    """

    def __init__(self, pool: FilePool, now: Callable[[], float], appender: Appender) -> None:
        self._pool = pool
        self._now = now
        self._appender = appender
        self._timer = Timer(RETRY_SECONDS, now)
        self._logs: dict[LogFile, None] = {}
        self._size = 0
        self._trails: dict[LogFile, None] = {}
        self._jobs: dict[Callable[[], object], None] = {}
        self.lost = 0

    def wait(self) -> float | None:
        """Seconds until it is tried again; None while nothing fails."""
        return self._timer.wait() if self._logs or self._trails or self._jobs else None

    @property
    def failing(self) -> int:
        """How many logs cannot be written now."""
        return len(self._logs)

    @property
    def waiting(self) -> int:
        """Bytes that wait for logs that cannot be written now."""
        return self._size

    def again(self, job: Callable[[], object]) -> None:
        """Have a job that failed done again after a while; it may ask for that again."""
        self._will_retry()
        self._jobs[job] = None

    def log_fails(self, file: LogFile, error: Exception) -> None:
        """A log cannot be written from now on: its items are to be kept."""
        file.problem = reason(error)
        self._pool.drop(file.path)
        self._will_retry()
        self._logs[file] = None
        _log.error("cannot write {path}: {problem}", path=file.path, problem=file.problem)
        file.reporter.report(file.problem, 0)

    def trail_fails(self, file: LogFile, error: Exception) -> None:
        """A trail cannot be written from now on: its lines are to be kept."""
        _log.error("cannot write {path}: {problem}", path=file.trail_path, problem=reason(error))
        self._pool.drop(file.trail_path)
        file.whole = False
        self._will_retry()
        self._trails[file] = None

    def _will_retry(self) -> None:
        if self.wait() is None:
            self._timer.start()

    def keep(self, file: LogFile, items: Sequence[LogItem]) -> None:
        """Keep what a log that fails was to be given."""
        backlog = file.backlog
        for item in items:
            if isinstance(item, Event):
                if backlog.events < BACKLOG_EVENTS:
                    backlog.events += 1
                    backlog.items.append(item)
                else:
                    file.lost += item.missing
                continue
            room = min(BACKLOG_PER_LOG - backlog.size, BACKLOG_IN_ALL - self._size)
            # Once bytes are missing, what follows them is missing too: one gap instead of many.
            kept = item[: 0 if file.lost else max(0, room)]
            file.lost += len(item) - len(kept)
            backlog.size += len(kept)
            self._size += len(kept)
            last = backlog.items[-1] if backlog.items else None
            if isinstance(last, bytearray):
                last += kept
            elif kept:
                backlog.items.append(bytearray(kept))

    @staticmethod
    def keep_lines(file: LogFile, lines: Sequence[bytes]) -> None:
        """Keep what a trail that fails was to be given."""
        # Room is reserved for gaps: time marks alone, one a second by now, would fill the backlog in 15 minutes.
        waiting = file.backlog.lines
        for line in lines:
            if len(waiting) < BACKLOG_EVENTS or (b'"event":"gap"' in line and len(waiting) < 2 * BACKLOG_EVENTS):
                waiting.append(line)

    def forget(self, file: LogFile) -> None:
        """Keep nothing of a log any more: it is to be removed."""
        self._logs.pop(file, None)
        self._trails.pop(file, None)
        self._size -= file.waiting_bytes
        file.drop_backlog()

    def step(self) -> None:
        """Try again."""
        if self.wait() == 0:
            self._try()
            self._timer.start()

    def _try(self) -> None:
        for file in list(self._logs):
            self._retry_log(file)
        for file in list(self._trails):
            self._retry_trail(file)
        jobs, self._jobs = self._jobs, {}
        for job in jobs:
            job()

    def _retry_log(self, file: LogFile) -> None:
        try:
            self._write_backlog(file)
        except (OSError, ValueError) as error:
            file.problem = reason(error)
            self._pool.drop(file.path)
            return
        lost = file.lost
        if lost:
            self._appender.tell_event(file, event(self._now(), "gap", {"bytes": lost, "reason": file.problem}, lost))
        del self._logs[file]
        file.problem = ""
        file.lost = 0
        file.forget_backlog()
        self.lost += lost
        _log.info("writing {path} again, {lost} bytes lost", path=file.path, lost=lost)
        file.reporter.report("", lost)

    def _write_backlog(self, file: LogFile) -> None:
        if file.base < 0:
            self._appender.recover(file)
        backlog = file.backlog
        while backlog.items:
            item = backlog.items[0]
            if isinstance(item, Event):
                self._appender.tell_event(file, item)
                backlog.events -= 1
            else:
                written = self._appender.append_some(file, item)
                backlog.size -= written
                self._size -= written
                if written < len(item):
                    del item[:written]
                    continue
            del backlog.items[0]
        self._pool.get(file.path)  # it must be there to be written again, also if nothing waits

    def _retry_trail(self, file: LogFile) -> None:
        try:
            lines = file.backlog.lines
            while lines:
                self._appender.append_lines(file, lines[0])
                del lines[0]
        except (OSError, ValueError):
            self._pool.drop(file.trail_path)
            return
        del self._trails[file]
        file.forget_backlog()

    def close(self) -> None:
        """Try once more, and count what is lost."""
        if self.wait() is not None:
            self._try()
        for file in self._logs:
            missing = file.waiting_bytes + file.lost
            self.lost += missing
            _log.error("{path}: {lost} bytes could not be written", path=file.path, lost=missing)
