"""``forget``: take a console that is down for good out of all lists."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.console.registry import StillThere
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, must_be_exact
from vmproxy.operators.commands.declaration import NAME, Arguments, Command, Flag
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.session import Session

_REMOVE = Flag("--remove-log", "remove its log, event trail, plain text and old logs as well")


async def _forget(session: Session, args: Arguments) -> int:
    target, remove, operator = args[NAME], _REMOVE in args, session.operator
    console = find(session, target)
    if not operator.view.may(console, args.right):
        raise CommandError(f"{console.title}: you may not forget it", exit_status.FORBIDDEN)
    must_be_exact(session, target, console, "forget")
    title, uuid, log = console.title, str(console.uuid), console.log.name
    try:
        done = session.services.registry.forget(console, operator.who, remove)
    except StillThere as error:
        raise CommandError(str(error)) from None
    operator.audit("forget", console=title, uuid=uuid, port=console.port, log=log, removed=remove)
    try:
        await done
    except OSError as error:
        raise CommandError(f"{title} is forgotten, but its log could not be removed: {error}") from None
    session.print(f"{title} is forgotten; its log is {'removed' if remove else f'still there: {log}'}\n")
    return exit_status.OK


COMMANDS = (
    Command(
        "forget",
        "forget a console that is down for good",
        _forget,
        (NAME, _REMOVE),
        Right.ADMIN,
        notes="Its log stays, and goes on if its VM ever comes back.\n",
    ),
)
