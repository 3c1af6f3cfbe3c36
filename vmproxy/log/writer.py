"""The writer behind the logs: everything that touches the disk, on a thread of its own.

The reactor never waits for a disk. It collects what arrives, console by console, and hands it over in batches
several times a second; the scribe opens, appends, makes links, and looks for files that were moved. Each log's items
(bytes and events) are written in order, so that an event's offset is exact.

When a write fails, the log's items wait here, bounded, and are tried again every second; what is over the bound is
counted, and when writing works again stands in the trail as a ``gap`` of that size, at the offset where the bytes
are missing. A trail that cannot be written keeps no byte of the VM's waiting: its lines wait apart. In between writing,
logs are rotated (:mod:`rotation`), a few at a time.

:class:`Scribe` is the work itself and knows no threads; :class:`ScribeThread` runs it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger

from vmproxy.base.jsonlines import mend
from vmproxy.log.compression import CompressorThread
from vmproxy.log.events import Event, event, time_mark
from vmproxy.log.file_pool import FilePool, PartialWriteError, reason, write_all
from vmproxy.log.file_state import Item, LogFile
from vmproxy.log.links import link
from vmproxy.log.plain_log import PlainFile, PlainWriter
from vmproxy.log.retention import Sweep
from vmproxy.log.rotation import Rotation, RotationPolicy

BACKLOG_PER_LOG = 256 * 1024
BACKLOG_IN_ALL = 64 * 1024 * 1024
BACKLOG_EVENTS = 1000
RETRY_SECONDS = 1.0
FOLLOW_SECONDS = 2.0
MARK_SECONDS = 1.0
COMPRESSOR_SECONDS = 5.0  # to tidy up at the stop; it takes that long only where the machine is very busy

_log = Logger()

_ONLY_BYTES = {bytes}


class Scribe:
    """Writes logs and trails.

    :ivar lost: bytes lost for good since the start, over all logs.
    :ivar plain: whether a second file of plain lines is written beside each log; may be replaced at any time.
    :ivar rotation: what waits to be rotated, and what has been.
    :ivar on_follow: called when it was looked for files that were moved.
    """

    def __init__(
        self,
        open_files: int | Callable[[], int],
        now: Callable[[], float] = time.time,
        policy: RotationPolicy | None = None,
        plain: bool = False,
    ) -> None:
        """
        :param open_files: how many descriptors the logs and trails may hold, or what tells it.
        :param policy: when logs are rotated; by default, never.
        """
        self._pool = FilePool(open_files)
        self._now = now
        self.plain = plain
        self.rotation = Rotation(self._pool, now, self._rotated)
        self.rotation.policy = policy or RotationPolicy()
        self._sweep: Sweep | None = None
        self._plain_writer = PlainWriter(self._pool, now)
        self.find: Callable[[str], LogFile | None] = lambda _path: None
        self._at = 0.0
        self._failing: dict[LogFile, None] = {}
        self._failing_size = 0
        self._failing_trails: dict[LogFile, None] = {}
        self._jobs: dict[Callable[[], object], None] = {}  # of others, that failed
        self._links_fail = False
        self.on_follow: Callable[[], object] = int
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
        self._at = at
        if len(items) > 1 and set(map(type, items)) == _ONLY_BYTES:
            items = [b"".join(items)]  # type: ignore[arg-type]
        done = 0
        try:
            if len(items) > 1 and all(isinstance(item, Event) for item in items):
                # What a VM's arrival brings, thousands of times in a storm: one look at the log, one write.
                offset = self._position(file)
                self._tell(file, *(item.line(offset) for item in items if isinstance(item, Event)))
                return
            for item in items:
                if isinstance(item, Event):
                    at = max(at, item.at)  # a mark behind it must not be earlier
                    self._tell(file, item.line(self._position(file)))
                else:
                    self._append_data(file, item, at)
                done += 1
        except PartialWriteError as error:
            self._fail(file, error.cause)
            self._keep(file, [error.rest, *items[done + 1 :]])
        except (OSError, ValueError) as error:
            self._fail(file, error)
            self._keep(file, items[done:])

    def mend(self, file: LogFile) -> None:
        """Have a log's trail in order, however the process before this one ended."""
        try:
            mend(file.trail_path)
        except OSError as error:
            _log.error("cannot mend {path}: {problem}", path=file.trail_path, problem=reason(error))

    def _append_data(self, file: LogFile, data: bytes, at: float) -> None:
        path = file.path
        log = self._pool.get(path)
        # A clock that was set back is due too; so is a file's first byte: each can be read by itself.
        if not log.size or not 0 <= at - file.marked < MARK_SECONDS:
            file.marked = at
            self._tell(file, time_mark(at, log.size))
            log = self._pool.get(path)  # opening the trail may have closed it
        try:
            write_all(log.fd, data)
        except PartialWriteError as error:
            self._put_plain(file, data[: len(data) - len(error.rest)], at)
            raise
        log.size += len(data)
        if log.size >= self.rotation.size_limit:
            self.rotation.due(file.where, "size")
        if self.plain or file.plain:
            self._put_plain(file, data, at)

    def _tell(self, file: LogFile, *lines: bytes) -> None:
        if not file.waiting_lines:
            try:
                self._append_lines(file, b"".join(lines))
            except (OSError, ValueError) as error:
                _log.error("cannot write {path}: {problem}", path=file.trail_path, problem=reason(error))
                self._pool.drop(file.trail_path)
                file.whole = False
                self._will_retry()
                self._failing_trails[file] = None
            else:
                return
        # Room is kept for what is missing: marks alone, one a second, would take all of it in a quarter of an hour.
        waiting = file.backlog.lines
        for line in lines:
            if len(waiting) < BACKLOG_EVENTS or (b'"event":"gap"' in line and len(waiting) < 2 * BACKLOG_EVENTS):
                waiting.append(line)

    def _append_lines(self, file: LogFile, lines: bytes) -> None:
        if not file.whole:
            trail = self._pool.get(file.trail_path)
            if trail.size:
                mend(file.trail_path)
                trail.size = os.fstat(trail.fd).st_size
            file.whole = True
        if self._pool.append_line(file.trail_path, lines).size >= self.rotation.trail_limit:
            self.rotation.due(file.where, "trail")

    def _put_plain(self, file: LogFile, data: bytes, at: float) -> None:
        if not self.plain:
            file.plain = None  # it was wanted before
            return
        if file.plain is None:
            file.plain = PlainFile(file.where)
        self._plain_writer.feed(file.plain, data, at)

    def size(self, file: LogFile) -> int:
        """How long a log is now; 0 where it is not there or cannot be asked."""
        try:
            return self._position(file)
        except OSError:
            return 0

    def _position(self, file: LogFile) -> int:
        # An event before the first byte must not make the log; a log that exists is opened for its size, which is
        # that of the file and not what we remember.
        path = file.path
        if path in self._pool:
            return self._pool.get(path).size
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            return 0

    # Failing and recovering.

    def again(self, job: Callable[[], object]) -> None:
        """Have a job that failed done again after a while; it may ask for that again."""
        self._will_retry()
        self._jobs[job] = None

    def _will_retry(self) -> None:
        if not self._failing_anything:
            self._retry_at = self._now() + RETRY_SECONDS

    def _fail(self, file: LogFile, error: Exception) -> None:
        file.problem = reason(error)
        self._pool.drop(file.path)
        self._will_retry()
        self._failing[file] = None
        _log.error("cannot write {path}: {problem}", path=file.path, problem=file.problem)
        file.reporter.report(file.problem, 0)

    def _keep(self, file: LogFile, items: Sequence[Item]) -> None:
        backlog = file.backlog
        for item in items:
            if isinstance(item, Event):
                if backlog.events < BACKLOG_EVENTS:
                    backlog.events += 1
                    backlog.items.append(item)
                continue
            room = min(BACKLOG_PER_LOG - backlog.size, BACKLOG_IN_ALL - self._failing_size)
            # Once bytes are missing, what follows them is missing too: one gap, not a sieve.
            kept = item[: 0 if file.lost else max(0, room)]
            file.lost += len(item) - len(kept)
            backlog.size += len(kept)
            self._failing_size += len(kept)
            last = backlog.items[-1] if backlog.items else None
            if isinstance(last, bytearray):
                last += kept
            elif kept:
                backlog.items.append(bytearray(kept))

    def _retry(self) -> None:
        for file in list(self._failing):
            try:
                self._write_backlog(file)
            except (OSError, ValueError) as error:
                file.problem = reason(error)
                self._pool.drop(file.path)
                continue
            lost = file.lost
            if lost:
                gap = event(self._now(), "gap", {"bytes": lost, "reason": file.problem})
                self._tell(file, gap.line(self.size(file)))
            del self._failing[file]
            file.problem = ""
            file.lost = 0
            file.forget_backlog()
            self.lost += lost
            _log.info("writing {path} again, {lost} bytes lost", path=file.path, lost=lost)
            file.reporter.report("", lost)
        for file in list(self._failing_trails):
            try:
                lines = file.backlog.lines
                while lines:
                    self._append_lines(file, lines[0])
                    del lines[0]
            except (OSError, ValueError):
                self._pool.drop(file.trail_path)
                continue
            del self._failing_trails[file]
            file.forget_backlog()
        jobs, self._jobs = self._jobs, {}
        for job in jobs:
            job()

    def _write_backlog(self, file: LogFile) -> None:
        backlog = file.backlog
        while backlog.items:
            item = backlog.items[0]
            if isinstance(item, Event):
                self._tell(file, item.line(self._position(file)))
                backlog.events -= 1
            else:
                log = self._pool.get(file.path)
                written = os.write(log.fd, item)
                log.size += written
                if log.size >= self.rotation.size_limit:
                    self.rotation.due(file.where, "size")
                if self.plain:
                    self._put_plain(file, bytes(item[:written]), self._now())
                backlog.size -= written
                self._failing_size -= written
                if written < len(item):
                    del item[:written]
                    continue
            del backlog.items[0]
        self._pool.get(file.path)  # it must be there to be written again, also if nothing waits

    # Rotation.

    @property
    def policy(self) -> RotationPolicy:
        """When logs are rotated; may be replaced at any time, which counts from the next thing that is done here."""
        return self.rotation.policy

    @policy.setter
    def policy(self, policy: RotationPolicy) -> None:
        self.rotation.policy = policy

    def sweep(self, folder: Path) -> None:
        """Have a log folder looked through for what is to be rotated, compressed and removed."""
        self._sweep = Sweep(folder, self.rotation, self._now)

    def _rotated(self, path: Path, why: str, size: int) -> None:
        # The next batch must not seem older than this, and an idle log's rotation not as old as the last batch.
        at = self._now() if why == "age" else self._at
        file = self.find(str(path)) or LogFile(str(path.parent), path.name, _Nobody())
        self._tell(file, event(at, "rotated", {"to": f"{path.name}.1", "bytes": size, "reason": why}).line(0))
        try:
            self._pool.get(path)  # so that who follows the log by name, or by its link, finds it
            if why == "age":
                # Perhaps nobody writes there; the descriptors are for those where somebody does.
                self._pool.drop(file.trail_path)
                self._pool.drop(path)
        except OSError as error:
            _log.error("cannot make {path} anew: {problem}", path=str(path), problem=reason(error))

    # What is due by time, and on demand.

    def tick(self) -> None:
        """Do what is due, or a part of it: retries, looking for files that were moved, rotation."""
        if self._failing_anything and self._wait(self._retry_at, RETRY_SECONDS) <= 0:
            self._retry()
            self._retry_at = self._now() + RETRY_SECONDS
        if self._wait(self._follow_at, FOLLOW_SECONDS) <= 0:
            self._pool.follow()
            self.on_follow()
            self._follow_at = self._now() + FOLLOW_SECONDS
        self.rotation.step()
        if self._sweep is not None:
            self._sweep.step()
        self._plain_writer.step()

    def next_tick(self) -> float | None:
        """Seconds until :meth:`tick` has something to do; None while nothing is open and nothing fails."""
        if self.rotation.busy:
            return 0.0
        waits = [
            self._wait(self._follow_at, FOLLOW_SECONDS) if len(self._pool) else None,
            self._wait(self._retry_at, RETRY_SECONDS) if self._failing_anything else None,
            self._sweep.wait() if self._sweep is not None else None,
            self._plain_writer.wait(),
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    @property
    def _failing_anything(self) -> bool:
        return bool(self._failing or self._failing_trails or self._jobs)

    def _wait(self, due: float, interval: float) -> float:
        # A clock that was set back must not put things off: they are due at once.
        wait = due - self._now()
        return wait if 0 < wait <= interval else 0.0

    def reopen(self) -> None:
        """Close every file, so that the next write finds or makes it at its path."""
        self._pool.close()

    def reopen_one(self, file: LogFile) -> None:
        """Close one log and its trail, so that the next write finds or makes them at their paths."""
        self._pool.drop(file.path)
        self._pool.drop(file.trail_path)

    def close(self) -> None:
        """Write what still waits, as far as it can be written, and close every file."""
        if self._failing_anything:
            self._retry()
        for file in self._failing:
            missing = file.waiting_bytes + file.lost
            self.lost += missing
            _log.error("{path}: {lost} bytes could not be written", path=file.path, lost=missing)
        self._plain_writer.close()
        self.rotation.close()
        self._pool.close()

    def link(self, file: LogFile, name: str) -> bool:
        """Make the link ``by-name/NAME.log`` point to a log, and remove the one that it had before.

        :returns: whether it is done with; if not, it is to be tried again.
        """
        target, old = f"../{file.name}", f"{file.link}.log" if file.link else ""
        error = link(f"{file.folder}/by-name", f"{name}.log", target, old)
        if error is None:
            file.link = name
        elif not self._links_fail:
            _log.error("cannot link {name} to {target}: {error}", name=f"{name}.log", target=target, error=str(error))
        self._links_fail = error is not None
        return error is None


class _Nobody:
    """Who hears of the troubles of a log whose console is not known."""

    def report(self, problem: str, lost: int) -> None:
        """Nobody listens."""


class ScribeThread:
    """Runs the scribe's work, one job after the other, on a thread of its own."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vmproxy-scribe", daemon=True)
        self._compressor = CompressorThread(self.submit)
        scribe.rotation.compressor = self._compressor.submit

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> None:
        """Have something done on the thread, after all that was submitted before."""
        self._jobs.put(job)

    def stop(self, done: Callable[[], object]) -> None:
        """Finish what was submitted, close everything, and call ``done`` on the thread."""

        def last() -> None:
            self._compressor.stop()
            try:
                self.scribe.close()
                self._compressor.join(COMPRESSOR_SECONDS)
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
