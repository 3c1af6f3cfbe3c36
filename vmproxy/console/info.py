"""All that is known of a console, as one value: for lists, JSON, the journal, and other nodes.

Texts from a VM, a host or a remote end are as they came: whoever shows them makes them safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vmproxy.access.labels import NO_LABELS, Labels, Pair
from vmproxy.console.alert_marks import NO_ALERTS, AlertMarks

BIOS_UUID, LOCATION_UUID = "BIOS UUID", "location UUID"
"""What a VM is known by that has told no VC UUID."""

NAMED = 64
"""Viewers, and writers, that are named; of more the number is known."""


@dataclass(frozen=True, slots=True)
class ViewerInfo:
    """One viewer.

    :ivar writes: whether it may write; ``waits`` whether it waits for write access.
    :ivar since: when it attached, seconds since the epoch.
    :ivar last_input: when it last typed.
    :ivar skipped: bytes of output that it was too slow for.
    """

    who: str
    writes: bool
    waits: bool
    since: float
    last_input: float
    skipped: int


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """The remote end of a console whose VM has direction "client": see ``IRemoteEnd``."""

    place: str
    state: str
    since: float
    address: str
    reason: str
    again: float


@dataclass(frozen=True, slots=True)
class ConsoleInfo:
    """One console at one moment.

    :ivar known_by: what ``uuid`` is, where it is no VC UUID: :data:`BIOS_UUID` or :data:`LOCATION_UUID`; else empty.
    :ivar title: its name, safe to show, with the port where it is not the first.
    :ivar state: ``up``, ``down``, or ``migrating``.
    :ivar since: when it went up or down, seconds since the epoch; 0 if nobody knows.
    :ivar settings: the serial parameters; empty if unknown.
    :ivar undelivered: bytes of input that wait for the VM.
    :ivar log: the path of its log in the log folder.
    :ivar log_problem: why it is not being recorded; empty while it is.
    :ivar logging: whether it is to be recorded.
    :ivar writers: who may write, the writer before those who joined: the first :data:`NAMED` of ``writer_count``.
    :ivar viewers: in the order in which they came: the first :data:`NAMED` of ``viewer_count``.
    :ivar alerts: those that nobody has acknowledged.
    """

    uuid: UUID
    known_by: str
    port: str
    name: str
    title: str
    uri: str
    bios_uuid: UUID | None
    location_uuid: UUID | None
    state: str
    since: float
    reason: str
    host: str
    encrypted: bool
    settings: str
    bytes_out: int
    bytes_in: int
    undelivered: int
    log: str
    log_problem: str
    logging: bool
    input_recorded: bool
    shared: bool
    sequences: tuple[str, ...]
    writers: tuple[str, ...]
    writer_count: int
    viewers: tuple[ViewerInfo, ...]
    viewer_count: int
    remote: RemoteInfo | None
    alerts: AlertMarks = NO_ALERTS
    labels: Labels = NO_LABELS

    @property
    def writer(self) -> str:
        """The writer, of several the first; empty if there is none."""
        return self.writers[0] if self.writers else ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels that another system gives.

    :ivar given: those that rules may use; ``told``: the others.
    """

    given: tuple[Pair, ...] = ()
    told: tuple[Pair, ...] = ()
