"""The writer behind the logs: everything that touches the disk, on a thread of its own.

The reactor never waits for a disk. It collects what arrives, console by console, and hands it over in batches
several times a second; the writer opens, appends, makes links, and looks for files that were moved. In between, logs
are rotated (:mod:`vmproxy.log.rotation`), a few at a time. What cannot be written is kept and tried again
(:mod:`vmproxy.log.retry`).

Each log's items (bytes and events) are written in order, so that an event's offset is exact. The writer knows the
offset of the next byte of each log, and where in the file it goes; if the file is of another size than that, somebody
else changed it, and the trail says where the output goes on.

:class:`LogWriter` is the work itself and knows no threads; :class:`~vmproxy.log.writer_thread.LogWriterThread` runs it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger

from vmproxy.base.metrics import Histogram
from vmproxy.log.events import Event, event, format_line, stamp_of, time_mark, timestamp
from vmproxy.log.feed import EventFeed
from vmproxy.log.file_pool import FilePool, OpenFile, PartialWriteError, append_line, reason, write_all
from vmproxy.log.file_state import FINE_MARKS, LogFile, LogItem
from vmproxy.log.files import LogFiles, logs_in
from vmproxy.log.line_feed import LineFeed
from vmproxy.log.name_links import NameLinks
from vmproxy.log.periodic import Task, Timer, next_due
from vmproxy.log.plain_log import PlainFile, PlainWriter
from vmproxy.log.recovery import NEVER, End, find_end
from vmproxy.log.retention import Sweep
from vmproxy.log.retry import Retry
from vmproxy.log.rotation import Rotation, RotationPolicy

FOLLOW_SECONDS = 2.0
MARK_SECONDS = 1.0  # between time marks at most, while data flows
FINE_SECONDS = 0.01  # between them at least
# Bound of the marks that are closer than a second: of each log FINE_MARKS saved up and so many more a second; of all.
FINE_PER_SECOND = 10.0
FINE_OF_ALL, FINE_OF_ALL_PER_SECOND = 2000.0, 500.0
BEGUN_LIMIT = 4 * 1024  # of a line that is looked for in the log
STATED_EVERY = 32 * 1024  # bytes of a trail after which it says again where in the file an offset is

_log = Logger()

_ONLY_BYTES = {bytes}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class LogWriter:
    """Writes logs and trails.

    :ivar retry: what could not be written.
    :ivar feed: tells the reactor what is written to the trails.
    :ivar lines: is given what the VMs print, for those who look on.
    :ivar plain: whether a second file of plain lines is written beside each log; may be replaced at any time.
    :ivar rotation: what waits to be rotated, and what has been.
    :ivar follow: looks for files that were moved.
    :ivar written: bytes from VMs that the disk has taken, over all logs since the start.
    :ivar durations: how long the writing took of what one log was given at once.
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
        self.written = 0
        self.durations = Histogram(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)
        self.rotation = Rotation(self._pool, now, self._rotated)
        self.rotation.use(policy or RotationPolicy())
        self._plain_writer = PlainWriter(self._pool, now)
        self.find: Callable[[str], LogFile | None] = lambda _path: None
        self._known: dict[str, set[str]] = {}  # the logs in each folder, as far as there were any at the start
        self._at = 0.0
        self._fine, self._fine_at = FINE_OF_ALL, 0.0
        self._links = NameLinks(now, lambda: self.plain)
        self.feed = EventFeed(lambda _call: None)
        self.lines = LineFeed(now)
        self.retry = Retry(self._pool, now, self)
        self.follow = _Follow(self._pool, now, self._say_again)
        self._tasks: list[Task] = [self.retry, self.follow, self.rotation, self._plain_writer, self._links]

    def write(self, file: LogFile, items: Sequence[LogItem], at: float) -> None:
        """Append items to a log and its trail.

        :param at: when they arrived, seconds since the epoch.
        """
        if len(items) > 1 and set(map(type, items)) == _ONLY_BYTES:
            items = [b"".join(items)]  # type: ignore[arg-type]  # all of them are bytes
        self._write(file, items, at)
        lines = self.lines
        if lines.subscribers:
            if len(items) == 1 and type(items[0]) is bytes and lines.take(file, items[0], at):
                return  # this is so for nearly all that VMs print
            if lines.wants(file):
                self._tell_lines(file, items, at)

    def _tell_lines(self, file: LogFile, items: Sequence[LogItem], at: float) -> None:
        # Whether the disk has taken it or not: the news may be what is wrong with the disk.
        sizes = [item.missing if isinstance(item, Event) else len(item) for item in items]
        offset = file.offset + file.waiting_bytes + file.lost - sum(sizes)
        for item, size in zip(items, sizes, strict=True):
            if not isinstance(item, Event):
                self.lines.put(file, offset, item, at, lambda offset: begun(file, offset))
            offset += size

    def _write(self, file: LogFile, items: Sequence[LogItem], at: float) -> None:
        if file.problem:
            self.retry.keep(file, items)
            return
        self._at = at
        done = 0
        try:
            if file.base < 0:
                self._recover(file, may_be_new=True)
            if len(items) > 1 and all(isinstance(item, Event) and not item.missing for item in items):
                # What a VM's arrival brings, thousands of times in a storm: one write.
                self.tell(file, *(item.line(file.offset) for item in items if isinstance(item, Event)))
                return
            for item in items:
                if isinstance(item, Event):
                    at = max(at, item.at)  # a mark behind it must not be earlier
                    self.tell_event(file, item)
                else:
                    self._append_data(file, item, at)
                done += 1
        except PartialWriteError as error:
            self.retry.log_fails(file, error.cause)
            self.retry.keep(file, [error.rest, *items[done + 1 :]])
        except (OSError, ValueError) as error:
            self.retry.log_fails(file, error)
            self.retry.keep(file, items[done:])
        finally:
            self._pool.take_back()

    def mend(self, file: LogFile) -> None:
        """Have a log's trail in order, however the process before this one ended, and find out its offset."""
        if file.base < 0:
            self.recover(file)

    def recover(self, file: LogFile) -> None:
        """Find out the offset of a log."""
        try:
            self._recover(file)
        finally:
            self._pool.take_back()

    def _recover(self, file: LogFile, may_be_new: bool = False) -> None:
        # The trail may stay borrowed: what comes next is mostly an event.
        try:
            if may_be_new and self._is_new(file):
                file.offset = file.base = 0
                return
            end = self._find_end(file)
        except OSError as error:
            # The bytes are recorded all the same. The trail is looked at again when it can be written.
            _log.error("cannot read {path}: {problem}", path=file.trail_path, problem=reason(error))
            size = self.size(file)
            file.offset = file.base = size
            return
        file.offset = file.base = end.offset
        file.shift = end.shift
        file.since = end.since
        file.run_before = end.run
        file.stated = NEVER  # that it is another run
        file.whole = True
        if end.cut:
            size = end.offset - end.shift
            self.tell_event(file, event(self._now(), "truncated", {"size": size}))
            self.tell(file, _format_line(file, timestamp(self._now())))

    def _find_end(self, file: LogFile) -> End:
        path = file.trail_path
        if path not in self._pool:
            with contextlib.suppress(FileNotFoundError):
                trail = self._pool.borrow(path, make=False)
                end = find_end(file.path, trail.fd, trail.size)
                trail.size = end.trail
                return end
        return find_end(file.path)

    def _is_new(self, file: LogFile) -> bool:
        # In a storm of new VMs there is nothing to ask the disk for: a folder is read once. What this process has made
        # since is known to it, but for what it has forgotten.
        folder, _, name = file.path.rpartition("/")
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = logs_in(folder)
        return name not in known

    def _append_data(self, file: LogFile, data: bytes, at: float) -> None:
        path = file.path
        log = self._pool.get(path)
        if log.size != file.offset - file.shift:
            self._changed(file)
            log = self._pool.get(path)
        # A clock that was set back is due too; so is a file's first byte: each can be read by itself.
        since = at - file.marked
        due = not log.size or not 0 <= since < MARK_SECONDS
        if due or (since >= FINE_SECONDS and self._may_be_fine(file, at, len(data))):
            if due and file.fine < FINE_MARKS:
                file.fine = min(FINE_MARKS, file.fine + max(0.0, since) * FINE_PER_SECOND)
            file.marked = at
            self.tell(file, time_mark(at, file.offset))
            log = self._pool.get(path)  # opening the trail may have closed it
        try:
            write_all(log.fd, data)
        except PartialWriteError as error:
            written = len(data) - len(error.rest)
            file.offset += written
            self.written += written
            self._put_plain(file, data[:written], file.marked)
            raise
        log.size += len(data)
        file.offset += len(data)
        self.written += len(data)
        if log.size >= self.rotation.size_limit:
            self.rotation.due(file.where, "size")
        if self.plain or file.plain:
            self._put_plain(file, data, file.marked)

    def _may_be_fine(self, file: LogFile, at: float, size: int) -> bool:
        """Whether there may be a time mark within a second of the last. A KiB of output is worth one as well."""
        every = min(FINE_OF_ALL, self._fine + max(0.0, at - self._fine_at) * FINE_OF_ALL_PER_SECOND)
        if every < 1 or file.waiting_lines:
            return False
        own = min(FINE_MARKS, file.fine + (at - file.marked) * FINE_PER_SECOND + size / 1024)
        if own < 1:
            return False
        file.fine = own - 1
        self._fine, self._fine_at = every - 1, at
        return True

    def _changed(self, file: LogFile) -> None:
        """The file is not as long as it would be had only this process written to it: say where the output goes on."""
        if how := self._look(file):
            self.tell(file, _format_line(file, timestamp(self._now()), how))

    def _look(self, file: LogFile) -> str:
        """See where in the file the next byte will be.

        :returns: how the file was changed by somebody else; empty if it was not.
        """
        path = file.path
        log = self._pool.get(path) if path in self._pool else None
        size = self.size(file) if log is None else os.fstat(log.fd).st_size
        expected = file.offset - file.shift
        file.shift = file.offset - size
        if size != expected:
            file.since = size if size > expected else 0
        if log is not None:
            log.size = size
            # A file that was renamed, or made anew, is not the one that was cut.
            file.cuts += log.cut or size > expected
            log.cut = False
        return "truncated" if size < expected else "foreign" if size > expected else ""

    def _say_again(self, paths: Sequence[str]) -> None:
        """Have trails that were made anew, or truncated, say at once where the output goes on: a crash may be next."""
        for path in paths:
            if path.endswith(".events") and (file := self.find(path.removesuffix(".events"))) and file.base >= 0:
                self.tell(file, b"")

    def settle(self, file: LogFile) -> None:
        """Have the offset of a log agree with its file as it is now, whatever somebody else did to it."""
        if file.base < 0:
            self.recover(file)
        self._pool.follow_one(file.path)
        self._pool.follow_one(file.trail_path)
        self._changed(file)

    def tell_event(self, file: LogFile, item: Event) -> None:
        """Append an event to a log's trail, and count what it says is missing."""
        if not item.missing:
            self.tell(file, item.line(file.offset))
            return
        self._changed(file)  # what was there before is not to be taken for a part of the gap
        byte = file.offset - file.shift
        # In one write: a gap without its format line would not count after a crash.
        behind = format_line(timestamp(item.at), file.offset + item.missing, byte, file.run, file.base)
        self.tell(file, item.line(file.offset), behind)
        file.since = byte
        file.offset += item.missing
        file.shift += item.missing

    def tell(self, file: LogFile, *lines: bytes) -> None:
        """Append lines to a log's trail; those that cannot be written are kept."""
        if self.feed.followers:
            self.feed.tell(file, lines)
        if not file.waiting_lines:
            try:
                self.append_lines(file, b"".join(lines))
            except (OSError, ValueError) as error:
                self.retry.trail_fails(file, error)
            else:
                return
        self.retry.keep_lines(file, lines)

    def append_lines(self, file: LogFile, lines: bytes) -> None:
        """Append lines to a log's trail.

        :raises OSError: if they cannot be written.
        """
        pool = self._pool
        never_written = lines and not (file.whole or file.offset or file.shift) and file.path not in pool
        if never_written and self._begin_trail(file, lines):
            return
        # A trail stays open beside its log. That of a console that says nothing must not push out others.
        trail = pool.get(file.trail_path) if file.path in pool else pool.borrow(file.trail_path)
        try:
            if not file.whole:
                self._look_again(file, trail)
            if not trail.size or trail.cut or trail.size - file.stated >= STATED_EVERY:
                # A log that is empty, as far as is known, is looked at when its first byte is written.
                how = self._look(file) if file.offset != file.shift else ""
                # Events have waited for the writer: it is later now.
                at = stamp_of(lines) if lines else timestamp(self._now())
                lines = _format_line(file, at, how if trail.size else "") + lines
                file.stated = trail.size
                trail.cut = False
            append_line(trail, lines)
        finally:
            pool.take_back()
        if trail.size >= self.rotation.trail_limit:
            self.rotation.due(file.where, "trail")

    def _begin_trail(self, file: LogFile, lines: bytes) -> bool:
        """Make the trail of a console that has none, and never printed anything: thousands come in a storm.

        :returns: whether that was so, and all could be written; if not, nothing has been.
        """
        try:
            fd = os.open(file.trail_path, _NEW_FILE, 0o640)
        except OSError:
            return False  # it is met again, and told, by who opens it next
        try:
            data = _format_line(file, stamp_of(lines)) + lines
            if os.write(fd, data) < len(data):
                os.ftruncate(fd, 0)
                return False
        except OSError:
            return False
        finally:
            os.close(fd)
        file.whole = True
        if len(data) >= self.rotation.trail_limit:
            self.rotation.due(file.where, "trail")
        return True

    def _look_again(self, file: LogFile, trail: OpenFile) -> None:
        if trail.size:
            end = find_end(file.path)  # mends it, too
            trail.size = os.fstat(trail.fd).st_size
            file.stated = NEVER
            if end.offset > file.offset:  # it could not be read at the start
                file.begin_anew(file.base + end.offset - file.offset)
                file.offset, file.shift, file.since = end.offset, end.shift, end.since
        file.whole = True

    def _put_plain(self, file: LogFile, data: bytes, at: float) -> None:
        if not self.plain:
            file.plain = None  # it was wanted before
            return
        if file.plain is None:
            file.plain = PlainFile(file.where, file.encoding)
        elif file.plain.lines.encoding != file.encoding:
            file.plain.lines.use(file.encoding)
        self._plain_writer.feed(file.plain, data, at)

    def size(self, file: LogFile) -> int:
        """How long a log is now; 0 where it is not there or cannot be asked."""
        try:
            return self.position(file)
        except OSError:
            return 0

    def position(self, file: LogFile) -> int:
        """How long a log is now.

        :raises OSError: if that cannot be found out.
        """
        # An event before the first byte must not make the log; a log that exists is opened for its size, which is
        # that of the file and not what we remember.
        path = file.path
        if path in self._pool:
            return self._pool.get(path).size
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            return 0

    def append_some(self, file: LogFile, data: bytearray) -> int:
        """Append bytes that have waited; returns how many could be written, one at least."""
        log = self._pool.get(file.path)
        if log.size != file.offset - file.shift:
            self._changed(file)
            log = self._pool.get(file.path)
        written = os.write(log.fd, data)
        log.size += written
        file.offset += written
        self.written += written
        if log.size >= self.rotation.size_limit:
            self.rotation.due(file.where, "size")
        if self.plain:
            self._put_plain(file, bytes(data[:written]), self._now())
        return written

    @property
    def open_files(self) -> int:
        """How many logs and trails are open."""
        return len(self._pool)

    # Rotation.

    def use(self, policy: RotationPolicy, plain: bool) -> None:
        """Rotate by another policy from the next job on, and write plain text, or do not."""
        self.rotation.use(policy)
        self.plain = plain

    def serve(
        self,
        find: Callable[[str], LogFile | None],
        on_follow: Callable[[], object],
        on_reactor: Callable[[Callable[[], object]], object],
    ) -> None:
        """Serve a store: it finds the logs by their paths, and is called when files have been looked at.

        :param on_reactor: has a call made on the reactor's thread.
        """
        self.find = find
        self.follow.use(on_follow)
        self.feed = EventFeed(on_reactor)
        self.lines.deliver_with(on_reactor)

    def sweep(self, folder: Path, in_use: Callable[[], set[str]]) -> None:
        """Have a log folder looked through for what is to be rotated, compressed and removed.

        :param in_use: the paths of the logs of consoles that are connected.
        """
        self._tasks.insert(-1, Sweep(folder, self.rotation, self._now, in_use))

    def _rotated(self, path: Path, why: str, size: int) -> None:
        # The next batch must not seem older than this, and an idle log's rotation not as old as the last batch.
        idle = why in ("age", "folder")
        at = self._now() if idle else self._at
        file = self.find(str(path)) or LogFile(str(path.parent), path.name, _Nobody())
        if file.base < 0:
            self.recover(file)
        self.tell_event(file, event(at, "rotated", {"to": f"{path.name}.1", "bytes": size, "reason": why}))
        try:
            self._pool.get(path)  # so that who follows the log by name, or by its link, finds it
            if idle:
                # Perhaps nobody writes there; the descriptors are for those where somebody does.
                self._pool.drop(file.trail_path)
                self._pool.drop(path)
        except OSError as error:
            _log.error("cannot make {path} anew: {problem}", path=str(path), problem=reason(error))

    # What is due by time, and on demand.

    def tick(self) -> None:
        """Do what is due, or a part of it: retries, looking for files that were moved, rotation."""
        for task in self._tasks:
            task.step()

    def next_tick(self) -> float | None:
        """Seconds until :meth:`tick` has something to do; None while nothing is open and nothing fails."""
        return next_due(self._tasks)

    def reopen(self) -> None:
        """Close every file, so that the next write finds or makes it at its path."""
        self._pool.close()

    def reopen_one(self, file: LogFile) -> None:
        """Close one log and its trail, so that the next write finds or makes them at their paths."""
        self._pool.drop(file.path)
        self._pool.drop(file.trail_path)

    def forget(self, file: LogFile, remove: bool) -> None:
        """Take leave of a log: nothing more is written to it, and it has no link.

        :param remove: whether its files are removed, also those that were put aside.
        :raises OSError: if not all of them could be.
        """
        if file.plain is not None:
            self._plain_writer.finish(file.plain)
        self.lines.forget(file)
        files = LogFiles(file.where)
        for path in files.kinds:
            self._pool.drop(path)
        folder, _, name = file.path.rpartition("/")
        if folder in self._known:
            self._known[folder].add(name)  # another console may have its path
        self._links.remove(file)
        if remove:
            self.retry.forget(file)
            left = [number for number in files.numbers() if not self.rotation.remove(files, number, "it is forgotten")]
            for path in reversed(files.kinds):
                path.unlink(missing_ok=True)
            if left:
                raise OSError(errno.EIO, f"{len(left)} old logs could not be removed")

    def close(self) -> None:
        """Write what still waits, as far as it can be written, and close every file."""
        self.retry.close()
        self._plain_writer.close()
        self.rotation.close()
        self._pool.close()

    def link(self, file: LogFile, name: str) -> bool:
        """Have the links of a name lead to the files of a log; see :meth:`NameLinks.make`."""
        return self._links.make(file, name)


def _format_line(file: LogFile, at: str, cut: str = "") -> bytes:
    return format_line(at, file.offset, file.offset - file.shift, file.run, file.base, cut)


def begun(file: LogFile, offset: int) -> bytes:
    """What the log has of the line in which an offset is, before it; waits for the disk."""
    place = offset - file.shift
    start = max(file.since, place - BEGUN_LIMIT)
    if file.problem or start >= place:
        return b""
    try:
        with open(file.path, "rb", buffering=0) as log:
            data = os.pread(log.fileno(), place - start, start)
    except OSError:
        return b""
    return data[data.rfind(b"\n") + 1 :] if len(data) == place - start else b""


class _Nobody:
    """Null reporter, for a log whose console is not known."""

    def report(self, problem: str, lost: int) -> None: ...


class _Follow:
    """Looks every two seconds for files that were renamed, removed or truncated under the writer.

    :ivar on_follow: called when it has looked.
    """

    def __init__(self, pool: FilePool, now: Callable[[], float], on_changed: Callable[[Sequence[str]], object]) -> None:
        self._pool = pool
        self._on_changed = on_changed
        self._timer = Timer(FOLLOW_SECONDS, now)
        self.on_follow: Callable[[], object] = int

    def use(self, on_follow: Callable[[], object]) -> None:
        """Have something called when it has looked."""
        self.on_follow = on_follow

    def wait(self) -> float | None:
        """Seconds until it looks again; None while no file is open."""
        return self._timer.wait() if len(self._pool) else None

    def step(self) -> None:
        if self._timer.wait() <= 0:
            self._on_changed(self._pool.follow())
            self.on_follow()
            self._timer.start()
