"""``send`` and ``break``: input from scripts, and from command lines.

Both take write access as any operator does, or fail with a status if there is a writer, and give it back at their end,
whatever the end is. They end when the VM's host has taken everything.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from vmproxy.access.console_options import NamedSequence
from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import are_consoles, find, pattern_in, sleep
from vmproxy.operators.commands.declaration import NAME, Argument, Arguments, Command, Flag, Takes
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.commands.job import Job
from vmproxy.operators.commands.pace import CHAR_DELAY, LINE_DELAY, RATE, Pace, pace_of
from vmproxy.operators.commands.send_many import send_many
from vmproxy.operators.commands.watcher import FORCE, JOIN, REASON, Watcher, to_write
from vmproxy.operators.input_router import InputOnly
from vmproxy.operators.session import Session
from vmproxy.operators.target import BadTarget, Target, parse

DELIVERY_SECONDS = 0.02
WAITING_LIMIT = 16 * 1024
PIECE = 16 * 1024
TEXT_LIMIT = 4096
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnte\\0])")
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "e": "\x1b", "\\": "\\", "0": "\0"}


@dataclass(frozen=True, slots=True)
class Typed:
    r"""A text in which ``\r``, ``\n``, ``\t``, ``\e``, ``\0``, ``\\`` and ``\xNN`` stand for bytes."""

    def read(self, option: str, text: str, now: float) -> bytes:
        if len(text) > TEXT_LIMIT:
            raise UsageError(f"{option}: at most {TEXT_LIMIT} characters")
        data = b""
        place = 0
        for match in _ESCAPE.finditer(text):
            data += text[place : match.start()].encode("utf-8", "surrogateescape")
            data += bytes([int(match[1][1:], 16)]) if match[1][0] == "x" else _ESCAPES[match[1]].encode()
            place = match.end()
        return data + text[place:].encode("utf-8", "surrogateescape")


_SEQUENCE: Argument[str] = Argument("SEQUENCE", Takes.OPTIONAL, "its name or its number; --list shows them")
_TEXT: Argument[list[str]] = Argument(
    "TEXT", Takes.REST, "typed as given, with Enter behind it; \\r \\n \\t \\e \\xNN stand for bytes"
)
_NO_ENTER = Flag("-n", "no Enter behind TEXT")
_YES = Flag("--yes", "where NAME is a GLOB: do not ask", right=Right.MANY)
_LIST = Flag("--list", "show the sequences of the console")


class _Input(InputOnly):
    """The session's input, typed at a console as it comes, or kept for a pace.

    Bound: the client is held from :data:`WAITING_LIMIT` bytes on; what is under way then comes on top.
    """

    def __init__(self, session: Session, watcher: Watcher, job: Job, paced: bool) -> None:
        self._session = session
        self._watcher = watcher
        self._job = job
        self._paced = paced
        self._waiting = bytearray()
        self.ended = False

    @property
    def full(self) -> bool:
        """Whether no more should come."""
        return len(self._waiting) >= WAITING_LIMIT

    def take(self) -> bytes:
        """What waits; more may come."""
        data = bytes(self._waiting)
        self._waiting.clear()
        return data

    def _send(self, data: bytes) -> None:
        if not self._paced:
            self._watcher.send(data)
            return
        self._waiting += data
        if self.full:
            self._session.router.hold(True)
        self._watcher.wake()

    def typed(self, data: bytes) -> None:
        """Input. At a terminal ^C breaks off and ^D ends it, as with ``cat``."""
        if self.ended:
            return
        if self._session.has_pty:
            if b"\x03" in data:
                self.stop()
                return
            data, end, _ = data.partition(b"\x04")
            self._send(data)
            if end:
                self.eof()
        else:
            self._send(data)

    def send_break(self) -> None:
        """A break that the client asks for."""
        self._watcher.send_break()

    def eof(self) -> None:
        """The end of the input: the command ends when all of it is delivered."""
        self.ended = True
        self._watcher.wake()

    def stop(self) -> None:
        self._job.stop()


def _many(session: Session, name: str, words: list[str]) -> tuple[list[str], list[str]] | None:
    """The globs and names of several consoles, and the text behind them; None where one console is meant."""
    if "--" in words:
        at = words.index("--")
        globs = [name, *words[:at]]
        if are_consoles(session, globs):
            return globs, words[at + 1 :]
    return ([name], words) if pattern_in(session, Target(name)) else None


async def _send(session: Session, args: Arguments) -> int:
    # With a console in the user name it is a text: ls *.log
    if session.operator.target is None and (many := _many(session, args[NAME].console, args[_TEXT])):
        globs, words = many
        for option in (FORCE, REASON, CHAR_DELAY, LINE_DELAY, RATE):
            if option in args:
                raise UsageError(f"{option} goes with one console")
        if not words:
            raise UsageError("give TEXT: standard input goes to one console")
        data = _typed(words, _NO_ENTER not in args)
        return await send_many(session, globs, to_write(args, args[NAME]), data, _YES in args)
    target, words = _told_apart(session, args[NAME], args[_TEXT])
    console = find(session, target, args.right)
    pace = pace_of(args, console)
    if words:
        return await _send_text(session, console, to_write(args, target), words, _NO_ENTER not in args, pace)
    if _NO_ENTER in args:
        raise UsageError(f"{_NO_ENTER} goes with a text")
    job = session.router.activity
    if not isinstance(job, Job):
        raise UsageError("give TEXT; without it, run it with ssh: it reads standard input")
    with Watcher(session, console, to_write(args, target)) as watcher:
        source = _Input(session, watcher, job, pace is not None)
        try:
            session.router.push(source, lambda: session.router.hold(console.congested))
            if session.input_ended:
                session.router.eof()
            while True:
                data = source.take()
                if data and pace is not None:
                    session.router.hold(console.congested)
                    await _type(session, watcher, data, pace)
                elif source.ended:
                    break
                else:
                    await watcher.changed()
            await delivered(session, watcher)
        finally:
            session.router.pop(source)
            session.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=watcher.sent)
    return exit_status.OK


def _told_apart(session: Session, target: Target, words: list[str]) -> tuple[Target, list[str]]:
    """The console and the text that words mean: a name may have blanks, and may be that of the user name."""
    view, own = session.operator.view, session.operator.target
    if words and not view.is_name(target.console):
        # What cannot be a target is a text.
        with suppress(BadTarget):
            whole = parse(" ".join((target.console, *words)))
            if view.is_name(whole.console):
                return whole, []
    if own is not None and target is not own and not view.is_name(target.console):
        return own, [target.console, *words]
    return target, words


async def _type(session: Session, watcher: Watcher, data: bytes, pace: Pace) -> None:
    for piece, pause in pace.portions(data):
        while watcher.error is None and watcher.console.congested:
            await sleep(session, DELIVERY_SECONDS)
        watcher.send(piece)
        if watcher.error is not None:
            raise watcher.error
        await sleep(session, pause)


def _typed(words: list[str], enter: bool) -> bytes:
    """The bytes that a text stands for."""
    data = Typed().read(_TEXT.metavar, " ".join(words), 0)
    return data + b"\r" if enter and not data.endswith((b"\r", b"\n")) else data


async def _send_text(
    session: Session, console: Console, target: Target, words: list[str], enter: bool, pace: Pace | None
) -> int:
    data = _typed(words, enter)
    with Watcher(session, console, target) as watcher:
        session.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=len(data))
        if pace is None:
            watcher.send(data)
        else:
            await _type(session, watcher, data, pace)
        await delivered(session, watcher)
    return exit_status.OK


async def deliver(session: Session, watcher: Watcher, data: bytes) -> None:
    """Type bytes no faster than the VM's host takes them, until it has taken all.

    :raises CommandError: if the console does not take them.
    """
    for at in range(0, len(data), PIECE):
        while watcher.error is None and watcher.console.congested:
            await sleep(session, DELIVERY_SECONDS)
        watcher.send(data[at : at + PIECE])
    await delivered(session, watcher)


async def delivered(session: Session, watcher: Watcher) -> None:
    """Wait until the VM's host has taken all input.

    :raises CommandError: if the command must leave the console before.
    """
    while watcher.error is None and not watcher.delivered:
        await sleep(session, DELIVERY_SECONDS)
    if watcher.error is not None:
        raise watcher.error


async def _break(session: Session, args: Arguments) -> int:
    console = find(session, args[NAME], args.right)
    if _LIST in args:
        names = [visible(sequence.name) for sequence in console.options.sequences]
        session.print("0  break\n" + "".join(f"{n}  {name}\n" for n, name in enumerate(names, 1)))
        return exit_status.OK
    sequence = sequence_of(console, args[_SEQUENCE])
    await play(session, console, to_write(args, args[NAME]), sequence)
    return exit_status.OK


async def play(session: Session, console: Console, target: Target, sequence: NamedSequence | None) -> None:
    """Send a sequence, or for None a break, until the VM's host has taken it.

    :raises CommandError: if it cannot be.
    """
    with Watcher(session, console, target) as watcher:
        name = {"name": sequence.name} if sequence is not None else {}
        kind = "break" if sequence is None else "sequence"
        session.operator.audit(kind, console=console.title, uuid=str(console.uuid), **name)
        for part in (None,) if sequence is None else sequence.parts:
            if isinstance(part, bytes):
                watcher.send(part)
            elif part is None:
                watcher.send_break()
            else:
                await delivered(session, watcher)
                await sleep(session, part)
        await delivered(session, watcher)


def sequence_of(console: Console, wanted: str) -> NamedSequence | None:
    """The sequence of a console by its name or number; None for the break itself.

    :raises UsageError: if there is none.
    """
    sequences = console.options.sequences
    if wanted in ("", "0", "break"):
        return None
    for sequence in sequences:
        if sequence.name == wanted:
            return sequence
    if len(wanted) <= 3 and wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted) <= len(sequences):
        return sequences[int(wanted) - 1]
    there = ", ".join(visible(sequence.name) for sequence in sequences) or "none but the break itself"
    raise UsageError(f"{visible(wanted)}: {console.title} has no such sequence; there is {there}")


COMMANDS = (
    Command(
        "send",
        "type a text, or standard input, at a console",
        _send,
        (NAME, _TEXT, _NO_ENTER, CHAR_DELAY, LINE_DELAY, RATE, FORCE, JOIN, REASON, _YES),
        Right.WRITE,
        notes="Options go before the text. Without a text, standard input is sent as it is,\n"
        "eight bits. Ends when the VM's host has taken everything. Needs write access:\n"
        "status 9 if another operator has it.\n"
        "NAME may be a GLOB: shows who gets it, and asks. Several: GLOB... -- TEXT.\n"
        "printf 'root\\r' | ssh con send web01\n",
    ),
    Command(
        "break", "send a break, or a named sequence", _break, (NAME, _SEQUENCE, _LIST, FORCE, JOIN, REASON), Right.WRITE
    ),
)
