"""The state of a connection from a host as a value, to hand over: see :mod:`vmproxy.base.state` for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vmproxy.vm.session_state import VMSessionState


@dataclass(frozen=True, slots=True)
class DeadlineAges:
    """The seconds that are over of each deadline of a connection; None where it has none."""

    unidentified: float | None
    undecided: float | None
    retired: float | None


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A connection between two events. One that is TLS, or is being closed, has no such state.

    :ivar uuid: with ``port``, the console that it carries; None if it carries none.
    :ivar retired: whether another connection has taken over that console: its end is no end of the console's.
    :ivar second: seconds since the host's present thousands of commands have begun; at most :data:`LONG_AGO`.
    :ivar paced: for how many seconds more the host has to wait, as it sent too many of them; None if it has not.
    """

    peer: str
    session: VMSessionState
    uuid: UUID | None
    port: str
    retired: bool
    second: float
    paced: float | None
    ages: DeadlineAges


LONG_AGO = 3600.0
