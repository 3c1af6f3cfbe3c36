"""``kick``: disconnect operators from a console."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, in_turns, must_be_exact, require_right
from vmproxy.operators.commands.declaration import NAME, Argument, Arguments, Command, Option, Takes, Text
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.session import Session

REASON_LIMIT = 1000

_OPERATOR: Argument[str] = Argument("OPERATOR", Takes.OPTIONAL, "a name, or name@address; without it, all but you")
_REASON = Option("--reason", "TEXT", Text(REASON_LIMIT), "the reason, shown to those who are disconnected")


async def _kick(session: Session, args: Arguments) -> int:
    target, wanted, reason = args[NAME], args[_OPERATOR], args.get(_REASON, "")
    console = find(session, target, args.right)
    must_be_exact(session, target, console, "kick")
    me = session.operator.who
    others = [v for v in console.viewers.all if v.who != me and v is not console.remote]  # a far end has to be named
    going = [v for v in console.viewers.all if wanted in (v.who, v.who.rpartition("@")[0])] if wanted else others
    if not going:
        whom = visible(wanted) if wanted else "nobody else"
        raise CommandError(f"{console.title}: {whom} is {'not ' if wanted else ''}there")
    async for viewer in in_turns(session, going):  # there may be thousands
        require_right(session, console, args.right)
        if viewer in console.watchers:
            session.operator.audit(
                "kick", console=console.title, uuid=str(console.uuid), whom=viewer.who, reason=reason
            )
            console.viewers.kick(viewer, me, reason)
            session.print(f"{viewer.who} disconnected from {console.title}\n")
    return exit_status.OK


COMMANDS = (Command("kick", "disconnect an operator from a console", _kick, (NAME, _OPERATOR, _REASON), Right.ADMIN),)
