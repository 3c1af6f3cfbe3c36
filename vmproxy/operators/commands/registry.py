"""Commands over SSH, for people and, with ``--json``, scripts: what there is, and how a line becomes one of them.

Output goes to stdout, complaints to stderr, and every command ends with a real exit status. ``docs/commands.rst`` is
the reference. Each module beside this one holds the commands of one theme and lists them in its ``COMMANDS``.
"""

from __future__ import annotations

import shlex
from itertools import chain

from vmproxy import __version__
from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError
from vmproxy.log.pattern import BadPattern
from vmproxy.operators import exit_status
from vmproxy.operators.commands import attach as going_commands
from vmproxy.operators.commands import events as events_commands
from vmproxy.operators.commands import list as listing_commands
from vmproxy.operators.commands import log as logs_commands
from vmproxy.operators.commands import replay as playing_commands
from vmproxy.operators.commands import search as searching_commands
from vmproxy.operators.commands import send as acting_commands
from vmproxy.operators.commands import users as people_commands
from vmproxy.operators.commands.attach import go
from vmproxy.operators.commands.context import BadCommand, Command, CommandError, read_args, tell
from vmproxy.operators.resolve import Refused
from vmproxy.operators.session import Session
from vmproxy.operators.target import BadTarget, parse

_REACHING = """\
To reach a console:
  ssh [-p PORT] NAME@HOST              NAME: a VM's name, alias, UUID, or a unique beginning of its name
  ssh [-p PORT] -t OPERATOR@HOST "NAME"  the same for names that ssh refuses as a user name
  ssh [-p PORT] -W NAME:1 OPERATOR@HOST  the raw 8-bit stream (1: the serial port)
  NAME may be followed by ,ro ,force ,join ,quiet ,port=N ,replay=LINES ,escape=KEYS ,reason=TEXT
Commands:
"""
_USAGE_WIDTH = 38


async def _help(session: Session, words: list[str]) -> int:
    asked = read_args(words).rest
    if len(asked) > 1:
        raise BadCommand("about which command?")
    if not asked:
        session.print(overview())
        return exit_status.OK
    command = COMMANDS.get(asked[0])
    if command is None:
        raise BadCommand(f"{visible(asked[0])}: no such command; `help' lists them")
    session.print(f"{command.name} {command.usage}".rstrip() + f"\n  {command.summary}\n{command.help}")
    return exit_status.OK


async def _version(session: Session, words: list[str]) -> int:
    if read_args(words).rest:
        raise BadCommand("takes no names")
    session.print(f"vmproxy {__version__}\n")
    return exit_status.OK


def overview() -> str:
    """Help about everything, a line for each command."""
    lines = [_REACHING]
    for command in COMMANDS.values():
        if not command.hidden:
            usage = f"{command.name} {command.usage}".rstrip()
            gap = "\n" + " " * (_USAGE_WIDTH + 2) if len(usage) > _USAGE_WIDTH else " " * (_USAGE_WIDTH - len(usage))
            lines.append(
                f"  {usage}{gap} {command.summary}\n" if gap[0] != "\n" else f"  {usage}{gap}{' '}{command.summary}\n"
            )
    lines.append("`help COMMAND' says more. Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 no such console,\n")
    lines.append("4 ambiguous, 5 down, 6 server stops, 7 sent off, 8 timeout, 9 in use, 10 not allowed, 130 ^C.\n")
    return "".join(lines)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in chain(
        listing_commands.COMMANDS,
        people_commands.COMMANDS,
        logs_commands.COMMANDS,
        searching_commands.COMMANDS,
        events_commands.COMMANDS,
        playing_commands.COMMANDS,
        going_commands.COMMANDS,
        acting_commands.COMMANDS,
        [
            Command("version", "", "the version of vmproxy", _version),
            Command("help", "[COMMAND]", "this text, or more about a command", _help),
        ],
    )
}
"""All commands by name, in the order in which help shows them."""


def split(line: str) -> list[str]:
    """The words of a line, with quotes as a shell knows them."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()  # an apostrophe in a name is no quoting


async def execute(session: Session, words: list[str]) -> int:
    """Run a command, and say what went wrong. The session goes on; cancelling what this returns ends the command.

    :param words: its name and what stands behind it; what is no command is the name of a console to attach to.
    :returns: the exit status.
    """
    command = COMMANDS.get(words[0]) if words else None
    try:
        if command is not None:
            return await command.run(session, words[1:])
        return await go(session, parse(" ".join(words)))
    except (CommandError, Refused) as error:
        text, status = str(error), error.status
    except (BadTarget, BadPattern) as error:
        text, status = str(error), exit_status.USAGE
    except VMProxyError as error:
        text, status = str(error), exit_status.FAILED
    except OSError as error:
        text, status = error.strerror or str(error), exit_status.FAILED
    if status == exit_status.USAGE and command is not None:
        text = f"{command.name}: {text}"
    tell(session, text)
    return status
