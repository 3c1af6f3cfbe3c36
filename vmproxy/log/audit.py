"""The audit trail: who did what from where, one JSON line each. Never what was typed.

What is typed on consoles that record it goes to a file of its own, which is written in the same way: whoever may look
on at a console, and so read its log and trail, must not learn the passwords that were typed there.

One file for the whole concentrator. It is opened for each batch of lines, so whoever rotates it needs to tell nobody.
What cannot be written waits, bounded, and is tried again every second; what is over the bound is counted, and the count
is the next line.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.clock import wall_of
from vmproxy.base.jsonlines import mend, mend_open
from vmproxy.log.events import compact, timestamp

WAITING_LIMIT = 10_000

_log = Logger()


def ignored(_job: Callable[[], object]) -> None:
    """What failed is tried again when the next event comes, and not before."""


class Audit:
    """The file. :meth:`record` is called on the reactor's thread, the disk is touched on the writer's.

    :ivar problem: why it cannot be written now; empty while it can.
    :ivar lost: how many lines were lost since the start.
    """

    def __init__(
        self,
        path: Path,
        submit: Callable[[Callable[[], object]], None],
        clock: IReactorTime,
        mode: int = 0o640,
        again: Callable[[Callable[[], object]], object] = ignored,
    ) -> None:
        """
        :param submit: has a job done on the writer's thread.
        :param mode: of the file, when it is made.
        :param again: called on that thread with a job that failed, which is to be tried again after a while.
        """
        self._again = again
        self.path = path
        self._mode = mode
        self._submit = submit
        self._wall = wall_of(clock)
        self._lines: deque[bytes] = deque()  # filled by the reactor, emptied by the writer
        self._lost = self.lost = 0
        self._submitted = False
        self.problem = ""

    def record(self, event: str, **fields: object) -> None:
        """Record that something was done.

        :param fields: anything that JSON knows; by custom ``who``, ``from`` and ``console`` where there are such.
        """
        values = {"at": timestamp(self._wall()), "event": event, **fields}
        if len(self._lines) >= WAITING_LIMIT:
            self._lost += 1
            self.lost += 1
        else:
            self._lines.append(compact(values).encode("ascii") + b"\n")
        if not self._submitted:
            self._submitted = True
            self._submit(self.write)

    @property
    def waiting(self) -> int:
        """How many lines wait to be written."""
        return len(self._lines)

    def mend(self) -> None:
        """Have the file in order, if the process before this one ended in the middle of a line."""

        def job() -> None:
            try:
                mend(self.path)
            except OSError as error:
                _log.error("cannot mend {path}: {error}", path=str(self.path), error=error.strerror)

        self._submit(job)

    def write(self) -> None:
        """Write what waits; on the writer's thread."""
        self._submitted = False  # what is recorded from here on is submitted again
        count, lost = len(self._lines), self._lost
        data = b"".join(self._lines[n] for n in range(count))
        if lost:
            values = {"at": timestamp(self._wall()), "event": "lost", "events": lost}
            data += compact(values).encode("ascii") + b"\n"
        if not data:
            return
        try:
            self._append(data)
        except OSError as error:
            if not self.problem:
                self.problem = f"cannot write {self.path}: {error.strerror}"
                _log.error("cannot write {path}: {error}", path=str(self.path), error=error.strerror)
            self._again(self.write)
            return
        if self.problem:
            self.problem = ""
            _log.info("writing {path} again", path=str(self.path))
        self._lost -= lost
        for _ in range(count):
            self._lines.popleft()

    def _append(self, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, self._mode)
        try:
            size = mend_open(fd, self.path)
            written = os.write(fd, data)
            if written < len(data):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
