"""All consoles, by identity: VC UUID and port. How people find one: :mod:`vmproxy.console.naming`.

A console outlives its connections, and the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel

from vmproxy.access.labels import Labels
from vmproxy.access.policy import Policy
from vmproxy.base.clock import wall_of
from vmproxy.base.ratelimit import REPEAT_SECONDS, RateLimitedLog, RepeatSummary
from vmproxy.base.sanitize import visible as shown
from vmproxy.base.troubles import Kind, Troubles
from vmproxy.base.uuids import spelled, uuid_of
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused, DuplicatePolicy
from vmproxy.console.info import Facts
from vmproxy.console.interfaces import ILink
from vmproxy.console.journal import TEXT_LIMIT, ConsoleRecord, Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.name_index import NameIndex
from vmproxy.console.newcomers import ConsoleLimits, Newcomers
from vmproxy.console.port_numbers import PortNumbers, next_number
from vmproxy.console.rule_changes import RuleChanges
from vmproxy.console.totals import Totals
from vmproxy.errors import VMProxyError
from vmproxy.log.feed import Follower
from vmproxy.log.line_feed import LineFeed
from vmproxy.log.paths import is_reserved, log_path
from vmproxy.log.store import LogStore
from vmproxy.wire.vmware import undone

PORTS_LIMIT = 32  # of a VM
FORGOTTEN_LATER = 1.0  # seconds until one that makes place is looked at again, whose connection is not gone yet


class StillThere(VMProxyError):
    """A console that is not down cannot be forgotten."""


class ConsoleIdentity(NamedTuple):
    """The identity that a connection has shown.

    :ivar uuid: the VC UUID, or what the VM is known by.
    :ivar port: the label in the service URI's query, None where it names none.
    :ivar dial: gives the console its remote end, where the VM is of direction "client".
    :ivar bios: the BIOS UUID, where it has been told.
    :ivar location: the location UUID, where it has been told.
    :ivar known_by: what ``uuid`` is, where it is no VC UUID; else empty.
    :ivar word: the service URI's word, where that is the label of a port that has no other.
    """

    uuid: UUID
    port: str | None
    uri: str
    name: str
    dial: Callable[[Console], None] | None = None
    bios: UUID | None = None
    word: str | None = None
    location: UUID | None = None
    known_by: str = ""


class ConsoleRegistry:
    """All consoles.

    :ivar names: finds consoles by name.
    :ivar duplicates: the policy for a second connection of a console.
    :ivar totals: what has happened on all consoles.
    """

    def __init__(
        self, clock: IReactorTime, store: LogStore, journal: Journal, migrations: Migrations, template: str
    ) -> None:
        """:param template: for the names of log files."""
        self.names = NameIndex(store.link)
        self.clock = clock
        self.process_log = RateLimitedLog(clock)
        self.totals = Totals()
        self._troubles = Troubles()
        self.wall = wall_of(clock)
        self._store = store
        self._journal = journal
        self._migrations = migrations
        self._template = template
        journal.recover_from(self._everything)
        self._policy = Policy()
        self._on_new: Callable[[Console], object] | None = None
        self._facts: Callable[[Console], Facts | None] | None = None
        self._rule_changes = RuleChanges(clock, lambda console: self._policy.options(console))
        self._changes: RepeatSummary[Console] = RepeatSummary(clock, self._unsteady)
        self._refusals: RepeatSummary[Console] = RepeatSummary(clock, self._refused)
        self._renames: RepeatSummary[Console] = RepeatSummary(clock, self._renamed)
        self._ports = PortNumbers(clock)
        self.duplicates = DuplicatePolicy()
        self._newcomers = Newcomers(clock)
        store.spare(self._logs_in_use)

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
        self._rule_changes.of_all(self)

    def labels_of(self, console: Console) -> Labels:
        """The labels of a console, by the groups, by other systems, and by what it tells; on any thread."""
        facts = self._facts(console) if self._facts is not None else None
        if facts is None:
            return self._policy.labels(console)
        return self._policy.labels(console, facts.told, facts.given)

    def tell_new(self, told: Callable[[Console], object]) -> None:
        """Have each console told that comes to be."""
        self._on_new = told

    def use_facts(self, facts: Callable[[Console], Facts | None] | None) -> None:
        """Have another system say what it knows of a console, on any thread; None: there is none.

        Whoever does that calls :meth:`relabel` for each console.
        """
        self._facts = facts

    def relabel(self, console: Console) -> None:
        """Take note that a console may have other labels than before."""
        if console.relabel():
            self.names.uri_changed(console)
            console.set_options(self._policy.options(console))
            self._rules_may_change(console)

    def use_duplicates(self, policy: DuplicatePolicy) -> None:
        """Take another policy for second connections, from now on."""
        self.duplicates = policy

    @property
    def event_followers(self) -> set[Follower]:
        """Who is told what is written to the event trails of all consoles."""
        return self._store.event_followers

    @property
    def line_feed(self) -> LineFeed:
        """The lines of all consoles as they come, for whoever subscribes."""
        return self._store.line_feed

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
            if known.bios:
                console.set_uuids(uuid_of(int(known.bios, 16)), None)
            if known.vc:
                console.set_vc_uuid(uuid_of(int(known.vc, 16)))
            if known.known_by:
                console.set_vc_uuid(None, known.known_by)
                console.set_uuids(None, UUID(known.location) if known.location else None)
            console.set_options(self._policy.options(console))
        self.names.settle()
        self._store.flush()  # so that links have the names that they had, before a VM comes with another one

    def claim(self, identity: ConsoleIdentity, link: ILink[Console]) -> Console:
        """Give a connection that has identified itself its console, new or known.

        A connection that serves the console already is replaced: a host that lost power cannot say goodbye.

        :raises ClaimRefused: where it may not be replaced.
        """
        known_by = identity.known_by
        there = self.names.ports(identity.uuid)
        if not there and self._is_first(identity):
            return self._claim_first(identity, link)
        uuid, twin = (identity.uuid, None) if known_by else self._uuid_of(identity, there)
        if uuid is not identity.uuid:
            there = self.names.ports(uuid)
        port = identity.port or (
            self._ports.port_of(there, identity.uri, identity.word, not known_by) if there else None
        )
        port = port or identity.word or "1"
        console = next((console for console in there if console.port == port), None)
        if console is not None:
            if known_by:
                self._check_same(console, identity, link)
            self._check(console, link)
            alike = identity.port is None and len(there) < PORTS_LIMIT
            if alike and self._ports.are_two(console, link.peer):
                port = next_number(there)
                self._told_two_ports(console, port)
                console = None
        new = console is None
        if console is None:
            self._check_ports(there, link)
            console = self._make(uuid, port, identity.name, link)
        if twin is not None and console.vc_uuid != identity.uuid:
            self._told_twins(console, twin, identity, link.peer, first=not there)
        if known_by != console.known_by:
            self._told_known_by(console, identity, link.peer)
        console.set_vc_uuid(None if known_by else identity.uuid, known_by)
        console.set_uuids(identity.bios, identity.location)
        told = self._is_told(console)
        moved = console.set_uri(identity.uri)
        console.set_options(self._policy.options(console))
        if identity.name:
            self.rename(console, identity.name)
        if moved and not new:
            self.names.uri_changed(console)
            self._rules_may_change(console)  # they may select by the query of the URI
        self._migrations.cancel(console)
        self._connect(console, identity, link, new, told)
        return console

    def _is_first(self, identity: ConsoleIdentity) -> bool:
        bios = identity.bios
        if identity.known_by:
            return False
        return bios is None or bios is identity.uuid or not self.names.ports(bios)

    def _claim_first(self, identity: ConsoleIdentity, link: ILink[Console]) -> Console:
        # The same for the first port of a VM that nobody knows, which is all of a storm of new VMs.
        uuid, port, uri, name, _, bios, word, location, _ = identity
        console = self._make(uuid, port or word or "1", name, link)
        console.set_uuids(bios, location)
        console.set_uri(uri)
        console.set_options(self._policy.options(console))
        self._connect(console, identity, link, True, True)
        return console

    def _make(self, uuid: UUID, port: str, name: str, link: ILink[Console]) -> Console:
        self._check_new(link)
        console = self._add(uuid, port, name, None)
        self._newcomers.add(console)
        return console

    def _connect(
        self, console: Console, identity: ConsoleIdentity, link: ILink[Console], new: bool, told: bool
    ) -> None:
        if identity.dial is not None:
            identity.dial(console)  # first: it must miss nothing of what the VM says
        elif console.remote is not None:
            console.remote.hang_up("the VM waits to be reached from now on")
        named = new and bool(identity.name)
        console.claim(link, told, shown(console.name) if named else "")
        if new:
            self.names.turned(console)
            if self._on_new is not None:
                self._on_new(console)
        if named:
            self._named(console)

    def use_limits(self, limits: ConsoleLimits) -> None:
        """Take other limits on the number of consoles, from now on."""
        self._newcomers.use(limits)

    def _check_new(self, link: ILink[Console]) -> None:
        if problem := self._newcomers.problem(link.peer):
            raise ClaimRefused(problem)
        most = self._newcomers.limits.most
        if len(self) >= most and not self.displace():
            raise ClaimRefused(f"{most} consoles are known (vm.consoles), and all of them are somebody's")

    def silent_host(self) -> str:
        """The host of the console that :meth:`displace` would take; empty if there is none."""
        console = self._newcomers.oldest_silent()
        return "" if console is None or console.link is None else console.link.peer

    def displace(self) -> bool:
        """Have the oldest new console that has never printed anything make place.

        :returns: whether there was one.
        """
        console = self._newcomers.oldest_silent()
        if console is None:
            return False
        self._newcomers.discard(console)
        text = "{console}: makes place for others, it has never printed anything; forgotten"
        self.process_log.tell("consoles that made place", text, LogLevel.warn, console=console.title)
        link = console.link
        if link is not None:
            link.close("its place is needed, and it has never printed anything")
        self.clock.callLater(0, self._forget_silent, console, link)  # its connection is gone by then, mostly
        return True

    def _forget_silent(self, console: Console, closed: ILink[Console] | None) -> None:
        if console.bytes_out or console.forgotten:
            return
        try:
            self.forget(console, "", remove_log=True).addErrback(lambda failure: failure.trap(OSError))
        except StillThere:
            if console.link is None or console.link is closed:  # what its host has said before waits for its turn
                self.clock.callLater(FORGOTTEN_LATER, self._forget_silent, console, closed)
            else:
                self._newcomers.add(console)  # it has come back

    def _check_same(self, console: Console, identity: ConsoleIdentity, link: ILink[Console]) -> None:
        # Neither BIOS UUIDs nor names are one VM's alone, so both must be right; better than a name is the location.
        if console.location_uuid is not None and identity.location is not None:
            same = console.location_uuid == identity.location
        else:
            same = not console.name or not identity.name or console.name == identity.name
        if same:
            return
        name, what = shown(identity.name) or "a VM", identity.known_by
        remedy = "give their serial ports service URIs that differ, or `forget' the one that is gone"
        if self._refusals.again(console):
            reason = f"another VM has this {what}, and none has told a VC UUID: {remedy}"
            console.log.event("refused", host=console.host, by=link.peer, reason=reason)
        raise ClaimRefused(f"{name} has the {what} of {console.title}, and no VC UUID: {remedy}")

    def _told_known_by(self, console: Console, identity: ConsoleIdentity, host: str) -> None:
        what = identity.known_by or "VC UUID"
        console.log.event("known-by", uuid=str(identity.uuid), what=what, host=host)
        self.process_log.tell(
            "VMs without a VC UUID",
            "{name} on {host} is known by its {what} {uuid}",
            name=shown(identity.name) or console.title,
            host=host,
            what=what,
            uuid=identity.uuid,
        )

    def needs_bios(self, uuid: UUID) -> bool:
        """Whether the BIOS UUID decides which VM it is that has told this VC UUID."""
        return any(console.bios_uuid is not None for console in self.names.ports(uuid))

    def _uuid_of(self, identity: ConsoleIdentity, there: Sequence[Console]) -> tuple[UUID, Console | None]:
        """The UUID that stands for a VM, and another VM that has the same VC UUID.

        A folder that was copied on a standalone host gives two such VMs. The one that came later has its BIOS UUID.
        """
        uuid, bios = identity.uuid, identity.bios
        if bios is None or bios is uuid or bios == uuid:
            return uuid, None
        known = [console for console in there if console.bios_uuid is not None]
        if any(console.bios_uuid == bios for console in known):
            return uuid, None
        if known:
            return bios, known[0]
        # If they were kept apart before they still are, though the other may be forgotten, or have never told.
        apart = any(c.vc_uuid == uuid or (there and c.vc_uuid == bios) for c in self.names.ports(bios))
        return (bios, there[0] if there else None) if apart else (uuid, None)

    def _told_twins(self, console: Console, twin: Console, identity: ConsoleIdentity, host: str, first: bool) -> None:
        # Who may read this trail may not see the other console: only the process's log names both.
        console.log.event("same-uuid", uuid=str(identity.uuid), bios=str(identity.bios), host=host)
        if not first:  # of the ports of the VM
            return
        self.process_log.tell(
            "VMs with the UUID of another one",
            "{name} on {host} (BIOS UUID {bios}) has the UUID {uuid} of {other} on {other_host}"
            " (BIOS UUID {other_bios}): two VMs, kept apart. One is a copy of the other's folder;"
            " give it a UUID of its own",
            LogLevel.warn,
            name=shown(identity.name) or str(identity.bios),
            host=host,
            bios=identity.bios,
            uuid=identity.uuid,
            other=twin.title,
            other_host=twin.host or "an unknown host",
            other_bios=twin.bios_uuid or "unknown",
        )

    def _told_two_ports(self, console: Console, port: str) -> None:
        remedy = f"give the second one a service URI with ?port={port}"
        console.log.event("ports-alike", uri=shown(console.uri), ports=[console.port, port], remedy=remedy)
        self.process_log.tell(
            "VMs with ports that are alike",
            "{console}: two ports of this VM have the service URI {uri!r} and displace each other; they are ports"
            " {first} and {second} from now on. To keep them apart for good, {remedy}",
            LogLevel.warn,
            console=console.title,
            uri=shown(console.uri),
            first=console.port,
            second=port,
            remedy=remedy,
        )

    def _named(self, console: Console) -> None:
        if self.process_log.allows("new consoles"):
            name = shown(console.name)
            self.process_log.emit("{uuid} port {port}: {name}", uuid=console.uuid, port=console.port, name=name)

    def _check(self, console: Console, link: ILink[Console]) -> None:
        migration = self._migrations.pending_of(console)
        hosts = [console.link.peer] if console.link is not None else []
        if migration is not None:  # whose source may be gone: it may close before the destination comes
            hosts.append(migration.host)
            hosts += [migration.destination.peer] if migration.destination is not None else []
        for host in hosts:
            if problem := self.duplicates.problem(host, link.peer):
                if self._refusals.again(console):
                    console.log.event("refused", host=host, by=link.peer)
                raise ClaimRefused(f"{console.title}: {problem}")

    def _check_ports(self, there: Sequence[Console], link: ILink[Console]) -> None:
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

    def trouble(self, kind: Kind, text: str, about: object = None) -> None:
        """Tell of trouble that should not be."""
        self._troubles.tell(kind, text, about)

    def tell_troubles(self, troubles: Troubles) -> None:
        """Have trouble told there."""
        self._troubles = troubles

    def stop(self) -> None:
        """Sum up what has not been told, at the end of the process."""
        self._changes.stop()
        self._refusals.stop()
        self._renames.stop()
        self.process_log.sum_up()

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
        self._migrations.forget(console)
        console.forget(who)
        for told in (self._changes, self._refusals, self._renames):
            told.forget(console)
        self._newcomers.discard(console)
        self.names.remove(console)
        done = self._store.forget(console.log, remove_log)
        self._journal.forget(self._known(console))  # behind the files: what is left of them by a crash has a console
        return done

    def rename(self, console: Console, name: str) -> None:
        """Give a console the name that its VM has told."""
        if name != console.told_name:
            former = console.name
            self.names.rename(console, name)
            console.set_options(self._policy.options(console))
            self._rules_may_change(console)  # they select by name: another one may let in others
            if not former:
                self._named(console)
                console.log.event("name", name=shown(console.name))
            elif self._renames.again(console):
                console.log.event("name", name=shown(console.name), was=shown(former))
            self.remember(console)

    def _rules_may_change(self, console: Console) -> None:
        if console.watchers:
            self._rule_changes.of_one(console)

    def turned(self, console: Console) -> None:
        """Take note that a console went up or down."""
        self.names.turned(console)

    def remember(self, console: Console) -> None:
        """Record a console in the journal."""
        self._journal.record(self._known(console))

    def describe(self, console: Console, bios: UUID | None, location: UUID | None) -> None:
        """Take the other UUIDs that a VM has told."""
        news = bios is not None and bios != console.bios_uuid
        console.set_uuids(bios, location)
        if news:
            self.remember(console)

    def _known(self, console: Console) -> ConsoleRecord:
        # Not by way of ConsoleInfo, nor with names for the fields: thousands of consoles may change at once.
        uuid, known_by, location = console.uuid, console.known_by, console.location_uuid
        bios, vc = console.bios_uuid, console.vc_uuid
        up = console.link is not None or console.migrating
        return ConsoleRecord(
            spelled(uuid),
            console.port,
            console.told_name[:TEXT_LIMIT],
            console.uri[:TEXT_LIMIT],
            console.log.name,
            self._template,
            console.host,
            up,
            console.since,
            console.reason,
            known_by,
            str(location or "") if known_by else "",
            "" if bios is None else f"{bios.int:032x}",
            "" if vc is None or vc.int == uuid.int else f"{vc.int:032x}",
        )

    def _logs_in_use(self) -> set[str]:
        # On the writer's thread, once in a minute at most, while the log folder is too large.
        for _ in range(3):
            with suppress(RuntimeError):  # consoles came or went meanwhile
                return {str(console.log.path) for console in list(self.names) if console.state != "down"}
        return set()

    def _everything(self) -> list[ConsoleRecord]:
        return [self._known(console) for console in self]

    def _add(self, uuid: UUID, port: str, name: str, path: str | None) -> Console:
        path = path or log_path(self._template, uuid, port, undone(name), self._store)
        console = Console(uuid, port, self._store.open(path), self)
        console.set_name(name)
        self.names.add(console)
        return console
