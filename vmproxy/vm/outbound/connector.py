"""Connections for VMs with direction "client": lookup, judgement, connecting.

The order is: look up, judge each address, connect to the allowed ones, one after the other, *by address*. So what was
judged is what is connected to. When TCP is there it is judged once more: the rules may have changed meanwhile, and
whether an address is one of this machine's own is certain only then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import NotConnectingError
from twisted.internet.interfaces import IHostnameResolver, IReactorTCP, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.clock import wall_of
from vmproxy.base.compat import let_go_of_client
from vmproxy.base.ratelimit import RateLimit
from vmproxy.base.tasks import spawn
from vmproxy.base.turns import Turns
from vmproxy.console.console import Console
from vmproxy.vm.keepalive import Liveness
from vmproxy.vm.outbound.bridge import OutboundBridge
from vmproxy.vm.outbound.connection import DialFailed, DialRefused, OutboundConnection, OutboundFactory
from vmproxy.vm.outbound.resolver import Lookup, LookupFailed, addresses_of, is_own
from vmproxy.vm.outbound.rules import DialRule, DialRules, plain
from vmproxy.wire.dialuri import Address, DialURI, literal

CONNECT_SECONDS = 10.0  # for one address, the handshake of TLS included
ADDRESSES = 8
LINGER_SECONDS = 30.0
STOP_SECONDS = 2.0
RECORDS_PER_MINUTE = 600

_log = Logger()

NO_ROOM = "no descriptor can be spared for it (LimitNOFILE)"
NOT_ALLOWED = "no [[dial]] rule allows it"
NOT_ANY_MORE = "no [[dial]] rule allows it now"
OWN = "that is this machine itself, and no [[dial]] rule names its address"


class Recorder(Protocol):
    """The audit trail."""

    def __call__(self, event: str, **fields: object) -> None:
        """Record something."""


class OutboundConnector:
    """All remote ends.

    :ivar wall: tells the time of day, which people read; the clock tells how long something takes.
    :ivar dials: those that are there, connected or not.
    :ivar dropped: bytes from VMs that remote ends were not given, as they were slow or not there.
    :ivar sockets: how many connections there are, those included that are being made or have only to be closed.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        clock: IReactorTime,
        resolver: IHostnameResolver,
        rules: DialRules,
        keep_idle: int,
        audit: Recorder,
        turns: Turns,
        random: Random | None = None,
        is_own: Callable[[Address], bool] = is_own,
        scarce: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        :param keep_idle: seconds of silence after which a remote end is probed; 0 is never.
        :param turns: has the time that Telnet from remote ends, and TLS with them, may take.
        :param random: where the jitter of pauses comes from.
        :param is_own: tells whether an address is one of this machine's own.
        :param scarce: tells whether there are too few descriptors left to take one.
        """
        self._reactor = reactor
        self.clock = clock
        self._turns = turns
        self.wall = wall_of(clock)
        self.lookup = Lookup(clock, resolver)
        self.rules = rules
        self._keep_idle = keep_idle
        self._liveness = Liveness(clock, keep_idle)
        self._audit = audit
        self._is_own = is_own
        self._scarce = scarce
        self.sockets = self.dropped = 0
        self.random = random or Random()  # noqa: S311 - nothing secret is drawn from it
        self.bridges: set[OutboundBridge] = set()
        self._parting: set[OutboundConnection] = set()
        self._records = RateLimit(clock, RECORDS_PER_MINUTE, 60.0, lambda lost: audit("lost", events=lost))

    # What a VM wants.

    @property
    def offered(self) -> bool:
        """Whether any destination is allowed at all."""
        return bool(self.rules.rules)

    def judge(self, uri: DialURI, done: Callable[[DialURI, str], None]) -> None:
        """Judge a destination, at once or after it has been looked up.

        A host that nobody knows is not refused: that may change, and then it is judged.

        :param done: called with the URI and why not; that is empty if the VM may.
        """
        if not self.rules.could(uri):
            done(uri, NOT_ALLOWED)
        elif uri.address is not None:
            done(uri, "" if self.rules.allowed(uri, [uri.address], self._is_own) else OWN)
        else:
            spawn(self._judge_found(uri, done)).addErrback(
                lambda failure: _log.failure("judging {to} failed", failure=failure, to=uri.place)
            )

    async def _judge_found(self, uri: DialURI, done: Callable[[DialURI, str], None]) -> None:
        refusal = ""
        with suppress(DialFailed):
            try:
                await self.find(uri)
            except DialRefused as error:
                refusal = str(error)
        done(uri, refusal)

    def dial(self, console: Console, uri: DialURI) -> None:
        """Give a console its remote end; one that has it already keeps it as it is."""
        old = console.remote
        if isinstance(old, OutboundBridge):
            if old.uri == uri and old.state != "refused":
                return
            old.hang_up(f"the VM asks for {uri.place}")
        dial = OutboundBridge(self, console, uri)
        self.bridges.add(dial)
        dial.begin()

    def forget(self, dial: OutboundBridge) -> None:
        """A remote end is hung up."""
        self.bridges.discard(dial)

    def drop(self, size: int) -> None:
        """Count bytes that a remote end was not given."""
        self.dropped += size

    def record(self, event: str, **fields: object) -> None:
        """Record in the audit trail, at a bounded rate."""
        if self._records.allow():
            self._audit(event, **fields)

    # The way to a remote end.

    async def find(self, uri: DialURI) -> list[tuple[Address, DialRule]]:
        """Find the allowed addresses of a destination.

        :returns: the addresses with the rules that allow them, at least one.
        :raises DialFailed: if nobody knows.
        :raises DialRefused: if none of them is allowed.
        """
        if not self.rules.could(uri):
            raise DialRefused(NOT_ALLOWED)
        if uri.address is not None:
            found = [uri.address]
        else:
            try:
                found = addresses_of(await self.lookup.find(uri.host, uri.port), uri.family)
            except LookupFailed as error:
                raise DialFailed(str(error)) from None
            if not found:
                raise DialFailed(f"{uri.host} has no IPv{uri.family} address")
        allowed = self.rules.allowed(uri, found, self._is_own)
        if not allowed and any(self.rules.judge(uri, address) for address in found):
            raise DialRefused(OWN)
        if not allowed:
            raise DialRefused(f"no [[dial]] rule allows {', '.join(map(str, found[:ADDRESSES]))}")
        return allowed[:ADDRESSES]

    async def connect(self, uri: DialURI) -> OutboundConnection:
        """Connect to a destination.

        :raises DialFailed, DialRefused: if that cannot be, or may not be.
        """
        failed: list[str] = []
        refused: list[str] = []
        for address, rule in await self.find(uri):
            if self._scarce():
                raise DialFailed(NO_ROOM)
            try:
                line = await self._connect_to(uri, address, rule)
                if problem := self._changed(line):  # while TLS was being agreed
                    line.abort(problem)
                    raise DialFailed(problem)
                return line
            except DialFailed as error:
                failed.append(str(error))
            except DialRefused as error:
                refused.append(str(error))
        if failed:  # where one may be connected to and does not answer, that is worth another try
            raise DialFailed(failed[-1])
        raise DialRefused(refused[-1])

    def _connect_to(self, uri: DialURI, address: Address, rule: DialRule) -> Deferred[OutboundConnection]:
        line = OutboundConnection(uri, rule, self._keep_idle, self.clock, self._liveness, self._turns, self._admit)
        self.sockets += 1
        line.ended.addCallback(self._one_less)
        connector = self._reactor.connectTCP(str(address), uri.port, OutboundFactory(line), 2 * CONNECT_SECONDS)
        client = getattr(connector, "transport", None)

        def over(_: None) -> None:
            self.clock.callLater(0, let_go_of_client, connector, client)

        if client is not None:
            line.ended.addCallback(over)

        def failed(failure: Failure) -> Failure:
            with suppress(NotConnectingError):  # where it is past that, the line closes itself
                connector.stopConnecting()
            return failure

        def too_late(result: object, seconds: float) -> OutboundConnection:
            raise DialFailed(f"no answer within {seconds:g} s")

        return line.made.addErrback(failed).addTimeout(CONNECT_SECONDS, self.clock, onTimeoutCancel=too_late)

    def _one_less(self, _: None) -> None:
        self.sockets -= 1

    def _admit(self, line: OutboundConnection) -> str:
        address = self._where(line)
        rule = self.rules.judge(line.uri, address, line.own) if address is not None else None
        if rule is None:
            return OWN if line.own else NOT_ALLOWED
        line.use(rule)
        return ""

    def _where(self, line: OutboundConnection) -> Address | None:
        peer = line.transport.getPeer() if line.transport is not None else None
        address = literal(str(getattr(peer, "host", "")))
        return None if address is None else plain(address)

    # What changes.

    def probe_after(self, keep_idle: int) -> None:
        """Take another keepalive time, for remote ends dialled from now on."""
        self._keep_idle = keep_idle
        self._liveness.use(keep_idle)

    def use(self, rules: DialRules) -> None:
        """Take other rules: who is not allowed any more is cut."""
        self.rules = rules
        for dial in list(self.bridges):
            line = dial.line
            if line is None:
                if rules.could(dial.uri):
                    dial.redial("")  # perhaps it is what was missing
                else:
                    dial.refuse(NOT_ALLOWED)
                continue
            problem = self._changed(line)
            if problem == NOT_ANY_MORE:
                dial.refuse(problem)
            elif problem:
                dial.redial(problem)

    def _changed(self, line: OutboundConnection) -> str:
        # Why a line that was made under other rules may not go on; empty where it may.
        before = line.rule
        if self._admit(line):
            return NOT_ANY_MORE
        if line.uri.tls and (before.verify, before.authorities) != (line.rule.verify, line.rule.authorities):
            return "the far end is to be verified in another way from now on"
        return ""

    def part(self, line: OutboundConnection) -> None:
        """Close a line when it has sent everything, or after a while."""
        self._parting.add(line)
        late = self.clock.callLater(LINGER_SECONDS, line.abort, "it does not read what was left to send")

        def gone(_: None) -> None:
            self._parting.discard(line)
            if late.active():
                late.cancel()

        line.ended.addCallback(gone)
        line.finish()

    async def stop(self) -> None:
        """Send what is left to send, for a moment, and close: all consoles are down."""
        for dial in list(self.bridges):
            dial.hang_up("the concentrator was stopped")
        lines = list(self._parting)
        if lines:
            waiting: Deferred[None] = Deferred()
            late = self.clock.callLater(STOP_SECONDS, waiting.callback, None)
            for line in lines:
                line.ended.addCallback(lambda _: None if self._parting or waiting.called else waiting.callback(None))
            await waiting
            if late.active():
                late.cancel()
        for line in list(self._parting):
            line.abort("the concentrator was stopped")
