"""What an operator may still do while a command goes on, and under which name he knows a log.

A command may run for hours, and the rules may change meanwhile. Whatever reads asks again after each batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import CommandError
from vmproxy.operators.session import Session


def still(session: Session, console: Console, right: Right = Right.SPY) -> None:
    """Other rules may hold than when a command began: ask again wherever it has waited.

    :raises CommandError: if the operator may not do that with the console any more.
    """
    if refusal := refused(session, console, right):
        raise refusal


def refused(session: Session, console: Console, right: Right) -> CommandError | None:
    """Why the operator may not go on with a console; None where he may."""
    view = session.operator.view
    if not view.may(console, Right.SEE):
        return CommandError(f"{console.title}: no such console", exit_status.NO_SUCH_CONSOLE)
    if not view.may(console, right):
        return CommandError(f"{console.title}: the rules have changed, you may not any more", exit_status.FORBIDDEN)
    return None


def still_some(session: Session, consoles: Sequence[Console]) -> None:
    """The same for a command that reads many: it goes on with those that he may read still.

    :raises CommandError: if there were some, and he may read none any more.
    """
    view = session.operator.view
    if consoles and not any(view.may(console, Right.SPY) for console in consoles):
        if len(consoles) == 1:
            still(session, consoles[0])
        raise CommandError("the rules have changed, you may not read any of these any more", exit_status.FORBIDDEN)


def log_file(session: Session, console: Console) -> str:
    """Where a console is logged: the path for who administers it, for all others what sftp calls the file.

    The name on the disk may be another than that of the VM because of a VM of the same name that may not be seen.
    """
    view = session.operator.view
    return str(console.log.path) if view.may(console, Right.ADMIN) else f"{view.alias(console)}.log"
