"""``console``: attach to a console, in conserver's words."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from vmproxy.access.policy import Right
from vmproxy.operators import exit_status
from vmproxy.operators.attachment import attach
from vmproxy.operators.commands.context import find, now
from vmproxy.operators.commands.declaration import NAME, Arguments, Command, Flag
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.list import EXTENDED, MACHINE, USERS, WHO
from vmproxy.operators.messages import state_line
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target

_ATTACH = Flag("-a", "read-write (the default)", "mode")
_FORCE = Flag("-f", "by force: take write access", "mode", right=Right.FORCE)
_SPY = Flag("-s", "read-only", "mode")
_JOIN = Flag("-j", "write beside others, if the console is shared", "mode")
_UP = Flag("-k", "not if it is down: exit status 5")
_LIST_FORMS = tuple(replace(flag, group="", hidden=True, instead="list") for flag in (USERS, WHO, EXTENDED, MACHINE))


async def _console(session: Session, args: Arguments) -> int:
    target = args[NAME]
    if (target.read_only or _SPY in args) and (target.force or _FORCE in args):
        raise UsageError("read-only and force exclude each other")
    if _UP in args:
        wanted = find(session, target)
        if wanted.state == "down":
            raise CommandError(f"{wanted.title}: {state_line(wanted, now(session))}", exit_status.DOWN)
    return await go(
        session,
        replace(
            target,
            force=target.force or _FORCE in args,
            read_only=target.read_only or _SPY in args,
            join=target.join or _JOIN in args,
        ),
    )


async def go(session: Session, target: Target, unknown: str = "") -> int:
    """Attach, and stay until the console is left; see :func:`~vmproxy.operators.attachment.attach`.

    :returns: the exit status.
    """
    left: Deferred[int] = Deferred()
    attach(session, target, lambda status, _: left.callback(status), unknown)
    return await left


COMMANDS = (
    Command(
        "console",
        "attach",
        _console,
        (_ATTACH, _FORCE, _SPY, _JOIN, _UP, NAME, *_LIST_FORMS),
        Right.SPY,
        notes="-u -w -x -i  as with `list'\n",
        terminal=True,
    ),
)
