"""``expect``: wait for output of a console, and type an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.line_match import Expecter
from vmproxy.log.pattern import Pattern
from vmproxy.log.timeline import Timeline
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import are_consoles, find, in_turns, pattern_in
from vmproxy.operators.commands.declaration import NAME, SINCE, Arguments, Command, Flag, Option, Real, Time
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.commands.expect_many import expect_many
from vmproxy.operators.commands.log_reading import finished
from vmproxy.operators.commands.search import FIXED, IGNORE_CASE, PATTERN, RAW, pattern_of
from vmproxy.operators.commands.send import Typed
from vmproxy.operators.commands.watcher import FORCE, JOIN, REASON, Watcher, to_write
from vmproxy.operators.log_reading import open_log
from vmproxy.operators.log_search import text_of
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target

TIMEOUT = 60.0
TIMEOUT_LIMIT = 7 * 86400.0
LINE_SHOWN = 4096
PIECE = 4096  # that is looked at in one turn of the reactor


@dataclass(frozen=True, slots=True)
class _Past:
    """A moment; None for ``now``, which leaves out the log."""

    def read(self, option: str, text: str, now: float) -> float | None:
        return None if text == "now" else Time().read(option, text, now)


_NAMES = replace(NAME, help="or GLOBs: the first of them, or with --all, all", more=True)
_TIMEOUT = Option("--timeout", "S", Real(0, TIMEOUT_LIMIT), f"seconds, default {TIMEOUT:g}")
_ALL = Flag("--all", "where NAME is a GLOB: wait for all of them, not for the first")
_SINCE = Option(SINCE.name, SINCE.metavar, _Past(), "search the log from then on first; default: `now'")
_SEND = Option(
    "--send",
    "TEXT",
    Typed(),
    "type TEXT as soon as the console is watched; \\r \\n \\t \\e \\xNN stand for bytes",
    right=Right.WRITE,
)


async def _expect(session: Session, args: Arguments) -> int:
    globs = [args[_NAMES].console, *args.more]
    if args.more and not are_consoles(session, globs):
        raise UsageError("too many words; quote a name with blanks: NAME PATTERN")
    if args.more or pattern_in(session, args[_NAMES]):
        for option in (RAW, _SINCE, _SEND):
            if option in args:
                raise UsageError(f"{option} goes with one console")
        wanted = Pattern(pattern_of(args), IGNORE_CASE in args, FIXED in args)
        return await expect_many(session, globs, wanted, args.get(_TIMEOUT, TIMEOUT), _ALL in args)
    if _ALL in args:
        raise UsageError(f"{_ALL} goes with a GLOB")
    console = find(session, args[_NAMES], _SEND.right or args.right if _SEND in args else args.right)
    seconds, since, text = args.get(_TIMEOUT, TIMEOUT), args[_SINCE], args.get(_SEND, b"")
    pattern = pattern_of(args)
    text_shown = None if RAW in args else text_of(console)
    expecter = Expecter(pattern, IGNORE_CASE in args, FIXED in args, text_shown)
    line = await expect_line(session, console, expecter, seconds, since, text, to_write(args, args[_NAMES]))
    session.print(line + "\n")
    return exit_status.OK


async def expect_line(
    session: Session,
    console: Console,
    expecter: Expecter,
    seconds: float,
    since: float | None,
    text: bytes,
    target: Target,
) -> str:
    """Wait for a line that matches.

    :param since: from when on the log is looked through first; None: not at all.
    :param text: typed as soon as the console is watched, with the write access that ``target`` asks for.
    :returns: the line, safe to show.
    :raises CommandError: if none comes in time, with the status of that; or if the console has to be left.
    """
    with Watcher(session, console) as watcher:
        late = f"{console.title}: nothing matched within {seconds:g} s"
        timer = session.services.clock.callLater(seconds, watcher.leave, late, exit_status.TIMEOUT)
        try:
            line = await _seek_history(session, watcher, expecter, since)
            if line is None and text:
                watcher.take_write(target)
                session.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=len(text))
                watcher.send(text)
                watcher.drop_write_if_delivered()
            while line is None:
                await watcher.changed()
                line = await _seek(session, watcher, expecter)
        finally:
            if timer.active():
                timer.cancel()
    return visible(line.decode("utf-8", "backslashreplace").rstrip("\r"), LINE_SHOWN)


async def _seek(session: Session, watcher: Watcher, expecter: Expecter) -> bytes | None:
    watcher.take_notices()
    for _, data in watcher.queue.take():
        if (line := await _fed(session, expecter, data)) is not None:
            return line
    watcher.queue.take_skipped()
    return None


async def _fed(session: Session, expecter: Expecter, data: bytes) -> bytes | None:
    # What paints a screen with every few bytes takes long to look at: the VM must not choose how long at a stretch.
    async for piece in in_turns(session, _pieces(data)):
        if (line := expecter.feed(piece)) is not None:
            return line
    return None


def _pieces(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + PIECE
        if end < len(data):  # at the end of a line, if there is one: what is cut looks like a prompt
            end = data.rfind(b"\n", at, end) + 1 or end
        yield data[at:end]
        at = end


async def _seek_history(session: Session, watcher: Watcher, expecter: Expecter, since: float | None) -> bytes | None:
    if since is None:
        return None
    with await open_log(session, watcher.console, since=since) as opened:
        reading = opened.reading(lambda: (data for _, data in Timeline(opened.files, since).pieces()), len)
        while batch := await reading.batch():
            if watcher.error is not None:
                raise watcher.error
            for data in batch:
                if (line := await _fed(session, expecter, data)) is not None:
                    return line
        finished(session, opened)
    return None


COMMANDS = (
    Command(
        "expect",
        "wait until a console prints something",
        _expect,
        (
            _NAMES,
            PATTERN,
            _TIMEOUT,
            _ALL,
            IGNORE_CASE,
            FIXED,
            RAW,
            _SINCE,
            _SEND,
            *(replace(option, hidden=True, right=None) for option in (FORCE, JOIN, REASON)),
        ),
        Right.SPY,
        notes="Prints the line that matches; of several consoles, with the name in front.\n"
        "Status 8 if nothing matches in time.\n"
        f"With {_SEND}: {FORCE}, {JOIN} and {REASON} as with `send'.\n",
    ),
)
