"""A connection from a host: transport, TLS and pace around a :class:`VMSession`.

A :class:`twisted.conch.telnet.Telnet` with its own eyes and memory: the stock class looks at every byte in Python,
rewrites CR LF even under BINARY, keeps an object per option, and raises (and so drops the connection) on input that a
real host may send. Here the session scans and answers; of Telnet's own machinery only ``applicationDataReceived`` and
``do``, ``dont``, ``will`` and ``wont`` are left, the last four without their Deferreds. Nothing that arrives makes
:meth:`HostTelnet.dataReceived` raise.

In the life of a connection it is first unidentified, with a deadline. Then it serves a console, at once or at the end
of a vMotion. A connection whose console has moved on is retired: what still comes from it is recorded, and it is closed
if the host does not do so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.conch.telnet import Telnet
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base.addresses import neighbourhood
from vmproxy.base.failures import explain
from vmproxy.console.console import Console
from vmproxy.vm.actions import (
    Abort,
    Action,
    Begin,
    Claim,
    ClaimSoon,
    Close,
    Complain,
    Complete,
    Count,
    Details,
    DialRefused,
    GuestBreak,
    Judge,
    Peer,
    PortSettings,
    Readiness,
    Reading,
    StartTLS,
)
from vmproxy.vm.comport import settings_text
from vmproxy.vm.connection_state import LONG_AGO, ConnectionState
from vmproxy.vm.frontend import VMFrontend
from vmproxy.vm.keepalive import is_dead, set_options
from vmproxy.vm.sending import send
from vmproxy.vm.session import VMSession
from vmproxy.vm.session_machine import LOG, PACE, TURN
from vmproxy.vm.session_table import ARRIVING, ASKING, CLOSED, OPEN
from vmproxy.vm.settings import Encryption
from vmproxy.vm.sockets import socket_of, unread
from vmproxy.vm.tls import Layer, failure_of
from vmproxy.vm.traces import TracedConnection
from vmproxy.wire.options import Side
from vmproxy.wire.telnet import IAC_BYTE, Scanner, undoubled

SMALL_READ = 4096
LARGE_READ = Connection.bufferSize
COMMANDS_PER_SECOND = 2000
COMMANDS_AT_ONCE = 64
DRAIN_READS = 16
QUIET_SECONDS = 0.25  # longer than TCP waits before it sends a lost segment again (200 ms on Linux, RFC 6298)

_log = Logger()


def host_of(address: IAddress) -> str:
    """The name of the other end of a connection, for people."""
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else str(address)


@implementer(IHandshakeListener)
class HostTelnet(Telnet):
    """A connection from a host; the link of a console.

    :ivar peer: the host's address.
    :ivar session: what the host says, and what it means.
    :ivar console: the console that is served, or was until another connection took over.
    :ivar ready: whether the VM takes data now.
    :ivar traced: who is told what is said, if anybody.
    """

    session: VMSession
    transport: Any  # a TCP connection, or a layer of TLS that stands for one
    traced: TracedConnection | None
    _in_line = False  # what is kept has asked for a turn of the reactor
    _draining = False
    _lost: Failure | None = None  # the connection is gone; what came before that waits for its turn, or for an answer
    _pace: IDelayedCall | None = None  # the host waits for the next second
    _second = 0.0
    _close_reason = ""
    _retired = False
    _done: Callable[[], None] | None = None  # to be called when a retired connection has been read out
    _seen = -1
    ready = True

    def __init__(self, frontend: VMFrontend, peer: str) -> None:
        # Telnet.__init__ is left out on purpose: its tables per connection are replaced by the session.
        self.frontend = frontend
        self.peer = peer
        self.console: Console | None = None
        self.traced = None  # here, as all that each read asks for: in the class it would be looked for in vain first
        self._receiving = False

    # The transport.

    def connectionMade(self) -> None:
        """Offer what we offer, at once: captured hosts wait for it."""
        front, tcp = self.frontend, self.transport
        front.connections.add(self)
        if hasattr(self, "session"):  # another process has begun it
            front.admission.take_over(self.peer)
            self._go_on()
            return
        front.complaints.counters["connections"] += 1
        front.unidentified.start(self)
        tcp.bufferSize = SMALL_READ  # until it is known whose time it takes
        settings = front.settings
        handle = None if front.inherited else socket_of(self.transport)
        if handle is not None:
            try:
                set_options(handle, settings.keep_idle)
            except OSError as error:
                _log.debug("{peer}: {error}", peer=self.peer, error=error)  # it is gone again: a port scan
        tcp.registerProducer(self, True)
        if self.encrypted:
            front.handshakes.start(self)
            self.session = VMSession(front.terms, settings.com_port, encrypted=True)
        elif front.tls.credentials is None or settings.encryption is Encryption.OFF:
            self.session = VMSession(front.terms, settings.com_port)
        else:
            required = settings.encryption is Encryption.REQUIRE
            self.session = VMSession(front.terms, settings.com_port, tls=True, guarded=required)
        self._flush()

    def _go_on(self) -> None:
        self.transport.bufferSize = SMALL_READ if self.console is None else LARGE_READ
        self.transport.registerProducer(self, True)
        self._act()
        if self.session.resting and self._pace is None:
            self._get_in_line()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Telnet's has a default
        if (self.session.resting or self.session.has_kept) and self in self.frontend.connections:
            self._lost = reason
            if not self._in_line and self.session.resting:
                self._hold(PACE, False)
                self._get_in_line()
        elif self._close_reason:
            self._leave(self._close_reason)
        elif reason.check(ConnectionDone):
            self._leave(f"closed by {self.peer}")
        elif why := failure_of(reason):
            self._complain("failures of TLS", f"TLS failed: {why}")
            self._leave(f"TLS failed: {why}")
        else:
            why = explain(reason.value)
            self._leave(f"connection lost to {self.peer}" + (f": {why}" if why != "connection lost" else ""))

    def _leave(self, reason: str) -> None:
        # The console must not wait for a socket to be closed; and once is enough.
        front = self.frontend
        if self not in front.connections:
            return
        front.traces.ended(self, reason)
        self.session.close()
        if self.console is None:
            self.session.identify(late=True)  # it may have waited for nothing but a name
            self._act()
        front.forget(self)
        self.ready = False
        console, self.console = self.console, None
        if not front.broker.lost(self, console, self._retired, reason):
            front.counters["left unidentified"] += 1
        self._read_out()
        self.session.left()

    def stop(self) -> None:
        """Take in what has arrived, and close in order: the process is being stopped."""
        self.drain(None)
        while self.session.resting:
            self._perform(self.session.go_on())
        self._leave("the concentrator was stopped")
        # With a producer registered, Twisted would wait for it as long as the host does not read.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the host, cut anywhere."""
        session = self.session
        if self.traced is not None:
            self.traced.take("<", data, self)
        if session.plain and (plain := data if IAC_BYTE not in data else undoubled(data)) is not None:
            self.console.feed(plain)  # type: ignore[union-attr]  # a plain session carries a console
            return
        if (answer := session.along(data)) is not None:
            self._say(answer)
            return
        may_go_on = self._draining or self.frontend.turns.open()
        self._take_in(session.receive(data, COMMANDS_AT_ONCE if may_go_on else 0))

    def _take_in(self, actions: Iterable[Action]) -> None:
        session, turns = self.session, self.frontend.turns
        before = session.commands
        self._receiving = True
        try:
            self._perform(actions)
            while self._within_pace(before) and session.resting and turns.open():
                before = session.commands
                self._perform(session.go_on(COMMANDS_AT_ONCE))
        finally:
            self._receiving = False
            self._flush()
        if session.resting:
            self._get_in_line()

    @property
    def crowd(self) -> str:
        """With whom it waits for its turn: a connection that serves no console, with all of them, like one address."""
        return "" if self.console is None else neighbourhood(self.peer)

    def _get_in_line(self) -> None:
        if self._in_line:
            self._hold(TURN, True)
        elif not self.session.holds & PACE:
            self._in_line = True
            self.frontend.turns.wait(self.crowd, self._next_turn, self._failed)

    def _next_turn(self) -> None:
        self._in_line = False
        session = self.session
        if session.holds & TURN:
            self._hold(TURN, False)
        self._take_in(session.go_on(COMMANDS_AT_ONCE))
        self._end_if_lost()

    def _failed(self) -> None:
        self.close("an error in the concentrator, see its log")
        self._end_if_lost()

    def _end_if_lost(self) -> None:
        if self._lost is not None and not self._in_line:
            self.connectionLost(self._lost)

    def applicationDataReceived(self, data: bytes) -> None:
        """Serial data from the guest."""
        if self.console is not None:
            self.console.feed(data)

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            _PERFORM[type(action)](self, action)

    def _act(self) -> None:
        # An event has led to something: in a read, it goes out behind that.
        while actions := self.session.take_actions():  # an answer may lead to more
            self._perform(actions)
        if not self._receiving:
            self._flush()

    def answered(self) -> None:
        """An answer came late: what came behind the question is looked at now."""
        if not self._receiving:
            self._act()
            self._take_in(self.session.go_on(COMMANDS_AT_ONCE))
            self._see_identity()
            if self._lost is not None and not self._in_line:
                self.connectionLost(self._lost)

    def _flush(self) -> None:
        if data := self.session.take_data():
            self._say(data)

    def _say(self, data: bytes) -> None:
        if data:
            if self.traced is not None:
                self.traced.take(">", data, self)
            send(self.transport, data)
            if self.session.state != OPEN:  # until then it has a deadline of its own
                self.frontend.liveness.written(self)

    def be_traced(self, traced: TracedConnection | None) -> None:
        """Tell what is said from now on, or no more."""
        self.traced = traced

    def scanner(self) -> Scanner | None:
        """A scanner that stands where the host is in what it says; None while some of that has not been looked at."""
        return self.session.scanner()

    def _within_pace(self, before: int) -> bool:
        # Each command costs far more than a byte of data. A sender of thousands of them in a second, which no host is,
        # waits for the next one, and is read in small portions from then on.
        session = self.session
        if session.commands // COMMANDS_PER_SECOND == before // COMMANDS_PER_SECOND or session.state == CLOSED:
            return True
        if self._lost is not None:
            return True  # no more of them come
        if self.console is None:
            self.give_up("it sends too many Telnet commands, and has not said which VM it is")
            return False
        before_that, self._second = self._second, self.frontend.clock.seconds()
        if self._second - before_that >= 1:
            return True
        self._complain("floods of commands", "it sends too many Telnet commands, and has to wait")
        self.transport.bufferSize = SMALL_READ
        self._wait_for_second(1)
        return False

    def _wait_for_second(self, seconds: float) -> None:
        self._hold(PACE, True)
        self._pace = self.frontend.clock.callLater(seconds, self._next_second)

    def _next_second(self) -> None:
        self._pace = None
        self._hold(PACE, False)
        if self.session.resting and not self._in_line:
            self._get_in_line()

    def _hold(self, reason: int, on: bool) -> None:
        self.session.hold(reason, on)
        self._act()

    def _read(self, on: bool) -> None:
        if self not in self.frontend.connections:
            return
        if on:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def _complain(self, kind: str, text: str) -> None:
        self.frontend.complaints.add(kind, self.peer, text)

    def close(self, reason: str) -> None:
        """Close at once; what the host has not read yet is lost to it."""
        self._close_reason = reason
        self.session.close()
        self._flush()
        self.transport.abortConnection()

    def close_behind(self, reason: str) -> None:
        """Close; what the host has sent before is still taken in, though it may have to wait for its turn."""
        self.drain(None)
        self._close_reason = reason
        self._flush()
        self.transport.abortConnection()

    def give_up(self, reason: str) -> None:
        """Close, and complain about it, once."""
        if not self._close_reason:
            self._complain("given up", f"closed: {reason}")
            self.close(reason)

    # IPushProducer: what the transport wants.

    def pauseProducing(self) -> None:
        """The host reads slower than we write."""
        self.session.block(True)
        self._act()

    def resumeProducing(self) -> None:
        """The host has caught up."""
        self.session.block(False)
        self._act()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""

    # Options, as Telnet has them.

    def do(self, option: bytes) -> None:
        self._ask(option, Side.PEER, True)

    def dont(self, option: bytes) -> None:
        self._ask(option, Side.PEER, False)

    def will(self, option: bytes) -> None:
        self._ask(option, Side.US, True)

    def wont(self, option: bytes) -> None:
        self._ask(option, Side.US, False)

    def _ask(self, option: bytes, side: Side, on: bool) -> None:
        self.session.ask(option[0], side, on)
        self._act()

    # TLS.

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS, the handshake under way included."""
        return isinstance(self.transport, Layer)

    def _start_tls(self) -> None:
        front, tcp, session = self.frontend, self.transport, self.session
        if front.tls.credentials is None:
            self.give_up("it was offered TLS, and there is no certificate any more")
            return
        if self._lost is not None:  # what it has said waited for its turn: nobody is there to shake hands with
            session.tls_started()
            return
        session.accept_tls()
        self._flush()  # in clear, all of it
        tcp.unregisterProducer()
        front.tls.wrap(self, tcp)
        session.block(False)  # nobody would tell us: it is the layer that we hear of from now on
        self.transport.registerProducer(self, True)
        front.handshakes.start(self)
        session.tls_started()

    def handshakeCompleted(self) -> None:
        """IHandshakeListener: TLS is on."""
        self.frontend.handshakes.discard(self)
        self._identify_anew()
        if isinstance(self.transport, Layer):
            self.frontend.counters[f"connections by {self.transport.version}"] += 1

    def handshake_overdue(self) -> None:
        """The handshake has had its time."""
        layer = self.transport
        if self.session.holds or (
            isinstance(layer, Layer) and (layer.waiting or unread(layer.tcp)) and layer.may_be_late()
        ):
            # It is we who do not read, or have not come to it yet: thousands of hosts may be back at once.
            self.frontend.handshakes.start(self)
            self._identify_anew()
        else:
            self.give_up("the TLS handshake was not completed in time")

    def _identify_anew(self) -> None:
        # Handshakes are work for us: their time is not counted as the host's.
        if self in self.frontend.unidentified:
            self.frontend.unidentified.start(self)

    # The console.

    @property
    def in_service(self) -> bool:
        """Whether this is the connection that serves its console now."""
        return self.console is not None and self.console.link is self

    def identify(self, overdue: bool = False) -> bool:
        """Claim the console, if it is known which, with or without its name.

        :param overdue: without a VC UUID too.
        :returns: whether the host has said enough for it.
        """
        session = self.session
        session.identify(True, overdue)
        self._act()
        if session.state in ASKING:
            self.frontend.unidentified.start(self)  # the answer is late, not the host
            return True
        return self.console is not None

    def claim_soon(self) -> None:
        """Claim with what is known, if nothing else comes in a moment."""
        self.frontend.undecided.start(self)

    def write(self, data: bytes) -> None:
        """Serial data for the guest."""
        session = self.session
        session.send(session.encode(data))  # behind the answers
        if not self._receiving:
            self._flush()

    def send_break(self) -> None:
        """A break to the guest."""
        self.session.send_break()
        self._act()

    def serve(self, console: Console) -> None:
        """Hand on early output, then everything as it comes."""
        self._carry(console)
        early, lost = self.session.serve()
        self._act()
        if early:
            console.feed(early)
        if lost:
            console.log.gap(lost, "too much before this connection was in service")

    def wait(self, console: Console) -> None:
        """Carry a console, but keep its output: the connection before is still heard."""
        self._carry(console)
        self.session.wait()
        self._act()

    def _carry(self, console: Console) -> None:
        if self not in self.frontend.connections:
            return
        self.console = console
        if self.frontend.traces.active:
            self.frontend.traces.identified(self, console)
        self.frontend.unidentified.discard(self)
        self.frontend.liveness.written(self)  # the answers until now may be under way
        self.transport.bufferSize = LARGE_READ
        # If others have come since, what was told there holds.
        self.session.carry(console, console.port_control, self.in_service)

    def drain(self, reads: int | None = DRAIN_READS) -> None:
        """Read what the operating system has received already.

        Faults of the connection show in their own time.

        :param reads: how often to read, at most; None for as long as there is something that was there at first.
        """
        log = self.console.log if self.console is not None else None
        if log is not None:
            log.take_all(True)  # no more than the system's buffer holds
        try:
            left = self._unread() - self.session.resting
            self._hurry(True)
            for _ in range(left if reads is None else reads):
                if left <= 0:
                    break
                left -= self.transport.bufferSize  # small where the host has been slowed down
                self.transport.doRead()
        finally:
            self._hurry(False)
            if log is not None:
                log.take_all(False)

    def _hurry(self, on: bool) -> None:
        self._draining = on
        if isinstance(self.transport, Layer):
            self.transport.hurry(on)

    def _unread(self) -> int:
        return unread(self.transport) + self.session.resting if self in self.frontend.connections else 0

    def retire(self, done: Callable[[], None]) -> None:
        """Read out what is still on its way, and close soon: another link has taken over."""
        self._retired = True
        self.session.retire()
        self._done = done
        if self not in self.frontend.connections:
            self._read_out()
            return
        self.frontend.retired.start(self)
        self.drain()
        if self._unread():
            self.frontend.clock.callLater(QUIET_SECONDS, self._check_quiet)
        else:
            self._read_out()

    def _check_quiet(self) -> None:
        if self._done is None or self.console is None:
            return
        # Only we feed the console now: if it has got nothing since, and nothing waits, that was all.
        if self.console.bytes_out == self._seen and not self._unread():
            self._read_out()
        else:
            self._seen = self.console.bytes_out
            self.frontend.clock.callLater(QUIET_SECONDS, self._check_quiet)

    def _read_out(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def release(self, reason: str) -> int:
        """Forget the console that this was to carry, and its early output, and close.

        :returns: the number of bytes that are forgotten.
        """
        kept = self.session.release()
        self.console = None
        if self in self.frontend.connections:
            self.close(reason)
        return kept

    def hold_output(self, on: bool) -> None:
        """Stop reading from the host while log or remote end are behind, or go on."""
        if on or self.session.holds:
            self._hold(LOG, on)
        if not on:
            self.frontend.held.discard(self)
        elif self in self.frontend.connections:
            self.frontend.held.start(self)

    def look_while_held(self) -> None:
        """Look for a dead host while it is not read from.

        A remote end may stand still for ever.
        """
        handle = socket_of(self.transport)
        if handle is not None and is_dead(handle):
            self._hold(LOG, False)  # the reactor finds it, and ends it in order
        else:
            self.frontend.held.start(self)

    # Handing over.

    def snapshot(self) -> ConnectionState:
        """The connection between two events, as a value."""
        front, console, now = self.frontend, self.console, self.frontend.clock.seconds()
        return ConnectionState(
            peer=self.peer,
            session=self.session.snapshot(),
            uuid=None if console is None else console.uuid,
            port="" if console is None else console.port,
            retired=self._retired,
            second=min(now - self._second, LONG_AGO),
            paced=None if self._pace is None else max(0.0, self._pace.getTime() - now),
            ages=front.ages(self),
        )

    @classmethod
    def restore(cls, state: ConnectionState, frontend: VMFrontend, console: Console | None) -> HostTelnet:
        """A connection that goes on where another process's was, as soon as it has its transport.

        Its console is to be restored behind that, then its deadlines (:meth:`VMFrontend.restore_ages`).
        """
        link = cls(frontend, state.peer)
        link.session = VMSession.restore(state.session, frontend.terms)
        link.console = console
        link._retired = state.retired
        link._second = frontend.clock.seconds() - state.second
        if state.paced is not None:
            link.session.hold(PACE, True)
            link._pace = frontend.clock.callLater(state.paced, link._next_second)
        return link

    # Actions of the session.

    def _set_ready(self, action: Readiness) -> None:
        self.ready = action.ready
        if self.ready and self.in_service and self.console is not None:
            self.console.link_ready()

    def _set_port(self, action: PortSettings) -> None:
        if self.in_service and self.console is not None:  # what a connection says that was replaced is out of date
            self.console.set_port_control(action.server, settings_text(action.server))

    def _guest_break(self, _: GuestBreak) -> None:
        if self.console is not None:
            self.console.guest_break()

    def _peer_asked(self, action: Peer) -> None:
        self.frontend.broker.peer(self, action)
        self._see_identity()

    def _see_identity(self) -> None:
        # The pair of a vMotion says which VM it is.
        if self.session.state == ARRIVING:
            self.frontend.unidentified.discard(self)
            if self.frontend.traces.active and (pending := self.frontend.pending_at(self)) is not None:
                self.frontend.traces.identified(self, pending.console)

    def _close_for(self, action: Close) -> None:
        if action.complain:
            self.give_up(action.reason)
        else:
            self.close(action.reason)


_PERFORM: dict[type, Callable[[HostTelnet, Any], None]] = {
    bytes: HostTelnet.applicationDataReceived,
    Claim: lambda link, action: link.frontend.broker.claim(link, action),
    ClaimSoon: lambda link, _: link.claim_soon(),
    Judge: lambda link, action: link.frontend.broker.judge(link, action),
    DialRefused: lambda link, action: link.frontend.broker.dial_refused(link, action),
    Begin: lambda link, action: link.frontend.broker.begin(link, action),
    Peer: HostTelnet._peer_asked,
    Complete: lambda link, action: link.frontend.broker.complete(link, action),
    Abort: lambda link, action: link.frontend.broker.abort(link, action),
    Details: lambda link, action: link.frontend.broker.describe(link, action),
    PortSettings: HostTelnet._set_port,
    GuestBreak: HostTelnet._guest_break,
    Readiness: HostTelnet._set_ready,
    Reading: lambda link, action: link._read(action.on),
    StartTLS: lambda link, _: link._start_tls(),
    Complain: lambda link, action: link._complain(action.kind, action.text),
    Count: lambda link, action: link.frontend.counters.update({action.kind: action.times}),
    Close: HostTelnet._close_for,
}
"""What a connection does for each action of its session."""


class VMFactory(Factory[HostTelnet]):
    """Makes a connection for every host that connects."""

    noisy = False

    def __init__(self, frontend: VMFrontend) -> None:
        self._frontend = frontend

    def buildProtocol(self, address: IAddress | None) -> HostTelnet | None:
        """A connection, unless the process is being stopped, or the host may not connect."""
        front = self._frontend
        if address is None or front.broker.stopping:
            return None
        peer = host_of(address)
        if not front.admission.enter(peer):
            return None
        link = HostTelnet(front, peer)
        if front.traces.active:
            front.traces.connected(link)
        return link
