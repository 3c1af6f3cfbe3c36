"""The answers to what sessions ask: consoles, vMotion, destinations.

An answer may come at once or, as a Deferred, later: what the host says meanwhile waits in its session. Within one node
all answers come at once, and no Deferred is made for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.clock import wall_of
from vmproxy.base.ratelimit import RateLimit
from vmproxy.base.recent import RecentRefusals
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused
from vmproxy.console.interfaces import ILink
from vmproxy.console.migration import Migration
from vmproxy.console.migrations import Migrations, PeerRefused, Wrong
from vmproxy.console.registry import ConsoleIdentity, ConsoleRegistry
from vmproxy.vm.actions import Abort, Begin, Claim, Complete, Details, DialRefused, Judge, Peer
from vmproxy.vm.peer_lockout import PeerLockout
from vmproxy.vm.session import VMSession
from vmproxy.vm.session_table import CLOSED
from vmproxy.wire.dialuri import DialURI

COMPLAINTS_PER_MINUTE = 60

_log = Logger()


class Complaints:
    """Faults of hosts: all counted, and logged at a bounded rate.

    Bound: :data:`COMPLAINTS_PER_MINUTE` lines.

    :ivar counters: how often what happened since the start.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.counters: Counter[str] = Counter()
        self.recent = RecentRefusals(wall_of(clock))
        self._limit = RateLimit(clock, COMPLAINTS_PER_MINUTE, 60.0, _more)

    def add(self, kind: str, peer: str, text: str) -> None:
        """Count a fault, and log it if there is room."""
        self.counters[kind] += 1
        self.recent.add(peer, text)
        if self._limit.allow():
            _log.warn("{peer}: {what}", peer=peer, what=text, kind=kind)


def _more(skipped: int) -> None:
    _log.warn("{n} more complaints about VMs were not logged", n=skipped)


class Outbound(Protocol):
    """The service for VMs with direction "client"."""

    @property
    def sockets(self) -> int:
        """The number of connections."""

    @property
    def offered(self) -> bool:
        """Whether any destination is allowed at all."""

    def judge(self, uri: DialURI, done: Callable[[DialURI, str], None]) -> None:
        """Say whether a VM may be connected to a destination, and why not."""

    def dial(self, console: Console, uri: DialURI) -> None:
        """Connect a console to its destination."""

    def record(self, event: str, **fields: object) -> None:
        """Record in the audit trail."""


class Asker(ILink[Console], Protocol):
    """The connection of a session that asks.

    :ivar console: the console that it carries.
    """

    session: VMSession
    console: Console | None

    @property
    def in_service(self) -> bool:
        """Whether it serves its console now."""

    def answered(self) -> None:
        """Go on: an answer came late."""

    def claim_soon(self) -> None:
        """Claim with what is known, if nothing else comes in a moment."""


class ConsoleBroker:
    """Gives sessions what they ask for.

    :ivar claim_console: finds the console of an identity and lets a link serve it; raises, or fails with,
        :class:`ClaimRefused`.
    :ivar find_peer: finds the vMotion of a pair; raises, or fails with, :class:`PeerRefused`.
    :ivar complete_move: lets the destination of a vMotion serve its console; answers whether it does.
    :ivar outbound: where VMs with direction "client" are served.
    :ivar stopping: whether the process is being stopped: no vMotion can be served any more.
    """

    def __init__(
        self, directory: ConsoleRegistry, migrations: Migrations, lockout: PeerLockout, complaints: Complaints
    ) -> None:
        self.claim_console: Callable[[ConsoleIdentity, Asker], Console | Deferred[Console]] = directory.claim
        self.find_peer: Callable[[Asker, bytes, UUID | None], Migration | Deferred[Migration]] = migrations.peer
        self.complete_move: Callable[[Asker, bytes], bool | Deferred[bool]] = migrations.complete
        self.outbound: Outbound | None = None
        self.stopping = False
        self._directory = directory
        self._migrations = migrations
        self._lockout = lockout
        self._complaints = complaints

    # Consoles.

    def dial_with(self, outbound: Outbound) -> None:
        """Serve VMs with direction "client" by this."""
        self.outbound = outbound

    def stop(self) -> None:
        """Serve no vMotion any more: the process is being stopped."""
        self.stopping = True

    def claim(self, link: Asker, wanted: Claim) -> None:
        """Let a connection serve the console that it claims."""
        # Taken apart at once: each field by its name costs more than all of them in order.
        uuid, port, uri, name, target, word, bios, awaited, location, known_by = wanted
        outbound = self.outbound
        dial = partial(outbound.dial, uri=target) if target is not None and outbound is not None else None
        if awaited and self._directory.needs_bios(uuid):
            link.session.claim_later()
            link.claim_soon()
            return
        identity = ConsoleIdentity(uuid, port, uri, name, dial, bios, word, location, known_by)
        try:
            answer = self.claim_console(identity, link)
        except ClaimRefused as error:
            link.session.refused(str(error))
            return
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._late_claim, self._claim_failed, (link,), {}, (link,))

    def _late_claim(self, console: Console, link: Asker) -> None:
        if link.session.state == CLOSED and link.console is None:
            self._directory.lost(console, link, f"closed by {link.peer}")  # before the answer came
        link.answered()

    def _claim_failed(self, failure: Failure, link: Asker) -> None:
        link.session.refused(_reason(failure, ClaimRefused))
        link.answered()

    def describe(self, link: Asker, details: Details) -> None:
        """Tell a console the UUIDs and the name of its VM.

        A connection that was replaced tells nothing. One that has claimed the console without its BIOS UUID, and then
        tells another than the console's, is of another VM.
        """
        console, bios = link.console, details.bios_uuid
        if console is None or not link.in_service:
            return
        if details.claimed and bios is not None and bios != (console.bios_uuid or bios):
            link.session.give_up(
                f"its BIOS UUID {bios} came late, and {console.title} has {console.bios_uuid}: it is another VM"
            )
            return
        self._directory.describe(console, bios, details.location_uuid)
        if details.name and console.told_name != details.name:
            self._directory.rename(console, details.name)

    def lost(self, link: Asker, console: Console | None, retired: bool, reason: str) -> bool:
        """A connection is gone.

        :returns: whether it had, or was to have, a console.
        """
        pending = self._migrations.pending_at(link)
        if pending is not None:
            self._directory.lost(pending.console, link, reason)
        elif console is None:
            return False
        elif not retired:
            self._directory.lost(console, link, reason)
        return True

    # Destinations.

    def judge(self, link: Asker, wanted: Judge) -> None:
        """Judge a destination, at once or after it has been looked up."""

        def judged(uri: DialURI, refusal: str) -> None:
            link.session.judged(uri, refusal)
            link.answered()

        if self.outbound is not None:
            self.outbound.judge(wanted.uri, judged)

    def dial_refused(self, link: Asker, refused: DialRefused) -> None:
        """Record that a VM may not be connected to its destination."""
        if self.outbound is not None:
            told = {"host": link.peer, "name": visible(refused.name)}
            if refused.uuid is not None:
                told["uuid"] = str(refused.uuid)
            self.outbound.record("dial-refused", to=refused.uri.place, reason=refused.reason, **told)

    # vMotion.

    def begin(self, link: Asker, wanted: Begin) -> None:
        """Begin a vMotion, if the console is served there."""
        console = link.console
        if console is None or not link.in_service or self.stopping:
            link.session.not_now(wanted.sequence)
            return
        if not self._migrations.may_begin(console):
            why = f"{console.title} begins too many vMotions a minute (vm.vmotions-per-minute)"
            link.session.not_now(wanted.sequence, why)
            return
        migration = self._migrations.begin(console, link, wanted.sequence)
        link.session.go_ahead(wanted.sequence, migration.secret)

    def peer(self, link: Asker, wanted: Peer) -> None:
        """Look up the vMotion of a pair."""
        if self._lockout.locked(link.peer):
            link.session.peer_refused("PEER refused: its address is blocked for its wrong migration pairs")
            return
        try:
            answer = self.find_peer(link, wanted.pair, wanted.uuid)
        except PeerRefused as error:
            self._refuse_peer(link, error)
            return
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._late_peer, self._peer_failed, (link,), {}, (link,))
        else:
            self._accept_peer(link, answer)

    def _accept_peer(self, link: Asker, migration: Migration) -> None:
        link.session.peer_accepted(migration.console, migration.sequence)

    def _refuse_peer(self, link: Asker, error: PeerRefused) -> None:
        link.session.peer_refused(f"PEER refused: {error}")
        if error.wrong is Wrong.UNKNOWN and self._lockout.wrong_pair(link.peer):
            what = "too many wrong migration pairs; no PEER from its address is accepted for a minute"
            self._complaints.add("addresses closed out", link.peer, what)

    def _late_peer(self, migration: Migration, link: Asker) -> None:
        if link.session.state == CLOSED:
            self._directory.lost(migration.console, link, f"closed by {link.peer}")  # before the answer came
        else:
            self._accept_peer(link, migration)
        link.answered()

    def _peer_failed(self, failure: Failure, link: Asker) -> None:
        error = failure.value
        self._refuse_peer(link, error if isinstance(error, PeerRefused) else PeerRefused(_reason(failure, PeerRefused)))
        link.answered()

    def complete(self, link: Asker, wanted: Complete) -> None:
        """Let the destination of a vMotion serve its console."""
        pending = self._migrations.pending_at(link)
        answer = self.complete_move(link, wanted.sequence)
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._late_complete, self._complete_failed, (link, pending), {}, (link,))
        elif not answer:
            link.session.not_completed()

    def _late_complete(self, moved: bool, link: Asker, pending: Migration | None) -> None:
        if not moved:
            link.session.not_completed()
        elif link.session.state == CLOSED and link.console is None and pending is not None:
            self._directory.lost(pending.console, link, f"closed by {link.peer}")  # before the answer came
        link.answered()

    def _complete_failed(self, failure: Failure, link: Asker) -> None:
        _reason(failure, ClaimRefused)
        link.session.not_completed()
        link.answered()

    def abort(self, link: Asker, wanted: Abort) -> None:
        """End the vMotion of a source."""
        console = link.console
        if console is None or not self._migrations.abort(link, console, wanted.sequence):
            link.session.not_aborted()


def _reason(failure: Failure, expected: type[Exception]) -> str:
    if failure.check(expected) is None:
        _log.failure("a question of a VM could not be answered", failure=failure)
        return "an error in the concentrator, see its log"
    return failure.getErrorMessage()
