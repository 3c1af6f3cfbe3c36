"""The names of all consoles, of those that single operators see, and the links ``by-name/``.

What an operator sees is worked out when they first ask, and kept: a question costs the same however many consoles there
are that they do not see. Operators whom the same rules concern share it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from vmproxy.access.policy import Grants
from vmproxy.console.console import Console
from vmproxy.console.naming import Entry, Names, base_in, base_of, entries_of, read_uuid
from vmproxy.log.store import ConsoleLog

VIEWS = 64
CHANGES = 16384


class _View:
    """The consoles that are seen by the same rules.

    :ivar changes: words that came and went since somebody asked; whether one came, and the word.
    """

    __slots__ = ("_sees", "_steps", "changes", "names")

    def __init__(self, names: Names, grants: Grants) -> None:
        self._sees = grants.see
        self.names, self._steps = names.among(grants.see)
        self.changes: deque[tuple[bool, Entry]] = deque()

    @property
    def overtaken(self) -> bool:
        """Whether it has missed changes."""
        return len(self.changes) > CHANGES

    def catch_up(self, may_go_on: Callable[[], bool] = lambda: True) -> bool:
        """Take in the consoles, and the changes since; :returns: whether that is done."""
        while next(self._steps, self) is None:
            if not may_go_on():
                return False
        while self.changes:
            if not may_go_on():
                return False
            came, entry = self.changes.popleft()
            if not came:
                self.names.discard(entry)
            elif self._sees(entry[5]):
                self.names.add((entry,))
        return True


class NameIndex:
    """All consoles, by identity and by name.

    Bound: :data:`VIEWS` sets of rules, each with a list of the consoles that are seen by them and with :data:`CHANGES`
    changes that it has not taken in.

    :ivar version: another one whenever a console, a name or the rules have changed.
    """

    def __init__(self, link: Callable[[str, ConsoleLog], None]) -> None:
        """:param link: has a link of a name made to a log."""
        self._link = link
        self.version = 0
        # By the UUID's number, which is hashed at once; most VMs have one console, and no tuple around it.
        self._vms: dict[int, Console | tuple[Console, ...]] = {}
        self._count = 0
        self._all = Names(self.ports, None)
        self._views: dict[Grants, _View] = {}  # the one that was asked last is the last
        self._holders: dict[str, Console] = {}  # by the plain name of the link
        self._shared: set[Console] = set()  # those that share a plain name, or have done so
        self.find = self._all.find
        self.alias = self._all.alias
        self.is_exact = self._all.is_exact
        self.typed = self._all.typed

    def __iter__(self) -> Iterator[Console]:
        for vm in list(self._vms.values()):  # at once: the log's thread goes through it too, if ever
            if isinstance(vm, tuple):
                yield from vm
            else:
                yield vm

    def __len__(self) -> int:
        return self._count

    def ports(self, uuid: UUID) -> tuple[Console, ...]:
        """The consoles of one VM."""
        vm = self._vms.get(uuid.int, ())
        return vm if isinstance(vm, tuple) else (vm,)

    def settle(self) -> None:
        """Put all words in their order now, and not when somebody asks: thousands have been added."""
        iter(self._all)

    def seen_by(self, grants: Grants) -> Names:
        """The names of the consoles that are seen by some rules."""
        if grants.see_all:
            return self._all
        view = self._view(grants)
        view.catch_up()
        return view.names

    def prepare(self, grants: Grants, may_go_on: Callable[[], bool]) -> bool:
        """Work out what is seen by some rules, as long as there is time: with many rules it takes some.

        :returns: whether it is worked out.
        """
        return grants.see_all or self._view(grants).catch_up(may_go_on)

    def _view(self, grants: Grants) -> _View:
        view = self._views.pop(grants, None)
        if view is None or view.overtaken:
            view = _View(self._all, grants)
        self._views[grants] = view
        if len(self._views) > VIEWS:
            del self._views[next(iter(self._views))]
        return view

    def rules_changed(self) -> None:
        """Forget what is seen by which rules."""
        self.version += 1
        self._views.clear()

    # Changes.

    def add(self, console: Console) -> None:
        """Add a console, under the name that it has."""
        number = console.uuid.int
        self._vms[number] = (*self.ports(console.uuid), console) if number in self._vms else console
        self._count += 1
        entries = entries_of(console)
        self._change((), entries)
        self._give_link(console, base_in(entries))

    def remove(self, console: Console) -> None:
        """Take a console out."""
        rest = tuple(other for other in self.ports(console.uuid) if other is not console)
        if rest:
            self._vms[console.uuid.int] = rest
        else:
            del self._vms[console.uuid.int]
        self._count -= 1
        self._change(entries_of(console), ())
        self._take_link(console, base_of(console))

    def rename(self, console: Console, name: str) -> None:
        """Give a console another name."""
        before = entries_of(console)
        base = base_in(before)
        console.set_name(name)
        after = entries_of(console)
        self._change(before, after)
        if base_in(after) == base:  # the link stays as it is: somebody may be tailing it
            self.turned(console)
        else:
            self._take_link(console, base)
            self._give_link(console, base_in(after))

    def uri_changed(self, console: Console) -> None:
        """Take note that rules may see a console otherwise, though its name is the same."""
        entries = entries_of(console)
        self._note(entries, entries)

    def turned(self, console: Console) -> None:
        """Take note that a console went up or down: a name that several have is that of the one that is up."""
        if console in self._shared:
            self._hand_on(base_of(console))

    def _change(self, gone: Sequence[Entry], come: Sequence[Entry]) -> None:
        for entry in gone:
            self._all.discard(entry)
        self._all.add(come)
        self._note(gone, come)

    def _note(self, gone: Sequence[Entry], come: Sequence[Entry]) -> None:
        self.version += 1
        for view in self._views.values():
            if not view.overtaken:
                view.changes += [(False, entry) for entry in gone]
                view.changes += [(True, entry) for entry in come]

    # Links.

    def _give_link(self, console: Console, base: str) -> None:
        if not console.name:
            return
        uuid = read_uuid(base)
        if not base or (uuid is not None and uuid != console.uuid):  # nobody has the UUID of another for a link
            self._link(self._all.unique(console), console.log)
        elif (holder := self._holders.get(base)) is None:
            self._holders[base] = console
            self._link(base, console.log)
        else:
            self._shared.update((holder, console))
            self._link(self._all.unique(console), console.log)
            self._hand_on(base)

    def _take_link(self, console: Console, base: str) -> None:
        if self._holders.get(base) is console:
            del self._holders[base]
            if console in self._shared:
                self._hand_on(base)
        self._shared.discard(console)

    def _hand_on(self, base: str) -> None:
        """Let the console that is found by a name have the link of that name."""
        holder = self._holders.get(base)
        there = self._all.of_base(base)
        found = self._all.meant(base)
        wanted = found if found in there else holder or (there[0] if there else None)
        if wanted is None or wanted is holder:
            return
        self._holders[base] = wanted
        self._link(base, wanted.log)
        if holder is not None:
            self._link(self._all.unique(holder), holder.log)
