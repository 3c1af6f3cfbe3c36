"""What can be done with the selected console of the menu, or with those that are marked: a key for each action."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.operators.actions import Actions
from vmproxy.operators.operator import Operator
from vmproxy.operators.visible import VisibleConsoles

OTHERS = 9


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    :ivar right: needed on each console.
    :ivar command: what is run, with the SSH NAMEs behind it; empty for attaching.
    :ivar many: whether it can be done with several consoles at once.
    :ivar asks: whether the command is put into the command line, to be completed or confirmed.
    :ivar down: whether the console has to be down.
    """

    key: str
    text: str
    right: Right
    command: str = ""
    many: bool = False
    asks: bool = False
    down: bool = False


ATTACH = Action("a", "attach", Right.SPY)
READ_ONLY = Action("r", "read-only", Right.SPY)
ACTIONS = (
    ATTACH,
    READ_ONLY,
    Action("l", "log", Right.SPY, "log -f", many=True),
    Action("e", "events", Right.SPY, "events -f", many=True),
    Action("s", "status", Right.SEE, "status"),
    Action("w", "who", Right.SEE, "who", many=True),
    Action("n", "alerts", Right.SPY, "alerts", many=True),
    Action("t", "send text", Right.WRITE, "send", asks=True),
    Action("k", "kick", Right.ADMIN, "kick", asks=True),
    Action("f", "forget", Right.ADMIN, "forget", asks=True, down=True),
)


def possible(consoles: Sequence[Console], operator: Operator, others: Actions) -> list[Action]:
    """What is possible with some consoles, by the operator's rights as they are now.

    :param others: actions that administrators have set up; of a console, the first :data:`OTHERS` have keys.
    """
    view = operator.view
    own = others.possible(operator, consoles[0])[:OTHERS] if len(consoles) == 1 else []
    return [
        action
        for action in ACTIONS
        if (action.many or len(consoles) == 1)
        and all(
            view.may(console, action.right) and (not action.down or console.can_be_forgotten) for console in consoles
        )
    ] + [Action(str(n), one.name, one.right, f"action {one.name}") for n, one in enumerate(own, 1)]


def words(action: Action, consoles: Sequence[Console], view: VisibleConsoles) -> list[str]:
    return [*action.command.split(), *(view.alias(console) for console in consoles)]


def line(action: Action, consoles: Sequence[Console], view: VisibleConsoles) -> str:
    """The command as somebody would type it, up to where they go on."""
    return shlex.join(words(action, consoles, view)) + " "
