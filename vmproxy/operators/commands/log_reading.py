"""Reading logs for commands: off the reactor's thread, a batch at a time, and everything closed at the end.

A :class:`Reading` is an iterator that waits for the disk. Each batch of it is taken on some thread and handed on when
the client has taken the one before; if it takes nothing for a minute and places are scarce, it is given up. A command
that is cancelled in the middle of a batch does not wait for it: the files are closed behind it, by whichever thread
comes last.
How many logs are open at once is bounded per operator and in all, so that somebody who asks for all of them and reads
none takes nothing from the others.
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


class Turns:
    """A search's turns: only a few search at once, and of one operator only one. The others wait.

    A turn is for one batch. A search whose client is slow, or does not read at all, keeps no other waiting.
    """

    def __init__(self, session: Session) -> None:
        readings = session.services.readings
        self._all = readings.searches
        self._own = readings.searches_of(session.operator.name)

    def batch(self, reading: Reading[T]) -> Deferred[list[T]]:
        """The next batch of a reading, when it is its turn."""
        return self._own.run(self._all.run, reading.batch)


def on_disk(session: Session, call: Callable[[], T]) -> Deferred[T]:
    """Have something that waits for the disk done on a thread, when commands may use one more."""
    return session.services.readings.threads.run(session.services.in_thread, call)


class Reading(Generic[T]):
    """Something that is read from the disk, batch by batch."""

    def __init__(self, session: Session, make: Callable[[], Iterator[T]], close: Callable[[], object]) -> None:
        """
        :param make: makes the iterator; called on a thread, as is the iterator itself.
        :param close: closes what it reads; called on a thread once nobody uses it any more.
        """
        self._session = session
        self._make = make
        self._close = close
        self._items: Iterator[T] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def end(self) -> None:
        """Let go of everything, as soon as no thread is at it."""
        self._closed = True
        self._session.services.in_thread(self._finish).addErrback(_close_failed)

    def batch(self) -> Deferred[list[T]]:
        """Fires with the next few items: some 64 KiB of bytes, or 256 of anything else; none at the end."""
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
                size += len(item) if isinstance(item, bytes) else 0
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


class OpenLog:
    """A console's log, open; a context manager that closes it.

    :ivar files: what there is of it.
    """

    def __init__(self, session: Session, console: Console, files: Segments) -> None:
        self._session = session
        self._console = console
        self.files = files
        self._end: Callable[[], None] = files.close

    def __enter__(self) -> OpenLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        readings, name = self._session.services.readings, self._session.operator.name
        readings.of_operator[name] -= 1
        if not readings.of_operator[name]:
            del readings.of_operator[name]
        self._end()

    def reading(self, make: Callable[[], Iterator[T]]) -> Reading[T]:
        """Read it, once; it is closed with the log."""
        reading = Reading(self._session, make, self.files.close)
        self._end = reading.end
        return reading

    def problems(self) -> int:
        """Tell the operator what could not be read.

        :returns: the exit status.
        """
        problems = self.files.problems
        tell_problems(self._session, [self._console], problems)
        return exit_status.FAILED if problems else exit_status.OK


def tell_problems(session: Session, consoles: Iterable[Console], problems: Iterable[str]) -> None:
    """Tell the operator what could not be read: of the logs that they may read, by the names that they know.

    :param consoles: those of which logs were read; ``problems`` begin with the name of a file of one of them.
    """
    problems = list(problems)
    by_name: dict[str, list[Console]] = {}
    for console in consoles if problems else ():
        by_name.setdefault(console.log.path.name, []).append(console)
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
    enough: int | None = None,
    trails: bool = True,
) -> OpenLog:
    """Open a console's log as it is at the moment of the call: what comes later is not in it.

    :param since: files that end before that are not needed, in seconds since the epoch.
    :param enough: bytes: no more files are needed once they hold so many.
    :param trails: whether the event trails are needed too.
    :raises CommandError: if the operator reads as many as they may already, or all together do.
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

    on_disk = console.log.on_scribe(lambda path: open_segments(path, since=since, enough=enough, trails=trails))
    on_disk.addCallbacks(arrived, opened.errback)
    try:
        return OpenLog(session, console, await opened)
    except BaseException:
        readings.of_operator[name] -= 1
        raise


async def print_pieces(session: Session, console: Console, reading: Reading[bytes]) -> bool:
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
    """Wait until the client has taken everything that was printed.

    :returns: False if it is gone.
    :raises CommandError: if it takes nothing at all for a minute, and places are scarce: what is held open is for
        others then. Where they are not, somebody may well be reading a page with ``less``.
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
