"""Finding a console: by exact name, UUID, alias, or prefix. Aliases are safe to type after ``ssh``.

Names are hostile: two VMs may have the same, and one may look like another's alias. So targets are looked for in a
fixed order, and each console has an alias that is unique. Invariant: a console that an operator may not see changes
nothing of what that operator finds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from vmproxy.base.nearest import slips
from vmproxy.base.sanitize import safe_word
from vmproxy.base.sanitize import visible as shown
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.store import ConsoleLog

NAMELESS = "vm"
Visible = Callable[[Console], bool]

K = TypeVar("K")
T = TypeVar("T", bound=Hashable)


def _all(console: Console) -> bool:
    return True


class NoSuchConsole(VMProxyError):
    """No console has this name, UUID, alias or prefix."""


class AmbiguousConsole(VMProxyError):
    """More than one console is found.

    :ivar choices: the consoles.
    """

    def __init__(self, asked: str, choices: list[Console]) -> None:
        super().__init__(f"{shown(asked)}: that could be {len(choices)} consoles")
        self.choices = sorted(choices, key=lambda c: (c.title.casefold(), c.uuid, _port_order(c)))


class WordIndex(Generic[K, T]):
    """Consoles by words, in the order in which they were added."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[K, T | tuple[T, ...]] = {}

    def __iter__(self) -> Iterator[T]:
        for found in list(self._found.values()):  # at once: the log's thread goes through it too, if ever
            if isinstance(found, tuple):
                yield from found
            else:
                yield found

    def get(self, word: K) -> tuple[T, ...]:
        """The consoles of a word."""
        found = self._found.get(word)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def add(self, word: K, thing: T) -> None:
        """Add a console to a word."""
        there = self.get(word)
        self._found[word] = (*there, thing) if there else thing

    def discard(self, word: K, thing: T) -> None:
        """Take a console from a word; nothing happens if it was not there."""
        rest = tuple(other for other in self.get(word) if other is not thing)
        if not rest:
            self._found.pop(word, None)
        else:
            self._found[word] = rest if len(rest) > 1 else rest[0]


class PrefixIndex(Generic[T]):
    """Consoles by the beginning of a name, whatever its case: a list, sorted when it is needed."""

    __slots__ = ("_names", "_sorted", "_things")

    def __init__(self) -> None:
        # Side by side: a pair for each of thousands would be larger than both lists.
        self._names: list[str] = []
        self._things: list[T] = []
        self._sorted = True

    def add(self, name: str, thing: T) -> None:
        """Add a console under a name."""
        name = _folded(name)
        if self._sorted and len(self._names) > 1000:
            at = bisect_right(self._names, name)
            self._names.insert(at, name)
            self._things.insert(at, thing)
        else:
            self._names.append(name)
            self._things.append(thing)
            self._sorted = False

    def discard(self, name: str, thing: T) -> None:
        """Take a console from under a name."""
        name = _folded(name)
        self._sort()
        for at in range(bisect_left(self._names, name), bisect_right(self._names, name)):
            if self._things[at] is thing:
                del self._names[at], self._things[at]
                return

    def find(self, prefix: str) -> list[T]:
        """The consoles with a name that begins with this, each once."""
        folded = prefix.casefold()
        self._sort()
        found: dict[T, None] = {}
        for at in range(bisect_left(self._names, folded), len(self._names)):
            if not self._names[at].startswith(folded):
                break
            found[self._things[at]] = None
        return list(found)

    def _sort(self) -> None:
        if not self._sorted:
            order = sorted(range(len(self._names)), key=self._names.__getitem__)
            self._names = [self._names[n] for n in order]
            self._things = [self._things[n] for n in order]
            self._sorted = True


def _folded(name: str) -> str:
    folded = name.casefold()
    return name if folded == name else folded  # not the same text twice in memory


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of a console.

    :ivar base: the name, reduced to safe characters; empty where nothing is left.
    :ivar plain: the base if it was free, and the link's name.
    :ivar unique: a name with digits of the UUID.
    """

    base: str
    plain: str
    unique: str


class NameIndex:
    """All consoles, by name, UUID, alias and prefix."""

    def __init__(self, link: Callable[[str, ConsoleLog], None]) -> None:
        """:param link: has a link of a name made to a log."""
        self._link = link
        self._ports: WordIndex[UUID, Console] = WordIndex()
        self._count = 0
        self._by_name: WordIndex[str, Console] = WordIndex()
        self._by_alias: dict[str, Console] = {}
        self._by_base: WordIndex[str, Console] = WordIndex()
        self._prefixes: PrefixIndex[Console] = PrefixIndex()
        self._aliases: dict[Console, Aliases] = {}

    def __iter__(self) -> Iterator[Console]:
        return iter(self._ports)

    def __len__(self) -> int:
        return self._count

    def add(self, console: Console) -> None:
        """Add a console, under the name that it has."""
        self._ports.add(console.uuid, console)
        self._count += 1
        self._index(console)

    def ports(self, uuid: UUID) -> tuple[Console, ...]:
        """The consoles of one VM."""
        return self._ports.get(uuid)

    def rename(self, console: Console, name: str) -> None:
        """Give a console another name."""
        self._unindex(console)
        console.set_name(name)
        self._index(console)

    def alias(self, console: Console, visible: Visible = _all) -> str:
        """The name under which a console can be typed after ``ssh``, unique among those that are visible."""
        aliases = self._aliases[console]
        # A plain one is no use where it is also the name of another: exact names come first.
        for word in dict.fromkeys((aliases.base, aliases.plain)):
            try:
                if word and self.find(word, None, visible) is console and self.is_exact(word, console, visible):
                    return word
            except VMProxyError:
                continue
        return aliases.unique

    def find(self, target: str, port: str | None = None, visible: Visible = _all) -> Console:
        """Find the console of a target.

        :param target: an exact name, a VC UUID in any spelling, an alias, or the beginning of a name; with ``.PORT``
            behind it for another port than the first.
        :param port: the port, where it is told apart from the target.
        :param visible: tells which consoles the operator may see.
        :raises NoSuchConsole: if there is none.
        :raises AmbiguousConsole: if there are several.
        """
        for candidates in self._steps(target, visible) if target else ():
            chosen = candidates if port is None else self._with_port(candidates, port, visible)
            if port is None and len(chosen) > 1 and len({c.uuid for c in chosen}) == 1:
                # One VM with several ports: the bare name means the first of them.
                chosen = [min(chosen, key=_port_order)]
            if len(chosen) == 1:
                return chosen[0]
            if chosen:
                raise AmbiguousConsole(target, chosen)
        which = shown(target) if port is None else f"{shown(target)}, port {shown(port)}"
        raise NoSuchConsole(f"{which}: no such console")

    def near(self, target: str, visible: Visible) -> Console | None:
        """A console whose alias is one slip of the keyboard away from a target that finds none.

        Bound: as many look-ups as there are slips, however many consoles there are, and whichever are visible.
        """
        for word in dict.fromkeys((target, target.casefold())):
            for slip in slips(word):
                console = self._by_alias.get(slip)
                if console is not None and visible(console):
                    return console
        return None

    def _steps(self, target: str, visible: Visible) -> Iterable[list[Console]]:
        yield from self._exact(target, visible)
        yield self._of_prefix(target, visible)

    def is_exact(self, target: str, console: Console, visible: Visible = _all) -> bool:
        """Whether a target names a console in full, not by a prefix."""
        return any(console in candidates for candidates in self._exact(target, visible))

    def _exact(self, target: str, visible: Visible) -> Iterable[list[Console]]:
        # Names before aliases, also with a port behind them: an alias of one VM may look like the port of another.
        name, _, port = target.rpartition(".")
        for way in (self._of_name, self._of_uuid, self._of_alias):
            yield way(target, visible)
            if name and port:
                yield self._with_port(way(name, visible), port, visible)

    def _with_port(self, candidates: list[Console], port: str, visible: Visible) -> list[Console]:
        vms = dict.fromkeys(c.uuid for c in candidates)
        return [c for uuid in vms for c in self._ports.get(uuid) if c.port == port and visible(c)]

    def _of_name(self, target: str, visible: Visible) -> list[Console]:
        return [c for c in self._by_name.get(target) if visible(c)]

    def _of_uuid(self, target: str, visible: Visible) -> list[Console]:
        digits = target.replace("-", "").replace(" ", "").strip("{}")
        if len(digits) != 32:
            return []
        try:
            return [c for c in self._ports.get(UUID(hex=digits)) if visible(c)]
        except ValueError:
            return []

    def _of_alias(self, target: str, visible: Visible) -> list[Console]:
        console = self._by_alias.get(target)
        if console is not None and visible(console):
            return [console]
        # One that may not be seen must not keep others from a plain alias.
        return [c for c in self._by_base.get(target) if visible(c)]

    def _of_prefix(self, target: str, visible: Visible) -> list[Console]:
        # The part behind a tilde is of no name: aliases with a tilde are found by the part before it.
        prefix = target.casefold()
        found = self._prefixes.find(target.partition("~")[0])
        if "~" in target:
            found = [c for c in found if any(w.casefold().startswith(prefix) for w in self._words(c))]
        return [c for c in found if visible(c)]

    def _words(self, console: Console) -> tuple[str, str, str]:
        aliases = self._aliases[console]
        return console.name, aliases.plain, aliases.unique

    def _index(self, console: Console) -> None:
        name = console.name
        self._by_name.add(name, console)
        word = safe_word(name)
        base = word if console.port == "1" or not word else f"{word}.{console.port}"
        if base == name:
            base = name  # not the same text twice in memory
        for beginning in _beginnings(name, base):
            self._prefixes.add(beginning, console)
        former = self._aliases.get(console)
        if former is not None:
            if former.base == base:
                return  # the link stays as it is: somebody may be tailing it
            self._by_alias.pop(former.plain, None)
            self._by_alias.pop(former.unique, None)
            if former.base:
                self._by_base.discard(former.base, console)
        start, digits = base or NAMELESS, console.uuid.hex
        unique = f"{start}~{digits[:8]}"
        if unique in self._by_alias:
            unique = f"{start}~{digits}"
        if unique in self._by_alias:
            unique = f"{start}~{digits}.{console.port}"
        plain = base if base and base not in self._by_alias else unique
        aliases = self._aliases[console] = Aliases(base, plain, unique)
        self._by_alias[aliases.plain] = self._by_alias[aliases.unique] = console
        if base:
            self._by_base.add(base, console)
        if name:
            self._link(aliases.plain, console.log)

    def _unindex(self, console: Console) -> None:
        self._by_name.discard(console.name, console)
        for beginning in _beginnings(console.name, self._aliases[console].base):
            self._prefixes.discard(beginning, console)


def _beginnings(name: str, base: str) -> set[str]:
    return {(base or NAMELESS).casefold(), name.casefold() or NAMELESS}


def _port_order(console: Console) -> tuple[bool, int, str]:
    number = int(console.port) if console.port.isascii() and console.port.isdecimal() else -1
    return (number < 0, number, console.port)
