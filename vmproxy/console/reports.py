"""What is told when the line of a console changes: to its trail, the process's own log, and its viewers."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import LogLevel

from vmproxy.base.ratelimit import RateLimitedLog
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import LineDown, LineUp
from vmproxy.console.viewers import Viewers
from vmproxy.log.store import ConsoleLog


class Reported(Protocol):
    """A console, as far as reports look at it."""

    log: ConsoleLog
    host: str
    since: float
    reason: str

    @property
    def viewers(self) -> Viewers:
        """The viewers."""

    @property
    def watchers(self) -> tuple[IViewer, ...]:
        """The viewers alone."""

    @property
    def title(self) -> str:
        """Its name, for people to read."""


def up(
    console: Reported, process_log: RateLimitedLog, away: float | None = None, vmotion: bool = False, name: str = ""
) -> None:
    """Tell that a link serves the console.

    :param name: of one that is served for the first time, as it may be shown.
    """
    if name:
        console.log.arrival(console.host, name)
    else:
        console.log.event("up", host=console.host)
    if process_log.allows("consoles up"):
        how = ", by vMotion" if vmotion else ""
        process_log.emit("{console}: up, from {host}{how}", console=console.title, host=console.host, how=how)
    if console.watchers:
        console.viewers.tell(LineUp(console.host, away, vmotion))


def down(console: Reported, process_log: RateLimitedLog) -> None:
    """Tell that no link serves the console."""
    console.log.event("down", reason=console.reason, host=console.host)
    if process_log.allows("consoles down"):
        process_log.emit("{console}: down, {reason}", console=console.title, reason=console.reason)
    if console.watchers:
        console.viewers.tell(LineDown(console.reason, console.since))


def replaced(console: Reported, process_log: RateLimitedLog, host: str, by: str) -> None:
    """Tell that a new connection replaces another."""
    console.log.event("replaced", host=host, by=by)
    text = "{console}: a new connection from {by} replaces that of {host}"
    process_log.tell("connections replaced", text, LogLevel.warn, console=console.title, by=by, host=host)


def unsteady(console: Reported, process_log: RateLimitedLog, times: int) -> None:
    """Tell that the console was claimed so often within a minute."""
    text = "{console}: connected anew {n} more times within a minute"
    process_log.tell("consoles connected too often", text, LogLevel.warn, console=console.title, n=times)
    console.log.event("unsteady", times=times)
