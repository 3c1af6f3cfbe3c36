"""What of the list is on the screen and which console is chosen there, as keys move about and as consoles come and go.

What is typed changes the filter only; the list is filtered again when it is drawn, or when a key needs it as it is. So
a paste, or a key that repeats, costs no more than the screen can show of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.console.console import Console
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.menu_list import Entry, Roster
from vmproxy.operators.visible import View

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


class Picker:
    """A place in the list.

    :ivar filter: what was typed.
    :ivar room: how many consoles are on the screen.
    :ivar found: the consoles that fit the filter.
    :ivar chosen: the place among them of the one that is chosen; ``top``: of the first one on the screen.
    """

    def __init__(self, roster: Roster, view: View) -> None:
        self._roster = roster
        self._view = view
        self.filter = ""
        self.room = 1
        self.found: Sequence[Entry] = ()
        self.chosen = 0
        self.top = 0
        self._typed = False  # another filter than that by which the list was made
        self._refilters = REFILTERS

    @property
    def console(self) -> Console | None:
        """The console that is chosen."""
        return self.found[self.chosen].console if self.chosen < len(self.found) else None

    @property
    def on_screen(self) -> Sequence[Entry]:
        """The consoles on the screen."""
        return self.found[self.top : self.top + self.room]

    def arrange(self) -> None:
        """Find out which consoles stand where; those that may not be seen any more are gone at once."""
        self._refilters = REFILTERS
        self._arrange()

    def _arrange(self) -> None:
        while True:
            self._follow(self._roster.matching(self.filter))
            self.chosen = max(0, min(self.chosen, len(self.found) - 1))
            self.top = max(0, min(self.top, self.chosen, len(self.found) - self.room))
            self.top = max(self.top, self.chosen - self.room + 1)
            gone = {entry for entry in self.on_screen if entry.console not in self._view}
            if not gone:
                return
            self._roster.drop(gone)

    def _follow(self, found: Sequence[Entry]) -> None:
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
