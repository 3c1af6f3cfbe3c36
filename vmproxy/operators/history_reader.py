"""A reader of a console's history for whoever moves about in it: on threads, one thing at a time.

The files are open while they are in use, and a while longer. Descriptors are scarce, and so are places to read logs:
who has left a screen with the past on it alone keeps neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from vmproxy.base.countdown import Countdown
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.log.history import History
from vmproxy.operators.log_reading import OpenedLog, on_disk, open_log
from vmproxy.operators.session import Session

OPEN_SECONDS = 30.0

T = TypeVar("T")


class HistoryReader:
    """Reads the history of one console for one operator.

    :ivar lines: how many have come since the files were opened.
    """

    def __init__(self, session: Session, console: Console) -> None:
        self.lines = 0
        self._session = session
        self._console = console
        self._lock = DeferredLock()
        self._opened: OpenedLog | None = None
        self._history: History | None = None
        self._idle = Countdown(session.services.clock)
        self._ended = False

    def read(self, work: Callable[[History], T], anew: bool = False) -> Deferred[T]:
        """Have something done with the history, on a thread.

        :param anew: with what has come up to now; else, at least with what there was when it was last opened anew.
        :returns: the result, or the failure: ``TooManyReadings`` if others read as many logs as may be.
        """
        return self._lock.run(lambda: spawn(self._read(work, anew)))

    async def _read(self, work: Callable[[History], T], anew: bool) -> T:
        self._idle.stop()
        try:
            if anew:
                self._close()
            if self._history is None:
                await self._open()
            history = self._history
            assert history is not None
            return await on_disk(self._session, lambda: work(history))
        finally:
            if self._ended:
                self._close()
            else:
                self._idle.start(OPEN_SECONDS, self._close)

    def output(self, data: bytes) -> None:
        """The VM says more."""
        self.lines += data.count(b"\n")

    async def _open(self) -> None:
        received, self.lines = self._console.log.received, 0
        self._opened = opened = await open_log(self._session, self._console)
        encoding = self._console.options.encoding
        try:
            self._history = await on_disk(self._session, lambda: History(opened.files, received, encoding))
        except BaseException:
            self._close()  # it takes a place each time
            raise

    def _close(self) -> None:
        opened, self._opened, self._history = self._opened, None, None
        if opened is not None:
            opened.close()

    def end(self) -> None:
        """Read no more; what is being read is closed behind it."""
        self._ended = True
        self._idle.stop()
        if not self._lock.locked:
            self._close()
