"""One connection to a remote end: TCP, with TLS and Telnet as the URI says.

It knows bytes and breaks, and neither consoles nor when to dial; that is :mod:`vmproxy.vm.outbound.bridge`. The order
on the way up: TCP to the address that was judged; a look at whether that turned out to be this very machine; TLS,
with its handshake within the same deadline; then the line is *made*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Typed
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IConnector, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base.turns import Turns
from vmproxy.errors import VMProxyError
from vmproxy.vm.keepalive import Liveness, set_options
from vmproxy.vm.outbound.rules import DialRule
from vmproxy.vm.outbound.tls import explain, start_tls, tls_creator
from vmproxy.vm.sockets import socket_of
from vmproxy.wire.dialuri import DialURI
from vmproxy.wire.nvtclient import BREAK, NvtClient

CONTROL_LIMIT = 64 * 1024
COMMANDS_PER_SECOND = 2000
SMALL_READ = 4096  # of Telnet and TLS: each command, and each record, costs far more than a byte of data


class DialFailed(VMProxyError):
    """A remote end cannot be reached; the text says why."""


class DialRefused(VMProxyError):
    """A remote end may not be reached; the text says why."""


class Owner(Typed):
    """The owner of a connection once it is made."""

    def heard(self, items: list[bytes | None]) -> None:
        """Serial data from the remote end, in order; None is a break."""

    def line_full(self, full: bool) -> None:
        """The remote end reads slower than we write, or has caught up."""

    def line_lost(self, line: OutboundConnection, reason: str) -> None:
        """The line is gone."""


@implementer(IPushProducer, IHandshakeListener)
class OutboundConnection(Protocol):
    """A connection to a remote end.

    :ivar made: fires with the line when it can be used; fails with why it cannot.
    :ivar rule: the rule that allowed it.
    :ivar peer: the address that it was connected to.
    :ivar ended: fires when it is gone, or has never come to be.
    :ivar listening: whether it reads from the remote end, as far as that is up to who is told.
    :ivar owner: who is told; None until somebody has taken it, and when nobody wants it any more.
    """

    def __init__(
        self,
        uri: DialURI,
        rule: DialRule,
        keep_idle: int,
        clock: IReactorTime,
        liveness: Liveness,
        turns: Turns,
        admit: Callable[[OutboundConnection], str],
    ) -> None:
        """
        :param liveness: finds out that nobody is there any more, while bytes are on their way.
        :param turns: has the time that Telnet from remote ends, and TLS with them, may take.
        :param admit: called when TCP is there; :returns: why the line may not be, empty if it may.
        """
        self.uri = uri
        self.rule = rule
        self.peer = ""
        self.owner: Owner | None = None
        self.made: Deferred[OutboundConnection] = Deferred(self._cancelled)
        self.ended: Deferred[None] = Deferred()
        self._keep_idle = keep_idle
        self._clock = clock
        self._liveness = liveness
        self._turns = turns
        self._waiting = b""  # for a turn of the reactor
        self.listening = True
        self._admit = admit
        self._telnet = NvtClient() if uri.telnet else None
        self._full = False
        self._control = 0
        self._commands = 0
        self._second = 0.0
        self._reason = ""

    def serve(self, owner: Owner | None) -> None:
        """Tell another owner from now on, or nobody."""
        self.owner = owner

    def use(self, rule: DialRule) -> None:
        """Be allowed by another rule."""
        self.rule = rule

    @property
    def _tcp(self) -> Connection:
        return cast(Connection, self.transport)

    @property
    def own(self) -> bool:
        """Whether the remote end is on this machine: own addresses answer from themselves."""
        return bool(getattr(self._tcp.getHost(), "host", None) == self.peer)

    # The way up.

    def connectionMade(self) -> None:
        """TCP is there."""
        self.peer = str(getattr(self._tcp.getPeer(), "host", ""))
        if refusal := self._admit(self):
            self._fail(DialRefused(refusal))
            return
        handle = socket_of(self.transport)
        if handle is not None:
            try:
                set_options(handle, self._keep_idle)
            except OSError as error:
                self._fail(DialFailed(str(error)))
                return
        if self.uri.tls or self._telnet is not None:
            self._tcp.bufferSize = SMALL_READ
        if not self.uri.tls:
            self._up()
        elif self._turns.open():
            self._start_tls()
        else:
            self._tcp.pauseProducing()
            self._turns.wait(self.peer, self._start_tls, self._failed)

    def _start_tls(self) -> None:
        if self.transport is None or self.made.called:  # it is gone, or was waited for too long
            return
        self._tcp.resumeProducing()
        try:
            creator = tls_creator(self.uri.host, self.rule)
            start_tls(self, self._tcp, creator, self._clock, self._turns, self.peer)
        except ValueError as error:  # a name that TCP takes and TLS does not, with "_" for instance
            self._fail(DialFailed(f"TLS: {error}"))

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        self._up()

    def _up(self) -> None:
        if self.made.called:
            return
        self._tcp.registerProducer(self, True)
        if self._telnet is not None:
            self._tcp.write(self._telnet.opening())
        self.made.callback(self)

    def _fail(self, error: VMProxyError) -> None:
        if not self.made.called:
            self.made.errback(error)
        self.abort(str(error))

    def _cancelled(self, _made: Deferred[OutboundConnection]) -> None:
        self.abort("no longer wanted")

    # Bytes.

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the remote end."""
        if self.owner is None:
            return
        if self._telnet is None:
            self.owner.heard([data])
            return
        if self._waiting or not self._turns.open():
            if not self._waiting:
                self._tcp.pauseProducing()
                self._turns.wait(self.peer, self._next_turn, self._failed)
            self._waiting += data
            return
        self._heard(self.owner, self._telnet, data)

    def _next_turn(self) -> None:
        data, self._waiting = self._waiting, b""
        if data and self.owner is not None and self._telnet is not None and self.transport is not None:
            if self.listening:
                self._tcp.resumeProducing()
            self._heard(self.owner, self._telnet, data)

    def _failed(self) -> None:
        self.abort("an error in the concentrator, see its log")

    def _heard(self, owner: Owner, telnet: NvtClient, data: bytes) -> None:
        items, answers = telnet.feed(data)
        if items:
            owner.heard(items)
        if answers:
            self._control += len(answers) if self._full else 0
            if self._control > CONTROL_LIMIT:
                self.abort("it keeps asking but does not read the answers")
                return
            self._tcp.write(answers)
        if telnet.fatal:
            self.abort(telnet.fatal)
        elif telnet.commands - self._commands > COMMANDS_PER_SECOND:
            self._check_pace(telnet.commands)

    def _check_pace(self, commands: int) -> None:
        now = self._clock.seconds()
        if now - self._second < 1:
            self.abort("it sends too many Telnet commands")
        self._commands, self._second = commands, now

    def send(self, data: bytes) -> None:
        """Serial data for the remote end."""
        self._tcp.write(data if self._telnet is None else self._telnet.encode(data))
        self._liveness.written(self)

    def send_break(self) -> None:
        """A break for the remote end, where there is a way to say it."""
        if self._telnet is not None:
            self._tcp.write(BREAK)

    def listen(self, on: bool) -> None:
        """Read from the remote end, or do not."""
        self.listening = on
        if on and not self._waiting:
            self._tcp.resumeProducing()
        elif not on:
            self._tcp.pauseProducing()

    # The end.

    def finish(self) -> None:
        """Close when everything has been sent; what comes meanwhile is for nobody."""
        self.owner = None
        self.listening = True
        self._tcp.resumeProducing()  # its end must be seen
        self._tcp.unregisterProducer()
        self._tcp.loseConnection()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._reason = self._reason or reason
        if self.transport is not None:
            self._tcp.abortConnection()

    def close(self, reason: str) -> None:
        """Nobody answers any more."""
        self.abort(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._liveness.discard(self)
        self.listening = False
        try:
            self._next_turn()
        finally:
            self._lost(reason)

    def _lost(self, reason: Failure) -> None:
        why = self._reason or ("closed by the far end" if reason.check(ConnectionDone) else explain(reason))
        if not self.made.called:
            self.made.errback(DialFailed(why))
        self.transport = None  # which has this, by its connector
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.line_lost(self, why)
        self.end()

    def end(self) -> None:
        """There is no socket any more."""
        if not self.ended.called:
            self.ended.callback(None)

    # IPushProducer.

    def pauseProducing(self) -> None:
        """The remote end reads slower than we write."""
        self._full = True
        if self.owner is not None:
            self.owner.line_full(True)

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._full = False
        self._control = 0
        if self.owner is not None:
            self.owner.line_full(False)

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""


class OutboundFactory(ClientFactory):
    """Makes the protocol of one line, once."""

    noisy = False

    def __init__(self, line: OutboundConnection) -> None:
        self._line = line

    def buildProtocol(self, addr: IAddress | None) -> OutboundConnection | None:
        """The line, unless nobody waits for it any more."""
        return None if self._line.made.called else self._line

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """There is no connection."""
        self._line.end()
        if not self._line.made.called:
            self._line.made.errback(DialFailed(explain(reason)))

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """The connection is gone, also one that nobody waited for any more."""
        self._line.end()
