"""Beginnings: what hosts say until they say which VM it is, and what a session is like then.

In a storm thousands of hosts say the same, byte by byte. What that leads to is worked out once and shared: a session
whose host has said nothing else has no options, no extension, no scanner of its own. They are made when the host says
something that others did not say in the same place.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from vmproxy.errors import WireError
from vmproxy.vm.actions import Action
from vmproxy.vm.comport import PortControlState
from vmproxy.vm.negotiation import NegotiationState
from vmproxy.wire.vmware import parse_name, parse_uuid

NAME_LIMIT = 1024
BEGINNINGS = 64
SEEN = 1024
EARLY_COMMANDS = 64
"""A host that has said so many Telnet commands says what no other one does."""


@dataclass(frozen=True, slots=True)
class ExtensionState:
    """The extension as a value; destinations as text, empty where there is none."""

    uuid: UUID | None = None
    bios_uuid: UUID | None = None
    location_uuid: UUID | None = None
    name: str = ""
    named: bool = False
    uri: str | None = None
    target: str = ""
    wish: str = ""
    judging: bool = False
    ripe: bool = False
    asked: int = 0
    list_sent: bool = False

    @property
    def is_anybodys(self) -> bool:
        """Whether it is not known yet which VM it is, and nothing is looked up for it."""
        identity = self.uuid or self.bios_uuid or self.location_uuid
        return identity is None and not (self.named or self.target or self.wish or self.judging or self.ripe)


class Introduction(NamedTuple):
    """What a VM says of itself; None where it does not."""

    uuid: UUID
    name: str | None
    bios: UUID | None
    location: UUID | None


def read_introduction(
    spelled: bytes, name: bytes | None, bios: bytes | None, location: bytes | None
) -> Introduction | None:
    """Read what a VM says of itself; None unless all of it makes sense.

    :param spelled: the VC UUID; ``bios`` and ``location`` are the others.
    """
    try:
        uuid = parse_uuid(spelled)
        # Mostly the location is the BIOS UUID: that is one object then.
        bios_uuid = None if bios is None else uuid if bios == spelled else parse_uuid(bios)
        location_uuid = None if location is None else bios_uuid if location == bios else parse_uuid(location)
    except WireError:
        return None
    return Introduction(uuid, None if name is None else parse_name(name)[:NAME_LIMIT], bios_uuid, location_uuid)


class Request(NamedTuple):
    """What a VM has asked for and been promised, as far as its claim needs it; ``word``, ``port``: see ``Claim``."""

    uri: str
    port: str | None
    word: str | None


class Beginning:
    """What a session is like whose host has said only what others have said too.

    :ivar age: the age of the settings that it holds for.
    :ivar line: its options; ``extension``; ``port``: port control, once the VM has turned it on.
    :ivar request: what the VM has asked for; None if nothing has been agreed on.
    :ivar steps: what a read leads to from here while it is not known which VM it is.
    :ivar tails: what the rest of a read leads to behind the one in which the VM said that, and is served.
    """

    __slots__ = ("age", "extension", "line", "port", "request", "steps", "tails")

    def __init__(
        self,
        age: int,
        line: NegotiationState,
        extension: ExtensionState,
        port: PortControlState | None = None,
        request: Request | None = None,
    ) -> None:
        self.age = age
        self.line = line
        self.extension = extension
        self.port = port
        self.request = request
        self.steps: dict[bytes, Step] = {}
        self.tails: dict[bytes, Step] = {}


class Step(NamedTuple):
    """What a read leads to.

    :ivar after: how the session is then; ``commands``: how many Telnet commands it took.
    :ivar answer: what the host is sent.
    :ivar actions: what the driver is to do.
    """

    after: Beginning
    answer: bytes
    commands: int
    actions: tuple[Action, ...] = ()


class Beginnings:
    """The beginnings of all sessions.

    Only what has been said twice is learned: there may be a service URI for each VM.

    Bound: :data:`BEGINNINGS`, and of older ages the one that each session still has; :data:`SEEN` numbers.

    :ivar age: of the settings; beginnings of another age hold no more.
    """

    __slots__ = ("_first", "_learned", "_seen", "age")

    def __init__(self) -> None:
        self.age = 0
        self._learned: list[dict[bytes, Step]] = []
        self._first: dict[Hashable, tuple[Beginning, bytes]] = {}
        self._seen: set[int] = set()

    @property
    def count(self) -> int:
        """How many steps are known."""
        return len(self._learned)

    def forget(self) -> None:
        """Forget all of them: they hold no more."""
        self.age += 1
        self._first.clear()
        for steps in self._learned:  # a session that stays where it is would keep all that lie behind that
            steps.clear()
        self._learned.clear()

    def first(self, kind: Hashable) -> tuple[Beginning, bytes] | None:
        """Where sessions of a kind begin, and what they say first; None if there has been none."""
        return self._first.get(kind)

    def begin(self, kind: Hashable, line: NegotiationState, opening: bytes) -> tuple[Beginning, bytes]:
        """Have sessions of a kind begin so."""
        found = self._first[kind] = Beginning(self.age, line, ExtensionState()), opening
        return found

    def again(self, begun: Beginning, read: bytes) -> bool:
        """Whether a read has come before in the same place, as far as is remembered."""
        number = hash((id(begun), read))
        if number in self._seen:
            return True
        if len(self._seen) >= SEEN:
            self._seen.clear()
        self._seen.add(number)
        return False

    def learn(self, steps: dict[bytes, Step], read: bytes, step: Step) -> None:
        """Keep what a read leads to from a beginning."""
        if self.count >= BEGINNINGS:
            self.forget()
        elif step.after.age == self.age:
            self._learned.append(steps)
            steps[read] = step
