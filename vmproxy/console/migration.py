"""vMotion: a console moves from one connection to another, and no byte is lost in either direction.

A migration is pending from BEGIN until COMPLETE or ABORT. In that time nothing is sent to the VM: what operators type
waits in the console, which pushes back on them when it is full. The pending state belongs to the console and not to
a connection, because hosts close the source *before* the destination says COMPLETE. What can end it:

* COMPLETE on the destination: what the source's connection has brought already is taken first, then the destination
  serves the console, starting with what it sent early; then the held input goes to it.
* ABORT on the source: the source goes on, the held input goes to it.
* BEGIN again on the source: the new migration replaces the old one.
* A new connection that claims the console: it replaces whatever there was.
* The deadline, or nothing left to wait for: the console goes on with the connection that is still there, the source
  first; with none, it is down.

The pair of sequence and secret opens the door once. The manual gives neither a fixed length, and PEER carries them
in one piece, so the piece as a whole is the key. A destination that is lost after PEER has used the pair up: the
source host will ABORT or BEGIN again.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.deadlines import Deadlines
from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink
from vmproxy.errors import VMProxyError

SPENT_REMEMBERED = 4096


class PeerRefused(VMProxyError):
    """A PEER that opens no door; the text says why.

    :ivar guess: whether there never was such a pair, as far as anybody remembers. Hosts that come too late, after an
        evacuation for instance, show pairs that are only spent.
    """

    def __init__(self, why: str, guess: bool = False) -> None:
        super().__init__(why)
        self.guess = guess


class Migration:
    """One pending vMotion.

    :ivar destination: the connection that sent PEER with the right pair, while it lives.
    """

    __slots__ = ("arrived", "console", "destination", "encrypted", "secret", "sequence", "source", "started")

    def __init__(
        self, console: Console, source: ILink[Console], sequence: bytes, secret: bytes, started: float
    ) -> None:
        self.console = console
        self.source: ILink[Console] | None = source
        self.destination: ILink[Console] | None = None
        self.sequence = sequence
        self.secret = secret
        self.started = started
        self.encrypted = source.encrypted
        self.arrived = False  # the pair has been used


class Migrations:
    """All pending migrations.

    :ivar may_differ: whether a VM may move from a connection with TLS to one without, or the other way round.
    :ivar completed: how many went through since the start; likewise ``aborted`` and ``abandoned``.
    """

    def __init__(self, clock: IReactorTime, timeout: float, new_secret: Callable[[], bytes]) -> None:
        """
        :param timeout: seconds after which a migration without COMPLETE or ABORT is abandoned.
        :param new_secret: makes the secret of a pair; never the same twice.
        """
        self._clock = clock
        self._new_secret = new_secret
        self._by_console: dict[Console, Migration] = {}
        self._by_pair: dict[bytes, Migration] = {}
        self._spent: dict[bytes, None] = {}  # in order, oldest first
        self._by_destination: dict[ILink[Console], Migration] = {}
        self._deadlines: Deadlines[Migration] = Deadlines(clock, timeout, self._expired)
        self.may_differ = True
        self.completed = self.aborted = self.abandoned = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def begin(self, console: Console, source: ILink[Console], sequence: bytes) -> Migration:
        """BEGIN: from now on the console's input is held.

        :param source: the connection that serves the console now.
        """
        self.cancel(console)
        migration = Migration(console, source, sequence, self._new_secret(), self._clock.seconds())
        self._by_pair[sequence + migration.secret] = migration
        self._deadlines.start(migration)
        self._by_console[console] = migration
        console.hold_for_migration(True)
        console.log.event("vmotion-begin", host=source.peer)
        return migration

    def peer(self, destination: ILink[Console], pair: bytes, uuid: UUID | None) -> Migration:
        """PEER: a connection says that it will carry the VM.

        :param pair: sequence and secret in one piece.
        :param uuid: the VC UUID that the connection has told, if it has.
        :raises PeerRefused: if the pair is unknown, used or expired, or the identity is another VM's.
        """
        migration = self._by_pair.get(pair)
        if migration is None:
            raise PeerRefused("no pending vMotion has this sequence and secret", guess=pair not in self._spent)
        if uuid is not None and uuid != migration.console.uuid:
            raise PeerRefused(f"it says that it is {uuid}, the vMotion is of {migration.console.uuid}")
        if destination.encrypted != migration.encrypted and not self.may_differ:
            has, had = ("TLS", "none") if destination.encrypted else ("no TLS", "it")
            raise PeerRefused(f"it has {has}, and the connection that the VM comes from had {had}")
        if destination in self._by_destination or destination is migration.source:
            raise PeerRefused("this connection has a part in a vMotion already")
        self._spend(pair)
        migration.arrived = True
        migration.destination = destination
        self._by_destination[destination] = migration
        migration.console.log.event("vmotion-peer", host=destination.peer)
        return migration

    def pending_of(self, console: Console) -> Migration | None:
        """The migration of a console."""
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
        source = migration.source
        if source is not None:
            source.drain()
            # What was still under way on the source may have been an ABORT, or a new BEGIN.
            if self._by_console.get(migration.console) is not migration or migration.destination is not destination:
                return False
        self._forget(migration, keep=destination)
        self.completed += 1
        took = self._clock.seconds() - migration.started
        migration.console.log.event("vmotion-complete", host=destination.peer, seconds=round(took, 3))
        migration.console.move_to(destination, took, source)
        return True

    def abort(self, source: ILink[Console], console: Console, sequence: bytes) -> bool:
        """ABORT: the source stays in service.

        :param sequence: empty, or the one that BEGIN gave.
        :returns: whether there was a migration to abort.
        """
        migration = self._by_console.get(console)
        if migration is None or migration.source is not source or sequence not in (b"", migration.sequence):
            return False
        self._forget(migration)
        self.aborted += 1
        console.log.event("vmotion-abort", host=source.peer)
        console.input_may_flow()
        return True

    def lost(self, link: ILink[Console]) -> Migration | None:
        """A connection is gone.

        :returns: the migration that goes on without it, or could: its console is not down for the loss of this link.
        """
        migration = self._by_destination.pop(link, None)
        if migration is not None:
            migration.destination = None
            migration.console.log.event("vmotion-destination-lost", host=link.peer)
        return migration

    def source_lost(self, migration: Migration) -> bool:
        """The source of a pending migration is gone, as it should be just before COMPLETE.

        :returns: whether there is still something to wait for.
        """
        migration.source = None
        return migration.destination is not None or not migration.arrived

    def abandon(self, migration: Migration, why: str) -> None:
        """Give up waiting; the console goes on with whichever connection is still there."""
        self.abandoned += 1
        console, source, destination = migration.console, migration.source, migration.destination
        survivor = source or destination
        self._forget(migration, keep=survivor)
        console.log.event("vmotion-abandoned", reason=why)
        if survivor is None:
            console.down(why)
        elif survivor is source:
            console.input_may_flow()
        else:
            console.move_to(survivor, self._clock.seconds() - migration.started, None)

    def cancel(self, console: Console) -> None:
        """A new connection claims the console: nobody waits for the old migration any more."""
        migration = self._by_console.get(console)
        if migration is not None:
            self._forget(migration)

    def stop(self) -> None:
        """Forget everything, at the end of the process."""
        self._deadlines.stop()

    def _expired(self, migration: Migration) -> None:
        self.abandon(migration, "the vMotion was neither completed nor aborted in time")

    def _forget(self, migration: Migration, keep: ILink[Console] | None = None) -> None:
        self._deadlines.discard(migration)
        self._spend(migration.sequence + migration.secret)
        del self._by_console[migration.console]
        migration.console.hold_for_migration(False)
        destination = migration.destination
        if destination is not None:
            del self._by_destination[destination]
            migration.destination = None
            if destination is not keep:
                self.discarded(migration, destination)

    def use(self, timeout: float) -> None:
        """Have another time hold, also for what is pending."""
        self._deadlines.use(timeout)

    def _spend(self, pair: bytes) -> None:
        if self._by_pair.pop(pair, None) is not None:
            self._spent[pair] = None
            if len(self._spent) > SPENT_REMEMBERED:
                del self._spent[next(iter(self._spent))]

    def discarded(self, migration: Migration, destination: ILink[Console]) -> None:
        """A destination is not wanted any more, or lost while the source is still there."""
        kept = destination.release()
        if kept:
            # The guest never ran there, so this should not be; but nothing goes without a word.
            migration.console.log.event("discarded", bytes=kept, host=destination.peer)
