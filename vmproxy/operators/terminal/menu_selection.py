"""The selected console of the menu, its filter, and the consoles that are marked.

Input changes the filter only; the list is filtered when it is drawn, or when a key needs it, so a paste or a repeating
key costs no more than the screen can show of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.console.console import Console
from vmproxy.operators.commands.context import GLOBS_LIMIT
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.menu_list import ConsoleEntry, ConsoleList
from vmproxy.operators.visible import VisibleConsoles

FILTER_LIMIT = 64
REFILTERS = 4  # times that the list is filtered between two drawings, whatever keys come
ROUNDS = 3  # times that a screen full of consoles is found that may not be seen any more
MARKS_LIMIT = GLOBS_LIMIT  # a command takes no more
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
        keys.RIGHT,
        keys.INSERT,
    }
)


class Selection:
    """The filter, the selected console, those that are marked, and the part of the list on the screen.

    Bound: :data:`MARKS_LIMIT` marks.

    :ivar filter: the pattern that was typed; ``without_down``: whether those that are down are left out.
    :ivar marked: in the order in which they were marked.
    :ivar room: consoles that the screen has room for.
    :ivar found: the consoles that match the filter.
    :ivar chosen: the index of the selected console in them; ``top``: of the first one on the screen.
    """

    def __init__(self, consoles: ConsoleList, view: VisibleConsoles) -> None:
        self._consoles = consoles
        self._view = view
        self.filter = ""
        self.without_down = False
        self.marked: dict[Console, None] = {}
        self.room = 1
        self.found: Sequence[ConsoleEntry] = ()
        self.chosen = 0
        self.top = 0
        self._typed = False  # another filter than that by which the list was made
        self._refilters = REFILTERS

    @property
    def entry(self) -> ConsoleEntry | None:
        return self.found[self.chosen] if self.chosen < len(self.found) else None

    @property
    def console(self) -> Console | None:
        return None if self.entry is None else self.entry.console

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
        for _ in range(ROUNDS):
            self._place()
            gone = {entry for entry in self.on_screen if entry.console not in self._view}
            if not gone:
                return
            self._consoles.drop(gone)
        self._consoles.start_over()
        self._place()

    def _place(self) -> None:
        self._follow(self._consoles.matching(self.filter, self.without_down))
        self.chosen = max(0, min(self.chosen, len(self.found) - 1))
        self.top = max(0, min(self.top, self.chosen, len(self.found) - self.room))
        self.top = max(self.top, self.chosen - self.room + 1)

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

    def toggle_down(self) -> None:
        """Leave out consoles that are down, or show them again."""
        self.without_down = not self.without_down

    def unmark(self) -> None:
        """Take all marks away."""
        self.marked.clear()

    def mark(self) -> bool:
        """Mark the selected console, or take its mark away, and go on to the next.

        :returns: False if there are as many marks as there may be.
        """
        console = self.console
        if console is None:
            return True
        if console in self.marked:
            del self.marked[console]
        elif len(self.marked) < MARKS_LIMIT:
            self.marked[console] = None
        else:
            return False
        self.move(keys.DOWN)
        return True

    def meant(self) -> list[Console]:
        """The marked consoles that may still be seen; the selected one where none is marked."""
        self.marked = {console: None for console in self.marked if console in self._view}
        if self.marked:
            return list(self.marked)
        return [self.console] if self.console is not None and self.console in self._view else []

    def ready(self) -> bool:
        """Filter the list before a key that needs it.

        :returns: False if keys come faster than people type, or than thousands of consoles can be looked at, and this
            one is to be dropped.
        """
        if self._typed:
            if not self._refilters:
                return False
            self._refilters -= 1
            self._arrange()
            return not self._consoles.partial
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
