"""Finding consoles by the beginning of a name without looking at all of them: a list, sorted when it is needed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmproxy.console.console import Console


class Prefixes:
    """Which consoles have names that begin in some way; capitals do not matter."""

    __slots__ = ("_consoles", "_names", "_sorted")

    def __init__(self) -> None:
        # Side by side: a pair for each of thousands would be larger than both lists.
        self._names: list[str] = []
        self._consoles: list[Console] = []
        self._sorted = True

    def add(self, name: str, console: Console) -> None:
        """A console has a name now."""
        name = _folded(name)
        if self._sorted and len(self._names) > 1000:
            at = bisect_right(self._names, name)
            self._names.insert(at, name)
            self._consoles.insert(at, console)
        else:
            self._names.append(name)
            self._consoles.append(console)
            self._sorted = False

    def discard(self, name: str, console: Console) -> None:
        """A console does not have a name any more."""
        name = _folded(name)
        self._sort()
        for at in range(bisect_left(self._names, name), bisect_right(self._names, name)):
            if self._consoles[at] is console:
                del self._names[at], self._consoles[at]
                return

    def find(self, prefix: str) -> list[Console]:
        """:returns: the consoles with a name that begins so, each once."""
        folded = prefix.casefold()
        self._sort()
        found: dict[Console, None] = {}
        for at in range(bisect_left(self._names, folded), len(self._names)):
            if not self._names[at].startswith(folded):
                break
            found[self._consoles[at]] = None
        return list(found)

    def _sort(self) -> None:
        if not self._sorted:
            order = sorted(range(len(self._names)), key=self._names.__getitem__)
            self._names = [self._names[n] for n in order]
            self._consoles = [self._consoles[n] for n in order]
            self._sorted = True


def _folded(name: str) -> str:
    folded = name.casefold()
    return name if folded == name else folded  # not the same text twice in memory
