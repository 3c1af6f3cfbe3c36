"""What is looked for in consoles that the same watches are about."""

from __future__ import annotations

from collections.abc import Iterator

from vmproxy.alerts.watch import Watch
from vmproxy.log.pattern import PatternSet


class WatchSet:
    """Watches whose expressions are looked for at once.

    :ivar watches: the watches; each has expressions.
    :ivar patterns: the expressions, those too that must not match.
    """

    __slots__ = ("_owners", "patterns", "watches")

    def __init__(self, watches: tuple[Watch, ...]) -> None:
        self.watches = watches
        texts: list[tuple[str, bool]] = []
        self._owners: list[tuple[Watch, bool]] = []
        for watch in watches:
            for wanted, some in ((True, watch.match), (False, watch.unless)):
                texts += [(text, watch.ignore_case) for text in some]
                self._owners += [(watch, wanted)] * len(some)
        self.patterns = PatternSet(texts)

    def about(self, line: bytes) -> list[Watch]:
        """The watches that a line is for, in their order."""
        wanted: dict[Watch, None] = {}
        unwanted: set[Watch] = set()
        for number in self.patterns.which(line):
            watch, is_wanted = self._owners[number]
            if is_wanted:
                wanted[watch] = None
            else:
                unwanted.add(watch)
        return [watch for watch in wanted if watch not in unwanted]

    def found(self, text: bytes) -> Iterator[tuple[int, bytes, list[Watch]]]:
        """The lines of a text that watches are for: where each begins, the line, and the watches."""
        place = 0
        while place <= len(text) and (found := self.patterns.find(text, place)):
            start, end = found
            place = end + 1
            if watches := self.about(text[start:end]):
                yield start, text[start:end], watches
