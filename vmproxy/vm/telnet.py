"""A connection from a host as a line: framing, options, TLS, pace, and what is sent; not yet whose console it carries.

A :class:`twisted.conch.telnet.Telnet` with its own eyes and memory: the stock class looks at every byte in Python,
rewrites CR LF even under BINARY, keeps an object per option, and raises (and so drops the connection) on input that a
real host may send. Here a bulk scanner finds the commands and :class:`Options` keeps the state, so that of Telnet's own
machinery only ``applicationDataReceived``, ``commandReceived``, ``requestNegotiation`` and ``do``, ``dont``, ``will``
and ``wont`` are left, the last four without their Deferreds. Nothing that arrives makes
:meth:`HostLine.dataReceived` raise.

What the host says means something to :class:`vmproxy.vm.connection.VMConnection`, which is built on this and fills in
the methods at the end.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from twisted.conch.telnet import Telnet
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from zope.interface import implementer

from vmproxy.vm.frontend import Hub
from vmproxy.vm.keepalive import set_options
from vmproxy.vm.settings import Encryption
from vmproxy.vm.sockets import send, socket_of, unread
from vmproxy.vm.starttls import Guard
from vmproxy.vm.tls import Layer
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

CONTROL_LIMIT = 256 * 1024
SMALL_READ = 4096
COMMANDS_PER_SECOND = 2000
LOG, EARLY, PACE = 1, 2, 4
"""Why a line is not read: its log or far end is behind, too much waits for its console, it sends too many commands."""

_BREAK = bytes((IAC, BRK))
_ASKED = (
    (BINARY, Side.US),
    (SGA, Side.US),
    (ECHO, Side.US),
    (BINARY, Side.PEER),
    (SGA, Side.PEER),
)
_OURS = (BINARY, SGA, ECHO, VMWARE_EXT)

_log = Logger()


@cache
def _bare(code: int) -> bytes:
    return subnegotiation(VMWARE_EXT, message(code))


@cache
def _opening(com_port: bool, tls: bool, guarded: bool) -> tuple[Options, bytes]:
    theirs = (BINARY, SGA, VMWARE_EXT, *((COM_PORT,) if com_port else ()), *((AUTHENTICATION,) if tls else ()))
    options = Options(Acceptable(_OURS, theirs))
    # Where nothing is believed before TLS, VMware's extension waits for it.
    asked = (*_ASKED, (AUTHENTICATION if guarded else VMWARE_EXT, Side.PEER))
    return options, b"".join(options.ask(option, side, True) for option, side in asked)


def opening(com_port: bool, tls: bool = False, guarded: bool = False) -> tuple[Options, bytes]:
    """How a connection begins.

    :param com_port: whether port control is agreed to; ``tls``: whether TLS is, in-band.
    :param guarded: whether TLS is asked for, and VMware's extension is not yet.
    :returns: the state of its options, and the bytes that ask for them.
    """
    options, asked = _opening(com_port, tls, guarded)
    return options.copy(), asked


def host_of(address: IAddress) -> str:
    """What people call the other end of a connection."""
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else str(address)


@implementer(IHandshakeListener)
class HostLine(Telnet):
    """A connection from a host.

    :ivar peer: the host's address.
    :ivar ripe: whether something was said that may be all that was missing to claim a console. What follows it at once
        is awaited: it is mostly the name, and the console is better found and announced with it.
    """

    _options: Options
    _guard: Guard | None = None  # until it has switched to TLS, where it must

    def __init__(self, hub: Hub, address: IAddress) -> None:
        # Telnet.__init__ is left out on purpose: its tables per connection are replaced by Options and by methods.
        self._hub = hub
        self.peer = host_of(address)
        self._scanner = Scanner()
        self._nvt: NvtDecoder | None = NvtDecoder()  # while the VM's direction is not BINARY
        self._holds = 0  # why we do not read; one bit for each reason
        self._commands = 0
        self._second = 0.0
        self._blocked = False  # the transport has enough
        self._control_while_blocked = 0
        self._close_reason = ""
        self.ripe = False
        self._answers: list[bytes] | None = None  # while a read is being taken in: what is to be sent behind it

    # The transport.

    def connectionMade(self) -> None:
        """Offer what we offer, at once: captured hosts wait for it."""
        hub = self._hub
        handle = None if hub.inherited else socket_of(self.transport)
        if handle is not None:
            try:
                set_options(handle, hub.settings.keep_idle)
            except OSError as error:
                _log.debug("{peer}: {error}", peer=self.peer, error=error)  # it is gone again: a port scan
        self._tcp.registerProducer(self, True)
        self._options, asked = opening(hub.settings.com_port)
        if self.encrypted:
            hub.handshakes.start(self)
        elif hub.tls.credentials is not None and hub.settings.encryption is not Encryption.OFF:
            if guarded := hub.settings.encryption is Encryption.REQUIRE:
                self._guard = Guard()
            self._options, asked = opening(hub.settings.com_port, tls=True, guarded=guarded)
        self.control(asked)

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
        scanner = self._scanner
        for token in scanner.feed(data):
            if isinstance(token, Subnegotiation):
                self._commands += 1
                self._subnegotiated(token.option, token.payload)
                if self._close_reason or self._scanner is not scanner:
                    return  # what follows in this read is none of ours any more: it is closed, or TLS from here on
                continue
            if self.ripe:
                self._settle()
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
        self._settle()

    def _check_pace(self, thousands: int) -> None:
        # Each command costs far more than a byte of data. Who sends thousands of them in a second, which no host does,
        # waits for the next one, and is read in small portions from then on, so that the others do not wait.
        now = self._hub.clock.seconds()
        if thousands > 1 or now - self._second < 1:
            self._hub.complain("floods of commands", self.peer, "it sends too many Telnet commands, and has to wait")
            self._tcp.bufferSize = SMALL_READ
            self._hold(PACE, True)
            self._hub.clock.callLater(1, self._hold, PACE, False)
        self._second = now

    def commandReceived(self, command: bytes, argument: bytes | None) -> None:
        """A Telnet command other than of options: none of them means anything on a serial line."""
        self._hub.counters["telnet commands"] += 1

    def _decoded(self, data: bytes) -> bytes:
        return data if self._nvt is None else self._nvt.feed(data)

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

    def complain(self, kind: str, what: str) -> None:
        """Count something that the host did wrong, and log it at a bounded rate."""
        self._hub.complain(kind, self.peer, what)

    def write(self, data: bytes) -> None:
        """Serial data for the guest."""
        if not self._options.enabled(BINARY, Side.US):
            data = nvt_encode(data)
        self._send(escape(data))

    def send_break(self) -> None:
        """A break to the guest."""
        self.control(_BREAK)

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

    # Options.

    def do(self, option: bytes) -> None:
        """Ask the host to turn an option on."""
        self.control(self._options.ask(option[0], Side.PEER, True))

    def dont(self, option: bytes) -> None:
        """Ask the host to turn an option off."""
        self.control(self._options.ask(option[0], Side.PEER, False))

    def will(self, option: bytes) -> None:
        """Offer to turn an option on."""
        self.control(self._options.ask(option[0], Side.US, True))

    def wont(self, option: bytes) -> None:
        """Turn an option off."""
        self.control(self._options.ask(option[0], Side.US, False))

    def _negotiated(self, verb: int, option: int) -> None:
        before = self._options.enabled(AUTHENTICATION, Side.PEER)
        self.control(self._options.received(verb, option))
        if option == VMWARE_EXT:
            if self._guard is None and self._options.enabled(VMWARE_EXT, Side.PEER):
                self._extension_on()
        elif option == BINARY:
            if self._options.enabled(BINARY, Side.PEER):
                self._nvt = None
            elif self._nvt is None:
                self._nvt = NvtDecoder()
        elif option == COM_PORT:
            self._port_control_on(self._options.enabled(COM_PORT, Side.PEER))
        elif option == AUTHENTICATION and not self.encrypted:
            if verb == WILL and not before and self._options.enabled(AUTHENTICATION, Side.PEER):
                self.control(ASK)  # once: a second START would stand where the handshake begins
            elif verb == WONT and self._guard is not None:
                self.give_up("it does not offer TLS, which is required")

    def _subnegotiated(self, option: int, payload: bytes) -> None:
        if option == VMWARE_EXT and payload and self._guard is None:
            self._extension_received(payload)
            return
        self._settle()
        if option == AUTHENTICATION and self._options.enabled(AUTHENTICATION, Side.PEER) and not self.encrypted:
            self._authenticated(read_answer(payload))
        elif self._guard is not None:
            self._guard.received(self, option, payload)
        elif option != COM_PORT or not self._port_control_received(payload):
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
            if self._options.enabled(VMWARE_EXT, Side.PEER):
                self._extension_on()
            if guard.known:
                self._extension_received(guard.known)

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

    # What it all means.

    def applicationDataReceived(self, data: bytes) -> None:
        """Serial data from the guest, as it stands in the stream: see :meth:`_decoded`."""
        raise NotImplementedError

    def _settle(self) -> None:
        raise NotImplementedError  # What was said so far is followed by something else, or by nothing for now.

    def _extension_on(self) -> None:
        raise NotImplementedError  # The host speaks option 232.

    def _extension_received(self, payload: bytes) -> None:
        raise NotImplementedError  # A suboption of it: code and parameters.

    def _port_control_on(self, on: bool) -> None:
        raise NotImplementedError  # The VM has turned port control on, or off.

    def _port_control_received(self, payload: bytes) -> bool:
        raise NotImplementedError  # A command of it; False where it is off.

    def readiness_changed(self) -> None:
        """The transport, or the VM, takes data again, or does not."""
        raise NotImplementedError

    def _identify_anew(self) -> None:
        raise NotImplementedError  # Its time to say which VM it is begins again, if it is running.
