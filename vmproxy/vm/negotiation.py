"""The options of one connection: the opening, what is agreed on, and TLS in-band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vmproxy.vm.actions import Close, Count, Outbox, StartTLS
from vmproxy.vm.starttls import GateState, StartTLSGate
from vmproxy.wire.authentication import ASK, Answer, read_answer
from vmproxy.wire.options import Acceptable, Options, OptionsState, Side
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    COM_PORT,
    ECHO,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    NvtDecoder,
    escape,
    nvt_encode,
)

_US, _PEER = Side.US, Side.PEER  # a member costs a call each time that it is looked up
_ASKED = ((BINARY, Side.US), (SGA, Side.US), (ECHO, Side.US), (BINARY, Side.PEER), (SGA, Side.PEER))
_OURS = (BINARY, SGA, ECHO, VMWARE_EXT)


@cache
def opening(com_port: bool, tls: bool, guarded: bool) -> tuple[Options, bytes]:
    """The options of a new connection, and what it says first: the same for every one of a configuration.

    :param com_port: whether port control is agreed to; ``tls``: whether TLS is, in-band.
    :param guarded: whether the host must switch to TLS.
    """
    theirs = (BINARY, SGA, VMWARE_EXT, *((COM_PORT,) if com_port else ()), *((AUTHENTICATION,) if tls else ()))
    options = Options(Acceptable(_OURS, theirs))
    # Where nothing is believed before TLS, VMware's extension waits for it.
    asked = (*_ASKED, (AUTHENTICATION if guarded else VMWARE_EXT, Side.PEER))
    return options, b"".join(options.ask(option, side, True) for option, side in asked)


@dataclass(frozen=True, slots=True)
class NegotiationState:
    """The options of one connection as a value.

    :ivar after_cr: of a line that is not 8-bit clean, whether the last byte was a CR; None where it is.
    :ivar gate: the gate before a session that must switch to TLS; None where there is none.
    """

    com_port: bool
    tls: bool
    options: OptionsState
    after_cr: bool | None
    encrypted: bool
    gate: GateState | None


class LineNegotiation:
    """The options of one connection.

    :ivar decoder: for serial data while the VM's direction is not BINARY, else None.
    :ivar encrypted: whether the connection is TLS, the handshake under way included.
    :ivar gate: stands before a session that must switch to TLS; None behind it.
    """

    __slots__ = ("_options", "_out", "decoder", "encrypted", "gate")

    def __init__(self, out: Outbox, com_port: bool, tls: bool, guarded: bool, encrypted: bool) -> None:
        """:param com_port: as for :func:`opening`, whose bytes the caller sends."""
        self._out = out
        self._options = opening(com_port, tls, guarded)[0].copy()
        self.decoder: NvtDecoder | None = NvtDecoder()
        self.encrypted = encrypted
        self.gate = StartTLSGate(out) if guarded else None

    @property
    def extended(self) -> bool:
        """Whether the host speaks VMware's extension."""
        return self._options.enabled(VMWARE_EXT, _PEER)

    @property
    def com_port(self) -> bool:
        """Whether the VM has turned on port control."""
        return self._options.enabled(COM_PORT, _PEER)

    def ask(self, option: int, side: Side, on: bool) -> None:
        """Ask for a side of an option to be turned on or off."""
        if asked := self._options.ask(option, side, on):
            self._out.control(asked)

    def received(self, verb: int, option: int) -> None:
        """Take in WILL, WONT, DO or DONT."""
        options = self._options
        first = verb == WILL and option == AUTHENTICATION and not options.enabled(AUTHENTICATION, _PEER)
        if answer := options.received(verb, option):
            self._out.control(answer)
        if option == BINARY:
            if options.enabled(BINARY, _PEER):
                self.decoder = None
            elif self.decoder is None:
                self.decoder = NvtDecoder()
        elif option == AUTHENTICATION and not self.encrypted:
            if first and options.enabled(AUTHENTICATION, _PEER):
                self._out.control(ASK)  # once: a second START would stand where the handshake begins
            elif verb == WONT and self.gate is not None:
                self._out.actions.append(Close("it does not offer TLS, which is required"))

    def authenticates(self, option: int, payload: bytes) -> bool:
        """Take in a subnegotiation of AUTHENTICATION.

        :returns: whether it is one, and one is due.
        """
        if option != AUTHENTICATION or self.encrypted or not self._options.enabled(AUTHENTICATION, _PEER):
            return False
        answer = read_answer(payload)
        if answer is Answer.START:
            self._out.actions.append(StartTLS())
        elif self.gate is not None:
            self._out.actions.append(Close("it declines TLS, which is required"))
        elif answer is Answer.NONSENSE:
            self._out.actions.append(Count("unknown subnegotiations"))
        return True

    def tls_started(self) -> bytes:
        """TLS has begun.

        :returns: the host's list of suboptions, if it came before TLS and was kept.
        """
        self.encrypted = True
        gate, self.gate = self.gate, None
        if gate is None:
            return b""
        self.ask(VMWARE_EXT, _PEER, True)  # it waits for the end of the handshake, as everything that is sent
        return gate.known

    def encode(self, data: bytes) -> bytes:
        """Serial data for the guest, as it travels."""
        return escape(data if self._options.enabled(BINARY, _US) else nvt_encode(data))

    def snapshot(self) -> NegotiationState:
        """The options as a value."""
        options = self._options
        return NegotiationState(
            com_port=options.accepts(COM_PORT, _PEER),
            tls=options.accepts(AUTHENTICATION, _PEER),
            options=options.snapshot(),
            after_cr=None if self.decoder is None else self.decoder.after_cr,
            encrypted=self.encrypted,
            gate=None if self.gate is None else self.gate.snapshot(),
        )

    def restore(self, state: NegotiationState) -> None:
        """Go on where another connection was, made with the same ``com_port``, ``tls``, gate."""
        self._options.restore(state.options)
        self.decoder = None if state.after_cr is None else NvtDecoder(state.after_cr)
        self.encrypted = state.encrypted
        if self.gate is not None and state.gate is not None:
            self.gate.restore(state.gate)
