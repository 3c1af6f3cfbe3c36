"""Log reading for commands: off the reactor's thread, in batches, with everything closed at the end.

A :class:`BatchReader` takes each batch on some thread, when the client has taken the one before; a client that reads
nothing for a minute loses its place if places are scarce. A cancelled command does not wait for its batch: the last
thread closes the files.
Bound: logs that are open at once, per operator and in all, so an operator who reads none of many takes nothing from the
others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.reader import Segments, open_segments
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import CHUNK, require_right
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.presentation import log_file
from vmproxy.operators.session import Session, tell

READINGS_PER_OPERATOR = 8
READINGS_IN_ALL = 32
READINGS_SCARCE = 16
UNREAD_SECONDS = 60.0
BATCH_ITEMS = 256

T = TypeVar("T")
_log = Logger()


class SearchSlot:
    """A search's place among all searches: it has a turn for each batch, so a slow client keeps no other waiting.

    Bound: ``readings.SEARCHES`` search at once, and one of each operator.
    """

    def __init__(self, session: Session) -> None:
        readings = session.services.readings
        self._all = readings.searches
        self._own = readings.searches_of(session.operator.name)

    def batch(self, reading: BatchReader[T]) -> Deferred[list[T]]:
        """The next batch of a reader, at the turn of this search."""
        return self._own.run(self._all.run, reading.batch)


def on_disk(session: Session, call: Callable[[], T]) -> Deferred[T]:
    """Run a call that waits for the disk on a thread, when commands may use one more."""
    return session.services.readings.threads.run(session.services.in_thread, call)


class BatchReader(Generic[T]):
    """Reads from the disk, batch by batch."""

    def __init__(
        self,
        session: Session,
        make: Callable[[], Iterator[T]],
        close: Callable[[], object],
        size: Callable[[T], int],
    ) -> None:
        """
        :param make: makes the iterator; called on a thread, as is the iterator itself.
        :param close: closes the files; called on a thread when the iterator is not used any more.
        :param size: the bytes or characters in an item.
        """
        self._session = session
        self._make = make
        self._close = close
        self._size = size
        self._items: Iterator[T] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def end(self) -> None:
        """Close everything as soon as no thread uses it."""
        self._closed = True
        self._session.services.in_thread(self._finish).addErrback(_close_failed)

    def batch(self) -> Deferred[list[T]]:
        """The next items, none at the end. Bound: 64 KiB and one item, and 256 items."""
        return on_disk(self._session, self._take)

    def _take(self) -> list[T]:
        with self._lock:
            taken: list[T] = []
            size = 0
            if self._items is None and not self._closed:
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
            if items is not None and hasattr(items, "close"):
                items.close()
            self._close()


def _close_failed(failure: Failure) -> None:
    _log.failure("what a command has read could not be closed", failure=failure)


class OpenedLog:
    """The open log of a console; a context manager that closes it.

    :ivar files: its files.
    """

    def __init__(self, session: Session, console: Console, files: Segments) -> None:
        self._session = session
        self._console = console
        self.files = files
        self._end: Callable[[], None] = files.close

    def __enter__(self) -> OpenedLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        readings, name = self._session.services.readings, self._session.operator.name
        readings.of_operator[name] -= 1
        if not readings.of_operator[name]:
            del readings.of_operator[name]
        end, self._end = self._end, self.files.close  # not to keep a reader, which keeps this
        end()

    def reading(self, make: Callable[[], Iterator[T]], size: Callable[[T], int]) -> BatchReader[T]:
        """A reader of the log, which is closed with it; one at most."""
        reading = BatchReader(self._session, make, self.files.close, size)
        self._end = reading.end
        return reading

    def problems(self) -> int:
        """Tell the operator which parts could not be read.

        :returns: the exit status.
        """
        problems = self.files.problems
        tell_problems(self._session, [self._console], problems)
        return exit_status.FAILED if problems else exit_status.OK


def tell_problems(session: Session, consoles: Iterable[Console], problems: Iterable[str]) -> None:
    """Tell the operator which parts of logs could not be read, by the names that the operator knows.

    :param consoles: the consoles whose logs were read.
    :param problems: texts that begin with the name of a file.
    """
    problems = list(problems)
    by_name: dict[str, list[Console]] = {}
    for console in consoles if problems else ():
        by_name.setdefault(console.log.name.rpartition("/")[2], []).append(console)
    may = session.operator.view.may
    for problem in problems:
        file, _, what = problem.partition(": ")
        name = file
        while name and name not in by_name:
            name = name.rpartition(".")[0]  # ``web01.log.events.2.gz`` is one of ``web01.log``
        readable = [console for console in by_name.get(name, ()) if may(console, Right.SPY)]
        if len(readable) == 1:
            shown = log_file(readable[0], session.operator.view).rpartition("/")[2]
            tell(session, f"{shown}{file[len(name) :]}: {what}")
        elif readable:
            tell(session, problem)  # each VM has a folder of its own, and files are called the same in all of them


async def open_log(
    session: Session,
    console: Console,
    since: float | None = None,
    trails: bool = True,
) -> OpenedLog:
    """Open the log of a console as it is at the moment of the call.

    :param since: files that end before are not needed, in seconds since the epoch.
    :param trails: whether the event trails are needed too.
    :raises CommandError: if the operator, or all together, read as many as they may already.
    """
    readings, name = session.services.readings, session.operator.name
    if readings.of_operator[name] >= READINGS_PER_OPERATOR or readings.of_operator.total() >= READINGS_IN_ALL:
        raise CommandError("too many logs are being read at once; end one of the others first", exit_status.BUSY)
    readings.of_operator[name] += 1
    opened: Deferred[Segments] = Deferred()

    def arrived(files: Segments) -> None:
        if opened.called:  # cancelled in the meantime
            files.close()
        else:
            opened.callback(files)

    on_disk = console.log.on_writer(lambda path: open_segments(path, since=since, trails=trails))
    on_disk.addCallbacks(arrived, opened.errback)
    try:
        return OpenedLog(session, console, await opened)
    except BaseException:
        readings.of_operator[name] -= 1
        raise


async def print_pieces(session: Session, console: Console, reading: BatchReader[bytes]) -> bool:
    """Print bytes of a console's log as fast as the client takes them.

    :returns: False if the client is gone.
    :raises CommandError: if the operator may not read it any more, or does not.
    """
    while batch := await reading.batch():
        require_right(session, console)
        session.send(b"".join(batch))
        if not await taken(session):
            return False
    return True


async def taken(session: Session) -> bool:
    """Wait until the client has taken all output.

    :returns: False if it is gone.
    :raises CommandError: if it takes nothing for a minute and places are scarce. If they are not, it may wait: people
        read pages with ``less``.
    """
    done = session.when_drained()
    if done.called:
        return await done
    readings, name = session.services.readings, session.operator.name
    unread = False
    before = session.queued

    def look() -> None:
        nonlocal before, unread
        scarce = readings.of_operator.total() > READINGS_SCARCE or readings.of_operator[name] >= READINGS_PER_OPERATOR
        unread = scarce and session.queued >= before
        before = session.queued
        if unread:
            done.cancel()

    timer = LoopingCall(look)
    timer.clock = session.services.clock
    timer.start(UNREAD_SECONDS, now=False)
    try:
        return await done
    except CancelledError:
        if not unread:
            raise
        text = f"ended: the client has read nothing for {UNREAD_SECONDS:g} s"
        raise CommandError(text, exit_status.FAILED) from None
    finally:
        timer.stop()
