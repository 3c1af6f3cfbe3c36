"""The console list of the menu, its filter, and the selected console.

There may be 16,000 consoles and dozens of open menus. So the registry is scanned and sorted in slices, in turns of the
operator's, and only if something has changed or some seconds have passed. The keys for sorting and filtering are kept,
and so is the result of a filter. Input changes the filter only; the list is filtered when it is drawn, or when a key
needs it, so a paste or a repeating key costs no more than the screen can show of it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fnmatch import translate

from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.console.naming import MARK
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.width import cells
from vmproxy.operators.visible import VisibleConsoles

SLICE = 50
SWEEP_SECONDS = 5.0
FILTER_LIMIT = 64
REFILTERS = 8  # times that the list is filtered between two drawings, whatever keys come

_STATE = re.compile(r"(?:^| )state:([^ ]*)(?= |$)", re.IGNORECASE)

# Keys that need the list as it is by the filter.
IN_LIST = frozenset(
    {
        keys.ENTER,
        keys.TAB,
        keys.UP,
        keys.DOWN,
        keys.PAGE_UP,
        keys.PAGE_DOWN,
        keys.HOME,
        keys.END,
    }
)


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
        self._in_state: Sequence[ConsoleEntry] = ()
        self.entries: Sequence[ConsoleEntry] = ()
        self.longest = 0
        self.complete = False

    @property
    def void(self) -> bool:
        """Whether the rules have changed since the scan: the entries may not be shown."""
        return self._policy is not self._directory.policy

    def due(self, now: float) -> bool:
        """Whether to scan: consoles have come, or the last scan is some seconds ago and some may be renamed."""
        return len(self._directory) != self._size or not 0 <= now - self._begun < SWEEP_SECONDS

    def begin(self, now: float) -> None:
        """Begin a scan of what is seen; :meth:`step` goes on with it."""
        self._begun = now
        if self.void:
            # Entries found under the old rules are not shown before they are checked again.
            self._policy = self._directory.policy
            self._replace(())
            self._known = {}
            self.complete = False
        self._pending = None
        self._size = len(self._directory)
        self.reading = True
        self._place = 0
        self._found = []
        self._sorting = None
        self._new = False

    def step(self, count: int = SLICE) -> bool:
        """Scan the next consoles, or sort some of what was found.

        :param count: consoles at most.
        :returns: whether there are more.
        """
        if self.void:
            self.begin(self._begun)
        if self._sorting is not None:
            if next(self._sorting, self) is self:
                self._take_over()
            return self.reading
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
        return self.reading

    def _done(self) -> None:
        self._pending, self._place = (), 0
        if self._new or len(self._found) != len(self.entries):
            self._sorting = sort_steps(self._found, lambda entry: entry.key)
            while len(self._found) <= SLICE and self._sorting is not None:
                self.step()  # most lists are short
        else:
            self.complete, self.reading, self._found = True, False, []

    def _take_over(self) -> None:
        found, self._found, self._sorting = self._found, [], None
        self.complete, self.reading = True, False
        self._known = {entry.console: entry for entry in found}
        self._replace(found)

    def _replace(self, entries: Sequence[ConsoleEntry]) -> None:
        self.entries = entries
        self.longest = max((entry.width for entry in entries), default=0)

    def drop(self, gone: set[ConsoleEntry]) -> None:
        for entry in gone:
            self._known.pop(entry.console, None)
        self._replace([entry for entry in self.entries if entry not in gone])

    def shown(self, entry: ConsoleEntry) -> str:
        """The name of a console in the list: its title, or its SSH NAME where others have the same name."""
        alias = self._view.alias(entry.console)
        return alias if MARK in alias and entry.name else entry.title

    def matching(self, pattern: str) -> Sequence[ConsoleEntry]:
        """The consoles that match a filter; the same list again as long as nothing changes.

        :param pattern: a part of a title; ``*`` matches anything, ``?`` any character. ``state:down`` beside it leaves
            those in this state.
        """
        pattern, states = _without_states(pattern)
        found = self._titled(pattern)
        if states:
            now = [entry for entry in found if entry.console.state.startswith(states)]
            if now != self._in_state:
                self._in_state = now
            found = self._in_state
        return found

    def _titled(self, pattern: str) -> Sequence[ConsoleEntry]:
        before, among, found = self._filtered
        if among is self.entries and before == pattern:
            return found
        if not pattern:
            found = self.entries
        else:
            # Titles with a longer text in them are among those with the shorter one.
            narrower = among is self.entries and pattern.startswith(before) and not _is_glob(pattern)
            found = _fitting(pattern, found if narrower else self.entries)
        self._filtered = (pattern, self.entries, found)
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


def _without_states(pattern: str) -> tuple[str, tuple[str, ...]]:
    """A filter without its words about states, and the beginnings of these states."""
    states = [state for found in _STATE.finditer(pattern) for state in found[1].casefold().split(",")]
    return (_STATE.sub("", pattern).strip(), tuple(filter(None, states))) if states else (pattern, ())


def _fitting(pattern: str, entries: Sequence[ConsoleEntry]) -> list[ConsoleEntry]:
    folded = pattern.casefold()
    if not _is_glob(folded):
        return [entry for entry in entries if folded in entry.folded]
    # translate() makes an atomic group of each *, so no pattern backtracks for long.
    fits = re.compile(translate(f"*{folded.replace('[', '[[]')}*")).match
    return [entry for entry in entries if fits(entry.folded)]


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


class Selection:
    """The filter, the selected console, and the part of the list on the screen.

    :ivar filter: the pattern that was typed.
    :ivar room: consoles that the screen has room for.
    :ivar found: the consoles that match the filter.
    :ivar chosen: the index of the selected console in them; ``top``: of the first one on the screen.
    """

    def __init__(self, consoles: ConsoleList, view: VisibleConsoles) -> None:
        self._consoles = consoles
        self._view = view
        self.filter = ""
        self.room = 1
        self.found: Sequence[ConsoleEntry] = ()
        self.chosen = 0
        self.top = 0
        self._typed = False  # another filter than that by which the list was made
        self._refilters = REFILTERS

    @property
    def console(self) -> Console | None:
        return self.found[self.chosen].console if self.chosen < len(self.found) else None

    @property
    def on_screen(self) -> Sequence[ConsoleEntry]:
        return self.found[self.top : self.top + self.room]

    def arrange(self, room: int) -> None:
        """Filter the list and place it on the screen; remove consoles that may not be seen any more.

        :param room: consoles that there is room for.
        """
        self.room = room
        self._refilters = REFILTERS
        self._arrange()

    def _arrange(self) -> None:
        while True:
            self._follow(self._consoles.matching(self.filter))
            self.chosen = max(0, min(self.chosen, len(self.found) - 1))
            self.top = max(0, min(self.top, self.chosen, len(self.found) - self.room))
            self.top = max(self.top, self.chosen - self.room + 1)
            gone = {entry for entry in self.on_screen if entry.console not in self._view}
            if not gone:
                return
            self._consoles.drop(gone)

    def _follow(self, found: Sequence[ConsoleEntry]) -> None:
        """Keep the selected console, and its place on the screen; a new filter shows its list from the top."""
        if found is not self.found:
            console = self.console
            # If a new filter leaves out the selected console, the first one is the likeliest.
            instead = 0 if self._typed else self.chosen
            place = next((n for n, entry in enumerate(found) if entry.console is console), instead)
            self.top = 0 if self._typed else self.top + place - self.chosen
            self.found, self.chosen = found, place
        self._typed = False

    def type(self, pattern: str) -> None:
        """Take another filter. Bound: :data:`FILTER_LIMIT` characters."""
        if pattern != self.filter and len(pattern) <= FILTER_LIMIT:
            self.filter = pattern
            self._typed = True

    def ready(self) -> bool:
        """Filter the list before a key that needs it.

        :returns: False if keys come faster than people type, and this one is to be dropped.
        """
        if self._typed:
            if not self._refilters:
                return False
            self._refilters -= 1
            self._arrange()
        return True

    def move(self, key: str) -> None:
        match key:
            case keys.UP:
                self._go(self.chosen - 1)
            case keys.DOWN:
                self._go(self.chosen + 1)
            case keys.PAGE_UP:
                self._go(self.chosen - self.room, -self.room)
            case keys.PAGE_DOWN:
                self._go(self.chosen + self.room, self.room)
            case keys.HOME:
                self._go(0)
            case keys.END:
                self._go(len(self.found) - 1)

    def _go(self, to: int, scroll: int = 0) -> None:
        self.chosen = max(0, min(to, len(self.found) - 1))
        self.top = max(0, self.top + scroll)
