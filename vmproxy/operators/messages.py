"""Texts for operators: notices, banners, and the figures in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmproxy.base.sanitize import human_bytes, human_span, visible
from vmproxy.console.console import Console
from vmproxy.console.info import ViewerInfo
from vmproxy.console.interfaces import IRemoteEnd, IViewer
from vmproxy.console.notices import (
    Alerted,
    Demoted,
    FarEndDown,
    FarEndUp,
    GuestBreak,
    InputLost,
    InputRecorded,
    Joined,
    Kicked,
    Left,
    LineDown,
    LineUp,
    LogFailed,
    LoggingOff,
    LoggingOn,
    LogRecovered,
    Message,
    Notice,
    Promoted,
    Shares,
    ShuttingDown,
    TookOver,
)
from vmproxy.log.timing import zone

if TYPE_CHECKING:
    from vmproxy.operators.visible import VisibleConsoles

NAMED = 10


def notice_text(notice: Notice, title: str) -> str:
    """A notice as a line, without the line's end."""
    match notice:
        case LineDown():
            return f"[-- {title}: line down ({notice.reason}) {clock_time(notice.at)} --]"
        case LineUp():
            how = ", vMotion" if notice.vmotion else ""
            away = "" if notice.away is None else f" after {short_span(notice.away)}"
            return f"[-- {title}: line up ({notice.host}{how}){away} --]"
        case FarEndUp():
            return f"[-- {title}: connected to {notice.place} ({notice.address}) --]"
        case FarEndDown():
            again = short_span(notice.again)
            return f"[-- {title}: {notice.place} is down ({visible(notice.reason)}); again in {again} --]"
        case Joined():
            return f"[-- {notice.who} attached{'' if notice.writing else ' (spy)'} --]"
        case Left():
            return f"[-- {notice.who} detached --]"
        case Demoted():
            why = f": {visible(notice.reason)}" if notice.reason else ""
            return f"[forced to `spy' mode by {notice.by}{why}]"
        case Kicked():
            why = f": {visible(notice.reason)}" if notice.reason else ""
            return f"[-- disconnected by {notice.by}{why} --]"
        case Message():
            return (
                f"[-- message from {notice.who}{' to all' if notice.to_all else ''}: {visible(notice.text, 1000)} --]"
            )
        case InputRecorded():
            return f"[-- what is typed is {'recorded from now on' if notice.on else 'no longer recorded'} --]"
        case LoggingOff():
            return f"[-- log: turned off by {notice.who}; NOT being recorded --]"
        case LoggingOn():
            return f"[-- log: turned on by {notice.who}, {human_bytes(notice.missing)} not recorded --]"
        case Promoted():
            return "[attached]"
        case Shares():
            return f"[-- {notice.who} writes too --]"
        case TookOver():
            return f"[-- {notice.who} took over from {notice.was} --]"
        case Alerted():
            return f"[-- alert: {notice.severity}, {notice.watch}: {visible(notice.line, 300)} --]"
        case GuestBreak():
            return f"[-- {title}: the guest sent a break --]"
        case InputLost():
            return f"[-- {human_bytes(notice.size)} of input not delivered: {title} is gone --]"
        case LogFailed():
            return f"[-- log: cannot write: {notice.reason}; NOT being recorded --]"
        case LogRecovered():
            lost = f"{human_bytes(notice.lost)} lost" if notice.lost else "nothing lost"
            return f"[-- log: recording again, {lost} --]"
        case ShuttingDown():
            return "[-- console server shutting down --]"
    raise TypeError(f"no words for {notice!r}")


def banner(console: Console, view: VisibleConsoles, now: float) -> str:
    """The banner of a console, without the brackets."""
    return f"{console.title} -- {state_line(console, now)}, {recording(console, view)}"


def recording(console: Console, view: VisibleConsoles) -> str:
    """The log of a console, or the reason why it is not being recorded."""
    if not console.logging:
        return "NOT being recorded: turned off"
    if console.log.problem:
        return f"NOT being recorded: {console.log.problem}"
    # Its name by which sftp and by-name/ know it: the file's own may tell of others that may not be seen.
    return f"logging to {view.alias(console)}.log"


def others_line(console: Console, others: list[IViewer]) -> str:
    """``2 others: carol@10.1.2.9 (spy), dave@10.1.2.9 (write)``; of many the first."""
    names = [f"{viewer.who} ({'write' if console.write_access.writes(viewer) else 'spy'})" for viewer in others[:NAMED]]
    if len(others) > len(names):
        names.append("...")
    return f"{len(others)} other{'s' if len(others) > 1 else ''}: {', '.join(names)}"


def state_line(console: Console, now: float, with_reason: bool = True) -> str:
    """``up 3d04h, from 10.1.2.3``, or since when and why it is down."""
    if console.state == "down":
        if not console.since:
            return f"down ({console.reason or 'not seen yet'})" if with_reason else "down"
        return f"down since {local_time(console.since)}{f' ({console.reason})' if with_reason else ''}"
    moving = ", in a vMotion" if console.state == "migrating" else ""
    far = console.remote
    away = "" if far is None or far.state == "up" else f", far end {far_state(far)}"
    return f"up {human_span(now - console.since)}, from {console.host}{moving}{away}"


def far_state(far: IRemoteEnd) -> str:
    """The state of a remote end, with the reason if it is not up."""
    return f"{far.state} ({visible(far.reason)})" if far.reason else far.state


def far_line(far: IRemoteEnd) -> str:
    """A remote end in a line."""
    at = f" at {far.address}" if far.state == "up" else ""
    again = f", again at {clock_time(far.again)}" if far.again else ""
    return f"{far.place}, {far_state(far)}{at} since {local_time(far.since)}{again}"


def taken_from(losers: list[str]) -> str:
    """Suffix that names the viewers who lost write access."""
    if not losers:
        return ""
    return f" -- {', '.join(losers)} {'is a spy' if len(losers) == 1 else 'are spies'} now"


def idle(viewer: IViewer | ViewerInfo, now: float) -> str:
    """The time since a viewer has typed."""
    return human_span(now - viewer.last_input)


def mode(writes: bool, waits: bool) -> str:
    """``write``, ``spy``, or ``spy, waits`` for write access."""
    return "write" if writes else "spy, waits" if waits else "spy"


def clock_time(seconds: float) -> str:
    """``16:09:13+01:00``, local time."""
    moment = time.localtime(seconds)
    return time.strftime("%H:%M:%S", moment) + zone(moment)


def local_time(seconds: float) -> str:
    """``2026-11-22 16:09:13+01:00``, local time."""
    moment = time.localtime(seconds)
    return time.strftime("%Y-%m-%d %H:%M:%S", moment) + zone(moment)


def short_span(seconds: float) -> str:
    """``3 ms`` and ``0.4 s`` for the short, ``4h11m`` for the long."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else human_span(seconds)
