"""What a console holds between two events, as values: for a process that takes over from another.

Links and viewers are named: who hands over gives each a name, and who takes over says which of its own has that name.
The identity, the name and the log are not in here, for the journal has them; nor is a pending vMotion, which is the
migrations', or the state of COM-PORT, which is the link's.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class InputState:
    """Queued input.

    :ivar items: bytes, or None for a break.
    """

    items: tuple[bytes | None, ...]
    delivered: int
    congested: bool


@dataclass(frozen=True, slots=True)
class ViewersState:
    """The viewers, by name.

    :ivar all: in the order in which they came.
    :ivar writers: those with write access, the writer first.
    :ivar waiting: those who wait for it, the first of the queue first.
    """

    all: tuple[str, ...]
    writers: tuple[str, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """One console.

    :ivar link: the link in service; empty if there is none.
    :ivar links: all links in the order of their output, the one in service last or among them.
    """

    uri: str
    host: str
    since: float
    reason: str
    settings: str
    vc_uuid: UUID | None
    known_by: str
    bios_uuid: UUID | None
    location_uuid: UUID | None
    logging: bool
    link: str
    links: tuple[str, ...]
    input: InputState
    viewers: ViewersState
