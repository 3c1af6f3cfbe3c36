"""Plain text beside a log: lines with times, for line-based tools that ship logs.

What has been written to the log ``web01.log`` is written once more to ``web01.txt``, as :class:`PlainLines` makes it:
a line at a time, with its time (UTC) in front and without escape sequences. A line is written when it is complete, or
when 5 s have passed since its first byte, so that a prompt is there too; what comes behind it then is a line of its
own.

It is a convenience, and must never cost a byte of the log itself: when it cannot be written, its lines are counted and
left out, and when it can be written again, a line says so. Runs on the writer's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from vmproxy.log.events import timestamp
from vmproxy.log.file_pool import FilePool, append_line, reason
from vmproxy.log.files import plain_of
from vmproxy.log.plaintext import PlainLines

LINE_SECONDS = 5.0
RETRY_SECONDS = 1.0
PER_TURN = 256  # unfinished lines written

_log = Logger()


class PlainFile:
    """The plain text of one log.

    :ivar missing: lines left out because it could not be written, ``problem``: why.
    """

    __slots__ = ("lines", "missing", "path", "problem", "retry_at")

    def __init__(self, log: Path, encoding: str) -> None:
        self.path = plain_of(log)
        self.lines = PlainLines(encoding)
        self.missing = 0
        self.problem = ""
        self.retry_at = 0.0


class PlainWriter:
    """Writes the plain text of all logs.

    :ivar missing: lines left out since the start, over all logs.
    """

    def __init__(self, pool: FilePool, now: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._unfinished: dict[PlainFile, None] = {}  # in the order in which their lines began
        self.missing = 0

    def feed(self, file: PlainFile, data: bytes, at: float) -> None:
        """Take what was written to the log. Nothing that goes wrong is raised.

        :param at: when it came, seconds since the epoch.
        """
        try:
            lines = file.lines.feed(data, at)
        except Exception:
            _log.failure("cannot make plain text of {path}", path=str(file.path))
            file.lines = PlainLines(file.lines.encoding)
            lines = []
        if lines:
            self._write(file, lines)
            self._unfinished.pop(file, None)
        if file.lines.pending_since is not None:
            self._unfinished.setdefault(file)

    def wait(self) -> float | None:
        """Seconds until :meth:`step` has something to do; None if nothing is unfinished."""
        for file in self._unfinished:
            since = file.lines.pending_since
            age = LINE_SECONDS if since is None else self._now() - since
            # A clock that was set back must not put it off.
            return LINE_SECONDS - age if 0 <= age < LINE_SECONDS else 0.0
        return None

    def step(self) -> None:
        """Write the unfinished lines that have waited long enough, or some of them."""
        for _ in range(PER_TURN):
            if self.wait() != 0.0:
                return
            self._finish(next(iter(self._unfinished)))

    def finish(self, file: PlainFile) -> None:
        """Write the unfinished line of a file, if there is one."""
        if file in self._unfinished:
            self._finish(file)

    def close(self) -> None:
        """Write all unfinished lines."""
        while self._unfinished:
            self._finish(next(iter(self._unfinished)))

    def _finish(self, file: PlainFile) -> None:
        del self._unfinished[file]
        if lines := file.lines.flush():
            self._write(file, lines)

    def _write(self, file: PlainFile, lines: list[bytes]) -> None:
        now = self._now()
        if file.problem and 0 < file.retry_at - now <= RETRY_SECONDS:
            file.missing += len(lines)
            self.missing += len(lines)
            return
        text = b"".join(lines)
        if file.missing:
            note = f"{timestamp(now)} [-- {file.missing} lines are missing here: {file.problem} --]\n"
            text = note.encode("utf-8", "backslashreplace") + text
        try:
            append_line(self._pool.get(file.path), text)
        except (OSError, ValueError) as error:
            if not file.problem:
                _log.error("cannot write {path}: {problem}", path=str(file.path), problem=reason(error))
            file.problem = reason(error)
            file.retry_at = now + RETRY_SECONDS
            file.missing += len(lines)
            self.missing += len(lines)
            self._pool.drop(file.path)
            return
        if file.problem:
            _log.info("writing {path} again, {missing} lines are missing", path=str(file.path), missing=file.missing)
        file.missing = 0
        file.problem = ""
