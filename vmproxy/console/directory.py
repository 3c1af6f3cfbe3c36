"""All consoles: how a connection finds its own, and how people find one.

A console's identity is VC UUID and port. People use whatever they know: the exact name, the UUID, the alias that is
safe to type after ``ssh``, or the beginning of a name if it is the only one that begins so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from twisted.internet.interfaces import IReactorTime

from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink
from vmproxy.console.known import Journal, Known
from vmproxy.console.log import LogStore
from vmproxy.console.lognames import log_path
from vmproxy.console.migration import Migrations
from vmproxy.errors import VMProxyError
from vmproxy.text import safe_word, visible
from vmproxy.wire.serviceuri import parse


class NoSuchConsole(VMProxyError):
    """Nothing is found under what was asked for."""


class AmbiguousConsole(VMProxyError):
    """More than one console is found.

    :ivar choices: which.
    """

    def __init__(self, asked: str, choices: list[Console]) -> None:
        super().__init__(f"{visible(asked)}: that could be {len(choices)} consoles")
        self.choices = choices


@dataclass(frozen=True, slots=True)
class Identity:
    """What a connection has told of itself.

    :ivar port: the label in the service URI's query, None where it names none.
    """

    uuid: UUID
    port: str | None
    uri: str
    name: str


class Directory:
    """The consoles, by identity and by what people call them."""

    def __init__(
        self, clock: IReactorTime, store: LogStore, journal: Journal, migrations: Migrations, template: str
    ) -> None:
        """:param template: for the names of log files."""
        self._clock = clock
        self._store = store
        self._journal = journal
        self._migrations = migrations
        self._template = template
        self._consoles: dict[tuple[UUID, str], Console] = {}
        self._ports: dict[UUID, list[Console]] = {}
        self._by_alias: dict[str, list[Console]] = {}
        self._by_name: dict[str, list[Console]] = {}
        self._log_paths: dict[str, Console] = {}
        self._links: dict[str, Console] = {}
        self._link_of: dict[Console, tuple[str, str]] = {}  # the alias that it was made from, and the link

    def __iter__(self) -> Iterator[Console]:
        return iter(self._consoles.values())

    def __len__(self) -> int:
        return len(self._consoles)

    # Connections.

    def load(self) -> None:
        """Bring back the consoles that are known from before; all of them are down until their VMs connect."""
        for known in self._journal.load():
            kept = known.log if known.template == self._template and known.log not in self._log_paths else None
            console = self._add(UUID(known.uuid), known.port, known.name, kept)
            console.uri = known.uri
            console.host = known.host
            console.since = known.since
            console.reason = "the concentrator was stopped" if known.up else known.reason

    def claim(self, identity: Identity, link: ILink) -> Console:
        """Give a connection that has identified itself its console, made now if it is a new one.

        A connection that serves the console already is replaced: a host that lost power cannot say goodbye.
        """
        port = identity.port or self._port_of(identity)
        console = self._consoles.get((identity.uuid, port))
        if console is None:
            console = self._add(identity.uuid, port, identity.name, None)
        console.uri = identity.uri
        if identity.name:
            self.rename(console, identity.name)
        self._migrations.cancel(console)
        console.claim(link)
        return console

    def _port_of(self, identity: Identity) -> str:
        # Ports without a label in their URI are told apart by different URIs, but only while both are open: a port
        # whose URI was edited is still the same port. One with a label is another, also while it is down.
        siblings = [c for c in self._ports.get(identity.uuid, []) if c.port == "1" or parse(c.uri).port is None]
        for console in siblings:
            if console.uri == identity.uri:
                return console.port
        for console in siblings:
            if console.link is None and console.migration is None:
                return console.port
        number = 1
        while (identity.uuid, str(number)) in self._consoles:
            number += 1
        return str(number)

    def lost(self, console: Console, link: ILink, reason: str) -> None:
        """A connection that served, or was to serve, a console is gone."""
        migration = self._migrations.lost(link)
        if migration is not None and migration.source is None:
            self._migrations.abandon(migration, f"connection lost to {link.peer} in a vMotion")
        elif console.link is link:
            console.link = None
            pending = console.migration
            if pending is None:
                console.down(reason)
            elif not self._migrations.source_lost(pending):
                self._migrations.abandon(pending, reason)

    def rename(self, console: Console, name: str) -> None:
        """A VM told its name, perhaps a new one."""
        if name != console.name:
            former = console.name
            self._unindex(console)
            console.name = name
            self._index(console)
            console.log.event("name", name=visible(name), **({"was": visible(former)} if former else {}))
            self.remember(console)

    def remember(self, console: Console) -> None:
        """Have the journal remember how a console is now."""
        folder = self._store.folder
        self._journal.record(
            Known(
                uuid=str(console.uuid),
                port=console.port,
                name=console.name[:1024],
                uri=console.uri[:1024],
                log=str(console.log.path.relative_to(folder)),
                template=self._template,
                host=console.host,
                up=console.state != "down",
                since=console.since,
                reason=console.reason,
            )
        )

    def _add(self, uuid: UUID, port: str, name: str, path: str | None) -> Console:
        path = path or log_path(self._template, uuid, port, name, self._log_paths)
        console = Console(uuid, port, self._store.open(Path(path)), self._clock, self.remember)
        self._log_paths[path] = console
        self._consoles[uuid, port] = console
        self._ports.setdefault(uuid, []).append(console)
        console.name = name
        self._index(console)
        return console

    # People.

    def alias(self, console: Console) -> str:
        """The name under which a console can be typed after ``ssh``, unique among all."""
        base = _base_alias(console)
        if base and len(self._by_alias[base]) == 1:
            return base
        unique = f"{base or 'vm'}~{console.uuid.hex[:8]}"
        if console.port != "1" and not base:
            unique += f".{console.port}"
        return unique

    def find(self, target: str, port: str | None = None) -> Console:
        """Find the console that a person means.

        :param target: an exact name, a VC UUID in any spelling, an alias, or the beginning of a name; with ``.PORT``
            behind it for another port than the first.
        :param port: the port, where it is told apart from the target.
        :raises NoSuchConsole: if there is none.
        :raises AmbiguousConsole: if there are several.
        """
        for candidates in self._steps(target) if target else ():
            chosen = [c for c in candidates if port is None or c.port == port]
            if port is None and len(chosen) > 1 and len({c.uuid for c in chosen}) == 1:
                # One VM with several ports: the bare name means the first of them.
                chosen = [min(chosen, key=_port_order)]
            if len(chosen) == 1:
                return chosen[0]
            if chosen:
                raise AmbiguousConsole(target, chosen)
        which = visible(target) if port is None else f"{visible(target)}, port {visible(port)}"
        raise NoSuchConsole(f"{which}: no such console")

    def is_exact(self, target: str, console: Console) -> bool:
        """Whether a target names a console in full: by anything but a prefix."""
        names = (console.name, console.title, str(console.uuid), console.uuid.hex, self.alias(console))
        name = target.rpartition(".")[0] if target.endswith(f".{console.port}") else target
        return target in names or name in names or console in self._of_uuid(target) or console in self._of_alias(name)

    def _steps(self, target: str) -> Iterable[list[Console]]:
        yield self._by_name.get(target, [])
        yield self._of_uuid(target)
        yield self._of_alias(target)
        name, dot, port = target.rpartition(".")
        if dot and port:
            for candidates in (self._by_name.get(name, []), self._of_uuid(name), self._of_alias(name)):
                yield [c for c in candidates if c.port == port]
        yield self._of_prefix(target)

    def _of_uuid(self, target: str) -> list[Console]:
        digits = target.replace("-", "").replace(" ", "").strip("{}")
        if len(digits) != 32:
            return []
        try:
            return self._ports.get(UUID(hex=digits), [])
        except ValueError:
            return []

    def _of_alias(self, target: str) -> list[Console]:
        base, tilde, digits = target.partition("~")
        if not tilde:
            return self._by_alias.get(base, [])
        digits = digits.partition(".")[0]
        return [c for c in self._by_alias.get("" if base == "vm" else base, []) if c.uuid.hex.startswith(digits)] or [
            c for c in self._by_alias.get(base, []) if c.uuid.hex.startswith(digits)
        ]

    def _of_prefix(self, target: str) -> list[Console]:
        prefix = target.casefold()
        if not prefix:
            return []
        return [
            c
            for c in self._consoles.values()
            if c.name.casefold().startswith(prefix) or _base_alias(c).casefold().startswith(prefix)
        ]

    def _index(self, console: Console) -> None:
        self._by_name.setdefault(console.name, []).append(console)
        base = _base_alias(console)
        self._by_alias.setdefault(base, []).append(console)
        if not base:
            return
        # The link's name stays as it is when a VM of the same name turns up later: somebody may be tailing it.
        former_base, former = self._link_of.get(console, ("", ""))
        if base == former_base:
            return
        digits = console.uuid.hex
        names = (base, f"{base}~{digits[:8]}", f"{base}~{digits}", f"{base}~{digits}.{console.port}")
        link = next(name for name in names if name not in self._links)
        self._links.pop(former, None)
        self._links[link] = console
        self._link_of[console] = base, link
        self._store.link(link, console.log, former)

    def _unindex(self, console: Console) -> None:
        self._by_name[console.name].remove(console)
        if not self._by_name[console.name]:
            del self._by_name[console.name]
        base = _base_alias(console)
        self._by_alias[base].remove(console)
        if not self._by_alias[base]:
            del self._by_alias[base]


def _base_alias(console: Console) -> str:
    word = safe_word(console.name)
    return word if console.port == "1" or not word else f"{word}.{console.port}"


def _port_order(console: Console) -> tuple[bool, int, str]:
    return (not console.port.isdecimal(), int(console.port) if console.port.isdecimal() else 0, console.port)
