"""``refused``: the hosts that were turned away lately, and why."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.log.events import timestamp
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import print_all
from vmproxy.operators.commands.declaration import JSON, Arguments, Command
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.messages import local_time
from vmproxy.operators.presentation import json_array
from vmproxy.operators.session import Session


async def _refused(session: Session, args: Arguments) -> int:
    if not session.operator.view.administers:
        raise CommandError("you administer no console", exit_status.FORBIDDEN)
    if not session.operator.view.all_seen:  # a reason may name a console
        raise CommandError("some consoles are hidden from you, and hosts of theirs may be here", exit_status.FORBIDDEN)
    found = session.services.refused()
    if JSON in args:
        rows = ({"at": timestamp(one.at), "who": one.who, "why": one.why, "times": one.times} for one in found)
        await print_all(session, json_array(rows))
    elif not found:
        session.print("no connection was refused since the start\n")
    else:
        lines = (
            f"{local_time(one.at)}  {visible(one.who)}  {visible(one.why, 300)}"
            f"{f' ({one.times} times)' if one.times > 1 else ''}\n"
            for one in found
        )
        await print_all(session, lines)
    return exit_status.OK


COMMANDS = (
    Command(
        "refused",
        "show hosts that were turned away, and why",
        _refused,
        (JSON,),
        Right.ADMIN,
        notes="The newest first, of the last 100. The daemon's log has them too.\n"
        "For administrators from whom no console is hidden.\n",
    ),
)
