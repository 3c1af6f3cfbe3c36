"""One connection from a host: VMware's Telnet extension on one side, a console on the other.

A :class:`twisted.conch.telnet.Telnet` with its own eyes and memory: the stock class looks at every byte in Python,
rewrites CR LF even under BINARY, keeps an object per option, and raises (and so drops the connection) on input that a
real host may send. Here a bulk scanner finds the commands and :class:`Options` keeps the state, so that of Telnet's own
machinery only ``applicationDataReceived``, ``commandReceived``, ``requestNegotiation`` and ``do``, ``dont``, ``will``
and ``wont`` are left, the last four without their Deferreds. Nothing that arrives makes
:meth:`VMConnection.dataReceived` raise.

In the life of a connection it is first unidentified, with a deadline, and what the guest says is kept, bounded. With
a matching DO-PROXY and a VC UUID it claims its console and serves it; or it shows the pair of a pending vMotion with
PEER, and serves the console from COMPLETE on. A connection whose console has moved on is retired: what still comes
from it is recorded, and it is closed if the host does not do so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

from twisted.conch.telnet import Telnet
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink
from vmproxy.vm.conversation import Conversation
from vmproxy.vm.hub import Hub
from vmproxy.vm.inband import Encryption, Guard
from vmproxy.vm.keepalive import set_options
from vmproxy.vm.portcontrol import PortControl
from vmproxy.vm.sending import send
from vmproxy.vm.sockets import socket_of, unread
from vmproxy.vm.tls import Layer, failure_of
from vmproxy.wire.authentication import ACCEPT, ASK, Answer, read_answer
from vmproxy.wire.options import Acceptable, Options, Side
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    BRK,
    COM_PORT,
    ECHO,
    IAC,
    IAC_BYTE,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    Command,
    Negotiation,
    NvtDecoder,
    Oddity,
    Scanner,
    Subnegotiation,
    escape,
    nvt_encode,
    subnegotiation,
)
from vmproxy.wire.vmware import message

EARLY_LIMIT = 256 * 1024
CONTROL_LIMIT = 256 * 1024
READ_SIZE = 64 * 1024
DRAIN_READS = 16
SMALL_READ = 4096
COMMANDS_PER_SECOND = 2000
QUIET_SECONDS = 0.25  # longer than TCP waits before it sends a lost segment again (200 ms on Linux, RFC 6298)
_LOG, _EARLY, _PACE = 1, 2, 4

_OPENING = (
    (BINARY, Side.US),
    (SGA, Side.US),
    (ECHO, Side.US),
    (BINARY, Side.HIM),
    (SGA, Side.HIM),
    (VMWARE_EXT, Side.HIM),
)
_GUARDED_OPENING = (*_OPENING[:-1], (AUTHENTICATION, Side.HIM))  # where nothing is believed before TLS
_LOCAL = (BINARY, SGA, ECHO, VMWARE_EXT)
_ACCEPTABLE = {
    True: Acceptable(_LOCAL, (BINARY, SGA, VMWARE_EXT, COM_PORT)),
    False: Acceptable(_LOCAL, (BINARY, SGA, VMWARE_EXT)),
}
_WITH_TLS = {
    True: Acceptable(_LOCAL, (BINARY, SGA, AUTHENTICATION, VMWARE_EXT, COM_PORT)),
    False: Acceptable(_LOCAL, (BINARY, SGA, AUTHENTICATION, VMWARE_EXT)),
}
_BREAK = bytes((IAC, BRK))


def _opened(acceptable: Acceptable, opening: tuple[tuple[int, Side], ...]) -> tuple[Options, bytes]:
    options = Options(acceptable)
    return options, b"".join(options.ask(option, side, True) for option, side in opening)


# What every connection begins with: the state of its options, and the bytes that ask for them.
_OPENED = {com_port: _opened(_ACCEPTABLE[com_port], _OPENING) for com_port in (False, True)}
_OPENED_WITH_TLS = {com_port: _opened(_WITH_TLS[com_port], _OPENING) for com_port in (False, True)}
_OPENED_GUARDED = {com_port: _opened(_WITH_TLS[com_port], _GUARDED_OPENING) for com_port in (False, True)}

_log = Logger()


@cache
def _bare(code: int) -> bytes:
    return subnegotiation(VMWARE_EXT, message(code))


def host_of(address: IAddress) -> str:
    """What people call the other end of a connection."""
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else str(address)


@implementer(ILink, IHandshakeListener)
class VMConnection(Telnet):
    """A connection from a host.

    :ivar peer: the host's address.
    :ivar ready: whether the VM takes data now.
    :ivar console: the console that it serves, or served until another connection took over.
    """

    _guard: Guard | None = None  # until it has switched to TLS, where it must

    def __init__(self, hub: Hub, address: IAddress) -> None:
        # Telnet.__init__ is left out on purpose: its tables per connection are replaced by Options and by methods.
        self._hub = hub
        self.peer = host_of(address)
        self._scanner = Scanner()
        self._options = _OPENED[hub.settings.com_port][0].copy()
        self._nvt: NvtDecoder | None = NvtDecoder()  # while the VM's direction is not BINARY
        self._port = PortControl(self, hub.signature)
        self._conversation = Conversation(self, hub)
        self.console: Console | None = None
        self._waiting = False  # in service, but the connection before is still being heard
        self._done: Callable[[], None] | None = None  # to be called when a retired connection has been read out
        self._seen = -1
        self._retired = False
        self._early = bytearray()
        self._early_lost = 0
        self._holds = 0  # why we do not read; one bit for each reason
        self._commands = 0
        self._second = 0.0
        self._blocked = False  # the transport has enough
        self._control_while_blocked = 0
        self._close_reason = ""
        self._answers: list[bytes] | None = None  # while a read is being taken in: what is to be sent behind it
        self.ready = True

    # The transport.

    def connectionMade(self) -> None:
        """Offer what we offer, at once: captured hosts wait for it."""
        hub = self._hub
        hub.connections.add(self)
        hub.counters["connections"] += 1
        handle = socket_of(self.transport)
        if handle is not None:
            try:
                set_options(handle, hub.settings.keep_idle)
            except OSError as error:
                _log.debug("{peer}: {error}", peer=self.peer, error=error)  # it is gone again: a port scan
        self._tcp.registerProducer(self, True)
        hub.unidentified.start(self)
        opened = _OPENED
        if self.encrypted:
            hub.handshakes.start(self)
        elif hub.tls.credentials is not None and hub.settings.encryption is not Encryption.OFF:
            opened = _OPENED_WITH_TLS
            if hub.settings.encryption is Encryption.REQUIRE:
                opened = _OPENED_GUARDED
                self._guard = Guard()
            self._options = opened[hub.settings.com_port][0].copy()
        self.control(opened[hub.settings.com_port][1])

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        if self._close_reason:
            self._leave(self._close_reason)
        elif reason.check(ConnectionDone):
            self._leave(f"closed by {self.peer}")
        elif why := failure_of(reason):
            self.complain("failures of TLS", f"TLS failed: {why}")
            self._leave(f"TLS failed: {why}")
        else:
            self._leave(f"connection lost to {self.peer}: {reason.getErrorMessage().rstrip('.')}")

    def _leave(self, reason: str) -> None:
        # The console must not wait for a socket to be closed; and once is enough.
        hub = self._hub
        if self not in hub.connections:
            return
        if self.console is None:
            self._conversation.identify(late=True)  # it may have waited for nothing but a name
        hub.connections.discard(self)
        hub.admission.leave(self.peer)
        hub.unidentified.discard(self)
        hub.handshakes.discard(self)
        hub.retired.discard(self)
        hub.liveness.discard(self)
        self.ready = False
        console, self.console = self.console, None
        pending = hub.migrations.pending_at(self)
        if pending is not None:
            hub.directory.lost(pending.console, self, reason)
        elif console is None:
            hub.counters["left unidentified"] += 1
        elif not self._retired:
            hub.directory.lost(console, self, reason)
        self._read_out()

    def stop(self) -> None:
        """The process is being stopped: take in what has arrived, and part in order."""
        self.drain(None)
        self._leave("the concentrator was stopped")
        # With a producer registered, Twisted would wait for it as long as the host does not read.
        self._tcp.unregisterProducer()
        self._tcp.loseConnection()

    @property
    def _tcp(self) -> Connection:
        return cast(Connection, self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the host, cut anywhere."""
        if self._close_reason:
            return
        if IAC_BYTE not in data and not self._scanner.busy:
            self.applicationDataReceived(data)
            return
        before = self._commands
        self._answers = []
        try:
            self._take_apart(data)
        finally:
            self._send_answers()
        thousands = self._commands // COMMANDS_PER_SECOND - before // COMMANDS_PER_SECOND
        if thousands and not self._close_reason:
            self._check_pace(thousands)

    def _take_apart(self, data: bytes) -> None:
        conversation = self._conversation
        scanner = self._scanner
        for token in scanner.feed(data):
            if isinstance(token, Subnegotiation):
                self._commands += 1
                self._subnegotiated(token.option, token.payload)
                if self._close_reason or self._scanner is not scanner:
                    return  # what follows in this read is none of ours any more: it is closed, or TLS from here on
                continue
            if conversation.ripe:
                conversation.settle()
            if isinstance(token, bytes):
                self.applicationDataReceived(token)
                continue
            self._commands += 1
            if isinstance(token, Negotiation):
                self._negotiated(token.verb, token.option)
            elif isinstance(token, Command):
                self.commandReceived(bytes((token.code,)), None)
            else:
                self._odd(token)
            if self._close_reason:
                return
        conversation.settle()

    def _check_pace(self, thousands: int) -> None:
        # Each command costs far more than a byte of data. Who sends thousands of them in a second, which no host does,
        # waits for the next one, and is read in small portions from then on, so that the others do not wait for him.
        now = self._hub.clock.seconds()
        if thousands > 1 or now - self._second < 1:
            self._hub.complain("floods of commands", self.peer, "it sends too many Telnet commands, and has to wait")
            self._tcp.bufferSize = SMALL_READ
            self._hold(_PACE, True)
            self._hub.clock.callLater(1, self._hold, _PACE, False)
        self._second = now

    def commandReceived(self, command: bytes, argument: bytes | None) -> None:
        """A Telnet command other than of options: none of them means anything on a serial line."""
        self._hub.counters["telnet commands"] += 1

    def applicationDataReceived(self, data: bytes) -> None:
        """Serial data from the guest."""
        if self._nvt is not None:
            data = self._nvt.feed(data)
        console = self.console
        if console is not None and not self._waiting:
            console.feed(data)
        elif self._waiting:
            self._early += data
            if len(self._early) > EARLY_LIMIT:
                self._hold(_EARLY, True)
        elif self._guard is not None:
            self._hub.counters["bytes in clear forgotten"] += len(data)
        else:
            # Who it is may stand behind this data: reading must go on.
            room = EARLY_LIMIT - len(self._early)
            self._early += data[:room]
            self._early_lost += max(0, len(data) - room)

    def _odd(self, oddity: Oddity) -> None:
        self._hub.complain("telnet oddities", self.peer, oddity.what)
        if oddity.fatal:
            self.close(oddity.what)

    def control(self, data: bytes) -> None:
        """Send what is no serial data: Telnet commands and subnegotiations."""
        # Answers to a host that does not read them pile up: a bound on those, then the connection has to go.
        if not data:
            return
        if self._blocked:
            self._control_while_blocked += len(data)
            if self._control_while_blocked > CONTROL_LIMIT:
                self.close("it asks and asks but does not read the answers")
                return
        self._send(data)

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, None
        if answers:
            self._send(b"".join(answers))

    def _send(self, data: bytes) -> None:
        if self._answers is not None:
            self._answers.append(data)
        else:
            send(self._tcp, data)
            self._hub.liveness.written(self)

    def suboption(self, code: int, parameters: bytes = b"") -> None:
        """Send a suboption of option 232."""
        self.control(subnegotiation(VMWARE_EXT, message(code, parameters)) if parameters else _bare(code))

    @property
    def in_service(self) -> bool:
        """Whether this is the connection that serves its console now."""
        return self.console is not None and self.console.link is self

    def complain(self, kind: str, what: str) -> None:
        """Count something that the host did wrong, and log it at a bounded rate."""
        self._hub.complain(kind, self.peer, what)

    def identify(self, late: bool = False) -> bool:
        """Claim the console, if it is known which: see :meth:`Conversation.identify`."""
        return self._conversation.identify(late)

    # Options.

    def do(self, option: bytes) -> None:
        """Ask the host to turn an option on."""
        self.control(self._options.ask(option[0], Side.HIM, True))

    def dont(self, option: bytes) -> None:
        """Ask the host to turn an option off."""
        self.control(self._options.ask(option[0], Side.HIM, False))

    def will(self, option: bytes) -> None:
        """Offer to turn an option on."""
        self.control(self._options.ask(option[0], Side.US, True))

    def wont(self, option: bytes) -> None:
        """Turn an option off."""
        self.control(self._options.ask(option[0], Side.US, False))

    def _negotiated(self, verb: int, option: int) -> None:
        self.control(self._options.received(verb, option))
        if option == VMWARE_EXT:
            if self._guard is None and self._options.enabled(VMWARE_EXT, Side.HIM):
                self._conversation.tell_list()
        elif option == BINARY:
            if self._options.enabled(BINARY, Side.HIM):
                self._nvt = None
            elif self._nvt is None:
                self._nvt = NvtDecoder()
        elif option == COM_PORT:
            self._port.switch(self._options.enabled(COM_PORT, Side.HIM))
        elif option == AUTHENTICATION and not self.encrypted:
            if verb == WILL and self._options.enabled(AUTHENTICATION, Side.HIM):
                self.control(ASK)
            elif verb == WONT and self._guard is not None:
                self.give_up("it does not offer TLS, which is required")

    def _subnegotiated(self, option: int, payload: bytes) -> None:
        if option == VMWARE_EXT and payload and self._guard is None:
            self._conversation.received(payload)
            return
        self._conversation.settle()
        if option == AUTHENTICATION and self._options.enabled(AUTHENTICATION, Side.HIM) and not self.encrypted:
            self._authenticated(read_answer(payload))
        elif self._guard is not None:
            self._guard.received(self, option, payload)
        elif option != COM_PORT or not self._port.received(payload):
            self._hub.counters["unknown subnegotiations"] += 1

    # TLS.

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS, the handshake under way included."""
        return isinstance(self.transport, Layer)

    @property
    def guarded(self) -> bool:
        """Whether it must switch to TLS, and has not."""
        return self._guard is not None

    def _authenticated(self, answer: Answer) -> None:
        if answer is Answer.START:
            self._start_tls()
        elif self._guard is not None:
            self.give_up("it declines TLS, which is required")
        elif answer is Answer.NONSENSE:
            self._hub.counters["unknown subnegotiations"] += 1

    def _start_tls(self) -> None:
        hub, tcp = self._hub, self._tcp
        if hub.tls.credentials is None:
            self.give_up("it was offered TLS, and there is no certificate any more")
            return
        self.control(ACCEPT)
        self._send_answers()  # in clear, all of them
        tcp.unregisterProducer()
        self._scanner = Scanner()
        hub.tls.wrap(self, tcp)
        if self._blocked:
            self.resumeProducing()  # nobody would tell us: it is the layer that we hear of from now on
        self._tcp.registerProducer(self, True)
        hub.handshakes.start(self)
        guard, self._guard = self._guard, None
        if guard is not None:
            # It waits for the end of the handshake, as everything that is written.
            self.do(bytes((VMWARE_EXT,)))
            if self._options.enabled(VMWARE_EXT, Side.HIM):
                self._conversation.tell_list()
            if guard.known:
                self._conversation.received(guard.known)

    def handshakeCompleted(self) -> None:
        """IHandshakeListener: TLS is on."""
        self._hub.handshakes.discard(self)
        self._identify_anew()
        if isinstance(self.transport, Layer):
            self._hub.counters[f"connections by {self.transport.version}"] += 1

    def handshake_overdue(self) -> None:
        """The handshake has had its time."""
        layer = self.transport
        if self._holds or (isinstance(layer, Layer) and unread(layer.tcp) and layer.may_be_late()):
            # It is we who do not read, or have not come to it yet: thousands of hosts may be back at once.
            self._hub.handshakes.start(self)
            self._identify_anew()
        else:
            self.give_up("the TLS handshake was not completed in time")

    def _identify_anew(self) -> None:
        # Handshakes are work for us: their time is not counted as the host's.
        if self in self._hub.unidentified:
            self._hub.unidentified.start(self)

    # ILink: what the console wants.

    def write(self, data: bytes) -> None:
        """Serial data for the guest."""
        if not self._options.enabled(BINARY, Side.US):
            data = nvt_encode(data)
        self._send(escape(data))

    def send_break(self) -> None:
        """A break to the guest."""
        self.control(_BREAK)

    def serve(self, console: Console) -> None:
        """It is our turn: hand on what came early, then everything as it comes."""
        self._carry(console)
        self._waiting = False
        early, self._early = bytes(self._early), bytearray()
        self._hold(_EARLY, False)
        if early:
            console.feed(early)
        if self._early_lost:
            console.log.event("gap", bytes=self._early_lost, reason="too much before this connection was in service")
        self._early_lost = 0

    def wait(self, console: Console) -> None:
        """Carry a console, but keep its output: the connection before is still being heard."""
        self._carry(console)
        self._waiting = True

    def _carry(self, console: Console) -> None:
        if self not in self._hub.connections:
            return
        self.console = console
        self._hub.unidentified.discard(self)
        self._port.carry(console)
        self._conversation.in_service(console)

    def drain(self, reads: int | None = DRAIN_READS) -> None:
        """Read what the operating system has for us, now. What is wrong with the connection shows in its own time.

        :param reads: how often to read, at most; None for as long as there is something that was there at first.
        """
        log = self.console.log if self.console is not None else None
        if log is not None:
            log.must_take = True  # no more than the system's buffer holds
        try:
            there = -(-self._unread() // READ_SIZE)
            for _ in range(there if reads is None else min(there, reads)):
                self._tcp.doRead()
        finally:
            if log is not None:
                log.must_take = False

    def _unread(self) -> int:
        return unread(self.transport) if self in self._hub.connections else 0

    def retire(self, done: Callable[[], None]) -> None:
        """The console has moved on: read out what is still on its way, and be there no longer than necessary."""
        self._retired = True
        self._done = done
        if self not in self._hub.connections:
            self._read_out()
            return
        self._hub.retired.start(self)
        self.drain()
        if self._unread():
            self._hub.clock.callLater(QUIET_SECONDS, self._check_quiet)
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
            self._hub.clock.callLater(QUIET_SECONDS, self._check_quiet)

    def _read_out(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def release(self) -> int:
        """The console that this was to carry is no longer its business; :returns: the bytes that are forgotten."""
        kept = len(self._early) + self._early_lost
        self.console = None
        self._waiting = False
        self._early.clear()
        self._early_lost = 0
        self._conversation.released()
        if self in self._hub.connections and not self._hub.stopping:
            self._hub.unidentified.start(self)
        return kept

    def close(self, reason: str) -> None:
        """Close at once; what the host has not read yet is lost to it."""
        self._close_reason = reason
        self._send_answers()
        self._tcp.abortConnection()

    def give_up(self, reason: str) -> None:
        """Close, and complain about it, once."""
        if self._close_reason:
            return
        self._hub.complain("given up", self.peer, f"closed: {reason}")
        self.close(reason)

    def hold_output(self, on: bool) -> None:
        """Stop reading from the host, or go on: its log is behind, or has caught up."""
        self._hold(_LOG, on)

    def _hold(self, reason: int, on: bool) -> None:
        before = self._holds
        self._holds = before | reason if on else before & ~reason
        if self not in self._hub.connections or bool(self._holds) == bool(before):
            return
        if self._holds:
            self._tcp.pauseProducing()
        else:
            self._tcp.resumeProducing()

    # IPushProducer: what the transport wants.

    def pauseProducing(self) -> None:
        """The host reads slower than we write."""
        self._blocked = True
        self.readiness_changed()

    def resumeProducing(self) -> None:
        """The host has caught up."""
        self._blocked = False
        self._control_while_blocked = 0
        self.readiness_changed()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""

    def readiness_changed(self) -> None:
        """The transport, or the VM, takes data again, or does not."""
        self.ready = not (self._blocked or self._port.suspended)
        if self.ready and self.in_service and self.console is not None:
            self.console.link_ready()
