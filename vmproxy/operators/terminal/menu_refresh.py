"""Refresh of the menu while it is shown: every second, from the registry and from the logs.

The last line of output of each console on the screen is read from the end of its log: on a thread, one batch at a time
for each menu, and only for consoles with new output. The log may lag a moment behind the count of bytes, so a console
that has fallen silent is read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.access.policy import Right
from vmproxy.base.countdown import Countdown
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.shown import ShownText
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.menu_list import ConsoleEntry, ConsoleList
from vmproxy.operators.visible import VisibleConsoles

REFRESH_SECONDS = 1.0
LAST_LINES_SECONDS = 0.2  # between two readings of logs, if there are consoles whose logs were not read yet
TAIL = 2048  # bytes of a log that are read
PREVIEW_TAIL = 16384
PREVIEW_LINES = 100
SHOWN = 256  # characters of a line that are kept
KEPT = 400  # consoles that are remembered

_log = Logger()


class Picture(Protocol):
    """What is refreshed."""

    def draw(self) -> None:
        """Bring the terminal up to date."""

    def with_last_lines(self) -> Sequence[ConsoleEntry]:
        """The consoles whose last lines are shown."""

    def previewed(self) -> Console | None:
        """The console whose output is shown beside the list."""


class _NoPicture:
    def draw(self) -> None: ...

    def with_last_lines(self) -> Sequence[ConsoleEntry]:
        return ()

    def previewed(self) -> Console | None:
        return None


_NONE = _NoPicture()


class Refresher:
    """Refreshes a menu, and tells it when to draw."""

    def __init__(
        self,
        session: Session,
        listed: ConsoleList,
        last: LastLines,
    ) -> None:
        self._services = session.services
        self._clock = session.services.clock
        self._who = session.operator.name
        self._view = session.operator.view
        self._listed = listed
        self._last = last
        self._picture: Picture = _NONE
        self._tick = Countdown(self._clock)
        self._sweeping = False
        self._reading = False
        self._read_at = 0.0
        self._previewing = False
        self._preview = _Preview(None, 0, False, [])

    def start(self, picture: Picture) -> None:
        """Refresh now, and every second."""
        self._picture = picture
        self._refresh()

    def _refresh(self) -> None:
        self._tick.start(REFRESH_SECONDS, self._refresh)
        self._listed.look_again()
        self.look_through()
        self._picture.draw()
        self.read(everything=True)

    def stop(self) -> None:
        """Refresh no more, and let go of the picture."""
        self._tick.stop()
        self._picture = _NONE  # which has this

    def look_through(self) -> None:
        """Begin a scan of the registry if one is due, or go on with what is under way."""
        listed, now = self._listed, self._clock.seconds()
        if listed.void or (not listed.reading and listed.due(now)):
            listed.begin(now)
        if listed.busy and not self._sweeping:
            self._sweep()

    def _sweep(self) -> bool:
        turns = self._services.turns
        while turns.open() and self._view.prepare(turns.open):
            if not self._listed.step():
                return True
        self._sweeping = True
        turns.wait(self._who, self._go_on)
        return False

    def _go_on(self) -> None:
        self._sweeping = False
        if self._tick.is_running and self._sweep():
            self._picture.draw()

    def read(self, everything: bool = False) -> None:
        """Read last lines, unless a reading is under way.

        :param everything: of all consoles on the screen with new output; otherwise only if the logs of some were not
            read yet, and the last reading is :data:`LAST_LINES_SECONDS` ago. Each reading is drawn, so what is read
            once it is drawn must not depend on how much the VMs print.
        """
        self._read_preview(everything)
        now = self._clock.seconds()
        if self._reading:
            return
        shown = [entry.console for entry in self._picture.with_last_lines()]
        if not everything and (0 <= now - self._read_at < LAST_LINES_SECONDS or not self._last.missing(shown)):
            return
        consoles = self._last.wanted(shown)
        if consoles:
            self._reading, self._read_at = True, now
            sizes = [console.bytes_out for console in consoles]
            reading = self._services.in_thread(self._last.reader(consoles))
            reading.addCallback(lambda lines: self._has_read(consoles, sizes, lines))
            reading.addErrback(self._cannot_read)

    def _has_read(self, consoles: list[Console], sizes: list[int], lines: list[str | None]) -> None:
        self._reading = False
        self._last.learn(consoles, sizes, lines)
        self._picture.draw()

    def preview_of(self, console: Console) -> list[str]:
        """The last lines of a console, safe to show, as far as they have been read; none if it may not be read."""
        preview = self._preview
        return preview.lines if preview.console is console and self._view.may(console, Right.SPY) else []

    def _read_preview(self, everything: bool) -> None:
        console, known = self._picture.previewed(), self._preview
        if console is None or self._previewing or not self._view.may(console, Right.SPY):
            return
        size = console.bytes_out
        if console is known.console and (not everything or (known.settled and known.at == size)):
            return
        self._previewing = True
        path, encoding = console.log.path, console.options.encoding
        reading = self._services.in_thread(lambda: last_lines(path, encoding))
        reading.addCallback(lambda lines: self._has_preview(console, size, lines))
        reading.addErrback(self._cannot_read)

    def _has_preview(self, console: Console, size: int, lines: list[str]) -> None:
        self._previewing = False
        before = self._preview
        same = before.console is console
        self._preview = _Preview(console, size, same and before.at == size, lines)
        if not same or before.lines != lines:
            self._picture.draw()

    def _cannot_read(self, failure: Failure) -> None:
        self._reading = self._previewing = False
        _log.failure("the last lines of logs cannot be read", failure=failure)


@dataclass(frozen=True, slots=True)
class _Preview:
    """The last lines of the console beside the list.

    :ivar at: the bytes that the console had sent when its log was read.
    :ivar settled: whether it had sent as many at the reading before.
    """

    console: Console | None
    at: int
    settled: bool
    lines: list[str]


@dataclass(frozen=True, slots=True)
class _LastLine:
    """The last line of one console.

    :ivar at: the bytes that the console had sent when its log was read.
    :ivar settled: whether it had sent as many at the reading before.
    """

    text: str
    at: int
    settled: bool


class LastLines:
    def __init__(self, view: VisibleConsoles) -> None:
        self._view = view
        self._known: dict[Console, _LastLine] = {}

    def of(self, console: Console) -> str:
        """The last line of a console, safe to show; empty if it is unknown, or if the operator may not see it."""
        known = self._known.get(console)
        return known.text if known is not None and self._view.may(console, Right.SPY) else ""

    def missing(self, consoles: Iterable[Console]) -> bool:
        """Whether the logs of some consoles were never read."""
        return any(console not in self._known for console in consoles)

    def wanted(self, consoles: Iterable[Console]) -> list[Console]:
        """The consoles whose logs are to be read now."""
        found = []
        for console in consoles:
            known = self._known.get(console)
            if known is None or not known.settled or known.at != console.bytes_out:
                found.append(console)
        return found

    def reader(self, consoles: Sequence[Console]) -> Callable[[], list[str | None]]:
        """A function for a thread that reads the last lines; :meth:`learn` takes its result."""
        may = [self._view.may(console, Right.SPY) for console in consoles]
        logs = [
            (console.log.path, console.options.encoding) if allowed else None
            for console, allowed in zip(consoles, may, strict=True)
        ]
        return lambda: [None if log is None else last_line(*log) for log in logs]

    def learn(self, consoles: Sequence[Console], sizes: Sequence[int], lines: Sequence[str | None]) -> None:
        """Take the result of a reading.

        :param sizes: the bytes that each console had sent when the reading began.
        :param lines: the lines; None keeps the line of before.
        """
        for console, size, line in zip(consoles, sizes, lines, strict=True):
            before = self._known.pop(console, None)
            text = line if line is not None else before.text if before is not None else ""
            self._known[console] = _LastLine(text, size, before is not None and before.at == size)
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]


def last_line(path: Path, encoding: str = "utf-8") -> str | None:
    """The last line of a log that is not empty, finished or not, as a terminal shows it.

    :returns: the line, safe to show; None if there is none in the last :data:`TAIL` bytes, or the log cannot be read.
    """
    data = _end_of(path, TAIL)
    if data is None:
        return None
    text = ShownText(encoding)
    rows = (row for line in reversed(data.split(b"\n")) for row in reversed(text.rows(line)))
    found = next(filter(None, (" ".join(row.decode("utf-8", "backslashreplace").split()) for row in rows)), None)
    return found and visible(found, SHOWN)


def last_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The last :data:`PREVIEW_LINES` lines of a log, as a terminal shows them, safe to show."""
    data = _end_of(path, PREVIEW_TAIL) or b""
    text = ShownText(encoding)
    rows = [row for line in data.split(b"\n") for row in text.rows(line)]
    while rows and not rows[-1].strip():
        del rows[-1]
    shown = (row.decode("utf-8", "backslashreplace").rstrip().expandtabs() for row in rows[-PREVIEW_LINES:])
    return [visible(row, SHOWN) for row in shown]


def _end_of(path: Path, most: int) -> bytes | None:
    """The end of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            return file.read(most)
    except OSError:
        return None
