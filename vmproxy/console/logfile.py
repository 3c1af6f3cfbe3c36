"""A log as the scribe sees it: what it remembers of each, thousands of them, beside the files themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vmproxy.console.numbered import trail_of
from vmproxy.console.plainlog import PlainFile
from vmproxy.console.trail import Event

Item = bytes | Event


class LogFile:
    """What the scribe knows of a log.

    :ivar problem: why it cannot be written now; empty while it can.
    :ivar lost: bytes dropped since it could not.
    :ivar marked: when the last time mark was written, ``known``: whether the scribe has met it.
    :ivar lines: of the trail, that could not be written.
    :ivar plain: its plain text, while that is wanted and there is some.
    """

    __slots__ = (
        "backlog",
        "backlog_events",
        "backlog_size",
        "known",
        "lines",
        "lost",
        "marked",
        "path",
        "plain",
        "problem",
        "report",
        "trail_path",
    )

    def __init__(self, path: Path, report: Callable[[str, int], None]) -> None:
        """
        :param report: called with the problem and 0 when writing begins to fail, with an empty string and the number of
            bytes lost when it works again. Called on the scribe's thread.
        """
        self.path = path
        self.trail_path = trail_of(path)
        self.report = report
        self.problem = ""
        self.lost = 0
        self.marked = 0.0
        self.known = False
        self.plain: PlainFile | None = None
        # Lists: there are thousands, nearly always empty, and an empty deque has 600 bytes.
        self.backlog: list[bytearray | Event] = []
        self.backlog_size = 0
        self.backlog_events = 0
        self.lines: list[bytes] = []
