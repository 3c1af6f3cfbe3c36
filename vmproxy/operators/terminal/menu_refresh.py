"""Keeps what the menu shows up to date while it is shown: a look every second, at the directory and at the logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.console.console import Console
from vmproxy.operators.terminal.menu_list import Entry, Roster
from vmproxy.operators.terminal.menulast import LastLines

if TYPE_CHECKING:
    from vmproxy.operators.services import Services

REFRESH_SECONDS = 1.0
LAST_LINES_SECONDS = 0.2  # between two looks at logs, if there are consoles that were not looked at yet

_log = Logger()


class Watch:
    """Looks, and tells when there may be something new to be seen."""

    def __init__(
        self,
        services: Services,
        roster: Roster,
        last: LastLines,
        on_screen: Callable[[], Sequence[Entry]],
        changed: Callable[[], None],
    ) -> None:
        """
        :param on_screen: the consoles whose last lines are shown.
        :param changed: called when it is time to draw.
        """
        self._services = services
        self._clock = services.clock
        self._roster = roster
        self._last = last
        self._on_screen = on_screen
        self._changed = changed
        self._tick: IDelayedCall | None = None
        self._sweep: IDelayedCall | None = None
        self._reading = False
        self._read_at = 0.0

    def start(self) -> None:
        """Look now, and every second."""
        self._tick = self._clock.callLater(REFRESH_SECONDS, self.start)
        self.look_through()
        self._changed()
        self.read(everything=True)

    def stop(self) -> None:
        """Look no more."""
        for call in (self._tick, self._sweep):
            if call is not None and call.active():
                call.cancel()
        self._tick = self._sweep = None

    def look_through(self) -> None:
        """Begin to look through the directory if that is due, and go on if it is not finished."""
        roster, now = self._roster, self._clock.seconds()
        if roster.void or (not roster.reading and roster.due(now)):
            roster.begin(now)
        if roster.reading and self._sweep is None and roster.step():
            self._sweep = self._clock.callLater(0, self._step)

    def _step(self) -> None:
        self._sweep = None
        if self._roster.step():
            self._sweep = self._clock.callLater(0, self._step)
        else:
            self._changed()

    def read(self, everything: bool = False) -> None:
        """Read last lines, if that is not under way.

        :param everything: of all consoles on the screen that have said something; if not, only if there are some that
            were not looked at yet, and the last time is a little while ago.
        """
        now = self._clock.seconds()
        if self._reading:
            return
        shown = [entry.console for entry in self._on_screen()]
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
        self._changed()

    def _cannot_read(self, failure: Failure) -> None:
        self._reading = False
        _log.failure("the last lines of logs cannot be read", failure=failure)
