"""Actions: programs that operators may have run for a console, such as one that turns its VM off."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from vmproxy.access.policy import Right
from vmproxy.access.selector import Selector, Subject, given
from vmproxy.base import values
from vmproxy.base.schema import InvalidValue, Problem, read, required, setting, tables

ACTIONS_LIMIT = 100
TIMEOUT_MOST = 600.0
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_RIGHTS = tuple(word for word in Right.ADMIN.closure().words if word != "see")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidValue(f"{value!r} is not a name of 1 to 32 letters, digits, _, . and -, a letter first")
    return value


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    :ivar on: the consoles for which there is this action.
    :ivar right: what an operator needs there.
    :ivar run: a program and its arguments; ``timeout``: the seconds that it has.
    :ivar confirm: whether the operator is asked before.
    :ivar text: what it does, for people.
    """

    name: str = required(_name, "a name for it")
    run: tuple[str, ...] = required(values.program, "a program and its arguments")
    on: tuple[Selector, ...] = setting(given, (Selector("*"),))
    right: Right = setting(values.then(values.one_of(_RIGHTS), lambda word: Right[word.upper()]), Right.ADMIN)
    confirm: bool = setting(values.flag, True)
    timeout: float = setting(values.span_from(1, TIMEOUT_MOST, "a time from 1 s to 10 minutes"), 60.0)
    text: str = setting(values.text, "")

    def selects(self, console: Subject) -> bool:
        return any(selector.selects(console) for selector in self.on)


def parse_actions(value: Any) -> tuple[tuple[Action, ...], list[Problem]]:
    """Read ``[[action]]`` tables; :returns: the actions, and every problem."""
    problems: list[Problem] = []
    names = Counter[str]()
    found = []
    for number, table in enumerate(tables("action", value, problems)):
        action = read(Action, table, problems, ("action", number))
        if number == ACTIONS_LIMIT:
            problems.append(Problem(("action", number), f"at most {ACTIONS_LIMIT} actions"))
        if action is not None:
            names[action.name] += 1
            if names[action.name] > 1:
                problems.append(Problem(("action", number, "name"), f"there is another action {action.name}"))
            found.append(action)
    return tuple(found), problems
