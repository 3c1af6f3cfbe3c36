"""The consoles that one operator may see, and the operator's rights there.

Invariant: a console that the operator may not see does not exist for them. It is not found, listed or counted, is no
reason for an alias, and gives the same answers as a name that nobody has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Grants, Right
from vmproxy.base.turns import Turns
from vmproxy.console.alert_marks import NO_ALERTS, AlertMarks
from vmproxy.console.console import Console
from vmproxy.console.naming import Names
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.errors import VMProxyError


class VisibleConsoles:
    """One operator's consoles, by the rules as they are now."""

    def __init__(self, directory: ConsoleRegistry, grants: Callable[[], Grants]) -> None:
        """:param grants: gives the rules for the operator, as they are now."""
        self._directory = directory
        self._grants = grants
        self._asked: tuple[Console, Grants, int] | None = None
        self._found = Right.NONE

    def __iter__(self) -> Iterator[Console]:
        return iter(self._names)

    def prepare(self, may_go_on: Callable[[], bool]) -> bool:
        """Work out which consoles these are, as long as there is time; :returns: whether that is done.

        What is asked for before that has to wait until it is.
        """
        return self._directory.names.prepare(self._grants(), may_go_on)

    async def ready(self, turns: Turns, who: str) -> None:
        """Wait until there is time for another piece of work, and it is worked out which consoles these are.

        Who has waited for anything asks this again: the rules may have changed.

        :param turns: has the time; ``who``: whose work it is.
        """
        while not (turns.open() and self.prepare(turns.open)):
            await turns.next(who)

    def __contains__(self, console: Console) -> bool:
        return self.may(console, Right.SEE)

    def sorted(self) -> list[Console]:
        """The consoles in the order of their titles."""
        return sorted(self, key=lambda c: (c.title.casefold(), c.uuid, c.port))

    @property
    def grants(self) -> Grants:
        """The rules for the operator, as they are now."""
        return self._grants()

    @property
    def administers(self) -> bool:
        """Whether the rules make the operator an administrator of anything, known or not."""
        return self._grants().administers

    @property
    def all_seen(self) -> bool:
        """Whether nothing is hidden from the operator, whatever consoles there are."""
        return self._grants().see_all

    def rights(self, console: Console) -> Right:
        """The operator's rights on a console."""
        if console.forgotten:
            return Right.NONE
        # A row of a list asks several times of the same console, and there may be many rules.
        of = console, self._grants(), self._directory.names.version
        if self._asked != of:
            self._asked, self._found = of, of[1].rights(console)
        return self._found

    def may(self, console: Console, right: Right) -> bool:
        return right in self.rights(console)

    def alerts(self, console: Console) -> AlertMarks:
        """The alerts of a console that nobody has acknowledged; none for who may not read its output."""
        marks = console.alerts
        return marks if marks.total and self.may(console, Right.SPY) else NO_ALERTS

    def idle_times(self, console: Console) -> IdleTimes:
        """How long the operator may type nothing on a console, by the rules."""
        return self._grants().idle_times(console)

    def find(self, target: str, port: str | None = None) -> Console:
        """The console that is meant, as :meth:`Names.find` understands it.

        :raises NoSuchConsole: if there is none, or none that may be seen.
        :raises AmbiguousConsole: if there are several that may be seen.
        """
        return self._names.find(target, port)

    def is_name(self, target: str) -> bool:
        """Whether a target is the whole name of a console."""
        try:
            return self.is_exact(target, self.find(target))
        except VMProxyError:
            return False

    def beginning(self, text: str, limit: int) -> list[Console]:
        """Consoles whose name begins so; see :meth:`Names.beginning`."""
        return self._names.beginning(text, limit)

    def near(self, target: str) -> Console | None:
        """The console that is probably meant by a target that finds none; see :meth:`Names.near`."""
        return self._names.near(target)

    def is_exact(self, target: str, console: Console) -> bool:
        """Whether a target names a console in full, and not by a prefix."""
        return self._names.is_exact(target, console)

    def alias(self, console: Console) -> str:
        """The name of the console after ``ssh``."""
        return self._names.alias(console)

    def typed(self, console: Console) -> str:
        """What to type for a console; see :meth:`Names.typed`."""
        return self._names.typed(console)

    @property
    def _names(self) -> Names:
        return self._directory.names.seen_by(self._grants())
