"""Log reading for all fronts: off the reactor's thread, in batches, with everything closed at the end.

A :class:`BatchReader` takes each batch on some thread, when the client has taken the one before. Who is cancelled does
not wait for the batch: the last thread closes the files.
Bound: logs that are open at once, per operator and in all; see :class:`~vmproxy.operators.readings.Readings`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.reader import CHUNK, Segments, open_one, open_segments
from vmproxy.log.store import ConsoleLog
from vmproxy.operators.client import Client
from vmproxy.operators.presentation import log_file

BATCH_ITEMS = 256

T = TypeVar("T")
_log = Logger()


class SearchSlot:
    """A search's place among all searches: it has a turn for each batch, so a slow client keeps no other waiting.

    Bound: ``readings.SEARCHES`` search at once, and one of each operator.
    """

    def __init__(self, client: Client) -> None:
        readings = client.services.readings
        self._all = readings.searches
        self._own = readings.searches_of(client.operator.name)

    def batch(self, reading: BatchReader[T]) -> Deferred[list[T]]:
        """The next batch of a reader, at the turn of this search."""
        return self.run(reading.batch)

    def run(self, work: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Have something done at the turn of this search."""
        return self._own.run(self._all.run, work)


def on_disk(client: Client, call: Callable[[], T]) -> Deferred[T]:
    """Run a call that waits for the disk on a thread, when readers may use one more."""
    return client.services.readings.threads.run(client.services.in_thread, call)


class BatchReader(Generic[T]):
    """Reads from the disk, batch by batch."""

    def __init__(
        self,
        client: Client,
        make: Callable[[], Iterator[T]],
        close: Callable[[], object],
        size: Callable[[T], int],
    ) -> None:
        """
        :param make: makes the iterator; called on a thread, as is the iterator itself.
        :param close: closes the files; called on a thread when the iterator is not used any more.
        :param size: the bytes or characters in an item.
        """
        self._client = client
        self._make: Callable[[], Iterator[T]] | None = make
        self._close = close
        self._size = size
        self._items: Iterator[T] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def end(self) -> None:
        """Close everything as soon as no thread uses it."""
        self._closed = True
        self._client.services.in_thread(self._finish).addErrback(_close_failed)

    def batch(self) -> Deferred[list[T]]:
        """The next items, none at the end. Bound: 64 KiB and one item, and 256 items."""
        return on_disk(self._client, self._take)

    def _take(self) -> list[T]:
        with self._lock:
            taken: list[T] = []
            size = 0
            if self._items is None and self._make is not None and not self._closed:
                self._items = self._make()
            while not self._closed and self._items is not None and len(taken) < BATCH_ITEMS and size < CHUNK:
                try:
                    item = next(self._items)
                except StopIteration:
                    break
                size += self._size(item)
                taken.append(item)
            return taken

    def _finish(self) -> None:
        with self._lock:
            items, self._items = self._items, None
            self._make = None  # it may belong to who has this
            if items is not None and hasattr(items, "close"):
                items.close()
            self._close()


def _close_failed(failure: Failure) -> None:
    _log.failure("what was read could not be closed", failure=failure)


class OpenedLog:
    """The open log of a console; a context manager that closes it.

    :ivar files: its files.
    :ivar end: the offset behind the last byte in them, -1 if it is not known; what is behind it came after the call.
    """

    def __init__(self, client: Client, console: Console, files: Segments, end: int) -> None:
        self._client = client
        self.console = console
        self.files = files
        self.end = end
        self._close: Callable[[], object] = files.close

    def __enter__(self) -> OpenedLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, and give the place back; twice does no harm."""
        if self._close is _nothing:
            return
        self._client.services.readings.ended(self._client.operator.name)
        close, self._close = self._close, _nothing  # not to keep a reader, which keeps this
        close()

    @property
    def closed(self) -> bool:
        return self._close is _nothing

    def reading(self, make: Callable[[], Iterator[T]], size: Callable[[T], int]) -> BatchReader[T]:
        """A reader of the log, which is closed with it; one at most."""
        reading = BatchReader(self._client, make, self.files.close, size)
        self._close = reading.end
        return reading


def _nothing() -> None: ...


def named_problems(client: Client, consoles: Iterable[Console], problems: Iterable[str]) -> Iterator[str]:
    """Which parts of logs could not be read, by the names that the operator knows.

    :param consoles: the consoles whose logs were read.
    :param problems: texts that begin with the name of a file.
    """
    problems = list(problems)
    by_name: dict[str, list[Console]] = {}
    for console in consoles if problems else ():
        by_name.setdefault(console.log.name.rpartition("/")[2], []).append(console)
    may = client.operator.view.may
    for problem in problems:
        file, _, what = problem.partition(": ")
        name = file
        while name and name not in by_name:
            name = name.rpartition(".")[0]  # ``web01.log.events.2.gz`` is one of ``web01.log``
        readable = [console for console in by_name.get(name, ()) if may(console, Right.SPY)]
        if len(readable) == 1:
            shown = log_file(readable[0], client.operator.view).rpartition("/")[2]
            yield f"{shown}{file[len(name) :]}: {what}"
        elif readable:
            yield problem  # each VM has a folder of its own, and files are called the same in all of them


def opened_on_writer(log: ConsoleLog, open_them: Callable[[Path], Segments]) -> Deferred[Segments]:
    """The files of a log, as somebody opens them on the writer's thread; closed if nobody waits for them any more."""
    opened: Deferred[Segments] = Deferred()

    def arrived(files: Segments) -> None:
        if opened.called:  # cancelled in the meantime
            files.close()
        else:
            opened.callback(files)

    log.on_writer(open_them).addCallbacks(arrived, opened.errback)
    return opened


async def open_log(
    client: Client,
    console: Console,
    since: float | None = None,
    trails: bool = True,
    number: int | None = None,
) -> OpenedLog:
    """Open the log of a console as it is at the moment of the call.

    :param since: files that end before are not needed, in seconds since the epoch.
    :param trails: whether the event trails are needed too.
    :param number: of the only file that is wanted; None: all.
    :raises TooManyReadings: if the operator, or all together, read as many as they may already.
    """
    readings, name = client.services.readings, client.operator.name
    readings.begun(name)
    end = -1

    def open_them(path: Path) -> Segments:
        nonlocal end
        with suppress(OSError):  # what there is can be read
            console.log.settle()
        end = console.log.file.offset
        return open_segments(path, since=since, trails=trails) if number is None else open_one(path, number)

    try:
        files = await opened_on_writer(console.log, open_them)
        return OpenedLog(client, console, files, end)
    except BaseException:
        readings.ended(name)
        raise
