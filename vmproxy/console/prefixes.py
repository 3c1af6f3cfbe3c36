"""Finding consoles by the beginning of a name without looking at all of them: a list, sorted when it is needed."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmproxy.console.console import Console


class Prefixes:
    """Which consoles have names that begin in some way; capitals do not matter."""

    __slots__ = ("_entries", "_sorted")

    def __init__(self) -> None:
        self._entries: list[tuple[str, int, Console]] = []  # the number keeps consoles from being compared
        self._sorted = True

    def add(self, name: str, console: Console) -> None:
        """A console has a name now."""
        entry = (name.casefold(), id(console), console)
        if self._sorted and len(self._entries) > 1000:
            insort(self._entries, entry)
        else:
            self._entries.append(entry)
            self._sorted = False

    def discard(self, name: str, console: Console) -> None:
        """A console does not have a name any more."""
        entry = (name.casefold(), id(console), console)
        self._sort()
        at = bisect_left(self._entries, entry)
        if at < len(self._entries) and self._entries[at] == entry:
            del self._entries[at]

    def find(self, prefix: str) -> list[Console]:
        """:returns: the consoles with a name that begins so, each once."""
        folded = prefix.casefold()
        self._sort()
        found: dict[Console, None] = {}
        for at in range(bisect_left(self._entries, (folded,)), len(self._entries)):
            name, _, console = self._entries[at]
            if not name.startswith(folded):
                break
            found[console] = None
        return list(found)

    def _sort(self) -> None:
        if not self._sorted:
            self._entries.sort()
            self._sorted = True
