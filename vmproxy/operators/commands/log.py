"""``log``: the log of a console, all of it or a part, across rotated files; and new output.

A follower joins live output to the log at the byte: it is on the console before the log is opened, so what the log does
not hold yet waits in it. If it waits for longer than the bounds allow, the follower is told how much it has missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.tail import from_last_lines
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import Stamper
from vmproxy.operators.commands.context import find
from vmproxy.operators.commands.declaration import NAME, SINCE, UNTIL, Arguments, Command, Flag, Option, Whole
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.log_reading import OpenedLog, open_log, print_pieces
from vmproxy.operators.commands.watcher import Watcher
from vmproxy.operators.session import Session, tell
from vmproxy.operators.terminal.replay_filter import ReplayFilter, harmless

FOLLOW_LINES = 20
LAST_LIMIT = 4 * 1024 * 1024

_LINES = Option("-n", "LINES", Whole(0, 999_999_999), "the last lines only; with -t at most 4 MiB of them")
_FOLLOW = Flag("-f", "follow the log; starts with the last 20 lines by default")
_STAMPS = Flag("-t", "the time in front of each line")


async def _log(session: Session, args: Arguments) -> int:
    target, lines, since, until = args[NAME], args[_LINES], args[SINCE], args[UNTIL]
    follow = _FOLLOW in args
    if lines is not None and (since is not None or until is not None):
        raise UsageError(f"give {_LINES}, or {SINCE} and {UNTIL}")
    if follow and until is not None:
        raise UsageError(f"{_FOLLOW} and {UNTIL} together make no sense")
    if follow and lines is None and since is None:
        lines = FOLLOW_LINES if target.replay is None else target.replay
    console = find(session, target, args.right)
    session.operator.audit("log-read", console=console.title, uuid=str(console.uuid))
    stamper = Stamper() if _STAMPS in args else None
    if not follow:
        return await _print(session, console, lines, since, until, stamper)
    with Watcher(session, console) as watcher:
        await _print(session, console, lines, since, until, stamper)
        return await _follow(session, watcher, stamper)


async def _print(
    session: Session,
    console: Console,
    lines: int | None,
    since: float | None,
    until: float | None,
    stamper: Stamper | None,
) -> int:
    pieces: Callable[[], Iterator[bytes]]
    timed = stamper is not None or since is not None or until is not None
    with await open_log(session, console, since=since, trails=timed) as opened:
        if timed:
            pieces = partial(_timed, opened, lines, since, until, stamper)
        else:
            pieces = partial(from_last_lines, opened.files, lines)
        encoding = console.options.encoding
        reading = opened.reading((lambda: harmless(pieces(), encoding)) if session.has_pty else pieces, len)
        await print_pieces(session, console, reading)
        return opened.problems()


def _timed(
    opened: OpenedLog, lines: int | None, since: float | None, until: float | None, stamper: Stamper | None
) -> Iterator[bytes]:
    pieces = Timeline(opened.files, since, until).pieces()
    shown = (data if stamper is None else stamper.feed(data, at) for at, data in pieces)
    return shown if lines is None else _last(shown, lines)


def _last(pieces: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """The last lines of what is read only forwards: a piece of nothing for each one that is read, then those."""
    kept: deque[bytes] = deque()
    size = ends = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        ends += piece.count(b"\n")
        while kept and (size > LAST_LIMIT or ends - kept[0].count(b"\n") > lines):
            size -= len(kept[0])
            ends -= kept.popleft().count(b"\n")
        yield b""
    text = b"".join(kept)
    cut = len(text) - 1 if text.endswith(b"\n") else len(text)
    for _ in range(lines):
        cut = text.rfind(b"\n", 0, cut)
        if cut < 0:
            break
    yield (text[cut + 1 :] if cut >= 0 else text) if lines else b""


async def _follow(session: Session, watcher: Watcher, stamper: Stamper | None) -> int:
    shown = ReplayFilter(watcher.console.options.encoding).feed if session.has_pty else bytes
    while True:
        await watcher.changed()
        for at, data in watcher.queue.take():
            session.send(shown(data if stamper is None else stamper.feed(data, at)))
        if not await session.when_drained():
            raise CommandError("the client is gone")
        if skipped := watcher.queue.take_skipped():
            tell(session, f"[-- {skipped} bytes skipped: your connection is too slow --]")
        for text in watcher.take_notices():
            tell(session, text)


COMMANDS = (
    Command(
        "log",
        "show the log of a console, and follow it",
        _log,
        (NAME, _LINES, _FOLLOW, SINCE, UNTIL, _STAMPS),
        Right.SPY,
        notes="Times are exact to about 10 ms.\n",
    ),
)
