"""Help and reference, made from the declarations of commands."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap

from vmproxy.operators.commands.declaration import Command

_REACHING = """\
To reach a console:
  ssh [-p PORT] NAME@HOST              NAME: a VM's name, alias, UUID, or a unique beginning of its name
  ssh [-p PORT] -t OPERATOR@HOST "NAME"  the same for names that ssh refuses as a user name
  ssh [-p PORT] -W NAME:1 OPERATOR@HOST  the raw 8-bit stream (1: the serial port)
  NAME may be followed by ,ro ,force ,join ,quiet ,port=N ,replay=LINES ,escape=KEYS ,reason=TEXT
Commands:
"""
_STATUSES = """\
`help COMMAND' says more. Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 no such console,
4 ambiguous, 5 down, 6 server stops, 7 disconnected, 8 timeout, 9 in use, 10 not allowed, 130 ^C.
"""
_USAGE_WIDTH = 38
_NAME_WIDTH = 14
_WIDTH = 110


def synopsis(command: Command) -> str:
    """``log NAME [-n LINES] [-f] ...``"""
    return f"{command.name} {command.usage}".rstrip()


def overview(commands: Iterable[Command]) -> str:
    """Help about everything, a line for each command."""
    lines = [_REACHING]
    for command in commands:
        usage = synopsis(command)
        gap = "\n" + " " * (_USAGE_WIDTH + 2) if len(usage) > _USAGE_WIDTH else " " * (_USAGE_WIDTH - len(usage))
        lines.append(f"  {usage}{gap} {command.summary}\n")
    return "".join([*lines, _STATUSES])


def details(command: Command) -> str:
    lines = [synopsis(command), f"  {command.summary}"]
    if command.aliases:
        lines.append(f"  also: {', '.join(command.aliases)}")
    if needed := rights(command):
        lines.append(f"  right: {needed}")
    if command.terminal:
        lines.append("  give ssh a -t for a terminal")
    for one in command.parameters:
        if one.help and not getattr(one, "hidden", False):
            left = one.usage.strip("[].").ljust(_NAME_WIDTH)
            lines += wrap(one.help, _WIDTH, initial_indent=f"{left} ", subsequent_indent=" " * (_NAME_WIDTH + 1))
    return "".join(f"{line}\n" for line in lines) + command.notes


def rights(command: Command) -> str:
    """The rights that a command needs, in the words of the rules; in brackets, those that options may need."""
    if command.right is None:
        return ""
    more = {option.right.words[0]: None for option in command.options if option.right is not None}
    return command.right.words[0] + (f" ({', '.join(more)})" if more else "")
