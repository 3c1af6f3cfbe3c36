"""``send``, ``break`` and ``expect``: what a script does with a console.

They take the pen like any writer, or fail with a status if somebody has it, and put it down at their end, whatever the
end is. ``send`` and ``break`` end when the VM's host has taken everything.
"""

from __future__ import annotations

import re

from vmproxy.access.policy import NamedSequence, Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.log.search import Expecter
from vmproxy.log.timeline import Timeline
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import (
    Args,
    BadCommand,
    Command,
    CommandError,
    find,
    read_args,
    sleep,
    target_and,
    target_of,
)
from vmproxy.operators.commands.log_reading import open_log, when
from vmproxy.operators.commands.running import Running
from vmproxy.operators.commands.watcher import PenWish, Watcher
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target

DELIVERY_SECONDS = 0.02
PATTERN_LIMIT = 1000
TEXT_LIMIT = 4096
TIMEOUT = 60.0
TIMEOUT_LIMIT = 7 * 86400.0
LINE_SHOWN = 4096
_FORCE = ("--force", "--join")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnte\\0])")
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "e": "\x1b", "\\": "\\", "0": "\0"}


class _Input:
    """The session's input, typed at a console as it comes."""

    def __init__(self, session: Session, watcher: Watcher) -> None:
        self._session = session
        self._watcher = watcher
        self.running: Running | None = None
        self.ended = False

    def typed(self, data: bytes) -> None:
        """Input. At a terminal ^C breaks off and ^D ends it, as with ``cat``."""
        if self.ended:
            return
        if self._session.has_pty:
            if b"\x03" in data:
                self.stop()
                return
            data, end, _ = data.partition(b"\x04")
            self._watcher.send(data)
            if end:
                self.eof()
        else:
            self._watcher.send(data)

    def drained(self) -> None:
        """There is no output."""

    def send_break(self) -> None:
        """The client asks for a break."""
        self._watcher.send_break()

    def resized(self, width: int, height: int) -> None:
        """The terminal's size means nothing here."""

    def eof(self) -> None:
        """That was all."""
        self.ended = True
        self._watcher.wake()

    def stop(self) -> None:
        """The session is over, or it is enough."""
        if self.running is not None:
            self.running.stop()


async def send(session: Session, words: list[str]) -> int:
    """``send NAME [--force] [--join] [--reason TEXT]``"""
    args = read_args(words, _FORCE, ("--reason",))
    target = target_of(session, args.rest)
    console = find(session, target, Right.WRITE, "write to it")
    running = session.activity
    if not isinstance(running, Running):
        raise CommandError("send reads its standard input: run it with ssh, not here", exit_status.USAGE)
    with Watcher(session, console, _wish(target, args)) as watcher:
        source = _Input(session, watcher)
        source.running = running
        try:
            session.activity = source
            session.hold(console.congested)
            for data in running.take_early():
                source.typed(data)
            if running.ended or session.input_ended:
                source.eof()
            while not source.ended:
                await watcher.changed()
            await _delivered(session, watcher)
        finally:
            session.activity = running
            session.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=watcher.sent)
    return exit_status.OK


def _wish(target: Target, args: Args) -> PenWish:
    return PenWish(target, "--force" in args.flags, "--join" in args.flags, args.values.get("--reason", ""))


async def _delivered(session: Session, watcher: Watcher) -> None:
    while watcher.error is None and not watcher.delivered:
        await sleep(session, DELIVERY_SECONDS)
    if watcher.error is not None:
        raise watcher.error


async def break_(session: Session, words: list[str]) -> int:
    """``break NAME [SEQUENCE] [--force] [--join] [--reason TEXT]``"""
    args = read_args(words, (*_FORCE, "--list"), ("--reason",))
    target, wanted = target_and(session, args.rest, "SEQUENCE", optional=True)
    console = find(session, target, Right.WRITE, "write to it")
    sequences = console.options.sequences
    if "--list" in args.flags:
        names = [visible(sequence.name) for sequence in sequences]
        session.print("0  break\n" + "".join(f"{n}  {name}\n" for n, name in enumerate(names, 1)))
        return exit_status.OK
    sequence = _sequence(console, wanted)
    with Watcher(session, console, _wish(target, args)) as watcher:
        name = {"name": sequence.name} if sequence is not None else {}
        kind = "break" if sequence is None else "sequence"
        session.operator.audit(kind, console=console.title, uuid=str(console.uuid), **name)
        for part in (None,) if sequence is None else sequence.parts:
            if isinstance(part, bytes):
                watcher.send(part)
            elif part is None:
                watcher.send_break()
            else:
                await _delivered(session, watcher)
                await sleep(session, part)
        await _delivered(session, watcher)
    return exit_status.OK


def _sequence(console: Console, wanted: str) -> NamedSequence | None:
    sequences = console.options.sequences
    if wanted in ("", "0", "break"):
        return None
    for sequence in sequences:
        if sequence.name == wanted:
            return sequence
    if len(wanted) <= 3 and wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted) <= len(sequences):
        return sequences[int(wanted) - 1]
    there = ", ".join(visible(sequence.name) for sequence in sequences) or "none but the break itself"
    raise BadCommand(f"{visible(wanted)}: {console.title} has no such sequence; there is {there}")


async def expect(session: Session, words: list[str]) -> int:
    """``expect NAME PATTERN [--timeout S] [-i] [-F] [--since T] [--send TEXT]``"""
    args = read_args(words, ("-i", "-F", *_FORCE), ("--timeout", "--since", "--send", "--reason"))
    target, pattern = target_and(session, args.rest, "PATTERN")
    right, doing = (Right.WRITE, "write to it") if "--send" in args.values else (Right.SPY, "look at what it says")
    console = find(session, target, right, doing)
    if not pattern or len(pattern) > PATTERN_LIMIT:
        raise BadCommand(f"the pattern must have 1 to {PATTERN_LIMIT} characters")
    timeout = args.real("--timeout", 0, TIMEOUT_LIMIT)
    seconds = TIMEOUT if timeout is None else timeout
    since = args.values.get("--since", "now")
    start = None if since == "now" else when(session, since)
    text = _unescaped(args.values.get("--send", ""))
    expecter = Expecter(pattern, ignore_case="-i" in args.flags, fixed="-F" in args.flags)
    with Watcher(session, console) as watcher:
        late = f"{console.title}: nothing matched within {seconds:g} s"
        timer = session.services.clock.callLater(seconds, watcher.leave, late, exit_status.TIMEOUT)
        try:
            line = await _seek_history(session, watcher, expecter, start)
            if line is None and text:
                watcher.take_pen(_wish(target, args))
                session.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=len(text))
                watcher.send(text)
                watcher.put_down_if_delivered()
            while line is None:
                await watcher.changed()
                line = _seek(watcher, expecter)
        finally:
            if timer.active():
                timer.cancel()
    session.print(visible(line.decode("utf-8", "backslashreplace").rstrip("\r"), LINE_SHOWN) + "\n")
    return exit_status.OK


def _seek(watcher: Watcher, expecter: Expecter) -> bytes | None:
    watcher.notices.clear()
    for _, data in watcher.take():
        if (line := expecter.feed(data)) is not None:
            return line
    watcher.take_skipped()
    return None


async def _seek_history(session: Session, watcher: Watcher, expecter: Expecter, since: float | None) -> bytes | None:
    if since is None:
        return None
    with await open_log(session, watcher.console, since=since) as opened:
        reading = opened.reading(lambda: (data for _, data in Timeline(opened.files, since).pieces()))
        while batch := await reading.batch():
            if watcher.error is not None:
                raise watcher.error
            for data in batch:
                if (line := expecter.feed(data)) is not None:
                    return line
        opened.problems()
    return None


def _unescaped(text: str) -> bytes:
    if len(text) > TEXT_LIMIT:
        raise BadCommand(f"--send: at most {TEXT_LIMIT} characters")
    data = b""
    place = 0
    for match in _ESCAPE.finditer(text):
        data += text[place : match.start()].encode("utf-8", "surrogateescape")
        data += bytes([int(match[1][1:], 16)]) if match[1][0] == "x" else _ESCAPES[match[1]].encode()
        place = match.end()
    return data + text[place:].encode("utf-8", "surrogateescape")


COMMANDS = [
    Command(
        "send",
        "NAME [--force] [--join] [--reason TEXT]",
        "its standard input to the console",
        send,
        "Ends when the input has ended and the VM's host has taken all of it. Eight bits, nothing is changed.\n"
        "Takes the pen, or fails with status 9 if somebody has it:\n"
        "--force  takes over from him      --join  writes beside him, where the console allows it\n"
        "--reason TEXT  why; some consoles want one for --force\n",
    ),
    Command(
        "break",
        "NAME [SEQUENCE] [--list] [--force] [--join] [--reason TEXT]",
        "send a break, or a named sequence",
        break_,
        "SEQUENCE  its name or its number; --list shows which there are. Pen and options: as with `send'.\n",
    ),
    Command(
        "expect",
        "NAME PATTERN [--timeout S] [-i] [-F] [--since T] [--send TEXT]",
        "wait until it says something",
        expect,
        "Prints the line that matches. PATTERN: a regular expression (RE2). Status 8 if nothing matches in time.\n"
        "--timeout S  seconds, 60 if you do not say   -i  capitals do not matter   -F  PATTERN is plain text\n"
        "--since T    look at the log from then on first; `now' if you do not say\n"
        "--send TEXT  type that once it is being watched; \\r \\n \\t \\e \\xNN stand for bytes\n"
        "             (pen and options: as with `send').\n",
    ),
]
