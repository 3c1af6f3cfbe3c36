"""What is looked for in which consoles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from vmproxy.access.selector import Subject
from vmproxy.alerts.watch import Watch
from vmproxy.log.file_state import LogFile
from vmproxy.log.pattern import PatternSet

CHOICES_KEPT = 50_000
SETS_KEPT = 1000
PARTS_KEPT = 32


class WatchSet:
    """Watches whose expressions are looked for at once.

    :ivar watches: the watches; each has expressions.
    :ivar patterns: the expressions, those too that must not match.
    """

    __slots__ = ("_owners", "patterns", "watches")

    def __init__(self, watches: tuple[Watch, ...], small: bool = False) -> None:
        """:param small: see :class:`~vmproxy.log.pattern.PatternSet`."""
        self.watches = watches
        texts: list[tuple[str, bool]] = []
        self._owners: list[tuple[Watch, bool]] = []
        for watch in watches:
            for wanted, some in ((True, watch.match), (False, watch.unless)):
                texts += [(text, watch.ignore_case) for text in some]
                self._owners += [(watch, wanted)] * len(some)
        self.patterns = PatternSet(texts, small)

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

    Bound: :data:`SETS_KEPT` choices of watches are kept, and :data:`PARTS_KEPT` smaller parts of them. What a VM prints
    decides which parts are needed, and how much memory matching takes.

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
        self._sets: dict[tuple[Watch, ...], WatchSet] = {}
        self._parts: dict[tuple[Watch, ...], WatchSet] = {}  # of the thread that makes lines

    def choice(self, file: LogFile, console_of: Callable[[LogFile], Subject | None]) -> WatchSet | None:
        """What is looked for in a console; None for nothing."""
        if self._same:
            return self.everything
        console = console_of(file)
        if console is None:
            return None
        # What a console is called may change at any time, so this is what its choice is kept by.
        key = (console.uuid.int, console.port, console.name, console.uri, console.labels)
        try:
            return self._choices[key]
        except KeyError:
            if len(self._choices) >= CHOICES_KEPT or len(self._sets) >= SETS_KEPT:
                self._choices.clear()  # both: a choice that is kept for one console is the same for the next
                self._sets.clear()
            choice = self._choices[key] = self._made(tuple(watch for watch in self.watches if watch.selects(console)))
            return choice

    def _made(self, watches: tuple[Watch, ...]) -> WatchSet | None:
        if watches == self.watches:
            return self.everything
        made = self._sets.get(watches)
        if made is None and watches:
            made = self._sets[watches] = WatchSet(watches)
        return made

    def part(self, choice: WatchSet, watches: tuple[Watch, ...]) -> WatchSet | None:
        """What is looked for where only these watches of a choice may tell; on the thread that makes lines."""
        if len(watches) == len(choice.watches):
            return choice
        if not watches:
            return None
        part = self._parts.get(watches)
        if part is None:
            if len(self._parts) >= PARTS_KEPT:
                del self._parts[next(iter(self._parts))]
            part = self._parts[watches] = WatchSet(watches, small=True)
        return part
