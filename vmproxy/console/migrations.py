"""All vMotions: consoles move from one connection to another and lose no byte.

A migration is pending from BEGIN until COMPLETE or ABORT, for as long as a host takes once it has shown the pair. In
that time nothing is sent to the VM: what operators type waits in the console, which pushes back on them when it is
full. What can end it (:mod:`vmproxy.console.migration` has the table):

* COMPLETE on the destination: what the source's connection has brought already is taken first, then the destination
  serves the console, starting with what it sent early; then the held input goes to it.
* ABORT on the source: the source goes on, the held input goes to it, the destination is closed.
* BEGIN again on the source: the new migration replaces the old one, whose destination is closed.
* A new connection that claims the console: it serves. A destination that is there stays; its COMPLETE counts if nobody
  serves the console by then, else it is closed, so that its host dials again and claims.
* The deadline, where no pair was shown or one of the two connections is gone, or nothing left to wait for: the console
  goes on with the connection that is still there; with none, it is down.

The pair of sequence and secret opens the door once. A destination that is lost after PEER has used the pair up: the
source host will ABORT or BEGIN again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.deadlines import Deadlines
from vmproxy.base.metrics import Histogram
from vmproxy.base.ratelimit import RepeatSummary
from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink
from vmproxy.console.migration import (
    ABORT,
    ARRIVED,
    CLAIMED,
    COMPLETE,
    DESTINATION_LOST,
    DOWN,
    EXPIRED,
    HEAR,
    LEFT,
    MOVE,
    MOVING,
    OVER,
    OVERTAKEN,
    PEER,
    PENDING,
    RELEASE,
    REPLACED,
    RESUME,
    SOURCE_LOST,
    Migration,
    MigrationState,
)
from vmproxy.errors import VMProxyError

BEGINS_PER_MINUTE = 10
SPENT_REMEMBERED = 4096


class Wrong(Enum):
    """What may be wrong with a PEER."""

    UNKNOWN = "unknown"  # there never was such a pair, as far as anybody remembers
    SPENT = "spent"  # it has been used, or its vMotion is over: a host that comes too late, after an evacuation
    IDENTITY = "identity"  # it is of another VM
    TLS = "tls"  # the one connection has TLS, the other has not
    BUSY = "busy"  # the connection has a part in a vMotion already


class PeerRefused(VMProxyError):
    """A PEER that opens no door; the text says why.

    :ivar wrong: what is wrong; None where it is known to another node only.
    """

    def __init__(self, why: str, wrong: Wrong | None = None) -> None:
        super().__init__(why)
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class MigrationsState:
    """All pending vMotions, oldest first, and the pairs that are used up."""

    pending: tuple[MigrationState, ...]
    spent: tuple[bytes, ...]


class Migrations:
    """All pending migrations.

    :ivar may_differ: whether a VM may move from a connection with TLS to one without, or the other way round.
    :ivar completed: how many went through since the start; likewise ``aborted`` and ``abandoned``.
    :ivar durations: how long those took that went through, from BEGIN to COMPLETE.
    :ivar refused: how many pairs opened no door.
    """

    def __init__(
        self,
        clock: IReactorTime,
        timeout: float,
        new_secret: Callable[[], bytes],
        begins: int = BEGINS_PER_MINUTE,
    ) -> None:
        """
        :param timeout: seconds after which a migration is abandoned that waits for a connection.
        :param new_secret: makes the secret of a pair; never the same twice.
        :param begins: how many migrations of one console may begin within a minute.
        """
        self._clock = clock
        self._new_secret = new_secret
        self._by_console: dict[Console, Migration] = {}
        self._by_pair: dict[bytes, Migration] = {}
        self._spent: dict[bytes, None] = {}  # in order, oldest first
        self._by_destination: dict[ILink[Console], Migration] = {}
        self._deadlines: Deadlines[Migration] = Deadlines(clock, timeout, self._expired)
        self._begins: RepeatSummary[Console] = RepeatSummary(clock, self._refused, begins)
        self.may_differ = True
        self.completed = self.aborted = self.abandoned = 0
        self.durations = Histogram(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)
        self.refused: Counter[Wrong] = Counter()

    def __len__(self) -> int:
        return len(self._by_console)

    def may_begin(self, console: Console) -> bool:
        """Count a BEGIN of a console.

        Bound: some a minute, as each vMotion leaves events in a trail; no host comes near it.
        """
        return self._begins.again(console)

    def _refused(self, console: Console, times: int) -> None:
        console.log.event("vmotion-refused", times=times)

    def begin(self, console: Console, source: ILink[Console], sequence: bytes) -> Migration:
        """BEGIN: from now on the console's input is held.

        :param source: the connection that serves the console now.
        """
        former = self._by_console.get(console)
        if former is not None:
            self._take(former, REPLACED)
        migration = Migration(console, source, sequence, self._new_secret(), self._clock.seconds())
        self._deadlines.start(migration)
        self._add(migration)
        self._by_pair[migration.pair] = migration
        console.log.event("vmotion-begin", host=source.peer)
        return migration

    def _add(self, migration: Migration) -> None:
        self._by_console[migration.console] = migration
        migration.console.hold_for_migration(True)

    def peer(self, destination: ILink[Console], pair: bytes, uuid: UUID | None) -> Migration:
        """PEER: a connection says that it will carry the VM.

        :param pair: sequence and secret in one piece.
        :param uuid: the VC UUID that the connection has told, if it has.
        :raises PeerRefused: if the pair is unknown, used or expired, or the identity is another VM's.
        """
        migration = self._by_pair.get(pair)
        if migration is None:
            wrong = Wrong.SPENT if pair in self._spent else Wrong.UNKNOWN
            raise self._wrong(wrong, "no pending vMotion has this sequence and secret")
        if uuid is not None and uuid != (migration.console.vc_uuid or uuid):
            why = f"it says that it is {uuid}, the vMotion is of {migration.console.vc_uuid}"
            raise self._wrong(Wrong.IDENTITY, why)
        if destination.encrypted != migration.encrypted and not self.may_differ:
            has, had = ("TLS", "none") if destination.encrypted else ("no TLS", "it")
            raise self._wrong(Wrong.TLS, f"it has {has}, and the connection that the VM comes from had {had}")
        if destination in self._by_destination or destination is migration.source:
            raise self._wrong(Wrong.BUSY, "this connection has a part in a vMotion already")
        self._spend(pair)
        migration.input(PEER)
        self._set_deadline(migration)
        migration.found(destination)
        self._by_destination[destination] = migration
        migration.console.log.event("vmotion-peer", host=destination.peer)
        return migration

    def _wrong(self, wrong: Wrong, why: str) -> PeerRefused:
        self.refused[wrong] += 1
        return PeerRefused(why, wrong)

    def pending_of(self, console: Console) -> Migration | None:
        return self._by_console.get(console)

    def pending_at(self, destination: ILink[Console]) -> Migration | None:
        """The migration that a connection is the destination of."""
        return self._by_destination.get(destination)

    def complete(self, destination: ILink[Console], sequence: bytes) -> bool:
        """COMPLETE: the destination carries the VM.

        :returns: whether anything moved; not so where the connection is no pending destination or the sequence is
            another.
        """
        migration = self._by_destination.get(destination)
        if migration is None or migration.sequence != sequence:
            return False
        console = migration.console
        if migration.state == OVERTAKEN and (console.link is not None or console in self._by_console):
            self._take(migration, REPLACED)  # its host dials again, and claims
            return False
        if migration.source is not None:
            migration.source.drain()
            # What was still under way on the source may have been an ABORT, or a new BEGIN.
            if migration.state == OVER or migration.destination is not destination:
                return False
        self._take(migration, COMPLETE)
        return True

    def abort(self, source: ILink[Console], console: Console, sequence: bytes) -> bool:
        """ABORT: the source stays in service.

        :param sequence: empty, or the one that BEGIN gave.
        :returns: whether there was a migration to abort.
        """
        migration = self._by_console.get(console)
        if migration is None or migration.source is not source or sequence not in (b"", migration.sequence):
            return False
        self._take(migration, ABORT)
        return True

    def destination_lost(self, link: ILink[Console], reason: str) -> bool:
        """A connection is gone; :returns: whether it was the destination of a vMotion."""
        migration = self._by_destination.get(link)
        if migration is None:
            return False
        migration.console.log.event("vmotion-destination-lost", host=link.peer)
        self._take(migration, DESTINATION_LOST, f"{reason}, in a vMotion")
        return True

    def source_lost(self, console: Console, reason: str) -> bool:
        """A console's connection is gone, as a source should be just before COMPLETE.

        :returns: whether there was a vMotion; what becomes of the console is settled then.
        """
        migration = self._by_console.get(console)
        if migration is None:
            return False
        migration.source_lost()
        self._take(migration, SOURCE_LOST, reason)
        return True

    def cancel(self, console: Console) -> None:
        """End the vMotion of a console that a new connection claims."""
        migration = self._by_console.get(console)
        if migration is not None:
            self._take(migration, CLAIMED)

    def forget(self, console: Console) -> None:
        """A console that is down is forgotten: a destination of it that is left is closed, and its host dials again."""
        self._begins.forget(console)
        for migration in [one for one in self._by_destination.values() if one.console is console]:
            self._take(migration, REPLACED)

    def _expired(self, migration: Migration) -> None:
        self._take(migration, EXPIRED, "the vMotion was neither completed nor aborted in time")

    def _take(self, migration: Migration, what: str, why: str = "") -> None:
        """Take an input of the machine, and perform its actions."""
        console, source, destination = migration.console, migration.source, migration.destination
        was_pending = migration.state in PENDING
        actions = migration.input(what)
        if HEAR in actions and destination is not None:
            console.last_words(destination)
        if was_pending and migration.state not in PENDING:
            self._settle(migration)
        if destination is not None and (migration.state == OVER or RELEASE in actions):
            self._by_destination.pop(destination, None)
            migration.found(None)
        if RELEASE in actions and destination is not None:
            self._release(console, destination, what)
        self._set_deadline(migration)
        if migration.state != OVER or what in (REPLACED, CLAIMED) or not (was_pending or MOVE in actions):
            return
        took = self._clock.seconds() - migration.started
        if what == COMPLETE and destination is not None:
            self.completed += 1
            self.durations.observe(took)
            console.log.event("vmotion-complete", host=destination.peer, seconds=round(took, 3))
        elif what == ABORT and source is not None:
            self.aborted += 1
            console.log.event("vmotion-abort", host=source.peer)
        else:
            self.abandoned += 1
            console.log.event("vmotion-abandoned", reason=why)
        if RESUME in actions:
            console.input_may_flow()
        elif MOVE in actions and destination is not None:
            console.move_to(destination, took, source)
        elif DOWN in actions:
            console.down(why)

    def _set_deadline(self, migration: Migration) -> None:
        # To wait for a host costs nothing; the others have a full time from now on, or go on with that of BEGIN.
        if migration.state in (ARRIVED, OVERTAKEN, OVER):
            self._deadlines.discard(migration)
        elif migration.state in (MOVING, LEFT):
            self._deadlines.start(migration)

    def _settle(self, migration: Migration) -> None:
        self._spend(migration.pair)
        migration.source_lost()
        del self._by_console[migration.console]
        migration.console.hold_for_migration(False)

    def _release(self, console: Console, destination: ILink[Console], what: str) -> None:
        kept = destination.release(f"its vMotion has ended ({what})")
        if kept:
            # The guest never ran there, so this should not be; but nothing goes without a word.
            console.log.event("discarded", bytes=kept, host=destination.peer)

    def _spend(self, pair: bytes) -> None:
        if self._by_pair.pop(pair, None) is not None:
            self._spent[pair] = None
            if len(self._spent) > SPENT_REMEMBERED:
                del self._spent[next(iter(self._spent))]

    def reconfigure(self, timeout: float, may_differ: bool, begins: int = BEGINS_PER_MINUTE) -> None:
        """Have another time hold, also for what is pending, another rule for TLS, and another rate."""
        self._begins.use(begins)
        self._deadlines.use(timeout)
        self.may_differ = may_differ

    def stop(self) -> None:
        """Forget everything, at the end of the process."""
        self._begins.stop()
        self._deadlines.stop()

    # Handing over.

    def snapshot(self, link: Callable[[ILink[Console]], str]) -> MigrationsState:
        """All that is pending, as a value.

        :param link: gives a link a name.
        """
        now = self._clock.seconds()
        pending = [
            MigrationState(
                uuid=one.console.uuid,
                port=one.console.port,
                state=one.state,
                sequence=one.sequence,
                secret=one.secret,
                age=now - one.started,
                waited=self._deadlines.age(one),
                encrypted=one.encrypted,
                host=one.host,
                source="" if one.source is None else link(one.source),
                destination="" if one.destination is None else link(one.destination),
            )
            for one in {**dict.fromkeys(self._by_console.values()), **dict.fromkeys(self._by_destination.values())}
        ]
        return MigrationsState(tuple(sorted(pending, key=lambda one: -(one.waited or 0))), tuple(self._spent))

    def restore(
        self, state: MigrationsState, console: Callable[[UUID, str], Console], links: Mapping[str, ILink[Console]]
    ) -> None:
        """Go on where another process was; nothing is pending here yet.

        :param console: finds a console.
        :param links: the links by their names; those that are missing are lost.
        """
        self._spent = dict.fromkeys(state.spent)
        for one in state.pending:
            source, destination = links.get(one.source), links.get(one.destination)
            started = self._clock.seconds() - one.age
            migration = Migration(console(one.uuid, one.port), source, one.sequence, one.secret, started)
            migration.restore(one, destination)
            if one.waited is not None:
                self._deadlines.start(migration, one.waited)
            if one.state in PENDING:
                self._add(migration)
            if destination is not None:
                self._by_destination[destination] = migration
            if migration.expects(PEER):
                self._by_pair[migration.pair] = migration
            if one.destination and destination is None:
                self._take(migration, DESTINATION_LOST, "its connection was not handed over, in a vMotion")
            if one.source and source is None and migration.expects(SOURCE_LOST):
                self._take(migration, SOURCE_LOST, "its connection was not handed over")
