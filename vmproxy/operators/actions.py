"""The actions of operators: which are possible, and how one is run and recorded.

Bound: :data:`AT_ONCE` programs at a time, and one of an action for a console; more are refused.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from vmproxy.base.sanitize import visible
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators.action import Action
from vmproxy.operators.operator import Operator

AT_ONCE = 4
LINES_SHOWN = 200
LINE_SHOWN = 500


_log = Logger()


class Busy(VMProxyError):
    """An action that cannot be run now."""


class Outcome(NamedTuple):
    """How an action ended.

    :ivar problem: why it failed; empty if it did not.
    :ivar output: what the program has printed; the beginning of it.
    """

    problem: str
    output: bytes

    @property
    def lines(self) -> list[str]:
        """The output, safe to show."""
        text = self.output.decode("utf-8", "replace").rstrip()
        lines = [visible(line.rstrip().expandtabs(), LINE_SHOWN) for line in text.split("\n")] if text else []
        return lines[:LINES_SHOWN] + ([f"... and {len(lines) - LINES_SHOWN} more lines"] if lines[LINES_SHOWN:] else [])


Run = Callable[[Sequence[str], bytes, Mapping[str, str], float], Deferred[Outcome]]
"""Runs a program: its words, its standard input, its environment beside the usual, the seconds that it has."""


def _nothing_runs(
    words: Sequence[str], data: bytes, environment: Mapping[str, str], timeout: float
) -> Deferred[Outcome]:
    return succeed(Outcome("no program is run here", b""))


class Actions:
    def __init__(self, run: Run = _nothing_runs) -> None:
        self._run = run
        self._all: tuple[Action, ...] = ()
        self._running: set[tuple[str, Console]] = set()

    def __iter__(self) -> Iterator[Action]:
        return iter(self._all)

    def use(self, actions: tuple[Action, ...]) -> None:
        """Take other actions; those under way go on."""
        self._all = actions

    def all_for(self, operator: Operator) -> tuple[Action, ...]:
        """The actions that there are for an operator, whatever the console; guests have none."""
        return () if operator.account.behalf else self._all

    def possible(self, operator: Operator, console: Console) -> list[Action]:
        """The actions that an operator may have done for a console, by the rules as they are now."""
        actions = self.all_for(operator)
        if not actions:
            return []
        rights = operator.view.rights(console)
        return [action for action in actions if action.right in rights and action.selects(console)]

    def run(self, operator: Operator, console: Console, action: Action) -> Deferred[Outcome]:
        """Run an action that is possible. It goes on if whoever waits for it does not.

        :raises Busy: if it cannot be run now.
        """
        key = action.name, console
        if key in self._running:
            raise Busy(f"{console.title}: {action.name} is under way already")
        if len(self._running) >= AT_ONCE:
            raise Busy(f"{len(self._running)} actions are under way, and no more are done at a time; try again later")
        self._running.add(key)
        waiter: Deferred[Outcome] = Deferred()

        async def attend() -> None:
            try:
                outcome = await self._attend(operator, console, action)
            except Exception:
                _log.failure("action {name} failed", name=action.name)
                outcome = Outcome("it failed, the daemon's log says more", b"")
            if not waiter.called:  # else whoever has waited does not any more
                waiter.callback(outcome)

        spawn(attend())
        return waiter

    async def _attend(self, operator: Operator, console: Console, action: Action) -> Outcome:
        about = {"action": action.name, "console": console.title, "uuid": str(console.uuid), "port": console.port}
        fields = _fields(operator, console, action)
        operator.audit("action", **about, run=list(action.run))
        console.log.event("action", who=operator.who, action=action.name)
        try:
            environment = {
                f"VMPROXY_{name.upper()}": str(value or "") for name, value in fields.items() if name != "labels"
            }
            data = json.dumps(fields).encode("ascii") + b"\n"
            outcome = await self._run(action.run, data, environment, action.timeout)
        finally:
            self._running.discard((action.name, console))
        problem = visible(outcome.problem, LINE_SHOWN)
        operator.audit("action-done", **about, problem=problem)
        if not console.forgotten:
            console.log.event("action-done", who=operator.who, action=action.name, problem=problem)
        return Outcome(problem, outcome.output)


def _fields(operator: Operator, console: Console, action: Action) -> dict[str, object]:
    """What a program is told; texts are safe to show."""
    return {
        "action": action.name,
        "who": operator.who,
        "console": console.title,
        "uuid": str(console.uuid),
        "port": visible(console.port),
        "bios_uuid": str(console.bios_uuid) if console.bios_uuid else None,
        "state": console.state,
        "host": visible(console.host) or None,
        "server": visible(socket.gethostname()),
        "labels": console.labels.fields(),
    }
