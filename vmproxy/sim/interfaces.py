"""The interfaces between the parts of the simulator, and the values that they share.

A test that brings its own guest or its own transport plugs in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeVar
from uuid import UUID

from vmproxy.errors import VMProxyError
from vmproxy.wire.vmware import Sub, format_uuid

P = TypeVar("P", contravariant=True)


class SimulationError(VMProxyError):
    """A connection or a migration came to nothing; the text says why."""


class ProxyRefusedError(SimulationError):
    """The proxy answered WONT-PROXY."""


@dataclass(frozen=True, slots=True)
class VMIdentity:
    """The identity that a VM shows."""

    vc_uuid: UUID
    name: str
    bios_uuid: UUID
    location_uuid: UUID

    def answer(self, question: int) -> bytes | None:
        """:returns: the suboption that answers a ``GET-*``, its code first, or None where this is no such question."""
        match question:
            case Sub.GET_VM_VC_UUID:
                return bytes((Sub.VM_VC_UUID,)) + format_uuid(self.vc_uuid)
            case Sub.GET_VM_NAME:
                return bytes((Sub.VM_NAME,)) + self.name.encode("utf-8", "surrogateescape")
            case Sub.GET_VM_BIOS_UUID:
                return bytes((Sub.VM_BIOS_UUID,)) + format_uuid(self.bios_uuid)
            case Sub.GET_VM_LOCATION_UUID:
                return bytes((Sub.VM_LOCATION_UUID,)) + format_uuid(self.location_uuid)
        return None


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How hosts behave.

    :ivar grace: how long a proxy may stay silent before the host speaks first.
    :ivar patience: how long the opening of a connection may take.
    :ivar goahead_limit: how long the source waits for GOAHEAD.
    :ivar peer_limit: how long the destination may take to connect, and then to get its PEER-OK.
    :ivar switchover: how long the destination takes from PEER-OK to COMPLETE, with the guest stunned.
    :ivar close_after_complete: close the source just after COMPLETE instead of just before.
    :ivar close_gap: how long before COMPLETE the source closes.
    :ivar abort_share: the share of migrations that is aborted, 0 to 1.
    :ivar direction: of the VMs: ``S`` waits to be reached, ``C`` is connected to the address in its URI.
    :ivar longest_pause: the longest pause before the next attempt to connect.
    """

    grace: float = 1.0
    patience: float = 30.0
    goahead_limit: float = 5.0
    peer_limit: float = 10.0
    switchover: float = 0.0
    close_after_complete: bool = False
    close_gap: float = 0.0
    abort_share: float = 0.0
    longest_pause: float = 30.0
    direction: str = "S"


class Guest(Protocol):
    """The guest of a VM, as its host sees it: a serial port and a switch.

    It gets hold of :meth:`vmproxy.sim.vm.VM.write` for its output when it is made. Both :meth:`stun` and
    :meth:`pause` say: no output from here on; what comes first ends last, so the two may overlap.
    """

    def start(self) -> None:
        """Power on. Called once, when the VM's first connection is open."""

    def feed(self, data: bytes) -> None:
        """Take input. Never called between :meth:`stun` and :meth:`unstun`: the host keeps input back."""

    def break_received(self) -> None:
        """Take a break."""

    def stun(self) -> None:
        """A vMotion: time stands still."""

    def unstun(self) -> None:
        """The vMotion is over, one way or the other."""

    def pause(self) -> None:
        """The serial port takes no more."""

    def resume(self) -> None:
        """The serial port has room again. May come without a :meth:`pause` before it."""

    def stop(self) -> None:
        """Power off, for good."""


class Wire(Protocol):
    """A transport, as far as a port looks at it."""

    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """Send buffered bytes, then end the connection."""

    def abort(self) -> None:
        """End the connection at once."""

    def start_tls(self) -> None:
        """Go on as TLS client.

        :raises SimulationError: where the transport cannot.
        """


class User(Protocol[P]):
    """The owner of ports of the class P."""

    def port_opened(self, port: P) -> None:
        """WILL-PROXY came, or PEER-OK for a port that was opened with a PEER."""

    def port_received(self, port: P, data: bytes) -> None:
        """Serial data for the guest."""

    def port_break(self, port: P) -> None:
        """A break for the guest."""

    def port_answered(self, port: P, code: Sub, parameters: bytes) -> None:
        """GOAHEAD or NOTNOW."""

    def port_paused(self, port: P, paused: bool) -> None:
        """Nothing more should be sent for now, or sending may go on."""

    def port_closed(self, port: P, reason: SimulationError) -> None:
        """The connection ended; said once, and nothing follows."""


class State(Enum):
    """How far a port has come."""

    OPENING = auto()
    ASKED = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()
