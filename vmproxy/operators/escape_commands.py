"""The table of escape commands: key, help, function, and when it is possible.

The help shows what is possible now and nothing else. What a key may do is decided here, by the operator's rights as
they are at that moment; that includes the moment when a question that it asked is answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vmproxy import __version__
from vmproxy.access.console_options import REPLAY_LIMIT
from vmproxy.access.policy import Right
from vmproxy.base.escape import BadEscape, check_escape, show_escape
from vmproxy.base.sanitize import visible
from vmproxy.console.notices import Message
from vmproxy.operators import escape_access, escape_actions, escape_info, exit_status
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.escape_keys import EscapeCommand
from vmproxy.operators.messages import clock_time, state_line
from vmproxy.operators.resolve import TargetError, check, locate
from vmproxy.operators.services import NOTES_PER_MINUTE
from vmproxy.operators.target import BadTarget, Target, parse

_OCTAL = re.compile(rb"\\[0-3][0-7]{2}")

_SAME = {b"R": b"P"}
"""Keys of conserver that are another one here."""

RECALL_LINES = 20
PLAYBACK_LINES = 60


@dataclass(frozen=True, slots=True)
class _Command:
    """An escape command.

    :ivar text: its help; empty where that of another one has it.
    """

    text: str
    run: Callable[[ConsoleSession], None]
    possible: Callable[[ConsoleSession], bool] = lambda _: True


def run_escape(session: ConsoleSession, key: EscapeCommand) -> None:
    keys = key.keys
    command = _COMMANDS.get(_SAME.get(keys, keys))
    if command is not None:
        command.run(session)
    elif _OCTAL.fullmatch(keys):
        _octal(session, keys[1:])
    elif keys.startswith(b"e") and len(keys) == 3:
        _redefine(session, keys[1:])
    elif len(keys) == 2 and keys[:1] == b"l" and keys[1:] in b"123456789":
        _sequence(session, int(keys[1:]))
    elif keys in (b"z", b"|", b"c", b"x", b"g"):
        session.say(f"[`{keys.decode()}' means nothing over SSH]")
    else:
        session.say(f"[unknown -- use `{show_escape(session.escape)}?']")


def _help(session: ConsoleSession) -> None:
    escape = show_escape(session.escape)
    lines = [f"[help -- press one of these after {escape}]"]
    for keys, command in _COMMANDS.items():
        if command.text and command.possible(session):
            shown = "".join(f"^{chr(k + 64)}" if k < 32 else chr(k) for k in keys)
            lines.append(f" {shown:<5}{command.text}")
    lines.append(" eXY  make XY (a control character and another) the escape of this session")
    if session.writing:
        if session.console.options.sequences:
            lines.append(" l1   send the first of the named sequences; up to l9")
        lines.append(" \\015 send one byte, in octal")
    prefix = escape[:2]
    lines.append(f" {prefix}{prefix} sends one {prefix}")
    if len(lines) >= session.session.size[1]:
        lines.append(f"[{escape}. detaches]")  # its line is above the screen
    for line in lines:
        session.say(line)


# Coming and going.


def _detach(session: ConsoleSession) -> None:
    session.leave("[detached]")


def _move(session: ConsoleSession) -> None:
    session.ask("console: ", lambda answer: _move_to(session, answer), session.complete_name)


def _move_to(session: ConsoleSession, answer: str | None) -> None:
    if answer is None:
        session.say(f"[you stay at {session.console.title}]")
        return
    view = session.operator.view
    try:
        target = parse(answer)
        if session.read_only and target.force:
            raise TargetError("this session is read-only", exit_status.USAGE)
        console = locate(view, target)
        check(view, console, target, can_ask=True)
    except (BadTarget, TargetError) as error:
        for line in str(error).splitlines():
            session.say(f"[{line}]")
        return
    if console is session.console and target == Target(target.console, port=target.port):
        session.say("[you are already there]")
        return
    # What the operator has chosen for this session goes along.
    target = replace(
        target,
        read_only=target.read_only or session.read_only,
        quiet=target.quiet or session.quiet,
        escape=target.escape or session.escape,
    )
    session.move(console, target)


# What is sent.


def _octal(session: ConsoleSession, digits: bytes) -> None:
    session.write(bytes((int(digits, 8),)))


def _size(session: ConsoleSession) -> None:
    if not session.writing:
        session.say(f"[read-only{session.hints}]")
        return
    columns, rows = session.session.size
    line = f"stty rows {rows} cols {columns}"
    session.say(f"[typed: {line}]")
    session.write(line.encode() + b"\r")


def _sequences(session: ConsoleSession) -> None:
    session.say("[sequences]")
    session.say(" l0   break")
    for number, sequence in enumerate(session.console.options.sequences, 1):
        behind = f"l{number}" if number < 10 else "-"
        session.say(f" {behind:<5}{visible(sequence.name)}")


def _sequence(session: ConsoleSession, number: int) -> None:
    sequences = session.console.options.sequences
    if number > len(sequences):
        session.say(f"[there is no sequence l{number}; `{show_escape(session.escape)}l?' lists them]")
    elif session.playing is not None:
        session.say("[not now: a sequence is being sent]")
    elif not session.writing:
        session.say(f"[read-only{session.hints}]")
    else:
        session.play(sequences[number - 1])


def _message(session: ConsoleSession) -> None:
    if len(session.console.viewers.all) < 2:
        session.say("[nobody else is here]")
    else:
        session.ask("message: ", lambda answer: _send_message(session, answer), pasted=True)


def _send_message(session: ConsoleSession, text: str | None) -> None:
    if text is None:
        session.say("[nothing sent]")
        return
    session.console.viewers.tell(Message(session.who, text), but=session)
    others = len(session.console.viewers.all) - 1
    session.say(f"[sent to {others} other{'s' if others != 1 else ''}]")


def _note(session: ConsoleSession) -> None:
    session.ask("note: ", lambda answer: _write_note(session, answer), pasted=True)


def _write_note(session: ConsoleSession, text: str | None) -> None:
    if text is None:
        session.say("[nothing noted]")
        return
    if not session.session.services.may_note(session.console, session.operator.name):
        session.say(f"[-- not noted: {NOTES_PER_MINUTE} notes a minute are the most --]")
        return
    session.console.log.event("note", who=session.who, text=text)
    session.audit("note")
    session.say("[noted]")


# The console as a whole.


def _may_reopen(session: ConsoleSession) -> bool:
    return session.writing or session.may(Right.ADMIN)


def _reopen(session: ConsoleSession) -> None:
    if not _may_reopen(session):
        session.say("[only the writer may close the connection]")
    elif session.console.reopen(session.who):
        session.audit("reopen")
        session.say("[connection closed; the VM's host connects again]")
    else:
        session.say(f"[-- not reopened: {state_line(session.console, session.wall())} --]")


def _logging(session: ConsoleSession) -> None:
    if not session.may(Right.ADMIN):
        session.say("[only an administrator may turn logging off or on]")
        return
    on = not session.console.logging
    session.audit("logging-on" if on else "logging-off")
    session.console.set_logging(on, session.who)


# This session.


def _quiet(session: ConsoleSession) -> None:
    session.say("[quiet]" if session.toggle_quiet() else "[all notices]")


def _stamps(session: ConsoleSession) -> None:
    session.display.show_stamps(not session.display.stamps)
    where = f"on, in your view only ({clock_time(session.wall())} now)"
    session.say(f"[times in front of lines: {where if session.display.stamps else 'off'}]")


def _motd_of(session: ConsoleSession) -> list[str]:
    messages = (session.session.services.settings.message, session.console.options.message)
    return [line for message in messages for line in message.splitlines()]


def _has_motd(session: ConsoleSession) -> bool:
    return bool(_motd_of(session))


def _motd(session: ConsoleSession) -> None:
    for line in _motd_of(session) or ["[there is no message]"]:
        session.say(line)


def _playback(session: ConsoleSession) -> None:
    session.ask("lines: ", lambda answer: _play_back(session, answer))


def _play_back(session: ConsoleSession, answer: str | None) -> None:
    if answer is None:
        return
    if answer.isascii() and answer.isdecimal() and 1 <= int(answer[:9]) <= REPLAY_LIMIT:
        session.recall(int(answer))
    else:
        session.say(f"[give a number from 1 to {REPLAY_LIMIT}]")


def _redefine(session: ConsoleSession, keys: bytes) -> None:
    try:
        session.redefine(check_escape(keys))
    except BadEscape as error:
        session.say(f"[{error}]")
    else:
        session.say(f"[the escape is {show_escape(keys)} now]")


def _may_get_write(session: ConsoleSession) -> bool:
    return session.may_write and not session.writing


_COMMANDS: dict[bytes, _Command] = {
    b".": _Command("detach", _detach),
    b"!": _Command("have something done with the VM", escape_actions.offer, lambda s: bool(escape_actions.possible(s))),
    b";": _Command("move to another console", _move),
    b"?": _Command("this help", _help),
    b"a": _Command(
        "attach read-write if nobody else writes, else queue",
        escape_access.attach,
        _may_get_write,
    ),
    b"b": _Command("send a message to the others here", _message, lambda s: len(s.console.viewers.all) > 1),
    b"f": _Command(
        "force: take write access from the writer",
        escape_access.force,
        lambda s: _may_get_write(s) and s.may(Right.FORCE),
    ),
    b"h": _Command("how a colleague reaches this console", escape_info.how),
    b"i": _Command("information about this console; v the version", escape_info.info),
    b"j": _Command(
        "join: write beside the writer", escape_access.join, lambda s: _may_get_write(s) and s.console.options.shared
    ),
    b"l0": _Command("send a break", lambda s: s.send_break(), lambda s: s.writing),
    b"l?": _Command("list the named sequences", _sequences, lambda s: bool(s.console.options.sequences)),
    b"L": _Command("turn logging off, or on again", _logging, lambda s: s.may(Right.ADMIN)),
    b"m": _Command("message of the day, again", _motd, _has_motd),
    b"n": _Command("write a note into the event trail", _note),
    b"o": _Command("reopen: close the VM's connection, so that its host connects again", _reopen, _may_reopen),
    b"p": _Command(f"play back the last {PLAYBACK_LINES} lines", lambda s: s.recall(PLAYBACK_LINES)),
    b"P": _Command("play back as many lines as you say", _playback),
    b"q": _Command("quiet: fewer notices, or all again", _quiet),
    b"r": _Command(f"replay the last {RECALL_LINES} lines; ^R the last one", lambda s: s.recall(RECALL_LINES)),
    b"[": _Command("scroll the history; / searches it", escape_info.scroll, escape_info.has_screen),
    b"/": _Command("", escape_info.search),
    b"\x12": _Command("", lambda s: s.recall(1)),
    b"s": _Command("spy: release write access, become read-only", escape_access.spy, lambda s: s.writing),
    b"S": _Command("type `stty rows R cols C', the size of your terminal, at the guest", _size, lambda s: s.writing),
    b"t": _Command("times in front of lines, in your view only", _stamps),
    b"u": _Command("all consoles that you may see", escape_info.others),
    b"v": _Command("", lambda s: s.say(f"[vmproxy {__version__}]")),
    b"w": _Command("who is here", escape_info.who),
}
