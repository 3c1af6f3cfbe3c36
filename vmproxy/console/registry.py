"""All consoles, by identity: VC UUID and port. How people find one: :mod:`vmproxy.console.naming`.

A console outlives its connections, and the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel

from vmproxy.access.policy import Policy
from vmproxy.base.clock import wall_of
from vmproxy.base.ratelimit import REPEAT_SECONDS, RateLimitedLog, RepeatSummary
from vmproxy.base.sanitize import visible as shown
from vmproxy.base.uuids import spelled, uuid_of
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused, DuplicatePolicy
from vmproxy.console.interfaces import ILink
from vmproxy.console.journal import TEXT_LIMIT, ConsoleRecord, Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.name_index import NameIndex
from vmproxy.errors import VMProxyError
from vmproxy.log.feed import Follower
from vmproxy.log.paths import is_reserved, log_path
from vmproxy.log.store import LogStore
from vmproxy.wire.dialuri import is_dialled
from vmproxy.wire.serviceuri import parse

PORTS_LIMIT = 32  # of a VM


class StillThere(VMProxyError):
    """A console that is not down cannot be forgotten."""


class ConsoleIdentity(NamedTuple):
    """The identity that a connection has shown.

    :ivar port: the label in the service URI's query, None where it names none.
    :ivar dial: gives the console its remote end, where the VM is of direction "client".
    """

    uuid: UUID
    port: str | None
    uri: str
    name: str
    dial: Callable[[Console], None] | None = None


class ConsoleRegistry:
    """All consoles.

    :ivar names: finds consoles by name.
    :ivar duplicates: the policy for a second connection of a console.
    """

    def __init__(
        self, clock: IReactorTime, store: LogStore, journal: Journal, migrations: Migrations, template: str
    ) -> None:
        """:param template: for the names of log files."""
        self.names = NameIndex(store.link)
        self.clock = clock
        self.process_log = RateLimitedLog(clock)
        self.wall = wall_of(clock)
        self._store = store
        self._journal = journal
        self._migrations = migrations
        self._template = template
        journal.recover_from(self._everything)
        self._policy = Policy()
        self._changes: RepeatSummary[Console] = RepeatSummary(clock, self._unsteady)
        self._refusals: RepeatSummary[Console] = RepeatSummary(clock, self._refused)
        self._renames: RepeatSummary[Console] = RepeatSummary(clock, self._renamed)
        self.duplicates = DuplicatePolicy()

    def __iter__(self) -> Iterator[Console]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def policy(self) -> Policy:
        """The access rules, and the options of consoles."""
        return self._policy

    def use(self, policy: Policy) -> None:
        """Take another policy, from now on."""
        self._policy = policy
        self.names.rules_changed()
        for console in self:
            console.set_options(policy.options(console))
            console.viewers.rules_changed()

    def use_duplicates(self, policy: DuplicatePolicy) -> None:
        """Take another policy for second connections, from now on."""
        self.duplicates = policy

    @property
    def event_followers(self) -> set[Follower]:
        """Who is told what is written to the event trails of all consoles."""
        return self._store.event_followers

    # Connections.

    def load(self) -> None:
        """Load the consoles of the journal; all of them are down until their VMs connect."""
        given: set[str] = set()  # a log that exists is kept, though it may differ from another in case only
        # Of several that have one name, the one that had the link keeps it: that was up last.
        for known in sorted(
            self._journal.load(), key=lambda known: (not known.up, known.since * (1 if known.up else -1))
        ):
            same = known.template == self._template and not is_reserved(known.log)
            kept = known.log if same and known.log not in given else None
            uuid = uuid_of(int(known.uuid.replace("-", ""), 16))
            console = self._add(uuid, known.port, known.name, kept)
            given.add(console.log.name)
            if known.up:  # when the process ended: nobody knows since when it is not
                console.recall(known.uri, known.host, 0.0, "the concentrator was stopped")
                console.log.mend()
            else:
                console.recall(known.uri, known.host, known.since, known.reason)
            console.set_options(self._policy.options(console))
        self._store.flush()  # so that links have the names that they had, before a VM comes with another one

    def claim(self, identity: ConsoleIdentity, link: ILink[Console]) -> Console:
        """Give a connection that has identified itself its console, new or known.

        A connection that serves the console already is replaced: a host that lost power cannot say goodbye.

        :raises ClaimRefused: where it may not be replaced.
        """
        port = identity.port or self._port_of(identity)
        console = self._at(identity.uuid, port)
        new = console is None
        if console is None:
            self._check_ports(identity.uuid, link)
            console = self._add(identity.uuid, port, identity.name, None)
        else:
            self._check(console, link)
        told = self._is_told(console)
        moved = console.set_uri(identity.uri)
        console.set_options(self._policy.options(console))
        if identity.name:
            self.rename(console, identity.name)
        if moved and not new:
            self.names.uri_changed(console)
            console.viewers.rules_changed()  # rules may select by the query of the URI
        self._migrations.cancel(console)
        if identity.dial is not None:
            identity.dial(console)  # first: it must miss nothing of what the VM says
        elif console.remote is not None:
            console.remote.hang_up("the VM waits to be reached from now on")
        named = new and bool(identity.name)
        console.claim(link, told, shown(identity.name) if named else "")
        if new:
            self.names.turned(console)
        if named:
            self._named(console)
        return console

    def _at(self, uuid: UUID, port: str) -> Console | None:
        for console in self.names.ports(uuid):
            if console.port == port:
                return console
        return None

    def _named(self, console: Console) -> None:
        if self.process_log.allows("new consoles"):
            name = shown(console.name)
            self.process_log.emit("{uuid} port {port}: {name}", uuid=console.uuid, port=console.port, name=name)

    def _check(self, console: Console, link: ILink[Console]) -> None:
        migration = self._migrations.pending_of(console)
        for there in (console.link, migration.destination if migration is not None else None):
            if there is not None and (problem := self.duplicates.problem(there.peer, link.peer)):
                if self._refusals.again(console):
                    console.log.event("refused", host=there.peer, by=link.peer)
                raise ClaimRefused(f"{console.title}: {problem}")

    def _check_ports(self, uuid: UUID, link: ILink[Console]) -> None:
        there = self.names.ports(uuid)
        if len(there) >= PORTS_LIMIT:
            console = there[0]
            if self._refusals.again(console):
                console.log.event("refused", by=link.peer, ports=len(there))
            raise ClaimRefused(f"{console.title}: it has {len(there)} serial ports already, no VM has more")

    def _is_told(self, console: Console) -> bool:
        # One that comes back after a minute or more, or for the first time, is always told.
        steady = console.link is None and not 0 <= self.wall() - console.since < REPEAT_SECONDS
        return (steady and not self._changes.untold(console)) or self._changes.again(console)

    def _unsteady(self, console: Console, times: int) -> None:
        console.unsteady(times)

    def _refused(self, console: Console, times: int) -> None:
        console.log.event("refused-often", times=times)
        text = "{console}: {n} more connections were refused within a minute"
        self.process_log.tell("consoles claimed too often", text, LogLevel.warn, console=console.title, n=times)

    def _renamed(self, console: Console, times: int) -> None:
        console.log.event("name", name=shown(console.name), times=times)

    def stop(self) -> None:
        """Sum up what has not been told, at the end of the process."""
        self._changes.stop()
        self._refusals.stop()
        self._renames.stop()
        self.process_log.sum_up()

    def _port_of(self, identity: ConsoleIdentity) -> str:
        # Ports without a label in their URI are told apart by different URIs, but only while both are open: a port
        # whose URI was edited is still the same port. One with a label is another, also while it is down.
        # One that is dialled for and one that waits to be reached are two ports in any case.
        there = self.names.ports(identity.uuid)
        if not there:
            return "1"
        dialled = is_dialled(identity.uri)
        siblings = [c for c in there if (c.port == "1" or parse(c.uri).port is None) and is_dialled(c.uri) is dialled]
        for console in siblings:
            if console.uri == identity.uri:
                return console.port
        for console in siblings:
            if console.link is None and not console.migrating:
                return console.port
        number = 1
        while self._at(identity.uuid, str(number)) is not None:
            number += 1
        return str(number)

    def lost(self, console: Console, link: ILink[Console], reason: str) -> None:
        """Take note that a connection that served, or was to serve, a console is gone."""
        if not self._migrations.destination_lost(link, reason) and console.link is link:
            console.link_lost(link)
            if not self._migrations.source_lost(console, reason):
                console.down(reason, told=not self._changes.untold(console))

    def forget(self, console: Console, who: str, remove_log: bool = False) -> Deferred[None]:
        """Forget a console that is down. If its VM comes back, it is a new one; its log goes on if it is still there.

        :param remove_log: whether log, trail and old logs are removed.
        :returns: fires when that is done; fails with an :class:`OSError` if not all of them could be.
        :raises StillThere: if it is not down.
        """
        if console.forgotten or not console.can_be_forgotten or self._migrations.pending_of(console) is not None:
            raise StillThere(f"{console.title}: only a console that is down can be forgotten")
        console.forget(who)
        for told in (self._changes, self._refusals, self._renames):
            told.forget(console)
        self.names.remove(console)
        done = self._store.forget(console.log, remove_log)
        self._journal.forget(self._known(console))  # behind the files: what is left of them by a crash has a console
        return done

    def rename(self, console: Console, name: str) -> None:
        """Give a console the name that its VM has told."""
        if name != console.name:
            former = console.name
            self.names.rename(console, name)
            console.set_options(self._policy.options(console))
            console.viewers.rules_changed()  # rules select by name: another one may let in others
            if not former:
                self._named(console)
                console.log.event("name", name=shown(name))
            elif self._renames.again(console):
                console.log.event("name", name=shown(name), was=shown(former))
            self.remember(console)

    def turned(self, console: Console) -> None:
        """Take note that a console went up or down."""
        self.names.turned(console)

    def remember(self, console: Console) -> None:
        """Record a console in the journal."""
        self._journal.record(self._known(console))

    def _known(self, console: Console) -> ConsoleRecord:
        # Not by way of ConsoleInfo: thousands of consoles may change at once, and it takes several times as long.
        return ConsoleRecord(
            uuid=spelled(console.uuid),
            port=console.port,
            name=console.name[:TEXT_LIMIT],
            uri=console.uri[:TEXT_LIMIT],
            log=console.log.name,
            template=self._template,
            host=console.host,
            up=console.state != "down",
            since=console.since,
            reason=console.reason,
        )

    def _everything(self) -> list[ConsoleRecord]:
        return [self._known(console) for console in self]

    def _add(self, uuid: UUID, port: str, name: str, path: str | None) -> Console:
        path = path or log_path(self._template, uuid, port, name, self._store)
        console = Console(uuid, port, self._store.open(path), self)
        console.set_name(name)
        self.names.add(console)
        return console
