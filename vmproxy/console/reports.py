"""What is told when the line of a console changes: to its trail, the process's own log, and its viewers."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import LogLevel

from vmproxy.base.ratelimit import RateLimitedLog
from vmproxy.console.notices import LineDown, LineUp
from vmproxy.console.viewers import Viewers
from vmproxy.log.store import ConsoleLog


class Reported(Protocol):
    """A console, as far as reports look at it."""

    log: ConsoleLog
    viewers: Viewers
    host: str
    since: float
    reason: str

    @property
    def title(self) -> str:
        """Its name, for people to read."""


def up(console: Reported, process_log: RateLimitedLog, notice: LineUp) -> None:
    """Tell that a link serves the console."""
    console.log.event("up", host=console.host)
    how = ", by vMotion" if notice.vmotion else ""
    text = "{console}: up, from {host}{how}"
    process_log.tell("consoles up", text, console=console.title, host=console.host, how=how)
    console.viewers.tell(notice)


def down(console: Reported, process_log: RateLimitedLog) -> None:
    """Tell that no link serves the console."""
    console.log.event("down", reason=console.reason, host=console.host)
    process_log.tell("consoles down", "{console}: down, {reason}", console=console.title, reason=console.reason)
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
