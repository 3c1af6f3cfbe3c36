"""One vMotion as a state machine without I/O: events in, actions out.

The pending state belongs to the console and not to a connection, because hosts close the source *before* the
destination says COMPLETE.

========= ==============================================================================
awaited   BEGIN was answered; the source is there, the destination has not come
alone     the same, and the source is gone
arrived   the destination has shown the pair, which is used up; both are there
moving    the same, and the source is gone: only COMPLETE is missing
left      the destination was lost; the source is there, and will ABORT or BEGIN again
overtaken another connection has claimed the console while the destination was there
over      nothing is pending any more
========= ==============================================================================

A host that has shown the pair may take as long as it likes, so ``arrived`` has no deadline: to give up would send
input to a source whose guest is stunned. Nor has ``overtaken``, in which the console is not held: a COMPLETE counts
there if nobody serves the console by then. ``moving`` and ``left`` have a full time of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vmproxy.console.console import Console
from vmproxy.console.interfaces import ILink

AWAITED, ALONE, ARRIVED, MOVING, LEFT = "awaited", "alone", "arrived", "moving", "left"
OVERTAKEN, OVER = "overtaken", "over"
STATES = (AWAITED, ALONE, ARRIVED, MOVING, LEFT, OVERTAKEN, OVER)
PENDING = frozenset((AWAITED, ALONE, ARRIVED, MOVING, LEFT))
"""The states in which input is held."""

PEER, COMPLETE, ABORT = "PEER", "COMPLETE", "ABORT"
SOURCE_LOST, DESTINATION_LOST, EXPIRED = "source lost", "destination lost", "expired"
REPLACED, CLAIMED = "replaced", "claimed"  # by a BEGIN; by another connection of the VM
INPUTS = (PEER, COMPLETE, ABORT, SOURCE_LOST, DESTINATION_LOST, EXPIRED, REPLACED, CLAIMED)

RELEASE, RESUME, MOVE, HEAR, DOWN = "release", "resume", "move", "hear", "down"
"""Actions: close the destination; go on with the source; serve at the destination; hear what a destination that is
gone has kept; the console is down."""

TABLE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (AWAITED, PEER): (ARRIVED, ()),
    (AWAITED, ABORT): (OVER, (RESUME,)),
    (AWAITED, SOURCE_LOST): (ALONE, ()),
    (AWAITED, EXPIRED): (OVER, (RESUME,)),
    (AWAITED, REPLACED): (OVER, ()),
    (AWAITED, CLAIMED): (OVER, ()),
    (ALONE, PEER): (MOVING, ()),
    (ALONE, EXPIRED): (OVER, (DOWN,)),
    (ALONE, CLAIMED): (OVER, ()),
    (ARRIVED, COMPLETE): (OVER, (MOVE,)),
    (ARRIVED, ABORT): (OVER, (RELEASE, RESUME)),
    (ARRIVED, SOURCE_LOST): (MOVING, ()),
    (ARRIVED, DESTINATION_LOST): (LEFT, (RELEASE,)),
    (ARRIVED, REPLACED): (OVER, (RELEASE,)),
    (ARRIVED, CLAIMED): (OVERTAKEN, ()),
    (MOVING, COMPLETE): (OVER, (MOVE,)),
    (MOVING, DESTINATION_LOST): (OVER, (HEAR, DOWN)),
    (MOVING, EXPIRED): (OVER, (MOVE,)),
    (MOVING, CLAIMED): (OVERTAKEN, ()),
    (LEFT, ABORT): (OVER, (RESUME,)),
    (LEFT, SOURCE_LOST): (OVER, (DOWN,)),
    (LEFT, EXPIRED): (OVER, (RESUME,)),
    (LEFT, REPLACED): (OVER, ()),
    (LEFT, CLAIMED): (OVER, ()),
    (OVERTAKEN, COMPLETE): (OVER, (MOVE,)),
    (OVERTAKEN, DESTINATION_LOST): (OVER, (RELEASE,)),
    (OVERTAKEN, REPLACED): (OVER, (RELEASE,)),
}
"""(state, input) -> (next state, actions). What is not in it cannot happen, or is refused."""


def table_text() -> str:
    """The table for people to read: a line for each entry."""
    return "\n".join(
        f"{state:9} {what:17} -> {after:9} {', '.join(does)}".rstrip() for (state, what), (after, does) in TABLE.items()
    )


@dataclass(frozen=True, slots=True)
class MigrationState:
    """A pending vMotion as a value, to hand over.

    :ivar uuid: with ``port`` the console's identity.
    :ivar age: seconds since BEGIN.
    :ivar waited: seconds of its deadline that are over; None where it has none.
    :ivar host: the address of the source's host.
    :ivar source: the name of the source's connection; empty where it is gone; likewise ``destination``.
    """

    uuid: UUID
    port: str
    state: str
    sequence: bytes
    secret: bytes
    age: float
    waited: float | None
    encrypted: bool
    host: str
    source: str
    destination: str


class Migration:
    """One vMotion.

    :ivar state: one of the table's.
    :ivar started: when BEGIN came, by the clock.
    :ivar encrypted: whether the source had TLS.
    :ivar source: the connection that the VM comes from, while it lives.
    :ivar host: the address of its host.
    :ivar destination: the connection that has shown the pair, while it lives.
    """

    __slots__ = ("console", "destination", "encrypted", "host", "secret", "sequence", "source", "started", "state")

    def __init__(
        self, console: Console, source: ILink[Console] | None, sequence: bytes, secret: bytes, started: float
    ) -> None:
        self.console = console
        self.source = source
        self.destination: ILink[Console] | None = None
        self.sequence = sequence
        self.secret = secret
        self.started = started
        self.encrypted = source is not None and source.encrypted
        self.host = source.peer if source is not None else console.host
        self.state = AWAITED

    @property
    def pair(self) -> bytes:
        """Sequence and secret in one piece, as PEER carries them: no length is fixed."""
        return self.sequence + self.secret

    def found(self, destination: ILink[Console] | None) -> None:
        """Take the connection that has shown the pair, or None at its end."""
        self.destination = destination

    def source_lost(self) -> None:
        """The source's connection is gone."""
        self.source = None

    def restore(self, state: MigrationState, destination: ILink[Console] | None) -> None:
        """Go on where another process was."""
        self.state = state.state
        self.encrypted = state.encrypted
        self.host = state.host
        self.destination = destination

    def expects(self, what: str) -> bool:
        """Whether an input has a place in the table now."""
        return (self.state, what) in TABLE

    def input(self, what: str) -> tuple[str, ...]:
        """Take an input.

        :returns: the actions, in order.
        :raises KeyError: if it has no place in the table now.
        """
        self.state, actions = TABLE[self.state, what]
        return actions
