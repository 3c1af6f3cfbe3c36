"""Actions of a VM session: what its driver is to do, as values.

Serial data for the console is an action too, as plain ``bytes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from vmproxy.wire.comport import AccessServer
from vmproxy.wire.dialuri import DialURI


class Claim(NamedTuple):
    """Find the console and let this connection serve it. Answers: ``wait``, ``serve``, ``refused``, ``claim_later``.

    :ivar port: the label in the service URI's query; None where it names none.
    :ivar target: what the console is to be connected to, for direction "client".
    :ivar word: the word of the service URI, where that may be the label of a port without another.
    :ivar location: the location UUID, if it has come.
    :ivar known_by: what ``uuid`` is, where it is no VC UUID; else empty.
    :ivar bios: the BIOS UUID, if it has come; ``awaited``: whether it was asked for, and may yet come.
    """

    uuid: UUID
    port: str | None
    uri: str
    name: str
    target: DialURI | None
    word: str | None = None
    bios: UUID | None = None
    awaited: bool = False
    location: UUID | None = None
    known_by: str = ""


@dataclass(frozen=True, slots=True)
class ClaimSoon:
    """Have the session claim with what is known, ``identify(late=True)``, if nothing else comes in a moment."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Say whether the VM may be connected to a destination. Answer: ``judged``."""

    uri: DialURI


@dataclass(frozen=True, slots=True)
class DialRefused:
    """Record that a VM may not be connected to its destination."""

    uri: DialURI
    reason: str
    uuid: UUID | None
    name: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A vMotion begins, if this connection still serves its console. Answers: ``go_ahead``, ``not_now``."""

    sequence: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """Look up the vMotion of a pair. Answers: ``peer_accepted``, ``peer_refused``.

    :ivar uuid: the VC UUID that this connection has told, if it has.
    """

    pair: bytes
    uuid: UUID | None


@dataclass(frozen=True, slots=True)
class Complete:
    """Let this connection serve the console of its vMotion. Answers: ``wait``, ``serve``, ``not_completed``."""

    sequence: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """End the vMotion of which this connection is the source. Answer, if there is none: ``not_aborted``."""

    sequence: bytes


class Details(NamedTuple):
    """Tell the console what the VM has said of itself; the name is empty where it has not come.

    :ivar claimed: whether the VM has asked for the console itself; not so at the destination of a vMotion.
    """

    bios_uuid: UUID | None
    location_uuid: UUID | None
    name: str
    claimed: bool


@dataclass(frozen=True, slots=True)
class PortSettings:
    """Tell the console the state of its port; None: as usual."""

    server: AccessServer | None


@dataclass(frozen=True, slots=True)
class GuestBreak:
    """Tell the console of a break from the guest."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The VM takes data again, or does not."""

    ready: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Read from the host, or stop."""

    on: bool


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Send what there is to send and switch to TLS. Answer: ``tls_started``."""


@dataclass(frozen=True, slots=True)
class Complain:
    """Count something that the host did wrong, and log it."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Count:
    """Count something that is no fault."""

    kind: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection at once.

    :ivar complain: whether that is told as a fault of the host's.
    """

    reason: str
    complain: bool = True


Action = (
    bytes
    | Claim
    | ClaimSoon
    | Judge
    | DialRefused
    | Begin
    | Peer
    | Complete
    | Abort
    | Details
    | PortSettings
    | GuestBreak
    | Readiness
    | Reading
    | StartTLS
    | Complain
    | Count
    | Close
)

CONTROL_LIMIT = 256 * 1024


class Outbox:
    """Bytes for the host and actions for the driver, as far as they have not been taken.

    Bound: :data:`CONTROL_LIMIT` bytes of commands for a host that does not read them.

    :ivar blocked: whether the host reads slower than is written.
    :ivar control_while_blocked: the commands since then, in bytes.
    """

    __slots__ = ("actions", "blocked", "control_while_blocked", "data")

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.actions: list[Action] = []
        self.blocked = False
        self.control_while_blocked = 0

    @property
    def is_quiet(self) -> bool:
        """Whether the host takes what is sent, and nothing is to be done."""
        return not self.blocked and not self.actions

    def block(self, on: bool, control: int = 0) -> None:
        """Note that the host reads slower than is written, or not any more; to say so again changes nothing.

        :param control: the bytes of commands since then.
        """
        if not on or not self.blocked:  # Twisted says so again at each write to a full buffer
            self.control_while_blocked = control
        self.blocked = on

    def take_data(self) -> list[bytes]:
        """Take out the bytes."""
        data, self.data = self.data, []
        return data

    def take_actions(self) -> list[Action]:
        """Take out the actions."""
        actions, self.actions = self.actions, []
        return actions

    def control(self, data: bytes) -> None:
        """Send what is no serial data: Telnet commands and subnegotiations."""
        if self.blocked:
            self.control_while_blocked += len(data)
            if self.control_while_blocked > CONTROL_LIMIT:
                self.actions.append(Close("it keeps asking but does not read the answers", complain=False))
                return
        self.data.append(data)

    def complain(self, kind: str, text: str) -> None:
        """Have a fault of the host's counted and logged."""
        self.actions.append(Complain(kind, text))
