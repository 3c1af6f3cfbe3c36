"""``action``: have a program run for a console, such as one that turns its VM off."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.nearest import did_you_mean
from vmproxy.base.sanitize import visible
from vmproxy.operators import exit_status
from vmproxy.operators.action import Action
from vmproxy.operators.commands.context import find, in_turns, must_be_exact, table_row
from vmproxy.operators.commands.declaration import Argument, Arguments, Command, Flag, Takes
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.question import confirmed
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import Target
from vmproxy.operators.terminal.width import cells

_ACTION: Argument[str] = Argument(
    "ACTION", Takes.OPTIONAL, "its name; without it, the actions are listed", completes="action"
)
_NAME: Argument[Target | None] = Argument("NAME", Takes.CONSOLE, completes="console")
_YES = Flag("--yes", "do not ask")


async def _action(session: Session, args: Arguments) -> int:
    name, target = args[_ACTION], args[_NAME]
    actions, operator = session.services.actions, session.operator
    if not name:
        return await _list(session)
    known = {action.name: action for action in actions}
    if target is None:
        raise UsageError("for which console? give its name")
    console = find(session, target)
    action = known.get(name)
    possible = actions.possible(operator, console)
    if action is None or action not in possible:
        names = [one.name for one in possible]
        if action is not None and action.selects(console):
            raise CommandError(f"{console.title}: you may not do {action.name}", exit_status.FORBIDDEN)
        there = did_you_mean(name, names) or (f"; there are {', '.join(names)}" if names else "")
        raise CommandError(f"{console.title}: there is no action {visible(name)}{there}", exit_status.USAGE)
    must_be_exact(session, target, console, f"action {action.name}")
    if action.confirm and _YES not in args:
        if not session.has_pty:
            raise UsageError("give --yes, or a terminal to ask at (ssh -t)")
        if not await confirmed(session, question(action, console.title)):
            tell(session, "nothing was done")
            return exit_status.FAILED
        if action not in actions or action not in actions.possible(operator, console):
            raise CommandError("the rules have changed, you may no longer do that", exit_status.FORBIDDEN)
    outcome = await actions.run(operator, console, action)
    session.print("".join(f"{line}\n" for line in outcome.lines))
    if outcome.problem:
        raise CommandError(f"{console.title}: {action.name}: {outcome.problem}")
    tell(session, f"[-- {console.title}: {action.name}: done --]")
    return exit_status.OK


async def _list(session: Session) -> int:
    """The actions that are possible for some console."""
    actions, operator = session.services.actions, session.operator
    left = list(actions.all_for(operator))
    found: dict[str, Action] = {}
    async for console in in_turns(session, operator.view):
        if not left:
            break
        for action in [one for one in left if one.selects(console) and operator.view.may(console, one.right)]:
            found[action.name] = action
            left.remove(action)
    if not found:
        session.print("there are no actions for you\n")
        return exit_status.OK
    rows = [("ACTION", "RIGHT", "WHAT")]
    rows += [
        (one.name, one.right.name.lower(), one.text or "-") for one in actions if one.name in found and one.right.name
    ]
    widths = [max(cells(row[column]) for row in rows) for column in range(3)]
    session.print("".join(table_row(row, widths) for row in rows))
    return exit_status.OK


def question(action: Action, title: str) -> str:
    """What an operator is asked before."""
    return f"{action.name} {title}?"


COMMANDS = (
    Command(
        "action",
        "have something done with a VM, or list what can be",
        _action,
        (_ACTION, _NAME, _YES),
        Right.SEE,
        notes="Each action needs a right of its own; `action' alone lists those you may do.\n",
    ),
)
