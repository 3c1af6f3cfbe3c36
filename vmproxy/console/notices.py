"""Notices of a console to its viewers: facts, not wording.

Each front words them in its own way. ``essential`` ones are told to every viewer, also to a quiet one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Notice:
    """The root of all notices."""

    essential: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class LineDown(Notice):
    """The VM's connection is gone, at ``at`` (seconds since the epoch)."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class LineUp(Notice):
    """The VM is connected from ``host``; ``away`` seconds have passed since it was last, where that is known."""

    host: str
    away: float | None
    vmotion: bool


@dataclass(frozen=True, slots=True)
class FarEndUp(Notice):
    """The VM is connected to the far end that it asked for, found at ``address``."""

    place: str
    address: str


@dataclass(frozen=True, slots=True)
class FarEndDown(Notice):
    """The far end that the VM asked for is not there; it is dialled again in ``again`` seconds."""

    place: str
    reason: str
    again: float


@dataclass(frozen=True, slots=True)
class Joined(Notice):
    """Another viewer attached."""

    who: str
    writing: bool


@dataclass(frozen=True, slots=True)
class Left(Notice):
    """Another viewer detached."""

    who: str


@dataclass(frozen=True, slots=True)
class Demoted(Notice):
    """You lost write access to ``by``, who may have given a reason."""

    by: str
    reason: str = ""
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Promoted(Notice):
    """You have write access: the former writer left or gave it up."""

    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Shares(Notice):
    """A viewer that was read-only writes too from now on."""

    who: str


@dataclass(frozen=True, slots=True)
class TookOver(Notice):
    """A viewer took write access from others, which were told themselves."""

    who: str
    was: str


@dataclass(frozen=True, slots=True)
class Kicked(Notice):
    """You are disconnected from the console."""

    by: str
    reason: str
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Message(Notice):
    """A message of an operator to the viewers of this console or, from an administrator, to everybody."""

    who: str
    text: str
    to_all: bool = False
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class InputRecorded(Notice):
    """Input is recorded from now on, or not any more."""

    on: bool
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class LoggingOff(Notice):
    """An operator has turned recording off."""

    who: str
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class LoggingOn(Notice):
    """An operator has turned recording on again; ``missing`` bytes were not recorded."""

    who: str
    missing: int
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Alerted(Notice):
    """An alert about the console: its severity, the name of the watch, and the line or what else it is about."""

    severity: str
    watch: str
    line: str


@dataclass(frozen=True, slots=True)
class GuestBreak(Notice):
    """The guest sent a break."""


@dataclass(frozen=True, slots=True)
class InputLost(Notice):
    """``size`` bytes of input could not be delivered, because the VM is gone."""

    size: int
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class LogFailed(Notice):
    """The log cannot be written; output is not being recorded."""

    reason: str
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class LogRecovered(Notice):
    """The log is being written again; ``lost`` bytes are not in it."""

    lost: int
    essential: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ShuttingDown(Notice):
    """The concentrator is being stopped."""

    essential: ClassVar[bool] = True
