"""A log as the writer sees it: what it remembers of each, thousands of them, beside the files themselves."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Protocol

from vmproxy.log.events import Event
from vmproxy.log.plain_log import PlainFile

LogItem = bytes | Event
FINE_MARKS = 1000.0


def new_run() -> str:
    """A name for what is written from now on, which nothing had before."""
    return secrets.token_hex(6)


class Reporter(Protocol):
    """Who hears, on the writer's thread, how a log fares."""

    def report(self, problem: str, lost: int) -> None:
        """Writing begins to fail with this problem; or, with an empty one, works again, so many bytes being lost."""


class Backlog:
    """What could not be written, and waits.

    :ivar items: bytes and events in order; ``size`` bytes and ``events`` events of them.
    :ivar lines: of the trail, that could not be written when the log could.
    """

    __slots__ = ("events", "items", "lines", "size")

    def __init__(self) -> None:
        self.items: list[bytearray | Event] = []
        self.size = 0
        self.events = 0
        self.lines: list[bytes] = []


class LogFile:
    """What the writer knows of a log.

    :ivar folder: the log folder; ``name``: the log's path in it.
    :ivar reporter: is told when writing fails, and when it works again.
    :ivar problem: why it cannot be written now; empty while it can.
    :ivar lost: bytes dropped since it could not.
    :ivar marked: when the last time mark was written.
    :ivar fine: how many more there may be within a second of the last.
    :ivar link: the name of the link that was made for it; empty if none was.
    :ivar encoding: that of the characters in the output.
    :ivar plain: its plain text, while that is wanted and there is some.
    :ivar whole: whether it is known that its trail has no torn line at its end.
    :ivar offset: that of the next byte that is written; -1 until the writer has looked at the files.
    :ivar base: the offset at which this process began. Invariant: it never changes once it is known.
    :ivar run: the name of what is written from there on; ``run_before``: of what was before, empty if it is not known.
    :ivar shift: by how much the offset of the next byte is more than its place in the file.
    :ivar since: from which place in the file on that is so.
    :ivar stated: how long the trail was when it said so last.
    :ivar cuts: how often somebody else was seen to have changed the file.
    """

    __slots__ = (
        "_backlog",
        "base",
        "cuts",
        "encoding",
        "fine",
        "folder",
        "link",
        "lost",
        "marked",
        "name",
        "offset",
        "plain",
        "problem",
        "reporter",
        "run",
        "run_before",
        "shift",
        "since",
        "stated",
        "whole",
    )

    def __init__(self, folder: str, name: str, reporter: Reporter, run: str = "") -> None:
        """:param run: a name of its own; made if it is not given."""
        self.folder = folder
        self.name = name
        self.reporter = reporter
        self.problem = ""
        self.lost = 0
        self.marked = 0.0
        self.fine = FINE_MARKS
        self.link = ""
        self.encoding = "utf-8"
        self.plain: PlainFile | None = None
        self.whole = False
        self.offset = self.base = -1
        self.run = run or new_run()
        self.run_before = ""
        self.shift = self.since = self.stated = self.cuts = 0
        self._backlog: Backlog | None = None

    def use(self, encoding: str) -> None:
        """Take another encoding of the text: for what is written from now on."""
        self.encoding = encoding

    def begin_anew(self, base: int) -> None:
        """Take note that all offsets of this process were too small."""
        self.run = new_run()
        self.base = base

    @property
    def path(self) -> str:
        """Where the log stands. Made when it is asked for: paths are most of what a log would have in memory."""
        return f"{self.folder}/{self.name}"

    @property
    def trail_path(self) -> str:
        """Where its event trail stands: see :func:`vmproxy.log.files.trail_of`."""
        return f"{self.folder}/{self.name}.events"

    @property
    def where(self) -> Path:
        """Where the log stands, for those who calculate with paths."""
        return Path(self.path)

    @property
    def backlog(self) -> Backlog:
        """What waits, made when there is something."""
        if self._backlog is None:
            self._backlog = Backlog()
        return self._backlog

    @property
    def waiting_lines(self) -> list[bytes] | tuple[()]:
        return () if self._backlog is None else self._backlog.lines

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of the log wait."""
        return 0 if self._backlog is None else self._backlog.size

    def drop_backlog(self) -> None:
        """Let what waits be lost."""
        self._backlog = None

    def forget_backlog(self) -> None:
        """Nothing waits any more."""
        if self._backlog is not None and not (self._backlog.items or self._backlog.lines):
            self._backlog = None
