"""How long operators may type nothing, as rules and settings of consoles say."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.base import values
from vmproxy.base.schema import setting


@dataclass(frozen=True, slots=True)
class IdleTimes:
    """Seconds without typing after which an operator loses something; 0: never.

    :ivar idle_write: after which a writer gives write access to whoever waits for it.
    :ivar idle_disconnect: after which they are disconnected.
    """

    idle_write: float = setting(values.span, 0.0)
    idle_disconnect: float = setting(values.span, 0.0)

    def __bool__(self) -> bool:
        return bool(self.idle_write or self.idle_disconnect)

    def shorter(self, other: IdleTimes) -> IdleTimes:
        """The shorter one of each."""
        return IdleTimes(
            _shorter(self.idle_write, other.idle_write), _shorter(self.idle_disconnect, other.idle_disconnect)
        )


def _shorter(one: float, other: float) -> float:
    return min(one, other) if one and other else one or other


NO_LIMITS = IdleTimes()
