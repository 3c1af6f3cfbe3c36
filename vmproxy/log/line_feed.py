"""The lines of many consoles as they come, for whoever wants to look at them: one conversion for all.

The log writer puts in what it has been given; nothing is kept, and nothing costs anything, while nobody subscribes.
Lines are made of it in slices, on a thread of their own (:mod:`vmproxy.log.writer_thread`), so that neither a VM nor
its log waits for those who look on. A subscriber is called on that thread.

Nearly all output is whole lines that stay as they are, and a subscriber that looks for something finds it in few of
them. Those of all consoles are looked at together for it (:mod:`vmproxy.log.line_screen`), which costs a tenth of
making lines console by console.

Bound: :data:`EACH` bytes of a console and :data:`IN_ALL` wait, but :data:`ALWAYS` of each. What does not fit is left
out, whole lines as far as the log has them, and subscribers are told how many. Consoles are served in turns, so one
that floods takes nothing from the others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from twisted.logger import Logger

from vmproxy.log.file_state import LogFile
from vmproxy.log.line_screen import Screen, WholeLines
from vmproxy.log.lines import ConsoleLines, Lines

EACH = 512 * 1024
IN_ALL = 16 * 1024 * 1024
ALWAYS = 4 * 1024  # of a console, however much waits of others
LINE_SECONDS = 1.0  # after which a line is told though it is not finished: a prompt
FINISHED_AT_ONCE = 100
SLICE = 0.005
PIECE = 16 * 1024  # of which lines are made at a time: a painted screen of it takes some milliseconds

_log = Logger()


class LineSubscriber(Protocol):
    """Who is given lines. Must neither block nor fail; one that fails is removed."""

    def wants(self, file: LogFile) -> bool:
        """Whether the lines of a console are wanted. Called for each write to a log, on the writer's thread."""

    def lines(self, file: LogFile, blocks: Sequence[Lines]) -> None:
        """Take lines of a console, on the thread that makes them."""

    def skipped(self, file: LogFile, count: int) -> None:
        """So many lines of a console were left out here, because more came than lines could be made of."""

    def flush(self) -> None:
        """That is all for now: hand on what was taken."""


class _Source:
    """A console whose lines are wanted.

    :ivar items: what came: offset, bytes, time; ``size`` bytes of it.
    :ivar next: the offset behind what came.
    :ivar skipped: lines left out behind that.
    :ivar ready: whether it is waiting for its turn.
    :ivar behind: how many whole lines were taken in before what came: they are looked at first, its own may be there.
    """

    __slots__ = ("behind", "file", "items", "lines", "next", "ready", "size", "skipped")

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.items: deque[tuple[int, bytes, float]] = deque()
        self.size = 0
        self.next = -1
        self.skipped = 0
        self.ready = False
        self.behind = 0
        self.lines = ConsoleLines(file.encoding)


class LineFeed:
    """Lines of all consoles.

    :ivar subscribers: who is given them; see :meth:`subscribe`.
    :ivar on_reactor: has a call made on the reactor's thread, for subscribers who live there.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.subscribers: tuple[LineSubscriber, ...] = ()
        self._screens: dict[LineSubscriber, Screen] = {}  # of those who want few lines
        self._readers: tuple[LineSubscriber, ...] = ()  # the others
        self._whole = WholeLines()
        self.on_reactor: Callable[[Callable[[], object]], object] = lambda _call: None
        self._now = now
        self._lock = threading.Lock()  # of what follows
        self._sources: dict[LogFile, _Source] = {}
        self._ready: deque[_Source] = deque()
        self._size = 0
        self._unfinished: dict[_Source, None] = {}  # in the order in which their lines began; the worker's
        self._awake = False
        self._wake: Callable[[], object] = int

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Have something called, on any thread, when there is work for :meth:`work`."""
        self._wake = wake

    def deliver_with(self, on_reactor: Callable[[Callable[[], object]], object]) -> None:
        """Have calls made on the reactor's thread by this."""
        self.on_reactor = on_reactor

    def subscribe(self, subscriber: LineSubscriber, screen: Screen | None = None) -> None:
        """Give somebody the lines of what is written from now on. The line that comes is whole.

        :param screen: says whether anything of interest may be in some text; lines in which nothing is may be left out.
        """
        with self._lock:
            if screen is not None:
                self._screens[subscriber] = screen
            self._use((*self.subscribers, subscriber))

    def _use(self, subscribers: tuple[LineSubscriber, ...]) -> None:
        self.subscribers = subscribers
        self._readers = tuple(one for one in subscribers if one not in self._screens)

    def unsubscribe(self, subscriber: LineSubscriber) -> None:
        """Give somebody no more lines; some may still be on their way."""
        with self._lock:
            self._screens.pop(subscriber, None)
            self._use(tuple(one for one in self.subscribers if one is not subscriber))
            if not self.subscribers:
                self._sources.clear()
                self._ready.clear()
                self._whole.clear()
                self._size = 0

    # On the writer's thread.

    def wants(self, file: LogFile) -> bool:
        """Whether somebody wants the lines of a console."""
        for subscriber in self.subscribers:  # noqa: SIM110 - for each write: a generator takes twice the time
            if subscriber.wants(file):
                return True
        return False

    def _is_read(self, file: LogFile) -> bool:
        for subscriber in self._readers:  # noqa: SIM110
            if subscriber.wants(file):
                return True
        return False

    def take(self, file: LogFile, data: bytes, at: float) -> bool:
        """Take what has just been written to a log, where it is whole lines of which few are wanted.

        :returns: whether it was taken; else :meth:`put` is to be called if somebody :meth:`wants` it.
        """
        source = self._sources.get(file)
        if (source is not None and source.ready) or (self._readers and self._is_read(file)) or not self.wants(file):
            return False
        if not self._whole.take(file, data, at):
            return False
        if not self._awake:
            self._call_worker()
        return True

    def put(self, file: LogFile, offset: int, data: bytes, at: float, begun: Callable[[int], bytes]) -> None:
        """Take what a VM has printed, if somebody wants it.

        :param offset: of the first byte.
        :param begun: gives what the log has of the line in which an offset is, before it.
        """
        source = self._sources.get(file)
        at_start = self._whole.pass_by(file, offset, data)
        before = b"" if at_start or (source is not None and source.next == offset) else begun(offset)
        with self._lock:
            source = self._sources.get(file)
            if source is None:
                source = self._sources[file] = _Source(file)
            source.next = offset + len(data)
            size = len(before) + len(data)
            room = ALWAYS if self._size + size > IN_ALL else EACH
            if source.skipped or source.size + size > room:
                source.skipped += data.count(b"\n")
                source.next = -1  # the next one begins with the beginning of its line
            else:
                source.items.append((offset - len(before), before + data, at))
                source.size += size
                self._size += size
            if not source.ready:
                source.ready = True
                source.behind = self._whole.taken
                self._ready.append(source)
        self._call_worker()

    def _call_worker(self) -> None:
        if not self._awake:
            self._awake = True
            self._wake()

    def forget(self, file: LogFile) -> None:
        """A console is forgotten."""
        self._whole.forget(file)
        with self._lock:
            self._sources.pop(file, None)

    # On the thread that makes lines.

    def wait(self) -> float | None:
        """Seconds until :meth:`work` has something to do; None until it is woken."""
        if self._ready or self._whole:
            return 0.0
        return max(0.0, LINE_SECONDS - self._age(next(iter(self._unfinished)))) if self._unfinished else None

    def _age(self, source: _Source) -> float:
        since = source.lines.pending_since
        age = LINE_SECONDS if since is None else self._now() - since
        return age if age >= 0 else LINE_SECONDS  # a clock that was set back must not put it off

    def _late(self) -> Iterator[_Source]:
        """Consoles whose line has waited long enough, and of whose output nothing waits: the rest may be in it."""
        for source in self._unfinished:
            if self._age(source) < LINE_SECONDS:
                return
            if not source.ready:
                yield source

    def work(self) -> None:
        """Make lines for a while, and have them taken."""
        self._awake = False  # what is put in from here on wakes again
        until = time.monotonic() + SLICE
        screens = tuple(self._screens.values())
        while self._whole:
            for file, offset, data, at in self._whole.interesting(screens):
                self._make_whole(file, offset, data, at)
            if time.monotonic() >= until:
                break
        while (source := self._next()) is not None:
            self._make(source)
            if time.monotonic() >= until:
                break
        for source in list(islice(self._late(), FINISHED_AT_ONCE)):
            self._finish(source)
            if time.monotonic() >= until:
                break
        for subscriber in self.subscribers:
            self._tell(subscriber, subscriber.flush)

    def _next(self) -> _Source | None:
        with self._lock:
            if not self._ready or self._ready[0].behind > self._whole.dealt_with:
                return None
            return self._ready.popleft()

    def _make(self, source: _Source) -> None:
        skipped = 0
        with self._lock:
            offset, data, at = source.items.popleft() if source.items else (-1, b"", 0.0)
            if len(data) > PIECE:
                source.items.appendleft((offset + PIECE, data[PIECE:], at))
                data = data[:PIECE]
            source.size -= len(data)
            self._size -= min(self._size, len(data))
            if not source.items:
                skipped, source.skipped = source.skipped, 0
            source.ready = bool(source.items)
            if source.ready:
                self._ready.append(source)
        if data:
            self._deliver(source, lambda: _made(source.lines, source.file, data, at, offset))
        if skipped:
            source.lines.forget()
            for subscriber in self.subscribers:
                if subscriber.wants(source.file):
                    self._tell(subscriber, lambda one=subscriber: one.skipped(source.file, skipped))  # type: ignore[misc]

    def _make_whole(self, file: LogFile, offset: int, data: bytes, at: float) -> None:
        with self._lock:
            source = self._sources.get(file)
            if source is None:
                source = self._sources[file] = _Source(file)
        self._deliver(source, lambda: _made(source.lines, file, data, at, offset))

    def _finish(self, source: _Source) -> None:
        self._deliver(source, source.lines.flush)

    def _deliver(self, source: _Source, make: Callable[[], list[Lines]]) -> None:
        try:
            blocks = make()
        except Exception:
            _log.failure("cannot make lines of {path}", path=source.file.path)
            source.lines = ConsoleLines(source.file.encoding)
            blocks = []
        if blocks:
            self._unfinished.pop(source, None)
            for subscriber in self.subscribers:
                if subscriber.wants(source.file):
                    self._tell(subscriber, lambda one=subscriber: one.lines(source.file, blocks))  # type: ignore[misc]
        if source.lines.pending_since is not None:
            self._unfinished.setdefault(source)
        else:
            self._unfinished.pop(source, None)
            if source.lines.between:
                self._drop(source)

    def _drop(self, source: _Source) -> None:
        # Most consoles are between two lines most of the time: thousands of sources would be as many KiB.
        with self._lock:
            if not source.ready and not source.skipped and self._sources.get(source.file) is source:
                del self._sources[source.file]

    def _tell(self, subscriber: LineSubscriber, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            _log.failure("a subscriber of lines failed and is removed")
            self.unsubscribe(subscriber)


def _made(lines: ConsoleLines, file: LogFile, data: bytes, at: float, offset: int) -> list[Lines]:
    if lines.encoding != file.encoding:
        lines.use(file.encoding)
    if offset != lines.end:
        lines.forget()
    return lines.feed(data, at, offset)
