"""From a word to consoles: mostly to one of them.

There are several such indexes of thousands of consoles each, so a word that means one console keeps just that, without
a list around it, which would be half as large as all else here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from vmproxy.console.console import Console

K = TypeVar("K")


class Index(Generic[K]):
    """Consoles by words, in the order in which they were added."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[K, Console | tuple[Console, ...]] = {}

    def __iter__(self) -> Iterator[Console]:
        for found in list(self._found.values()):  # at once: the scribe's thread goes through it too, if ever
            if isinstance(found, tuple):
                yield from found
            else:
                yield found

    def get(self, word: K) -> tuple[Console, ...]:
        """:returns: the consoles that a word means."""
        found = self._found.get(word)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def add(self, word: K, console: Console) -> None:
        """A word means a console too."""
        there = self.get(word)
        self._found[word] = (*there, console) if there else console

    def discard(self, word: K, console: Console) -> None:
        """A word does not mean a console any more; nothing happens if it did not."""
        rest = tuple(other for other in self.get(word) if other is not console)
        if not rest:
            self._found.pop(word, None)
        else:
            self._found[word] = rest if len(rest) > 1 else rest[0]
