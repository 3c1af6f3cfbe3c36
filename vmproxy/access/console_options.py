"""What rules say of consoles themselves: several writers, named sequences, and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.selector import BadRule
from vmproxy.base import values
from vmproxy.base.form import STRING, formed
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, setting

LONGEST_WAIT = 5.0
SEQUENCES_LIMIT = 64
SEQUENCE_LIMIT = 4096
REPLAY_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class NamedSequence:
    """A sequence of input with a name.

    :ivar parts: bytes, None for a break, or seconds to wait.
    """

    name: str
    parts: tuple[bytes | float | None, ...]


_TOKEN = re.compile(r"<(break|wait [0-9.]+)>")


def parse_sequence(text: str) -> tuple[bytes | float | None, ...]:
    """Parse a sequence: text, with ``<break>`` and ``<wait SECONDS>`` in it.

    :raises BadRule: if it waits for too long.
    """
    parts: list[bytes | float | None] = []
    for n, piece in enumerate(_TOKEN.split(text)):
        if n % 2 == 0:
            if piece:
                parts.append(piece.encode())
        elif piece == "break":
            parts.append(None)
        else:
            try:
                seconds = float(piece[5:])
            except ValueError:
                raise BadRule(f"<{piece}>: that is not a number of seconds") from None
            if seconds > LONGEST_WAIT:
                raise BadRule(f"<{piece}>: {LONGEST_WAIT:g} seconds at most")
            parts.append(seconds)
    return tuple(parts)


@formed({"type": "object", "additionalProperties": STRING})
def _sequences(value: Any) -> tuple[NamedSequence, ...]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadRule('write { name = "what to send", ... }; <break> and <wait 0.5> may be in it')
    if len(value) > SEQUENCES_LIMIT or any(len(text) > SEQUENCE_LIMIT for text in value.values()):
        raise BadRule(f"at most {SEQUENCES_LIMIT} sequences of at most {SEQUENCE_LIMIT} characters")
    return tuple(NamedSequence(visible(name), parse_sequence(text)) for name, text in value.items())


@formed({"enum": ["one", "shared"]})
def _shared(value: Any) -> bool:
    if value not in ("one", "shared"):
        raise InvalidValue(f'{value!r} is neither "one" nor "shared"')
    return bool(value == "shared")


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """The options of a console.

    :ivar shared: whether others may join the writer.
    :ivar record_input: whether input is recorded.
    :ivar message: the message of the day, shown on attach.
    :ivar replay: how many lines are replayed on attach; None for the usual number.
    :ivar force_reason: whether taking over needs a reason.
    :ivar forget_after: seconds after which it is forgotten if it is down; 0: never.
    :ivar encoding: that of the characters in the output, a codec of Python.
    :ivar idle_write: seconds without typing after which a writer gives write access to whoever waits; 0: never.
    :ivar idle_disconnect: seconds without typing after which an operator is disconnected; 0: never.
    """

    shared: bool = setting(_shared, False, key="write")
    record_input: bool = setting(values.flag, False)
    message: str = setting(values.text, "")
    sequences: tuple[NamedSequence, ...] = setting(_sequences, ())
    replay: int | None = setting(values.whole(0, REPLAY_LIMIT, "a number of lines"), None)
    force_reason: bool = setting(values.flag, False)
    forget_after: float = setting(values.span, 0.0)
    encoding: str = setting(values.encoding, "utf-8")
    idle_write: float = setting(values.span, 0.0)
    idle_disconnect: float = setting(values.span, 0.0)

    @property
    def idle(self) -> IdleTimes:
        """How long operators may type nothing."""
        return IdleTimes(self.idle_write, self.idle_disconnect)


USUAL = ConsoleOptions()
