"""The state of a VM session as a value, to hand over: see :mod:`vmproxy.base.state` for JSON."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.vm.beginning import ExtensionState
from vmproxy.vm.comport import PortControlState
from vmproxy.vm.early import EarlyState
from vmproxy.vm.extension import CarriedState
from vmproxy.vm.negotiation import NegotiationState
from vmproxy.wire.telnet import Command, Negotiation, Oddity, ScannerState, Subnegotiation, Token


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token that has not been looked at.

    :ivar kind: the name of its class, ``bytes``, or ``end`` behind the last of a read.
    :ivar number: the command, or the verb; ``option``: what it is about.
    :ivar data: serial data or payload.
    """

    kind: str
    number: int = 0
    option: int = 0
    data: bytes = b""
    text: str = ""
    fatal: bool = False


def token_state(token: Token | None) -> TokenState:
    """A token as a value."""
    match token:
        case bytes():
            return TokenState("bytes", data=token)
        case Command(code):
            return TokenState("Command", number=code)
        case Negotiation(verb, option):
            return TokenState("Negotiation", number=verb, option=option)
        case Subnegotiation(option, payload):
            return TokenState("Subnegotiation", option=option, data=payload)
        case Oddity(what, fatal):
            return TokenState("Oddity", text=what, fatal=fatal)
        case None:
            return TokenState("end")


def token_of(state: TokenState) -> Token | None:
    """A token from its value.

    :raises ValueError: if there is no such token.
    """
    match state.kind:
        case "bytes":
            return state.data
        case "Command":
            return Command(state.number)
        case "Negotiation":
            return Negotiation(state.number, state.option)
        case "Subnegotiation":
            return Subnegotiation(state.option, state.data)
        case "Oddity":
            return Oddity(state.text, state.fatal)
        case "end":
            return None
    raise ValueError(f"no token: {state.kind!a}")


@dataclass(frozen=True, slots=True)
class VMSessionState:
    """A VM session between two events.

    :ivar state: a state of the table.
    :ivar question: the pair or sequence that the driver was asked about.
    :ivar rest: what stood behind a question in the same read; None where there was no question.
    :ivar kept: what came behind that.
    :ivar holds: why the host is not read from.
    :ivar unsent: bytes for the host that the driver has not taken.
    :ivar blocked: whether the host reads slower than is written.
    """

    state: str
    line: NegotiationState
    scanner: ScannerState
    extension: ExtensionState
    port: PortControlState | None
    carried: CarriedState | None
    early: EarlyState | None
    question: bytes
    rest: tuple[TokenState, ...] | None
    kept: bytes
    commands: int
    holds: int
    unsent: bytes
    blocked: bool
    control_while_blocked: int
