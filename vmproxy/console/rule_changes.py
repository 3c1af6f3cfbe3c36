"""Consoles and their viewers take other rules, in turns of the reactor.

There may be 16,000 consoles, and thousands of viewers of one. Consoles with viewers come first: somebody may have to
leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from twisted.internet.interfaces import IReactorTime

from vmproxy.access.console_options import ConsoleOptions
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer


class RuleChanges:
    """The consoles that have still to take the rules as they are now.

    Bound: a turn of the reactor, or one viewer.
    """

    __slots__ = ("_console", "_due", "_options", "_turns", "_viewers", "_waits")

    def __init__(self, clock: IReactorTime, options: Callable[[Console], ConsoleOptions]) -> None:
        """:param options: gives the options of a console, by the rules as they are."""
        self._options = options
        self._turns = Turns(clock)
        self._due: dict[Console, None] = {}
        self._console: Console | None = None  # whose viewers take them just now:
        self._viewers: Iterator[IViewer] = iter(())
        self._waits = False

    def of_all(self, consoles: Iterable[Console]) -> None:
        """All consoles are to take other rules."""
        watched: dict[Console, None] = {}
        others: dict[Console, None] = {}
        for console in consoles:
            (watched if console.watchers else others)[console] = None
        self._due, self._viewers = watched | others, iter(())
        self._go_on()

    def of_one(self, console: Console) -> None:
        """A console is not what it was, and rules may see it otherwise."""
        self._due[console] = None
        self._go_on()

    def _go_on(self) -> None:
        while not self._waits and self._turns.open():
            viewer = next(self._viewers, None)
            if viewer is not None and self._console is not None:
                self._console.viewers.rules_changed(viewer)
            elif self._due:
                console = self._console = next(iter(self._due))
                del self._due[console]
                if not console.forgotten:  # while it waited: its trail may be removed, and nobody looks at it
                    console.set_options(self._options(console))
                    self._viewers = iter(console.watchers)
            else:
                self._console = None
                return
        if not self._waits:
            self._waits = True
            self._turns.wait("", self._next_turn)

    def _next_turn(self) -> None:
        self._waits = False
        self._go_on()
