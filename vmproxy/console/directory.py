"""All consoles: how a connection finds its own, and how people find one.

A console's identity is VC UUID and port. People use whatever they know: the exact name, the UUID, the alias that is
safe to type after ``ssh``, or the beginning of a name if it is the only one that begins so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel

from vmproxy.console.access import Policy
from vmproxy.console.claims import OFTEN_SECONDS, ClaimRefused, Newcomers, Often
from vmproxy.console.console import Console
from vmproxy.console.index import Index
from vmproxy.console.interfaces import ILink
from vmproxy.console.known import Journal, Known
from vmproxy.console.log import LogStore
from vmproxy.console.lognames import is_reserved, log_path
from vmproxy.console.migration import Migrations
from vmproxy.console.news import News
from vmproxy.console.prefixes import Prefixes
from vmproxy.errors import VMProxyError
from vmproxy.text import safe_word
from vmproxy.text import visible as shown
from vmproxy.wire.dialuri import is_dialled
from vmproxy.wire.serviceuri import parse

NAMELESS = "vm"
Visible = Callable[[Console], bool]


def _all(console: Console) -> bool:
    return True


class NoSuchConsole(VMProxyError):
    """Nothing is found under what was asked for."""


class AmbiguousConsole(VMProxyError):
    """More than one console is found.

    :ivar choices: which.
    """

    def __init__(self, asked: str, choices: list[Console]) -> None:
        super().__init__(f"{shown(asked)}: that could be {len(choices)} consoles")
        self.choices = sorted(choices, key=lambda c: (c.title.casefold(), c.uuid, _port_order(c)))


@dataclass(frozen=True, slots=True)
class Identity:
    """What a connection has told of itself.

    :ivar port: the label in the service URI's query, None where it names none.
    :ivar dial: gives the console its far end, where the VM wants one: direction "client".
    """

    uuid: UUID
    port: str | None
    uri: str
    name: str
    dial: Callable[[Console], None] | None = None


class Directory:
    """The consoles, by identity and by what people call them.

    :ivar newcomers: what holds for a second connection of a console.
    """

    def __init__(
        self, clock: IReactorTime, store: LogStore, journal: Journal, migrations: Migrations, template: str
    ) -> None:
        """:param template: for the names of log files."""
        self.clock = clock
        self.news = News(clock)
        self._wall: Callable[[], float] = getattr(
            clock, "wall", clock.seconds
        )  # since when a console is down tells that
        self._store = store
        self._journal = journal
        self._migrations = migrations
        self._template = template
        self._ports: Index[UUID] = Index()
        journal.everything = self._everything
        self._count = 0
        self._by_name: Index[str] = Index()
        self._by_alias: dict[str, Console] = {}
        self._by_base: Index[str] = Index()
        self._prefixes = Prefixes()
        self._policy = Policy()
        self._changes: Often[Console] = Often(clock, self._unsteady)
        self._refusals: Often[Console] = Often(clock, self._refused)
        self.newcomers = Newcomers()

    def __iter__(self) -> Iterator[Console]:
        return iter(self._ports)

    def __len__(self) -> int:
        return self._count

    @property
    def policy(self) -> Policy:
        """Who may do what, and what is particular about which consoles."""
        return self._policy

    def use(self, policy: Policy) -> None:
        """Take another policy, from now on."""
        self._policy = policy
        for console in self:
            console.options = policy.options(console)
            console.rules_changed()

    # Connections.

    def load(self) -> None:
        """Bring back the consoles that are known from before; all of them are down until their VMs connect."""
        given: set[str] = set()  # a log that exists is kept, though it may differ from another in case only
        for known in self._journal.load():
            same = known.template == self._template and not is_reserved(known.log)
            kept = known.log if same and known.log not in given else None
            console = self._add(UUID(known.uuid), known.port, known.name, kept)
            given.add(console.log.name)
            console.uri = known.uri
            console.options = self._policy.options(console)
            console.host = known.host
            # Of one that was up when the process ended, nobody knows since when it is not.
            console.since = 0.0 if known.up else known.since
            console.reason = "the concentrator was stopped" if known.up else known.reason
            if known.up:
                console.log.mend()
        self._store.flush()  # so that links have the names that they had, before a VM comes with another one

    def claim(self, identity: Identity, link: ILink) -> Console:
        """Give a connection that has identified itself its console, made now if it is a new one.

        A connection that serves the console already is replaced: a host that lost power cannot say goodbye.

        :raises ClaimRefused: where it may not be replaced.
        """
        port = identity.port or self._port_of(identity)
        console = self._at(identity.uuid, port)
        new = console is None
        if console is None:
            console = self._add(identity.uuid, port, identity.name, None)
        else:
            self._check(console, link)
        told = self._is_told(console)
        moved, console.uri = console.uri != identity.uri, identity.uri
        console.options = self._policy.options(console)
        if identity.name:
            self.rename(console, identity.name)
        if moved:
            console.rules_changed()  # rules may select by the query of the URI
        self._migrations.cancel(console)
        if identity.dial is not None:
            identity.dial(console)  # first: it must miss nothing of what the VM says
        elif console.far is not None:
            console.far.hang_up("the VM waits to be reached from now on")
        console.claim(link, told)
        if new and identity.name:
            self._named(console)
            console.log.event("name", name=shown(identity.name))
        return console

    def _at(self, uuid: UUID, port: str) -> Console | None:
        for console in self._ports.get(uuid):
            if console.port == port:
                return console
        return None

    def _named(self, console: Console) -> None:
        self.news.tell(
            "new consoles", "{uuid} port {port}: {name}", uuid=console.uuid, port=console.port, name=shown(console.name)
        )

    def _check(self, console: Console, link: ILink) -> None:
        migration = console.migration
        for there in (console.link, migration.destination if migration is not None else None):
            if there is not None and (problem := self.newcomers.problem(there.peer, link.peer)):
                if self._refusals.again(console):
                    console.log.event("refused", host=there.peer, by=link.peer)
                raise ClaimRefused(f"{console.title}: {problem}")

    def _is_told(self, console: Console) -> bool:
        # One that comes back after a minute or more, or for the first time, is always told.
        steady = console.link is None and not 0 <= self._wall() - console.since < OFTEN_SECONDS
        return (steady and not self._changes.untold(console)) or self._changes.again(console)

    def _unsteady(self, console: Console, times: int) -> None:
        console.unsteady(times)

    def _refused(self, console: Console, times: int) -> None:
        console.log.event("refused-often", times=times)
        text = "{console}: {n} more connections were refused within a minute"
        self.news.tell("consoles claimed too often", text, LogLevel.warn, console=console.title, n=times)

    def stop(self) -> None:
        """The end of the process: what has not been told yet is told now."""
        self._changes.stop()
        self._refusals.stop()
        self.news.sum_up()

    def _port_of(self, identity: Identity) -> str:
        # Ports without a label in their URI are told apart by different URIs, but only while both are open: a port
        # whose URI was edited is still the same port. One with a label is another, also while it is down.
        # One that is dialled for and one that waits to be reached are two ports in any case.
        dialled = is_dialled(identity.uri)
        siblings = [
            c
            for c in self._ports.get(identity.uuid)
            if (c.port == "1" or parse(c.uri).port is None) and is_dialled(c.uri) is dialled
        ]
        for console in siblings:
            if console.uri == identity.uri:
                return console.port
        for console in siblings:
            if console.link is None and console.migration is None:
                return console.port
        number = 1
        while self._at(identity.uuid, str(number)) is not None:
            number += 1
        return str(number)

    def lost(self, console: Console, link: ILink, reason: str) -> None:
        """A connection that served, or was to serve, a console is gone."""
        migration = self._migrations.lost(link)
        if migration is not None and migration.source is None:
            console.last_words(link)
            self._migrations.abandon(migration, f"{reason}, in a vMotion")
        elif migration is not None:
            self._migrations.discarded(migration, link)
        elif console.link is link:
            console.link = None
            console.gone(link)
            pending = console.migration
            if pending is None:
                console.down(reason, told=not self._changes.untold(console))
            elif not self._migrations.source_lost(pending):
                self._migrations.abandon(pending, reason)

    def rename(self, console: Console, name: str) -> None:
        """A VM told its name, perhaps a new one."""
        if name != console.name:
            former = console.name
            self._unindex(console)
            console.name = name
            console.options = self._policy.options(console)
            self._index(console)
            console.rules_changed()  # rules select by name: another one may let in others
            if not former:
                self._named(console)
            console.log.event("name", name=shown(name), **({"was": shown(former)} if former else {}))
            self.remember(console)

    def remember(self, console: Console) -> None:
        """Have the journal remember how a console is now."""
        self._journal.record(self._known(console))

    def _known(self, console: Console) -> Known:
        return Known(
            uuid=str(console.uuid),
            port=console.port,
            name=console.name[:1024],
            uri=console.uri[:1024],
            log=console.log.name,
            template=self._template,
            host=console.host,
            up=console.state != "down",
            since=console.since,
            reason=console.reason,
        )

    def _everything(self) -> list[Known]:
        return [self._known(console) for console in self]

    def _add(self, uuid: UUID, port: str, name: str, path: str | None) -> Console:
        path = path or log_path(self._template, uuid, port, name, self._store)
        console = Console(uuid, port, self._store.open(path), self)
        self._ports.add(uuid, console)
        self._count += 1
        console.name = name
        self._index(console)
        return console

    # People.

    def alias(self, console: Console, visible: Visible = _all) -> str:
        """The name under which a console can be typed after ``ssh``, unique among those that are visible."""
        aliases = _aliases(console)
        # A plain one is no use where it is also the name of another: exact names come first.
        for word in dict.fromkeys((aliases.base, aliases.plain)):
            try:
                if word and self.find(word, None, visible) is console and self.is_exact(word, console, visible):
                    return word
            except VMProxyError:
                continue
        return aliases.unique

    def find(self, target: str, port: str | None = None, visible: Visible = _all) -> Console:
        """Find the console that a person means.

        :param target: an exact name, a VC UUID in any spelling, an alias, or the beginning of a name; with ``.PORT``
            behind it for another port than the first.
        :param port: the port, where it is told apart from the target.
        :param visible: which consoles there are for that person.
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

    def _steps(self, target: str, visible: Visible) -> Iterable[list[Console]]:
        yield from self._exact(target, visible)
        yield self._of_prefix(target, visible)

    def is_exact(self, target: str, console: Console, visible: Visible = _all) -> bool:
        """Whether a target names a console in full: by anything but a prefix."""
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
        # What stands behind a tilde is no name's own: these aliases are found by what stands before it.
        prefix = target.casefold()
        found = self._prefixes.find(target.partition("~")[0])
        if "~" in target:
            found = [c for c in found if any(w.casefold().startswith(prefix) for w in self._words(c))]
        return [c for c in found if visible(c)]

    def _words(self, console: Console) -> tuple[str, str, str]:
        aliases = _aliases(console)
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
        former = console.aliases
        if former is not None:
            if former.base == base:
                return  # the link stays as it is: somebody may be tailing it
            self._by_alias.pop(former.plain, None)
            self._by_alias.pop(former.unique, None)
            if former.base:
                self._by_base.discard(former.base, console)
        start, digits = base or NAMELESS, console.uuid.hex
        unique = [f"{start}~{digits[:8]}", f"{start}~{digits}", f"{start}~{digits}.{console.port}"]
        aliases = console.aliases = Aliases(
            base,
            next(word for word in ([base] if base else []) + unique if word not in self._by_alias),
            next(word for word in unique if word not in self._by_alias),
        )
        self._by_alias[aliases.plain] = self._by_alias[aliases.unique] = console
        if base:
            self._by_base.add(base, console)
        if name:
            self._store.link(aliases.plain, console.log)

    def _unindex(self, console: Console) -> None:
        self._by_name.discard(console.name, console)
        for beginning in _beginnings(console.name, _aliases(console).base):
            self._prefixes.discard(beginning, console)


@dataclass(frozen=True, slots=True)
class Aliases:
    """What a console can be typed as.

    :ivar base: what its name is reduced to; empty where nothing is left.
    :ivar plain: the base if it was free, and the link's name.
    :ivar unique: a name with digits of the UUID.
    """

    base: str
    plain: str
    unique: str


def _aliases(console: Console) -> Aliases:
    assert console.aliases is not None  # it is in the directory
    return console.aliases


def _beginnings(name: str, base: str) -> set[str]:
    return {(base or NAMELESS).casefold(), name.casefold() or NAMELESS}


def _port_order(console: Console) -> tuple[bool, int, str]:
    number = int(console.port) if console.port.isascii() and console.port.isdecimal() else -1
    return (number < 0, number, console.port)
