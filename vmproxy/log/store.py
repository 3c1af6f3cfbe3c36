"""The logs as the reactor sees them: append and forget, with a bound.

A :class:`ConsoleLog` collects what its console feeds it; a few times a second the :class:`LogStore` hands everything
that came in to the writer, in one batch. What the writer has not taken yet is bounded per log and in all. Above a mark
the VM is asked to wait, which TCP does without losing anything; above a mark in all, every VM that says something is.
But if the disk makes no progress for a second, the VM goes on and what does not fit is dropped and recorded as a gap: a
console never hangs on a disk.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.clock import wall_of
from vmproxy.log.audit import Audit
from vmproxy.log.events import AND, Event, event, quoted
from vmproxy.log.feed import Follower
from vmproxy.log.file_state import LogFile, LogItem, new_run
from vmproxy.log.line_feed import LineFeed
from vmproxy.log.paths import folded
from vmproxy.log.place import Place, place_in
from vmproxy.log.settings import LogSettings
from vmproxy.log.writer import LogWriter

FLUSH_SECONDS = 0.02
BYTES_SECONDS = 0.01  # how long bytes wait, where few logs have any: what comes meanwhile has one time
FEW_LOGS = 16
STORM_SECONDS = 0.5  # how long events wait, and the journal, while many come
STORM_LOGS = 16  # with events in one batch
FLUSH_SIZE = 256 * 1024
CONGESTED_AT = 1024 * 1024
RELIEVED_AT = 256 * 1024
LIMIT_PER_LOG = 4 * 1024 * 1024
LIMIT_IN_ALL = 256 * 1024 * 1024
LINKS_AT_ONCE = 100
CROWDED_AT = LIMIT_IN_ALL // 2
RELIEVED_IN_ALL = LIMIT_IN_ALL // 4
LIMIT_EVENTS = 1024 * 1024  # of room that bytes do not get
EVENT_OVERHEAD = 64  # of an event's line, beside its body
PATIENCE_SECONDS = 1.0
REPORT_SECONDS = 0.1  # how often the writer tells how far it has come

T = TypeVar("T")

_log = Logger()


class LogListener(Protocol):
    """Who wants to know how a log fares: its console."""

    def log_failed(self, reason: str) -> None:
        """Writing fails, ``reason`` as the system puts it."""

    def log_recovered(self, lost: int) -> None:
        """Writing works again, ``lost`` bytes are missing."""

    def log_congested(self, on: bool) -> None:
        """The log is behind, or has caught up."""


class Runner(Protocol):
    """Where the writer's jobs run, in order: its thread; in tests, here and now."""

    writer: LogWriter

    def start(self) -> None:
        """Start working."""

    def submit(self, job: Callable[[], object]) -> None:
        """Have something done."""

    def stop(self, done: Callable[[], object]) -> None:
        """Finish, close, and call ``done``."""


class ConsoleLog:
    """The log and event trail of one console.

    :ivar listener: who is told how the log fares.
    :ivar problem: why it is not being recorded now; empty while it is.
    :ivar must_take: take what comes though there is much already: it is bounded by other means.
    :ivar received: bytes from the VM since this process began, recorded or not.
    """

    __slots__ = (
        "_collected",
        "_congested_since",
        "_dropped",
        "_items",
        "_passed",
        "_stalled",
        "_store",
        "_unwritten",
        "file",
        "listener",
        "must_take",
        "problem",
        "received",
    )

    def __init__(self, store: LogStore, name: str) -> None:
        self._store = store
        self._items: list[LogItem] | None = None
        self._unwritten = 0  # bytes that the writer has not dealt with yet
        self._collected = 0  # those of them that are in _items
        self._dropped = 0
        self._passed = 0
        self.received = 0
        self._congested_since = 0.0
        self._stalled = False
        self.listener: LogListener | None = None
        self.must_take = False
        self.problem = ""
        self.file = LogFile(store.prefix, name, self, store.run)

    @property
    def name(self) -> str:
        """Its path in the log folder."""
        return self.file.name

    @property
    def path(self) -> Path:
        """Where the log stands."""
        return self.file.where

    def report_to(self, listener: LogListener | None) -> None:
        """Have a listener told how the log fares; None: nobody."""
        self.listener = listener

    def take_all(self, on: bool) -> None:
        """Take what comes though there is much already, or not any more: it is bounded by other means."""
        self.must_take = on

    def append(self, data: bytes) -> None:
        """Record bytes from the VM."""
        size, store = len(data), self._store
        self.received += size
        store.received += size
        too_much = self._unwritten + size > LIMIT_PER_LOG and not self.must_take
        if too_much or store.unwritten + size > LIMIT_IN_ALL:
            self._dropped += size
            store.dropped += size
            store.dropping.add(self)
            return
        if self._dropped:
            self.close_gap()
        self._unwritten += size
        self._collected += size
        store.unwritten += size
        if self._items is None:
            self._items = [data]
            store.dirty(self)
        else:
            if type(self._items[-1]) is not bytes:
                store.dirty(self)  # there were only events, perhaps, and these may have to wait
            self._items.append(data)
        if self._collected >= FLUSH_SIZE:
            store.flush()  # so much is worth a batch of its own
        behind = self._unwritten > CONGESTED_AT or store.unwritten > CROWDED_AT
        if behind and not self._congested_since and not self._stalled:
            self._congested_since = store.clock.seconds()
            store.congested(self)
            if self.listener is not None:
                self.listener.log_congested(True)

    @property
    def offset(self) -> int | None:
        """That of the next byte from the VM; None until the writer has looked at the files."""
        base = self.file.base
        return None if base < 0 else base + self.received

    def place(self, offset: int) -> Place:
        """The place of an offset, for somebody who may come back with it much later."""
        return place_in(self.file, offset)

    def pass_over(self, size: int) -> None:
        """Bytes from the VM that are not to be recorded: they count, and :meth:`resume` says how many they were."""
        self.received += size
        self._store.received += size
        self._passed += size
        self._store.passing.add(self)

    def resume(self, kind: str, **fields: object) -> int:
        """Record that bytes are recorded again, as an event with their number.

        :returns: how many bytes were passed over.
        """
        missing, self._passed = self._passed, 0
        self._store.passing.discard(self)
        self._record(event(self._store.wall(), kind, {**fields, "bytes": missing}, missing))
        return missing

    def gap(self, size: int, reason: str) -> None:
        """Record that bytes from the VM are missing here."""
        self.received += size
        self._store.received += size
        self._store.dropped += size
        self._record(event(self._store.wall(), "gap", {"bytes": size, "reason": reason}, size))

    def event(self, kind: str, **fields: object) -> None:
        """Record an event at this point of the log."""
        self._record(event(self._store.wall(), kind, fields))

    def arrival(self, host: str, name: str) -> None:
        """Record that the VM came for the first time: the events ``up`` and ``name``, at once."""
        body = f'"event":"up","host":{quoted(host)}}}{AND}"event":"name","name":{quoted(name)}}}'
        self._record(Event(self._store.wall(), body))

    def _record(self, item: Event) -> None:
        store, size = self._store, len(item.body) + EVENT_OVERHEAD
        if self._unwritten + size > LIMIT_PER_LOG + LIMIT_EVENTS or store.unwritten + size > 2 * LIMIT_IN_ALL:
            store.events_lost += 1 + item.body.count(AND)
            if item.missing:
                self._dropped += item.missing  # it is told later
                store.dropping.add(self)
            return
        self._unwritten += size
        self._collected += size
        store.unwritten += size
        if self._items is None:
            self._items = [item]
            store.quiet(self)
        else:
            self._items.append(item)

    def input(self, **fields: object) -> None:
        """Record what was typed, apart from the trail: who may read that need not read this."""
        self._store.inputs.record("input", log=self.path.name, **fields)

    def settled(self) -> Deferred[int]:
        """Fires when everything appended before this call has been written, or could not be.

        :returns: the size of the file then: what is behind that came after this call.
        """
        return self._store.settled(self.file)

    def on_writer(self, call: Callable[[Path], T]) -> Deferred[T]:
        """Have something done with the log's files while nobody writes to them, rotates or removes them.

        Everything appended before this call has been written then, or could not be. It should not take long: what is
        opened in it can be read afterwards, whatever becomes of its name.

        :param call: is given the log's path, on the writer's thread.
        :returns: fires with what it returned, or fails with what it raised.
        """
        return self._store.on_writer(lambda: call(self.path))

    def settle(self) -> None:
        """Have the offset agree with the file as it is now; on the writer's thread."""
        self._store.runner.writer.settle(self.file)

    def mend(self) -> None:
        """Have the trail in order, if the process before this one ended in the middle of a line."""
        self._store.runner.submit(lambda: self._store.runner.writer.mend(self.file))

    def reopen(self) -> None:
        """Have this log and its trail closed, and opened anew at their paths."""
        self.on_writer(lambda _path: self._store.runner.writer.reopen_one(self.file))

    def close_gap(self) -> None:
        """Record how much was dropped."""
        lost, self._dropped = self._dropped, 0
        self._store.dropping.discard(self)
        self._record(event(self._store.wall(), "gap", {"bytes": lost, "reason": "the disk is too slow"}, lost))

    # Between the store and its logs.

    def take(self) -> tuple[list[LogItem], int]:
        """Hand over what came in: the items and the bytes in them."""
        items, self._items = self._items, None
        size, self._collected = self._collected, 0
        return items or [], size

    @property
    def has_room(self) -> bool:
        """Whether the writer has caught up with it."""
        return self._unwritten <= RELIEVED_AT

    def taken(self, size: int) -> None:
        """The writer has dealt with so many bytes."""
        self._unwritten -= size
        self._store.unwritten -= size
        if self._congested_since and size:
            self._congested_since = self._store.clock.seconds()  # slow, but it goes on
        self.see_room()

    def see_room(self) -> None:
        """Let the VM go on if there is room again, for this log and in all."""
        if self.has_room and not self._store.crowded:
            self._stalled = False
            self._relieve()

    def check_patience(self, now: float) -> bool:
        """Let the VM go on if it has waited long enough.

        :returns: whether it still waits.
        """
        since = self._congested_since
        if since and self.has_room:  # it waits for the others, and so for the writer to get on with any of them
            since = max(since, self._store.progress)
        if since and now - since >= PATIENCE_SECONDS:
            self._stalled = True
            self._relieve()
        return bool(self._congested_since)

    def _relieve(self) -> None:
        if self._congested_since:
            self._congested_since = 0.0
            if self.listener is not None:
                self.listener.log_congested(False)

    def report(self, problem: str, lost: int) -> None:
        """Of the file's, on the writer's thread."""
        self._store.from_writer(lambda: self._told(problem, lost))

    def _told(self, problem: str, lost: int) -> None:
        self.problem = problem
        if self.listener is None:
            return
        if problem:
            self.listener.log_failed(problem)
        else:
            self.listener.log_recovered(lost)


class LogStore:
    """All logs of one folder.

    :ivar folder: the log folder; ``prefix`` is the same as text.
    :ivar unwritten: bytes that wait for the writer, over all logs.
    :ivar received: bytes from all VMs since the start, recorded or not.
    :ivar dropped: bytes that never reached the writer, over all logs since the start; ``events_lost``: events.
    :ivar dropping: the logs that have dropped bytes and not recorded it yet; ``passing``: those that do not record.
    :ivar wall: tells the time of day.
    :ivar run: how logs that are opened now call what is written to them.
    :ivar crowded: whether there is so much that VMs wait, however little of it is their own.
    :ivar progress: when the writer last had written something.
    """

    __slots__ = (  # of this there is one, but it is on the way of every byte
        "_batch_since",
        "_congested",
        "_dirty",
        "_flush_call",
        "_folded",
        "_linked",
        "_linking",
        "_links",
        "_logs",
        "_patience_call",
        "_pause",
        "_quiet",
        "_quiet_call",
        "_soon",
        "clock",
        "crowded",
        "dropped",
        "dropping",
        "events_lost",
        "folder",
        "from_writer",
        "in_use",
        "inputs",
        "passing",
        "prefix",
        "progress",
        "received",
        "run",
        "runner",
        "unwritten",
        "wall",
    )

    def __init__(
        self,
        folder: Path,
        clock: IReactorTime,
        runner: Runner,
        from_writer: Callable[[Callable[[], object]], object],
        inputs: Audit,
    ) -> None:
        """
        :param folder: the log folder, made when it is needed.
        :param from_writer: has a call made on the reactor's thread: ``reactor.callFromThread``.
        :param inputs: what is typed on consoles that record it goes here.
        """
        self.inputs = inputs
        self.folder = folder
        self.prefix = str(folder)
        self.run = new_run()
        self._logs: dict[str, ConsoleLog] = {}
        self._folded: set[str] = set()  # of those whose names have capitals
        self.clock = clock
        self.wall = wall_of(clock)
        self.runner = runner
        self.from_writer = from_writer
        self.unwritten = self.received = 0
        self.dropped = 0
        self.events_lost = 0
        self.dropping: set[ConsoleLog] = set()
        self.passing: set[ConsoleLog] = set()
        self._dirty: list[ConsoleLog] = []  # with bytes
        self._quiet: list[ConsoleLog] = []  # with events
        self._quiet_call: IDelayedCall | None = None
        self._pause = FLUSH_SECONDS  # how long events wait
        self._soon: list[Callable[[], object]] = []
        self._links: OrderedDict[ConsoleLog, str] = OrderedDict()  # the names that are wanted, the oldest wish first
        self._linking = False
        self._linked = False  # the writer's: whether any was made
        self._flush_call: IDelayedCall | None = None
        self._batch_since = 0.0
        self.crowded = False
        self.progress = 0.0
        self._congested: dict[ConsoleLog, None] = {}
        self._patience_call: IDelayedCall | None = None
        runner.writer.serve(self._find, self._see_links, from_writer)
        self.in_use: Callable[[], set[str]] = set
        runner.writer.sweep(folder, lambda: self.in_use())

    def spare(self, in_use: Callable[[], set[str]]) -> None:
        """Have logs spared when the folder is too large.

        :param in_use: their paths; called on the writer's thread.
        """
        self.in_use = in_use

    @property
    def event_followers(self) -> set[Follower]:
        """Who is told what is written to the trails; see :class:`~vmproxy.log.feed.EventFeed`."""
        return self.runner.writer.feed.followers

    @property
    def line_feed(self) -> LineFeed:
        """The lines of all logs as they come, for whoever subscribes."""
        return self.runner.writer.lines

    def __contains__(self, name: object) -> bool:
        return name in self._logs or name in self._folded

    def open(self, name: str) -> ConsoleLog:
        """A log in the folder. Nothing is made on the disk before the first byte or event."""
        log = self._logs[name] = ConsoleLog(self, name)
        if (other := folded(name)) != name:
            self._folded.add(other)
        return log

    def forget(self, log: ConsoleLog, remove: bool) -> Deferred[None]:
        """Take leave of a log, behind all that was appended: another one may be opened at its path.

        :param remove: whether its files are removed.
        :returns: fires when that is done; fails with an :class:`OSError` if not all of them could be.
        """
        done = self.on_writer(lambda: self.runner.writer.forget(log.file, remove))
        del self._logs[log.name]
        self._folded.discard(folded(log.name))
        self._links.pop(log, None)
        self._congested.pop(log, None)
        self.dropping.discard(log)
        self.passing.discard(log)
        log.report_to(None)
        self.run = new_run()  # what is written to its path from now on has other offsets, perhaps
        return done

    def _find(self, path: str) -> LogFile | None:
        # On the writer's thread: one look into a dictionary.
        log = self._logs.get(path.removeprefix(f"{self.prefix}/"))
        return None if log is None else log.file

    def dirty(self, log: ConsoleLog) -> None:
        """A log has bytes for the writer."""
        if not self._dirty:
            # The time of the first arrival, so that no mark in a trail is later than an event behind it.
            self._batch_since = self.wall()
        self._dirty.append(log)
        if self._flush_call is None:
            self._flush_call = self.clock.callLater(BYTES_SECONDS, self._bytes_due)

    def quiet(self, log: ConsoleLog) -> None:
        """A log that was empty-handed has an event for the writer."""
        self._quiet.append(log)
        if self._quiet_call is None:
            self._quiet_call = self.clock.callLater(self._pause, self._quiet_due)

    def soon(self, job: Callable[[], object]) -> None:
        """Have something done on the writer's thread, behind the events that come in until their next batch."""
        self._soon.append(job)
        if self._quiet_call is None:
            self._quiet_call = self.clock.callLater(self._pause, self._quiet_due)

    def _bytes_due(self) -> None:
        if len(self._dirty) <= FEW_LOGS or self.wall() - self._batch_since > 1.5 * BYTES_SECONDS:
            self._flush_due()
        else:  # a batch has its price
            self._flush_call = self.clock.callLater(FLUSH_SECONDS - BYTES_SECONDS, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_call = None
        if self._pause == FLUSH_SECONDS:
            self.flush()
        else:
            self._hand_over()

    def _quiet_due(self) -> None:
        # A batch has its price, whatever is in it. Where thousands of VMs come, their events go in fewer of them.
        self._quiet_call = None
        self._pause = STORM_SECONDS if len(self._quiet) >= STORM_LOGS else FLUSH_SECONDS
        self.flush()

    def flush(self) -> None:
        """Hand everything that came in to the writer."""
        for call in (self._flush_call, self._quiet_call):
            if call is not None:
                call.cancel()
        self._flush_call = self._quiet_call = None
        if not self._dirty:
            self._batch_since = self.wall()
        self._dirty += self._quiet
        self._quiet = []
        if self._dirty:
            self._hand_over()
        soon, self._soon = self._soon, []
        for job in soon:
            self.runner.submit(job)

    def _hand_over(self) -> None:
        logs, self._dirty = self._dirty, []
        batch = [(log, *taken) for log in logs if (taken := log.take())[0]]
        at = self._batch_since
        write, took = self.runner.writer.write, self.runner.writer.durations.observe

        def job() -> None:
            dealt_with: list[tuple[ConsoleLog, int]] = []
            began = told = time.monotonic()
            for log, items, size in batch:
                try:
                    write(log.file, items, at)
                except Exception:
                    _log.failure("writing {path} failed", path=str(log.path))
                dealt_with.append((log, size))
                now = time.monotonic()
                took(now - began)
                began = now
                if now - told > REPORT_SECONDS:
                    self.from_writer(partial(self._taken, dealt_with))
                    dealt_with = []
                    told = now
            self.from_writer(partial(self._taken, dealt_with))

        self.runner.submit(job)

    def _taken(self, dealt_with: list[tuple[ConsoleLog, int]]) -> None:
        self.progress = self.clock.seconds()
        for log, size in dealt_with:
            log.taken(size)
        if self.crowded and self.unwritten <= RELIEVED_IN_ALL:
            self.crowded = False
            for log in list(self._congested):
                log.see_room()
        if self.dropping and self.unwritten <= CROWDED_AT:
            for log in [log for log in self.dropping if log.has_room]:
                log.close_gap()

    def congested(self, log: ConsoleLog) -> None:
        """A log asked its VM to wait: watch that it does not wait for ever."""
        self.crowded = self.crowded or self.unwritten > CROWDED_AT
        self._congested[log] = None
        if self._patience_call is None:
            self._patience_call = self.clock.callLater(PATIENCE_SECONDS, self._patience_due)

    def _patience_due(self) -> None:
        self._patience_call = None
        now = self.clock.seconds()
        self._congested = {log: None for log in list(self._congested) if log.check_patience(now)}
        if self._congested:
            self._patience_call = self.clock.callLater(PATIENCE_SECONDS / 4, self._patience_due)

    def settled(self, file: LogFile) -> Deferred[int]:
        """Fires with a log's size when everything appended before this call has been dealt with."""
        return self.on_writer(lambda: self.runner.writer.size(file))

    def on_writer(self, call: Callable[[], T]) -> Deferred[T]:
        """Have something done on the writer's thread, behind everything appended before this call.

        :returns: fires with what it returned, or fails with what it raised.
        """
        done: Deferred[T] = Deferred()
        self.flush()

        def job() -> None:
            try:
                result = call()
            except Exception:
                failure = Failure()
                self.from_writer(lambda: done.errback(failure))
            else:
                self.from_writer(lambda: done.callback(result))

        self.runner.submit(job)
        return done

    def reconfigure(self, settings: LogSettings) -> None:
        """Rotate by another policy from now on, and write plain text or stop writing it."""

        def use() -> None:
            writer = self.runner.writer
            begins = settings.plain and not writer.plain
            writer.use(settings.rotation, settings.plain)
            if begins:
                self._link_again()

        self.runner.submit(use)

    def reopen(self) -> None:
        """Have every file closed and opened anew at its path: after a rename by logrotate, say."""
        self.flush()
        self.runner.submit(self.runner.writer.reopen)

    def link(self, name: str, log: ConsoleLog) -> None:
        """Have ``by-name/NAME.log`` lead to a log, instead of the link that it had before; likewise its other files."""
        # A VM that changes its name faster than links are made gets the last one only; who had a name before another
        # has its links changed before.
        self._links.pop(log, None)
        self._links[log] = name
        if not self._linking:
            self._linking = True
            self.soon(self._make_links)

    def _make_links(self) -> None:
        """Make some of the links that are wanted: logs are written between these and the next."""
        self._linking = False  # what is wanted from here on is submitted again
        for _ in range(LINKS_AT_ONCE):
            try:
                log, name = self._links.popitem(last=False)
            except KeyError:
                return
            if not self.runner.writer.link(log.file, name):
                with suppress(KeyError):  # it may be forgotten in this moment
                    self._links.setdefault(log, name)  # unless another one is wanted by now
                    self._links.move_to_end(log, last=False)
                self.runner.writer.retry.again(self._make_links)
                return
            self._linked = True
        self.runner.submit(self._make_links)

    def _see_links(self) -> None:
        # Whoever removes the log folder removes the links too: the logs are made anew as they are written to.
        if self._linked and not os.path.lexists(f"{self.prefix}/by-name"):
            self._linked = False
            self._link_again()

    def _link_again(self) -> None:
        for log in list(self._logs.values()):
            if log.file.link:
                self._links.setdefault(log, log.file.link)
        self._make_links()

    def start(self) -> None:
        """Start the writer."""
        self.runner.start()

    def stop(self) -> Deferred[None]:
        """Write everything and close: fires when every byte is with the operating system, or could not be."""
        done: Deferred[None] = Deferred()
        if self._patience_call is not None:
            self._patience_call.cancel()
            self._patience_call = None
        for log in list(self.dropping):
            log.close_gap()
        for log in list(self.passing):
            log.resume("gap", reason="it was turned off")
        self.flush()
        self.runner.stop(lambda: self.from_writer(lambda: done.callback(None)))
        return done
