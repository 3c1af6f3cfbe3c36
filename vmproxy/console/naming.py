"""Finding a console: by UUID, alias, name, or prefix. Aliases are safe to type after ``ssh``.

Names are hostile: a VM may be called like another one's UUID, alias, or SSH name. So targets are looked for in a fixed
order, in which what cannot be chosen by a VM comes first, and each console has an alias that finds it and nothing else.
Where VMs share a name, it is that of the one that is up.

:class:`Names` holds the consoles that somebody may see and no others. Invariant: a console that an operator may not
see changes nothing of what that operator finds, nor how long it takes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from vmproxy.access.labels import NO_LABELS, Labels
from vmproxy.access.selector import Subject
from vmproxy.base.nearest import slips
from vmproxy.base.sanitize import safe_word
from vmproxy.base.sanitize import visible as shown
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError

NAMELESS = "vm"
MARK = "~"
SHORT, LONG = 8, 32  # digits of a UUID in an alias
LOOKED_AT = 1000
"""Bound of one question: among more consoles of one name than this, none is looked for that is up."""
BROAD = 200
"""Bound of a prefix: of more words of several consoles than this the number is not told."""
CHOICES = 20
_FEW = 64  # entries that are put into their places one by one
_DIGITS = re.compile(rf"[0-9A-Fa-f]{{{SHORT},{LONG}}}")

NAME, LABEL, WORD, UNNAMED = range(4)
"""Kinds of entries: a name that is its own SSH name, one that is not, an SSH name only, and that of no name."""

Entry = tuple[str, str, int, int, str, Console]
"""A word without regard to case, the word, its kind, the UUID, the port, the console."""


class NoSuchConsole(VMProxyError):
    """No console has this name, UUID, alias or prefix."""


class AmbiguousConsole(VMProxyError):
    """More than one console is found.

    :ivar choices: the consoles, those that are up first; :data:`CHOICES` at most.
    :ivar more: how many there are beside these, in words; empty if there are none.
    """

    def __init__(self, asked: str, found: Sequence[Console]) -> None:
        count = str(len(found)) if len(found) <= BROAD else f"more than {BROAD}"
        super().__init__(f"{shown(asked)}: that could be {count} consoles")
        self.choices = sorted(found[:BROAD], key=lambda console: not is_up(console))[:CHOICES]
        rest = len(found) - len(self.choices)
        self.more = "" if not rest else str(rest) if len(found) <= BROAD else "many"


@dataclass(frozen=True, slots=True)
class _Nobody:
    """A console that there is not, for the rules."""

    uuid: UUID
    port: str
    name: str
    uri: str
    labels: Labels = NO_LABELS


NOBODY = _Nobody(UUID(int=0), "1", "", "")


def is_up(console: Console) -> bool:
    """Whether a console is not down."""
    return console.link is not None or console.migrating


def base_of(console: Console) -> str:
    """The name, reduced to safe characters, with the port where it is not the first; empty where nothing is left."""
    word = safe_word(console.name)
    return word if console.port == "1" or not word else f"{word}.{console.port}"


def entries_of(console: Console) -> tuple[Entry, ...]:
    """The words by which a console is found."""
    name, port, number = console.name, console.port, console.uuid.int
    word = base_of(console)
    kind = WORD
    if not word:
        word, kind = NAMELESS if port == "1" else f"{NAMELESS}.{port}", UNNAMED
    elif word == name:
        return ((_folded(name), name, NAME, number, port, console),)
    other = (_folded(word), word, kind, number, port, console)
    return ((_folded(name), name, LABEL, number, port, console), other) if name else (other,)


def base_in(entries: Sequence[Entry]) -> str:
    """:func:`base_of` a console, from its entries."""
    _, word, kind, *_ = entries[-1]
    return "" if kind == UNNAMED else word


def read_uuid(text: str) -> UUID | None:
    """The UUID that a text is, in any spelling; None if it is none."""
    digits = text.replace("-", "").replace(" ", "").strip("{}") if len(text) >= LONG else ""
    return UUID(hex=digits) if len(digits) == LONG and _DIGITS.fullmatch(digits) else None


class Names:
    """Consoles by the words that find them: a sorted list, and a question costs a few steps however long it is."""

    __slots__ = ("_entries", "_fresh", "_ports", "_sees")

    def __init__(self, ports: Callable[[UUID], Iterable[Console]], sees: Callable[[Subject], bool] | None) -> None:
        """
        :param ports: gives all consoles of a VM.
        :param sees: tells which consoles are among these; None: all are.
        """
        self._ports = ports
        self._sees = sees
        self._entries: list[Entry] = []
        self._fresh: list[Entry] = []  # not in their places yet: thousands come at once, and nobody asks meanwhile

    def __iter__(self) -> Iterator[Console]:
        """The consoles in the order of their words."""
        self._settle()
        return iter([entry[5] for entry in self._entries if entry[2] != LABEL])

    def add(self, entries: Iterable[Entry]) -> None:
        """Add words of consoles."""
        self._fresh += entries

    def discard(self, entry: Entry) -> None:
        """Take out a word of a console; nothing happens if it is not there."""
        self._settle()
        at = bisect_left(self._entries, entry[:5])
        if at < len(self._entries) and self._entries[at][:5] == entry[:5]:
            del self._entries[at]

    def among(self, sees: Callable[[Subject], bool]) -> tuple[Names, Iterator[None]]:
        """Those of the consoles that somebody sees; they are put there by the steps."""
        self._settle()
        names = Names(self._ports, sees)
        return names, names._take(list(self._entries), sees)

    def _take(self, entries: list[Entry], sees: Callable[[Subject], bool]) -> Iterator[None]:
        for at in range(0, len(entries), _FEW):
            self._entries += [entry for entry in entries[at : at + _FEW] if sees(entry[5])]
            yield

    def _settle(self) -> None:
        if not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        if len(fresh) > _FEW:
            self._entries += fresh
            self._entries.sort()
        else:
            for entry in fresh:
                insort(self._entries, entry)

    # Questions.

    def find(self, target: str, port: str | None = None) -> Console:
        """The console of a target.

        :param target: a UUID in any spelling, an alias, a name, or the beginning of a name; with ``.PORT`` behind it
            for another port than the first.
        :param port: the port, where it is told apart from the target.
        :raises NoSuchConsole: if there is none.
        :raises AmbiguousConsole: if there are several.
        """
        found = self._look(target, port)
        if len(found) > 1:
            raise AmbiguousConsole(target, found)
        if not found:
            which = shown(target) if port is None else f"{shown(target)}, port {shown(port)}"
            raise NoSuchConsole(f"{which}: no such console")
        return found[0]

    def is_exact(self, target: str, console: Console) -> bool:
        """Whether a target names a console in full, not by a prefix."""
        return any(console in found for found in self._exact(target))

    def alias(self, console: Console) -> str:
        """The name under which a console can be typed after ``ssh``: it finds this console and no other."""
        base = base_of(console)
        if base and self.meant(base) is console:
            return base
        return self.unique(console)

    def typed(self, console: Console) -> str:
        """What to type for a console: its title if that finds it, else its alias."""
        title = console.title
        return title if self.meant(title) is console else self.alias(console)

    def unique(self, console: Console) -> str:
        """An alias with digits of the UUID: as many as it needs."""
        word, digits = entries_of(console)[-1][1], console.uuid.hex
        for alias in (f"{word}{MARK}{digits[:SHORT]}", f"{word}{MARK}{digits}"):
            if self.meant(alias) is console:
                return alias
        return f"{word}{MARK}{digits}.{console.port}"

    def beginning(self, text: str, limit: int) -> list[Console]:
        """The consoles with a word that begins so, in the order of their words.

        :param limit: words at most: the first ones and the last of all, so that their common beginning is that of all.
        """
        self._settle()
        folded = text.casefold()
        low = bisect_left(self._entries, (folded,))
        high = bisect_left(self._entries, True, low, key=lambda entry: not entry[0].startswith(folded))
        entries = self._entries[low : min(high, low + limit)]
        if high - low > limit:
            entries[-1] = self._entries[high - 1]
        return list(dict.fromkeys(entry[5] for entry in entries))

    def near(self, target: str) -> Console | None:
        """A console with a name that is one slip of the keyboard away from a target that finds none.

        Bound: as many look-ups as there are slips, however many consoles there are.
        """
        self._settle()
        for slip in slips(target.casefold()):
            at = bisect_left(self._entries, (slip,))
            if at < len(self._entries) and self._entries[at][0] == slip:
                return self._entries[at][5]
        return None

    def meant(self, target: str) -> Console | None:
        """The same as :meth:`find`; None if there is none, or several."""
        found = self._look(target, None)
        return found[0] if len(found) == 1 else None

    def of_base(self, base: str) -> list[Console]:
        """The consoles that would have a word for an alias, if no others had."""
        return [*self._of_word(base, NAME, NAME), *self._of_word(base, WORD, WORD)]

    def _look(self, target: str, port: str | None) -> Sequence[Console]:
        for found in self._exact(target):
            if chosen := self._choose(found, port):
                return chosen
        if not target or self._is_uuid(target):
            return ()  # the VM of a UUID is meant, and none that is called so
        found = self._of_prefix(target)
        if port is None and found:
            first = found[0]
            several_vms = any(console.uuid.int != first.uuid.int for console in found)
            if several_vms and any(console.name != first.name or not first.name for console in found):
                return found
        return self._choose(found, port)

    def _exact(self, target: str) -> Iterator[Sequence[Console]]:
        name, _, label = target.rpartition(".")
        if MARK in target:
            yield self._of_alias(target)
        elif vm := self._of_uuid(target):
            yield vm
        elif label and (vm := self._of_uuid(name)):
            yield [console for console in vm if console.port == label]
        else:
            # Names before what they are reduced to, also with a port behind them.
            for first, last in ((NAME, LABEL), (WORD, WORD)):
                yield self._of_word(target, first, last)
                if name and label:
                    yield self._with_port(self._of_word(name, first, last), label)

    def _choose(self, found: Sequence[Console], port: str | None) -> Sequence[Console]:
        """The console that is meant, or all that could be."""
        if port is not None:
            found = self._with_port(found, port)
        if len(found) < 2 or len(found) > LOOKED_AT:
            return found
        vm, up, several = found[0].uuid.int, -1, False
        for console in found:
            number = console.uuid.int
            several = several or number != vm
            if number != up and is_up(console):
                if up >= 0:
                    return found
                up = number
        if several and up < 0:
            return found
        return [min((c for c in found if c.uuid.int == (up if several else vm)), key=_port_order)]

    def _visible(self, consoles: Iterable[Console]) -> list[Console]:
        return list(consoles) if self._sees is None else [c for c in consoles if self._sees(c)]

    def _with_port(self, found: Sequence[Console], port: str) -> list[Console]:
        seen = set(found)  # for which the rules need not be asked again
        vms = dict.fromkeys(console.uuid for console in found[:LOOKED_AT])
        ports = [c for uuid in vms for c in self._ports(uuid) if c.port == port]
        return [c for c in ports if c in seen or self._sees is None or self._sees(c)]

    def _is_uuid(self, target: str) -> bool:
        return MARK not in target and bool(self._of_uuid(target) or self._of_uuid(target.rpartition(".")[0]))

    def _of_uuid(self, target: str) -> list[Console]:
        uuid = read_uuid(target)
        if uuid is None:
            return []
        there = self._ports(uuid)
        if not there and self._sees is not None:
            self._sees(NOBODY)  # which takes as long as it does for a console that may not be seen
        return self._visible(there)

    def _of_word(self, word: str, first: int, last: int) -> Sequence[Console]:
        self._settle()
        folded = _folded(word)
        low = bisect_left(self._entries, (folded, word, first))
        return self._consoles(low, bisect_left(self._entries, (folded, word, last + 1), low))

    def _of_alias(self, target: str) -> Sequence[Console]:
        word, _, rest = target.partition(MARK)
        digits, dot, label = rest.partition(".")
        if _DIGITS.fullmatch(digits) is None:
            return ()
        self._settle()
        first, last = (int(digits.ljust(LONG, fill), 16) for fill in "0f")
        found: list[Console] = []
        for kind in (NAME, WORD, UNNAMED):
            low = bisect_left(self._entries, (_folded(word), word, kind, first))
            found += self._consoles(low, bisect_left(self._entries, (_folded(word), word, kind, last + 1), low))
        return self._with_port(found, label) if dot else found

    def _of_prefix(self, target: str) -> list[Console]:
        self._settle()
        word, mark, digits = target.casefold().partition(MARK)
        low = bisect_left(self._entries, (word,))
        high = bisect_left(self._entries, True, low, key=lambda entry: not entry[0].startswith(word))
        if mark:  # what is behind it is of no name
            near = (entry for entry in self._entries[low : min(high, low + LOOKED_AT)] if entry[0] == word)
            return [entry[5] for entry in near if entry[2] != LABEL and f"{entry[3]:032x}".startswith(digits)]
        if high - low > BROAD and self._entries[low][1] != self._entries[high - 1][1]:
            high = low + BROAD + 1
        return list(dict.fromkeys(self._consoles(low, high)))

    def _consoles(self, low: int, high: int) -> list[Console]:
        return [entry[5] for entry in self._entries[low : min(high, low + LOOKED_AT + 1)]]


def _folded(name: str) -> str:
    folded = name.casefold()
    return name if folded == name else folded  # not the same text twice in memory


def _port_order(console: Console) -> tuple[bool, int, str]:
    number = int(console.port) if console.port.isascii() and console.port.isdecimal() else -1
    return (number < 0, number, console.port)
