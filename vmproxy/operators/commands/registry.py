"""The table of all commands, and their execution.

Output goes to stdout, errors go to stderr, and every command ends with an exit status of its own. The modules beside
this one declare their commands in ``COMMANDS``. ``docs/commands.rst`` is the reference.
"""

from __future__ import annotations

from itertools import chain

from vmproxy import __version__
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError
from vmproxy.log.pattern import BadPattern
from vmproxy.operators import exit_status
from vmproxy.operators.commands import (
    action,
    alerts,
    attach,
    broadcast,
    events,
    expect,
    forget,
    guest,
    hosts,
    kick,
    log,
    refused,
    replay,
    search,
    send,
    ssh_config,
    trace,
    users,
)
from vmproxy.operators.commands import list as list_
from vmproxy.operators.commands.context import now, turn
from vmproxy.operators.commands.declaration import Argument, Arguments, Command, Takes
from vmproxy.operators.commands.errors import CommandError, HelpWanted, UsageError
from vmproxy.operators.commands.help import coloured, details, overview
from vmproxy.operators.commands.line_completion import complete
from vmproxy.operators.commands.parser import meant_instead, read_arguments
from vmproxy.operators.resolve import TargetError
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import BadTarget, parse
from vmproxy.operators.terminal.colour import has_colours

_COMMAND: Argument[str] = Argument("COMMAND", Takes.OPTIONAL, completes="command")
_LINE: Argument[list[str]] = Argument("LINE", Takes.REST, "a command as far as it is typed, in one word or in several")
_LISTED = "; `help' lists them"


async def _help(session: Session, args: Arguments) -> int:
    name = args[_COMMAND]
    if name and name not in COMMANDS:
        raise UsageError(f"{visible(name)}: no such command{did_you_mean(name, COMMANDS) or _LISTED}")
    session.print(_painted(session, details(COMMANDS[name])) if name else help_text(session))
    return exit_status.OK


async def _complete(session: Session, args: Arguments) -> int:
    view, actions = session.operator.view, session.services.actions
    left = " ".join(args[_LINE])
    await turn(session)
    names = [action.name for action in actions.all_for(session.operator)]
    found = complete(left, COMMANDS, view.beginning, view, names)
    session.print("".join(f"{choice}\n" for choice in found.choices))
    return exit_status.OK


async def _exit(session: Session, args: Arguments) -> int:
    return exit_status.OK


async def _version(session: Session, args: Arguments) -> int:
    session.print(f"vmproxy {__version__}\n")
    return exit_status.OK


GROUPS: dict[str, tuple[Command, ...]] = {
    "Consoles and people": (*list_.COMMANDS, *hosts.COMMANDS, *users.COMMANDS, *ssh_config.COMMANDS),
    "What was said and what happened": (
        *log.COMMANDS,
        *search.COMMANDS,
        *events.COMMANDS,
        *alerts.COMMANDS,
        *replay.COMMANDS,
    ),
    "At a console": (*attach.COMMANDS, *send.COMMANDS, *expect.COMMANDS, *action.COMMANDS),
    "For administrators": (
        *broadcast.COMMANDS,
        *kick.COMMANDS,
        *guest.COMMANDS,
        *refused.COMMANDS,
        *trace.COMMANDS,
        *forget.COMMANDS,
    ),
    "Others": (
        Command("version", "print the version", _version),
        Command("help", "print help about all commands, or about one", _help, (_COMMAND,), None, ("?", "-h", "--help")),
        Command(
            "complete",
            "print how a command could go on, for shells",
            _complete,
            (_LINE,),
            notes="`vmproxy completion SHELL --ssh HOST' prints what has a shell use it.\n",
        ),
        Command("exit", "leave the menu, or the session", _exit, aliases=("quit", "logout")),
    ),
}
TABLE: tuple[Command, ...] = tuple(chain.from_iterable(GROUPS.values()))
"""All commands, in the order in which help shows them."""

COMMANDS: dict[str, Command] = {name: command for command in TABLE for name in (command.name, *command.aliases)}
"""All commands by name and alias."""


def help_text(session: Session) -> str:
    """Help about everything."""
    address = session.local_address
    return _painted(session, overview(GROUPS, address[1] if address is not None else None))


def _painted(session: Session, text: str) -> str:
    return coloured(text) if has_colours(session) else text


def no_command(word: str) -> str:
    """Advice about a word that is neither a command nor a console."""
    return f"{visible(word)} is no command either{did_you_mean(word, COMMANDS) or _LISTED}"


async def execute(session: Session, words: list[str]) -> int:
    """Run a command, and print its error. The session goes on; cancelling ends the command.

    :param words: the name of the command and the words behind it; or the name of a console to attach to.
    :returns: the exit status.
    """
    name = words[0] if words else ""
    try:
        if name in COMMANDS:
            return await _execute(session, COMMANDS[name], words[1:])
        return await attach.go(session, parse(" ".join(words)), no_command(name))
    except (CommandError, TargetError) as error:
        text, status = str(error), error.status
    except (BadTarget, BadPattern) as error:
        text, status = str(error), exit_status.USAGE
    except VMProxyError as error:
        text, status = str(error), exit_status.FAILED
    except OSError as error:
        text, status = error.strerror or str(error), exit_status.FAILED
    if status == exit_status.USAGE and name in COMMANDS:
        text = f"{name}: {text}"
    tell(session, text)
    return status


async def _execute(session: Session, command: Command, words: list[str]) -> int:
    try:
        if instead := meant_instead(command, words):
            command = COMMANDS[instead]
        args = read_arguments(command, words, now(session), lambda: session.operator.target)
    except HelpWanted:
        session.print(_painted(session, details(command)))
        return exit_status.OK
    return await command.run(session, args)
