"""Help and reference, made from the declarations of commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from textwrap import wrap

from vmproxy.operators.commands.declaration import Command
from vmproxy.operators.commands.examples import EXAMPLES

_REACHING = """\
To reach a console:
  ssh{p} NAME@HOST                a VM's name, alias, UUID, or a unique
  {b}                  beginning of its name
  ssh{p} -t OPERATOR@HOST "NAME"  any name, also one with blanks
  ssh{p} -t OPERATOR@HOST         the menu
  ssh{p} -W NAME:1 OPERATOR@HOST  the raw stream of serial port 1
  sftp{P} OPERATOR@HOST           the logs, as files
  Behind NAME: ,ro ,force ,join ,quiet ,port=N ,replay=LINES ,escape=KEYS
  ,reason=TEXT
On a console: ^Ec? (Ctrl-E, c, ?) lists the keys, ^Ec. leaves.

"""
_EXAMPLES = """\
Examples:
  ssh{p} OPERATOR@HOST log --since 10m web01
  ssh{p} OPERATOR@HOST "search -i 'kernel panic' 'web*'"
  ssh{p} OPERATOR@HOST send web01 uptime
`help COMMAND', or COMMAND -h, has the options of a command, and examples.

"""
_STATUSES = """\
Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 no such console, 4 ambiguous,
5 down, 6 server stops, 7 disconnected, 8 timeout, 9 in use, 10 not allowed,
130 ^C.
"""
_NAME_WIDTH = 14
_COMMAND_WIDTH = 12
_WIDTH = 79


def synopsis(command: Command) -> str:
    """``log NAME [-n LINES] [-f] ...``"""
    return f"{command.name} {command.usage}".rstrip()


def overview(groups: Mapping[str, Iterable[Command]], port: int | None = None) -> str:
    """Help about everything, a line for each command.

    :param groups: the commands by what they are about.
    :param port: at which clients reach the server, if that is known.
    """
    option = "" if port == 22 else " -p PORT" if port is None else f" -p {port}"
    words = {"p": option, "P": option.replace("p", "P", 1), "b": " " * (len(option) + 11)}
    lines = [_REACHING.format_map(words)]
    for group, commands in groups.items():
        lines.append(f"{group}:\n")
        lines += [f"  {command.name:<{_COMMAND_WIDTH}}{command.summary}\n" for command in commands]
        lines.append("\n")
    return "".join([*lines, _EXAMPLES.format_map(words), _STATUSES])


def _synopsis_lines(command: Command) -> list[str]:
    return wrap(synopsis(command), _WIDTH - 2, subsequent_indent="      ", break_on_hyphens=False)


def details(command: Command) -> str:
    lines = [*_synopsis_lines(command), f"  {command.summary}"]
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
    shown = "".join(f"{line}\n" for line in lines) + command.notes
    if examples := EXAMPLES.get(command.name):
        width = max(map(len, examples)) + 2
        beside = width + max(map(len, examples.values())) < _WIDTH - 2
        rows = (f"  {line:<{width}}{what}" if beside else f"  {line}\n      {what}" for line, what in examples.items())
        shown += "\nExamples:\n" + "".join(f"{row}\n" for row in rows)
    return shown


_PARTS = re.compile(
    r"(?P<title>^[A-Z][^\n.]*:(?=\n))|(?P<command>(?<=^  )(?:[a-z-]+(?= {2,}\S)|(?:ssh|sftp)(?= ))"
    r"|^[a-z][a-z-]*(?= [\[A-Z]|$))|(?P<option>(?<![\w-])--?[A-Za-z][a-z-]*(?![\w-]))",
    re.MULTILINE,
)
_STYLES = {"title": "1", "command": "1;36", "option": "36"}


def coloured(text: str) -> str:
    """Help for a terminal with colours: titles, commands and options stand out."""
    return _PARTS.sub(lambda match: f"\x1b[{_STYLES[match.lastgroup or 'title']}m{match[0]}\x1b[m", text)


def rights(command: Command) -> str:
    """The rights that a command needs, in the words of the rules; in brackets, those that options may need."""
    if command.right is None:
        return ""
    more = {option.right.words[0]: None for option in command.options if option.right is not None}
    return command.right.words[0] + (f" ({', '.join(more)})" if more else "")
