"""The consoles of the menu: the ones that the operator may see, in order; the filter; which one is chosen.

There may be 16,000, and dozens of open menus. So the directory is looked through in slices, a slice at a turn, and only
when something is known to have changed or a while has passed; what is needed of each console to sort and to filter is
kept; and what a filter found is kept until either changes. What is typed changes the filter only: the list is filtered
again when it is drawn, or when a key needs it. So a paste, or a key that repeats, costs no more than the screen can
show of it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from fnmatch import translate

from vmproxy.console.console import Console
from vmproxy.console.registry import Directory
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.width import cells
from vmproxy.operators.visible import View

SLICE = 500
SWEEP_SECONDS = 5.0
FILTER_LIMIT = 64
REFILTERS = 8  # times that the list is filtered between two drawings, whatever keys come

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

    :ivar name: its name when this was made.
    :ivar title: what it is shown as; ``width`` columns wide.
    :ivar folded: the title without regard to capitals.
    :ivar key: what it is sorted by.
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

    :ivar entries: in the order in which people look for them; replaced, never changed.
    :ivar longest: columns that the longest title takes.
    :ivar reading: whether the directory is being looked through.
    :ivar complete: whether all have been looked at since the rules last changed.
    """

    def __init__(self, view: View, directory: Directory) -> None:
        """:param view: says which of the directory's consoles there are for the operator."""
        self._view = view
        self._directory = directory
        self._policy = directory.policy
        self._size = -1
        self._begun = 0.0
        self._pending: Sequence[Console] = ()
        self._place = 0
        self.reading = False
        self._found: list[ConsoleEntry] = []
        self._new = False
        self._known: dict[Console, ConsoleEntry] = {}
        self._filtered: tuple[str, Sequence[ConsoleEntry], Sequence[ConsoleEntry]] = ("", (), ())
        self.entries: Sequence[ConsoleEntry] = ()
        self.longest = 0
        self.complete = False

    @property
    def void(self) -> bool:
        """Whether other rules hold than when the directory was looked through: what is here may not be shown."""
        return self._policy is not self._directory.policy

    def due(self, now: float) -> bool:
        """Whether to look the directory through: consoles have come, or it is a while ago and some may be renamed."""
        return len(self._directory) != self._size or not 0 <= now - self._begun < SWEEP_SECONDS

    def begin(self, now: float) -> None:
        """Look the directory through from the start, with :meth:`step`."""
        self._begun = now
        if self.void:
            # What was seen by the old rules is not shown by the new ones before it has been looked at again.
            self._policy = self._directory.policy
            self._replace(())
            self._known = {}
            self.complete = False
        self._pending = list(self._directory)
        self._size = len(self._pending)
        self.reading = True
        self._place = 0
        self._found = []
        self._new = False

    def step(self, count: int = SLICE) -> bool:
        """Look at the next consoles.

        :param count: how many at most.
        :returns: whether there are more.
        """
        if self.void:
            self.begin(self._begun)
        view, known = self._view, self._known
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
        found, self._found, self._pending, self._place = self._found, [], (), 0
        self.complete, self.reading = True, False
        if self._new or len(found) != len(self.entries):
            found.sort(key=lambda entry: entry.key)
            self._known = {entry.console: entry for entry in found}
            self._replace(found)

    def _replace(self, entries: Sequence[ConsoleEntry]) -> None:
        self.entries = entries
        self.longest = max((entry.width for entry in entries), default=0)

    def drop(self, gone: set[ConsoleEntry]) -> None:
        """Leave out consoles that may not be seen any more."""
        for entry in gone:
            self._known.pop(entry.console, None)
        self._replace([entry for entry in self.entries if entry not in gone])

    def matching(self, pattern: str) -> Sequence[ConsoleEntry]:
        """The consoles whose title holds a pattern; the same list again as long as nothing changes.

        :param pattern: text, in which ``*`` and ``?`` stand for anything and any character.
        """
        before, among, found = self._filtered
        if among is self.entries and before == pattern:
            return found
        if not pattern:
            found = self.entries
        else:
            # Whatever holds more of the same text is among what held less of it.
            narrower = among is self.entries and pattern.startswith(before) and not _is_glob(pattern)
            found = _fitting(pattern, found if narrower else self.entries)
        self._filtered = (pattern, self.entries, found)
        return found

    def starting(self, prefix: str, limit: int) -> Sequence[ConsoleEntry]:
        """The consoles whose title begins so, without regard to capitals.

        :param limit: of more than so many, only so many: the last of all and the first ones. What these have in common
            at their beginning all have.
        """
        folded = prefix.casefold()
        start = bisect_left(self.entries, folded, key=lambda entry: entry.folded)
        end = bisect_left(self.entries, True, start, key=lambda entry: not entry.folded.startswith(folded))
        if end - start > limit:
            return [*self.entries[start : start + limit - 1], self.entries[end - 1]]
        return self.entries[start:end]


def _fitting(pattern: str, entries: Sequence[ConsoleEntry]) -> list[ConsoleEntry]:
    folded = pattern.casefold()
    if not _is_glob(folded):
        return [entry for entry in entries if folded in entry.folded]
    # Python makes of each * a group that is never tried again, so that no pattern takes long.
    fits = re.compile(translate(f"*{folded.replace('[', '[[]')}*")).match
    return [entry for entry in entries if fits(entry.folded)]


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


class Selection:
    """A place in the list.

    :ivar filter: what was typed.
    :ivar room: how many consoles are on the screen.
    :ivar found: the consoles that fit the filter.
    :ivar chosen: the place among them of the one that is chosen; ``top``: of the first one on the screen.
    """

    def __init__(self, consoles: ConsoleList, view: View) -> None:
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
        """The console that is chosen."""
        return self.found[self.chosen].console if self.chosen < len(self.found) else None

    @property
    def on_screen(self) -> Sequence[ConsoleEntry]:
        """The consoles on the screen."""
        return self.found[self.top : self.top + self.room]

    def arrange(self, room: int) -> None:
        """Find out which consoles are where; those that may not be seen any more are gone at once.

        :param room: how many there is room for.
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
        """Keep the same console chosen, and where it is on the screen; a new filter shows its list from the top."""
        if found is not self.found:
            console = self.console
            # Where a new filter leaves out what was chosen, the first is the likeliest.
            instead = 0 if self._typed else self.chosen
            place = next((n for n, entry in enumerate(found) if entry.console is console), instead)
            self.top = 0 if self._typed else self.top + place - self.chosen
            self.found, self.chosen = found, place
        self._typed = False

    def type(self, pattern: str) -> None:
        """Filter by something else."""
        if pattern != self.filter and len(pattern) <= FILTER_LIMIT:
            self.filter = pattern
            self._typed = True

    def ready(self) -> bool:
        """Bring the list up to date with the filter, before a key that needs it.

        :returns: False if keys come faster than anybody types, and this one is best forgotten.
        """
        if self._typed:
            if not self._refilters:
                return False
            self._refilters -= 1
            self._arrange()
        return True

    def move(self, key: str) -> None:
        """Go up or down."""
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
