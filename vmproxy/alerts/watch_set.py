"""What is looked for in which consoles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from vmproxy.access.policy import Subject
from vmproxy.alerts.watch import Watch
from vmproxy.log.file_state import LogFile
from vmproxy.log.pattern import PatternSet

CHOICES_KEPT = 50_000
SETS_KEPT = 64


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


class Plan:
    """What is looked for in which consoles. Never changed: another one takes its place.

    :ivar watches: all watches with expressions.
    :ivar everything: what is looked for in any console; None for nothing.
    :ivar wants_all: whether all watches are about all consoles, and there are some.
    """

    def __init__(self, watches: Iterable[Watch] = ()) -> None:
        """It takes a while, and may be made on any thread."""
        watches = self.watches = tuple(watch for watch in watches if watch.match)
        self._same = all(any(selector.kind == "any" for selector in watch.on) for watch in watches)
        self.everything = WatchSet(watches) if watches else None
        self.wants_all = self._same and bool(watches)
        self._choices: dict[tuple[object, ...], WatchSet | None] = {}
        self._sets = {watches: self.everything} if self.everything is not None else {}

    def choice(self, file: LogFile, console_of: Callable[[LogFile], Subject | None]) -> WatchSet | None:
        """What is looked for in a console; None for nothing."""
        if self._same:
            return self.everything
        console = console_of(file)
        if console is None:
            return None
        # What a console is called may change at any time, so this is what its choice is kept by.
        key = (console.uuid.int, console.port, console.name, console.uri)
        try:
            return self._choices[key]
        except KeyError:
            choice = self.some(tuple(watch for watch in self.watches if watch.selects(console)))
            if len(self._choices) >= CHOICES_KEPT:
                self._choices.clear()
            self._choices[key] = choice
            return choice

    def some(self, watches: tuple[Watch, ...]) -> WatchSet | None:
        """What is looked for where these watches are about a console."""
        if not watches:
            return None
        choice = self._sets.get(watches)
        if choice is None:
            if len(self._sets) >= SETS_KEPT:
                self._sets.clear()
            choice = self._sets[watches] = WatchSet(watches)
        return choice
