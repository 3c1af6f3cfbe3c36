"""The console list of the menu, in its order, and what a filter leaves of it.

There may be 16,000 consoles and dozens of open menus. So the registry is scanned and sorted in slices, in turns of the
operator's, and only if something has changed or some seconds have passed. The keys for sorting and filtering are kept,
and so is the result of a filter. Columns may change at any time, so words about them are looked at once a second, of
thousands in turns too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.console.naming import MARK
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.operators.console_filter import ConsoleFilter, finder, is_glob
from vmproxy.operators.terminal.menu_choice import AT_ONCE, Choice
from vmproxy.operators.terminal.width import cells
from vmproxy.operators.visible import VisibleConsoles

SLICE = 50
SWEEP_SECONDS = 5.0


class Order(Enum):
    """The orders of the list. All but the first are taken anew with each scan."""

    NAME = "name"
    STATE = "state"
    CHANGE = "last change"
    HOST = "host"
    ALERTS = "alerts"


class ConsoleEntry:
    """A console in the list.

    :ivar name: its name at the time of the scan.
    :ivar title: its title; ``width``: the columns of that.
    :ivar folded: the title without regard to case.
    :ivar key: the key for sorting.
    """

    __slots__ = ("console", "folded", "key", "name", "title", "width")

    def __init__(self, console: Console) -> None:
        self.console = console
        self.name = console.name
        self.title = console.title
        self.folded = self.title.casefold()
        self.width = cells(self.title)
        self.key = (self.folded, console.uuid.int, console.port)


class ConsoleList:
    """The consoles that an operator may see.

    :ivar entries: sorted by title; replaced, never changed.
    :ivar ordered: the same in the order that the operator has chosen.
    :ivar order: that order.
    :ivar longest: columns of the longest title.
    :ivar reading: whether a scan of the registry is under way.
    :ivar complete: whether all consoles were scanned since the rules last changed.
    """

    def __init__(self, view: VisibleConsoles, directory: ConsoleRegistry) -> None:
        self._view = view
        self._directory = directory
        self._policy = directory.policy
        self._size = -1
        self._begun = 0.0
        self._pending: Sequence[Console] | None = ()  # None: what is seen is still to be asked for
        self._place = 0
        self.reading = False
        self._found: list[ConsoleEntry] = []
        self._sorting: Iterator[None] | None = None
        self._new = False
        self._known: dict[Console, ConsoleEntry] = {}
        self._filtered: tuple[str, Sequence[ConsoleEntry], Sequence[ConsoleEntry]] = ("", (), ())
        self._choice: Choice[ConsoleEntry] | None = None  # by columns
        self.order = Order.NAME
        self.entries: Sequence[ConsoleEntry] = ()
        self.ordered: Sequence[ConsoleEntry] = ()
        self.longest = 0
        self.complete = False

    @property
    def void(self) -> bool:
        """Whether the rules have changed since the scan: the entries may not be shown."""
        return self._policy is not self._directory.policy

    @property
    def busy(self) -> bool:
        """Whether :meth:`step` has something to do."""
        return self.reading or (self._choice is not None and self._choice.busy)

    @property
    def partial(self) -> bool:
        """Whether the filter has not looked at all consoles yet."""
        return self._choice is not None and not self._choice.whole

    def due(self, now: float) -> bool:
        """Whether to scan: consoles have come, or the last scan is some seconds ago and some may be renamed."""
        return len(self._directory) != self._size or not 0 <= now - self._begun < SWEEP_SECONDS

    def begin(self, now: float) -> None:
        """Begin a scan of what is seen; :meth:`step` goes on with it."""
        self._begun = now
        if self.void:
            # Entries found under the old rules are not shown before they are checked again.
            self._policy = self._directory.policy
            self._empty()
        self._pending = None
        self._size = len(self._directory)
        self.reading = True
        self._place = 0
        self._found = []
        self._sorting = None
        self._new = False

    def start_over(self) -> None:
        """Show nothing until all consoles have been looked at again: thousands may not be seen any more."""
        self._empty()
        self.begin(self._begun)

    def _empty(self) -> None:
        self._replace(())
        self._known = {}
        self._choice = None
        self.complete = False

    def use(self, order: Order) -> None:
        """Take another order; the list has it when a scan is through."""
        self.order = order
        self.begin(self._begun)

    def step(self, count: int = SLICE) -> bool:
        """Scan the next consoles, sort some of what was found, or see whether some fit the filter.

        :param count: consoles at most.
        :returns: whether there are more.
        """
        if self.void:
            self.begin(self._begun)
        if not self.reading:
            if self._choice is not None and self._choice.busy:
                self._choice.step()
            return self.busy
        if self._sorting is not None:
            next(self._sorting, None)  # takes over what is sorted
            return self.busy
        view, known = self._view, self._known
        if self._pending is None:
            self._pending = list(view)
        for console in self._pending[self._place : self._place + count]:
            if console in view:
                entry = known.get(console)
                if entry is None or entry.name is not console.name:
                    entry = known[console] = ConsoleEntry(console)
                    self._new = True
                self._found.append(entry)
        self._place += count
        if self._place >= len(self._pending):
            self._done()
        return self.busy

    def _done(self) -> None:
        self._pending, self._place = (), 0
        if self._new or len(self._found) != len(self.entries) or self.order is not Order.NAME:
            self._sorting = self._sort()
            while len(self._found) <= SLICE and self._sorting is not None:
                self.step()  # most lists are short
        else:
            self.complete, self.reading, self._found = True, False, []
            self.ordered = self.entries

    def _sort(self) -> Iterator[None]:
        if self._new or len(self._found) != len(self.entries):
            yield from sort_steps(self._found, lambda entry: entry.key)
        else:
            self._found = list(self.entries)
        ordered: list[ConsoleEntry] | None = None
        if self.order is not Order.NAME:
            ordered = self._found.copy()
            yield from sort_steps(ordered, _key_of(self.order, self._view))
        self._take_over(ordered)

    def _take_over(self, ordered: list[ConsoleEntry] | None) -> None:
        found, self._found, self._sorting = self._found, [], None
        self.complete, self.reading = True, False
        if found != self.entries:
            self._known = {entry.console: entry for entry in found}
            self._replace(found, ordered)
        elif ordered is None:
            self.ordered = self.entries
        elif ordered != self.ordered:
            self.ordered = ordered

    def _replace(self, entries: Sequence[ConsoleEntry], ordered: Sequence[ConsoleEntry] | None = None) -> None:
        self.entries = entries
        self.ordered = entries if ordered is None else ordered
        self.longest = max((entry.width for entry in entries), default=0)

    def drop(self, gone: set[ConsoleEntry]) -> None:
        for entry in gone:
            self._known.pop(entry.console, None)
        ordered = None if self.ordered is self.entries else [entry for entry in self.ordered if entry not in gone]
        if self._choice is not None:
            self._choice.drop(gone)
        self._replace([entry for entry in self.entries if entry not in gone], ordered)

    def shown(self, entry: ConsoleEntry) -> str:
        """The name of a console in the list: its title, or its SSH NAME where others have the same name."""
        alias = self._view.alias(entry.console)
        return alias if MARK in alias and entry.name else entry.title

    def matching(self, pattern: str, without_down: bool = False) -> Sequence[ConsoleEntry]:
        """The consoles that match a filter; the same list again as long as nothing changes.

        :param pattern: a part of a title; ``*`` matches anything, ``?`` any character. Words about columns beside it
            leave those that fit: :mod:`~vmproxy.operators.console_filter`.
        :param without_down: whether those that are down are left out.
        """
        wanted = ConsoleFilter.read(pattern)
        found = self._titled(wanted.name)
        if not wanted.columns and not without_down:
            self._choice = None
            return found
        asked, choice = (pattern, without_down), self._choice
        if choice is None or choice.asked != asked:
            choice = self._choice = Choice(asked, _fits(wanted, without_down, self._view))
        if choice.among is not found or (len(found) <= AT_ONCE and not choice.busy):
            choice.look(found)
        return choice.found

    def look_again(self) -> None:
        """See anew which consoles fit the filter; :meth:`step` does it."""
        choice = self._choice
        if choice is not None and not choice.busy:
            choice.look(choice.among)

    def _titled(self, pattern: str) -> Sequence[ConsoleEntry]:
        before, among, found = self._filtered
        if among is self.ordered and before == pattern:
            return found
        if not pattern:
            found = self.ordered
        else:
            # Titles with a longer text in them are among those with the shorter one.
            narrower = among is self.ordered and pattern.startswith(before) and not is_glob(pattern)
            fits = finder(pattern.casefold())
            found = [entry for entry in (found if narrower else self.ordered) if fits(entry.folded)]
        self._filtered = (pattern, self.ordered, found)
        return found

    def starting(self, prefix: str, limit: int) -> Sequence[ConsoleEntry]:
        """The consoles whose title begins so, without regard to case.

        :param limit: consoles at most: the first ones and the last of all, so that their common beginning is that of
            all.
        """
        folded = prefix.casefold()
        start = bisect_left(self.entries, folded, key=lambda entry: entry.folded)
        end = bisect_left(self.entries, True, start, key=lambda entry: not entry.folded.startswith(folded))
        if end - start > limit:
            return [*self.entries[start : start + limit - 1], self.entries[end - 1]]
        return self.entries[start:end]


def _fits(wanted: ConsoleFilter, without_down: bool, view: VisibleConsoles) -> Callable[[ConsoleEntry], bool]:
    if not wanted.columns:
        return lambda entry: entry.console.state != "down"
    if not without_down:
        return lambda entry: wanted.fits(view, entry.console)
    return lambda entry: entry.console.state != "down" and wanted.fits(view, entry.console)


_RANKS = {"up": 1, "migrating": 0, "down": 2}


def _key_of(order: Order, view: VisibleConsoles) -> Callable[[ConsoleEntry], Any]:
    """What the list is sorted by; where it is the same, by name."""

    def by_alerts(entry: ConsoleEntry) -> Any:
        return [-number for number in view.alerts(entry.console)], entry.key

    match order:
        case Order.STATE:
            return lambda entry: (_RANKS.get(entry.console.state, 3), entry.key)
        case Order.CHANGE:
            return lambda entry: (-entry.console.since, entry.key)
        case Order.HOST:
            return lambda entry: (entry.console.host, entry.key)
        case Order.ALERTS:
            return by_alerts
    return lambda entry: entry.key
