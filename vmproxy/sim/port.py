"""The host's end of one connection to a concentrator, as a state machine: no sockets, and a clock that is handed in.

A connection opens as the captured ESXi hosts open theirs. The host offers AUTHENTICATION, waits for what the proxy
offers, agrees to BINARY, SGA, ECHO and VMware's extension, and once the proxy has listed its suboptions it lists its
own and says what the connection is for: DO-PROXY for a VM's connection, PEER for the one that a vMotion opens from
another host. A proxy that stays silent is spoken to first, after a short grace, as VMware's manual has it.
"""

from __future__ import annotations

import struct

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmproxy.sim.inband import InbandTLS, Step
from vmproxy.sim.interfaces import ProxyRefusedError, SimulationError, State, User, VMIdentity, Wire
from vmproxy.sim.output import Output, Stop
from vmproxy.wire.comport import SERVER, Com
from vmproxy.wire.options import Acceptable, Options, Side
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    BRK,
    COM_PORT,
    ECHO,
    SGA,
    VMWARE_EXT,
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
from vmproxy.wire.vmware import Sub, message

KNOWN = bytes((0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83))
"""The parameters of KNOWN-SUBOPTIONS-1, in the order of the captured hosts."""

_ACCEPTABLE = Acceptable(us=(BINARY, SGA, AUTHENTICATION, COM_PORT, VMWARE_EXT), peer=(BINARY, SGA, ECHO))
# What a Linux guest programs when it opens its console: 115200 8N1, DTR and RTS up.
_UART = (
    (Com.SET_BAUDRATE, struct.pack("!L", 115200)),
    (Com.SET_DATASIZE, b"\x08"),
    (Com.SET_PARITY, b"\x01"),
    (Com.SET_STOPSIZE, b"\x01"),
    (Com.SET_CONTROL, b"\x08"),
    (Com.SET_CONTROL, b"\x0b"),
)
_log = Logger()


class HostPort:
    """One connection's protocol.

    :ivar state: how far it has come.
    :ivar modem_state: the last that the proxy notified, or None.
    :ivar oddities: how much came that no proxy should send.
    """

    __slots__ = (
        "_clock",
        "_decoder",
        "_direction",
        "_grace",
        "_grace_over",
        "_identity",
        "_listed",
        "_options",
        "_output",
        "_patience",
        "_peer",
        "_reason",
        "_scanner",
        "_timer",
        "_tls",
        "_uri",
        "_user",
        "modem_state",
        "oddities",
        "state",
    )

    def __init__(
        self,
        identity: VMIdentity,
        uri: str,
        user: User[HostPort],
        clock: IReactorTime,
        *,
        peer: bytes | None = None,
        grace: float = 1.0,
        patience: float = 30.0,
        direction: str = "S",
    ) -> None:
        """
        :param uri: the service URI of DO-PROXY.
        :param peer: the sequence and secret of a vMotion: the connection then says PEER, never DO-PROXY.
        :param grace: how long to wait for the proxy to speak first; 0 speaks at once.
        :param patience: how long the opening may take as a whole.
        :param direction: the direction of DO-PROXY, ``S`` or ``C``.
        """
        self._identity = identity
        self._uri = uri
        self._user = user
        self._clock = clock
        self._peer = peer
        self._grace = grace
        self._patience = patience
        self._direction = direction
        self._scanner = Scanner()
        self._options = Options(_ACCEPTABLE)
        self._decoder = NvtDecoder()
        self._output = Output()
        self._timer: IDelayedCall | None = None
        self._grace_over = False
        self._listed = False  # KNOWN-SUBOPTIONS-2 has come
        self._tls = InbandTLS()
        self._reason: SimulationError | None = None
        self.modem_state: int | None = None
        self.oddities = 0
        self.state = State.OPENING

    @property
    def open(self) -> bool:
        """Whether serial data and vMotion messages can be sent."""
        return self.state is State.OPEN

    @property
    def paused(self) -> bool:
        """Whether nothing should be sent for now."""
        return bool(self._output.stops)

    def _is_over(self) -> bool:
        return self.state in (State.CLOSING, State.CLOSED)

    # -- from the transport ------------------------------------------------------------------------------------

    def work_for(self, user: User[HostPort]) -> None:
        """Have another user from now on."""
        self._user = user

    def connected(self, wire: Wire) -> None:
        """Take a transport: the connection is open."""
        self._output.connected(wire)
        if self.state is not State.OPENING:
            wire.abort()
            return
        self._write(self._options.ask(AUTHENTICATION, Side.US, True))
        if self._grace > 0:
            self._timer = self._clock.callLater(self._grace, self._graced)
        else:
            self._graced()

    def received(self, data: bytes) -> None:
        """Take in what the proxy sent, cut anywhere."""
        if self._is_over():
            return
        for token in self._scanner.feed(data):
            match token:
                case bytes():
                    self._data(token)
                case Negotiation(verb, option):
                    self._write(self._options.received(verb, option))
                    self._negotiated(option)
                case Subnegotiation(option, payload):
                    if self._subnegotiation(option, payload):
                        # What follows in this read was sent before TLS and is nobody's; our side speaks first there.
                        self._scanner = Scanner()
                        return
                case Command(code):
                    if code == BRK and self.open:
                        self._user.port_break(self)
                case Oddity():
                    self.oddities += 1
                    if token.fatal:
                        self.fail(SimulationError(f"the proxy sent a {token.what}"))
            if self._is_over():
                return

    def full(self, full: bool) -> None:
        """The transport's buffer is full, or has room again."""
        self._stop(Stop.TRANSPORT, full)

    def lost(self, why: str) -> None:
        """The connection ended."""
        if self.state is State.CLOSED:
            return
        asked = self.state is State.ASKED
        self.state = State.CLOSED
        self._cancel()
        self._output.lost()
        if self._reason is None:
            self._reason = SimulationError(
                "the proxy closed the connection instead of answering " + ("PEER" if self._peer else "DO-PROXY")
                if asked
                else f"connection lost: {why}"
            )
        self._user.port_closed(self, self._reason)

    # -- from the user -----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send serial data; without effect on a port that is not open."""
        if self.open:
            if not self._options.enabled(BINARY, Side.US):
                data = nvt_encode(data)
            self._write(escape(data))

    def vmotion(self, code: Sub, parameters: bytes = b"") -> None:
        """Send one of a vMotion's messages; without effect on a port that is not open."""
        if self.open:
            self._write(subnegotiation(VMWARE_EXT, message(code, parameters)))

    def com(self, command: Com, value: bytes = b"") -> None:
        """Send a COM-PORT command, once the proxy has agreed to COM-PORT."""
        if self.open and self._options.enabled(COM_PORT, Side.US):
            self._write(subnegotiation(COM_PORT, bytes((command,)) + value))

    def offer_com_port(self) -> None:
        """Offer COM-PORT. A port with a DO-PROXY does so by itself; one with a PEER when it has become the VM's."""
        if self.open:
            self._write(self._options.ask(COM_PORT, Side.US, True))

    def close(self) -> None:
        """Send buffered bytes and close."""
        self._end(SimulationError("closed by the host"), abort=False)

    def fail(self, reason: SimulationError) -> None:
        """Close at once."""
        self._end(reason, abort=True)

    # -- the protocol ------------------------------------------------------------------------------------------

    def _data(self, data: bytes) -> None:
        if not self._options.enabled(BINARY, Side.PEER):
            data = self._decoder.feed(data)
        if data and (self.open or self._peer is not None):
            self._user.port_received(self, data)
        elif data:
            self.oddities += 1

    def _negotiated(self, option: int) -> None:
        if option == VMWARE_EXT and self._grace_over and not self._options.enabled(option, Side.US):
            self.fail(SimulationError("the proxy refuses VMware's Telnet extension (option 232)"))
        elif option == COM_PORT and self._options.enabled(option, Side.US):
            for command, value in _UART:
                self.com(command, value)
        self._advance()

    def _advance(self) -> None:
        """Say what the connection is for, as soon as that is due."""
        if self.state is not State.OPENING or not self._options.enabled(VMWARE_EXT, Side.US):
            return
        wait_for_tls = self._options.enabled(AUTHENTICATION, Side.US) and not self._tls.settled
        if self._grace_over or (self._listed and not wait_for_tls):
            self.state = State.ASKED
            self._tell(Sub.KNOWN_SUBOPTIONS_1, KNOWN)
            if self._peer is not None:
                self._tell(Sub.VMOTION_PEER, self._peer)
            else:
                self._tell(Sub.DO_PROXY, (self._direction + self._uri).encode())

    def _graced(self) -> None:
        self._grace_over = True
        self._timer = self._clock.callLater(max(self._patience - self._grace, 0), self._out_of_patience)
        for option, side in (
            (VMWARE_EXT, Side.US),
            (BINARY, Side.US),
            (BINARY, Side.PEER),
            (SGA, Side.US),
            (SGA, Side.PEER),
        ):
            if not self._options.enabled(option, side):
                self._write(self._options.ask(option, side, True))
        self._advance()

    def _out_of_patience(self) -> None:
        self._timer = None
        what = "negotiated VMware's Telnet extension" if self.state is State.OPENING else "answered"
        self.fail(SimulationError(f"the proxy has not {what} within {self._patience:g} s"))

    def _subnegotiation(self, option: int, payload: bytes) -> bool:
        """:returns: whether the connection has become TLS."""
        if option == VMWARE_EXT and payload:
            self._extension(payload[0], payload[1:])
        elif option == COM_PORT and payload:
            self._com_port(payload)
        elif option == AUTHENTICATION and payload:
            return self._authentication(payload)
        else:
            self.oddities += 1
        return False

    def _extension(self, code: int, parameters: bytes) -> None:
        answer = self._identity.answer(code)
        if answer is not None:
            self._write(subnegotiation(VMWARE_EXT, answer))
            return
        match code:
            case Sub.KNOWN_SUBOPTIONS_2:
                self._listed = True
                self._advance()
            case Sub.WILL_PROXY if self.state is State.ASKED and self._peer is None:
                self._opened()
                self.offer_com_port()
            case Sub.WONT_PROXY if self.state is State.ASKED and self._peer is None:
                self.fail(
                    ProxyRefusedError(
                        f"the proxy answered WONT-PROXY to the service URI {self._uri!r}: "
                        "it serves another one, or turns this VM away"
                    )
                )
            case Sub.VMOTION_PEER_OK if self.state is State.ASKED and self._peer is not None:
                if parameters and self._peer.startswith(parameters):
                    self._opened()
                else:
                    self.oddities += 1
            case Sub.VMOTION_GOAHEAD | Sub.VMOTION_NOTNOW if self.open:
                self._user.port_answered(self, Sub(code), parameters)
            case Sub.UNKNOWN_SUBOPTION_RCVD_2:
                _log.info(
                    "{name}: the proxy does not know suboption {code!r}", name=self._identity.name, code=parameters
                )
            case _ if code in KNOWN:
                self.oddities += 1
            case _:
                self._tell(Sub.UNKNOWN_SUBOPTION_RCVD_1, bytes((code,)))

    def _opened(self) -> None:
        self.state = State.OPEN
        self._cancel()
        self._user.port_opened(self)

    def _com_port(self, payload: bytes) -> None:
        match payload[0] - SERVER:
            case Com.NOTIFY_MODEMSTATE if len(payload) > 1:
                self.modem_state = payload[1]
            case Com.FLOWCONTROL_SUSPEND | Com.FLOWCONTROL_RESUME as command:
                self._stop(Stop.PROXY, command == Com.FLOWCONTROL_SUSPEND)
            case _:
                pass  # the value now in force: a UART has no use for it

    def _authentication(self, payload: bytes) -> bool:
        step, answer = self._tls.received(payload)
        if answer:
            self._write(subnegotiation(AUTHENTICATION, answer))
        if step is Step.START:
            self._output.hold()
            return False
        if step is Step.SWITCH:
            try:
                self._output.start_tls()
            except SimulationError as error:
                self.fail(error)
                return True
        if step is Step.NOTHING:
            self.oddities += 1
        else:
            self._output.release()
        self._advance()
        return step is Step.SWITCH

    # -- below -------------------------------------------------------------------------------------------------

    def _tell(self, code: Sub, parameters: bytes) -> None:
        self._write(subnegotiation(VMWARE_EXT, message(code, parameters)))

    def _write(self, data: bytes) -> None:
        if not self._is_over():
            try:
                self._output.write(data)
            except SimulationError as error:
                self.fail(error)

    def _stop(self, which: Stop, on: bool) -> None:
        if self._output.stop(which, on) and not self._is_over():
            self._user.port_paused(self, self.paused)

    def _end(self, reason: SimulationError, *, abort: bool) -> None:
        if self.state is State.CLOSED or (self.state is State.CLOSING and not abort):
            return
        if self._reason is None:
            self._reason = reason
        self.state = State.CLOSING
        self._cancel()
        if abort:
            self._output.abort()
        else:
            self._output.close(self._clock)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
