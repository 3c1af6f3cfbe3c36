"""The numbers of a simulation: for the report line, for tests, and for the bench."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

_SAMPLES = 20_000

Number = Literal["up", "opened", "lost", "unreached", "strays", "overruns", "sent", "received"]


class Outcome(Enum):
    """How a migration ended."""

    DONE = "done"
    ABORTED = "aborted"  # on purpose
    NOT_NOW = "not now"  # the proxy's word
    FAILED = "failed"
    SKIPPED = "skipped"  # not connected, or a migration is under way


class Durations:
    """The latest durations of one kind: enough for a percentile, and never more memory than that takes."""

    __slots__ = ("_latest", "count", "longest")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_SAMPLES)
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        self._latest.append(seconds)
        self.count += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, share: float) -> float:
        """:returns: what ``share`` (0 to 1) of the latest stayed within, in seconds; 0 where there are none."""
        ordered = sorted(self._latest)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0

    def __str__(self) -> str:
        p50, p99 = self.percentile(0.5), self.percentile(0.99)
        return f"p50 {p50 * 1000:.1f} p99 {p99 * 1000:.1f} max {self.longest * 1000:.1f} ms"


@dataclass(slots=True)
class FleetCounters:
    """Shared by all VMs of a fleet.

    :ivar up: how many VMs have an open connection now.
    :ivar opened: how often a connection became a VM's, vMotions aside.
    :ivar lost: how often a VM lost its connection.
    :ivar unreached: how often a connection could not be opened.
    :ivar strays: bytes that the proxy sent where a real VM would have lost them.
    :ivar overruns: bytes typed during a stun that found no room.
    :ivar sent: bytes of serial data to the proxy.
    :ivar received: bytes of serial data from the proxy.
    :ivar goahead: from BEGIN to GOAHEAD.
    :ivar stunned: how long guests stood still.
    :ivar last_error: the latest trouble, for people.
    """

    up: int = 0
    opened: int = 0
    lost: int = 0
    unreached: int = 0
    strays: int = 0
    overruns: int = 0
    sent: int = 0
    received: int = 0
    goahead: Durations = field(default_factory=Durations)
    stunned: Durations = field(default_factory=Durations)
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    last_error: str = ""

    def count(self, what: Number, n: int = 1) -> None:
        setattr(self, what, getattr(self, what) + n)

    def ended(self, outcome: Outcome) -> None:
        """Count a migration."""
        self.outcomes[outcome] += 1

    def failed(self, why: str) -> None:
        """Keep the latest trouble."""
        self.last_error = why

    def summary(self, vms: int) -> str:
        """:returns: one line that says it all."""
        migrations = ", ".join(f"{n} {outcome.value}" for outcome, n in self.outcomes.items() if n) or "none"
        parts: Iterable[str] = (
            f"{self.up}/{vms} connected",
            f"{self.lost} lost, {self.unreached} unreached" if self.lost or self.unreached else "",
            f"migrations: {migrations}",
            f"goahead {self.goahead}" if self.goahead.count else "",
            f"stunned {self.stunned}" if self.stunned.count else "",
            f"out {self.sent} in {self.received} bytes",
            f"{self.strays} stray, {self.overruns} overrun bytes" if self.strays or self.overruns else "",
            f"last error: {self.last_error}" if self.last_error else "",
        )
        return " | ".join(part for part in parts if part)
