"""``broadcast``: a message to all operators on the consoles that the sender administers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.console.notices import Message, Notice
from vmproxy.operators import exit_status
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.commands.declaration import Argument, Arguments, Command, Takes
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.session import Session

TEXT_LIMIT = 1000

_TEXT: Argument[str] = Argument("TEXT", Takes.TEXT, missing="give a message")


async def _broadcast(session: Session, args: Arguments) -> int:
    text = args[_TEXT]
    if len(text) > TEXT_LIMIT:
        raise UsageError(f"at most {TEXT_LIMIT} characters")
    session.print(f"reached: {await broadcast(session, text)}\n")
    return exit_status.OK


async def broadcast(session: Client, text: str) -> int:
    """Send a message to all operators on the consoles that the sender administers.

    :returns: how many were told.
    :raises CommandError: if there is no such console.
    """
    operator = session.operator
    notice = Message(operator.who, text, to_all=True)
    everything = True  # of what there is for the operator
    mine: list[Console] = []
    async for console in in_turns(session, operator.view):
        if operator.view.may(console, Right.ADMIN):
            mine.append(console)
        else:
            everything = False
    if not mine:
        raise CommandError("you administer no console", exit_status.FORBIDDEN)
    told = 0
    async for console in in_turns(session, mine):
        if console.watchers:
            told += len(console.watchers)
            console.viewers.tell(notice)
    if everything:
        told += _tell_idle(session, notice)
    operator.audit("broadcast", reached=told)
    return told


def _tell_idle(session: Client, notice: Notice) -> int:
    # Operators on a console were told there.
    told = 0
    viewing = {id(viewer) for console in session.services.registry for viewer in console.watchers}
    for _, sessions in session.services.presence:
        for other in sessions:
            told_by = cast("Callable[[Notice], None] | None", getattr(other.router.activity, "notice", None))
            if cast(object, other) is not session and told_by is not None and id(other.router.activity) not in viewing:
                told_by(notice)
                told += 1
    return told


COMMANDS = (
    Command(
        "broadcast",
        "send a message to all operators",
        _broadcast,
        (_TEXT,),
        Right.ADMIN,
        notes="Sent to every console that you administer; also to the menus if you administer\nall that you see.\n",
    ),
)
