"""``log``: the log of a console, all of it or a part, across rotated files; and new output.

A follower joins live output to the log at the byte: it is on the console before the log is opened, so what the log does
not hold yet waits in it. If it waits for longer than the bounds allow, the follower is told how much it has missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.lines import ConsoleLines
from vmproxy.log.plaintext import PlainLines
from vmproxy.log.tail import from_last_lines
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import Stamper, local_time
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, in_turns, is_pattern, require_right
from vmproxy.operators.commands.declaration import (
    SINCE,
    UNTIL,
    Argument,
    Arguments,
    Command,
    Flag,
    Option,
    Takes,
    Whole,
)
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.log_reading import finished, print_pieces, taken
from vmproxy.operators.commands.search import IGNORE_CASE
from vmproxy.operators.commands.tail import COMMANDS as TAIL
from vmproxy.operators.commands.tail import CONTEXT, MATCH, NOT, choice_of, style_of, tail
from vmproxy.operators.commands.watcher import Watcher
from vmproxy.operators.line_choice import LinePicker
from vmproxy.operators.log_reading import open_log
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import parse
from vmproxy.operators.terminal.replay_filter import ReplayFilter

FOLLOW_LINES = 20
LAST_LIMIT = 4 * 1024 * 1024
PORTION = 4096
REST_SECONDS = 1.0
"""How long text that is followed waits for the end of a line."""

_NAMES: Argument[list[str]] = Argument(
    "NAME", Takes.LIST, "with -f also several, or GLOBs: their lines in one stream, see `tail'", completes="console"
)
_LINES = Option("-n", "LINES", Whole(0, 999_999_999), "the last lines only; with -t or --text at most 4 MiB of them")
_FOLLOW = Flag("-f", "follow the log; starts with the last 20 lines by default")
_STAMPS = Flag("-t", "the time in front of each line")
_TEXT = Flag(
    "--text", "the text as a terminal shows it: no escape sequences, edited lines as they were in the end", "form"
)
_COUNT = Flag("-c", "only how many lines there are, or match")
_RAW = Flag("--raw", "every byte, at a terminal too", "form")


class _Form:
    """What is made of the bytes of a log: the same, harmless for a terminal, or text; with times or without.

    :ivar waits: whether there is the beginning of a line of text that has not come out yet.
    """

    def __init__(self, args: Arguments, encoding: str, has_pty: bool) -> None:
        self._stamper = Stamper() if _STAMPS in args and _TEXT not in args else None
        self._filter = ReplayFilter(encoding) if has_pty and _RAW not in args and _TEXT not in args else None
        self._text = PlainLines(encoding, _stamp if _STAMPS in args else _no_stamp) if _TEXT in args else None
        self._ends_lines = has_pty
        self._eol = b"\r\n" if has_pty else b"\n"
        self._at_line_start = True

    @property
    def waits(self) -> bool:
        return self._text is not None and self._text.pending_since is not None

    def feed(self, at: float, data: bytes) -> bytes:
        """Take what came at a time, seconds since the epoch."""
        if self._text is not None:
            return self._lines(self._text.feed(data, at))
        if self._stamper is not None:
            data = self._stamper.feed(data, at)
        if self._filter is not None:
            data = self._filter.feed(data)
        if data:
            self._at_line_start = data.endswith(b"\n")
        return data

    def rest(self) -> bytes:
        """Wait no longer for the end of a line."""
        return self._lines(self._text.flush()) if self._text is not None else b""

    def end(self) -> bytes:
        """What is to be sent behind it; at a terminal, whatever follows begins a line."""
        end = self.rest() if self._filter is None else self._filter.end()
        return end + (b"" if self._at_line_start or not self._ends_lines else self._eol)

    def _lines(self, lines: list[bytes]) -> bytes:
        return b"".join(lines).replace(b"\n", self._eol)


def _stamp(at: float) -> bytes:
    return local_time(at).encode() + b" "


def _no_stamp(at: float) -> bytes:
    return b""


async def _log(session: Session, args: Arguments) -> int:
    words, lines, since, until = args[_NAMES], args[_LINES], args[SINCE], args[UNTIL]
    if lines is not None and (since is not None or until is not None):
        raise UsageError(f"give {_LINES}, or {SINCE} and {UNTIL}")
    if _FOLLOW in args and until is not None:
        raise UsageError(f"{_FOLLOW} and {UNTIL} together make no sense")
    picks = any(option in args for option in (MATCH, NOT, CONTEXT, _COUNT))
    if picks and _RAW in args:
        raise UsageError(f"lines are picked of the text as it is shown, not {_RAW}")
    many = _are_many(session, words)
    if _FOLLOW in args and (picks or many):
        for option in (_RAW, _COUNT):
            if option in args:
                raise UsageError(f"{option} does not go with {_FOLLOW} here")
        return await tail(session, args, words if many or not words else [" ".join(words)], lines)
    target = parse(" ".join(words)) if words else session.operator.target
    if target is None:
        raise UsageError("which console? give its name")
    if _FOLLOW in args and lines is None and since is None:
        lines = FOLLOW_LINES if target.replay is None else target.replay
    console = find(session, target, args.right)
    session.operator.audit("log-read", console=console.title, uuid=str(console.uuid))
    if picks:
        return await _print_picked(session, console, lines, args)
    form = _Form(args, console.options.encoding, session.has_pty)
    try:
        if _FOLLOW not in args:
            return await _print(session, console, lines, args, form)
        with Watcher(session, console) as watcher:
            await _print(session, console, lines, args, form)
            return await _follow(session, watcher, form)
    finally:
        if end := form.end():
            session.send(end)


def _are_many(session: Session, words: list[str]) -> bool:
    """Whether words are several names or patterns, and not one name, which may have blanks."""
    view = session.operator.view
    with suppress(VMProxyError):
        if words:
            view.find(parse(" ".join(words)).console)
            return False
    return len(words) > 1 or any(map(is_pattern, words))


async def _print(session: Session, console: Console, lines: int | None, args: Arguments, form: _Form) -> int:
    since, until = args[SINCE], args[UNTIL]
    timed = _STAMPS in args or since is not None or until is not None
    with await open_log(session, console, since=since, trails=timed) as opened:

        def pieces() -> Iterator[bytes]:
            shown: Iterator[bytes]
            if timed:
                shown = (form.feed(at, data) for at, data in Timeline(opened.files, since, until).pieces())
            else:
                shown = (form.feed(0.0, data) for data in from_last_lines(opened.files, lines))
            if _FOLLOW not in args:
                shown = chain(shown, map(_Form.rest, (form,)))
            return _last(shown, lines) if lines is not None and (timed or _TEXT in args) else shown

        await print_pieces(session, console, opened.reading(pieces, len))
        return finished(session, opened)


async def _print_picked(session: Session, console: Console, lines: int | None, args: Arguments) -> int:
    """Print the lines that match, or their number; :returns: the exit status, as of ``search``."""
    since, until, count = args[SINCE], args[UNTIL], 0
    style = style_of(session, args)
    choice = choice_of(args)
    if _COUNT in args:
        choice = replace(choice, context=0)
    picker, made = LinePicker(choice, style), ConsoleLines(console.options.encoding)
    with await open_log(session, console, since=since, trails=True) as opened:

        def pieces() -> Iterator[bytes]:
            for at, data in Timeline(opened.files, since, until).pieces():
                yield b"".join(chain.from_iterable(picker.feed(block, b"") for block in made.feed(data, at)))
            yield b"".join(chain.from_iterable(picker.feed(block, b"") for block in made.flush()))

        reading = opened.reading(lambda: pieces() if lines is None else _last(pieces(), lines), len)
        while batch := await reading.batch():
            require_right(session, console)
            count += sum(piece.count(b"\n") for piece in batch)
            if _COUNT not in args:
                session.send(b"".join(batch))
                if not await taken(session):
                    return exit_status.FAILED
        if _COUNT in args:
            session.print(f"{count}\n")
        return finished(session, opened) or (exit_status.OK if count else exit_status.FAILED)


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


def _portions(pieces: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    return ((at, data[start : start + PORTION]) for at, data in pieces for start in range(0, len(data), PORTION))


async def _follow(session: Session, watcher: Watcher, form: _Form) -> int:
    clock, late = session.services.clock, None
    try:
        while True:
            if form.waits and not (late is not None and late.active()):
                late = clock.callLater(REST_SECONDS, lambda: session.send(form.rest()))
            await watcher.changed()
            # What paints takes long to look at, and up to 1 MiB has waited.
            async for at, data in in_turns(session, _portions(watcher.queue.take())):
                if watcher.error is not None:
                    raise watcher.error
                session.send(form.feed(at, data))
            if not await session.when_drained():
                raise CommandError("the client is gone")
            if skipped := watcher.queue.take_skipped():
                tell(session, f"[-- {skipped} bytes skipped: your connection is too slow --]")
            for text in watcher.take_notices():
                tell(session, text)
    finally:
        if late is not None and late.active():
            late.cancel()


COMMANDS = (
    Command(
        "log",
        "show the log of a console, and follow it",
        _log,
        (_NAMES, _LINES, _FOLLOW, SINCE, UNTIL, _STAMPS, MATCH, NOT, IGNORE_CASE, CONTEXT, _COUNT, _TEXT, _RAW),
        Right.SPY,
        notes="Times are exact to about 10 ms.\n",
    ),
    *TAIL,
)
