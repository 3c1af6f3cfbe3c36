"""The daemon's own log under ``vmproxy run``: one line an event on standard output, or for systemd's journal.

The journal stamps each line itself and takes its priority from a prefix such as ``<4>``, sd-daemon(3). Whether standard
output leads there is in ``JOURNAL_STREAM``, systemd.exec(5): the device and inode of the stream.

Under ``twistd`` none of this applies: there Twisted's options say what is logged and where.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    globalLogBeginner,
    textFileLogObserver,
)
from zope.interface import implementer

_PRIORITIES = {
    LogLevel.critical: 2,
    LogLevel.error: 3,
    LogLevel.warn: 4,
    LogLevel.info: 6,
    LogLevel.debug: 7,
}

_LAST_WORD = "Main loop terminated."  # the reactor's, also behind the reason why vmproxy could not start


class Output:
    """What the process says, from a level on; from ``info`` on, until told otherwise."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        """
        :param stream: where the lines go.
        :param environment: of the process: ``JOURNAL_STREAM``.
        """
        self._predicate = LogLevelFilterPredicate()
        if is_journal(stream, environment):
            self._writer: ILogObserver = JournalObserver(stream)
        else:
            self._writer = TerminalObserver(stream) if stream.isatty() else textFileLogObserver(stream)
        self.set_level("info")
        self.observer = FilteringLogObserver(self._write, [self._predicate])  # type: ignore[arg-type]  # any callable

    def _write(self, event: LogEvent) -> None:
        if event.get("log_format") != _LAST_WORD:
            self._writer(event)

    def set_level(self, level: str) -> None:
        """Say what has this level or a higher one: ``debug``, ``info``, ``warn`` or ``error``."""
        lowest = LogLevel.levelWithName(level)
        self._predicate.setLogLevelForNamespace("", lowest)
        # Twisted's older events tell of ports that open and close: noise, but for errors.
        older = lowest if lowest is LogLevel.debug else max(lowest, LogLevel.warn)
        self._predicate.setLogLevelForNamespace("log_legacy", older)

    def begin(self) -> None:
        """Take the process's log events, those included that came before."""
        globalLogBeginner.beginLoggingTo([self.observer], redirectStandardIO=False)


@implementer(ILogObserver)
class TerminalObserver:
    """Writes events at a terminal: the summary at the start without time and origin, so that it fits."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._other = textFileLogObserver(stream)

    def __call__(self, event: LogEvent) -> None:
        if not event.get("summary"):
            self._other(event)
            return
        with suppress(OSError):  # the terminal is closed
            self._stream.write(f"{formatEvent(event)}\n")
            self._stream.flush()


@implementer(ILogObserver)
class JournalObserver:
    """Writes events for the journal: the priority in front of each line, no time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """Write an event; each line of a traceback is a line with the same priority."""
        priority = _PRIORITIES.get(event.get("log_level", LogLevel.info), 6)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        lines = text.splitlines() or [""]
        self._stream.write("".join(f"<{priority}>{line}\n" for line in lines))
        self._stream.flush()


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream leads to systemd's journal."""
    try:
        device, inode = (int(number) for number in environment.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(stream.fileno())
    except (ValueError, OSError):  # the variable is not set, or there is no such stream
        return False
    return (found.st_dev, found.st_ino) == (device, inode)
