"""Counters and gauges of the process: parts add their own, and a report reads all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Count = Callable[[], Mapping[str, int]]


class Counters:
    """The counters and gauges of all parts. Each is read when it is reported, and counted where the event happens."""

    def __init__(self) -> None:
        self._gauges: dict[str, Callable[[], object]] = {}
        self._counts: list[Count] = []

    def gauge(self, name: str, read: Callable[[], object]) -> None:
        """Add something that goes up and down."""
        self._gauges[name] = read

    def count(self, read: Count) -> None:
        """Add numbers of events since the start, by name."""
        self._counts.append(read)

    @property
    def gauges(self) -> dict[str, object]:
        """The present values of all gauges."""
        return {name: read() for name, read in self._gauges.items()}

    @property
    def counts(self) -> dict[str, int]:
        """The present values of all counters."""
        return {name: number for read in self._counts for name, number in read().items()}

    def report(self) -> str:
        """All gauges and counters in one line."""
        told = [
            f"{name}: {_listed(value) if isinstance(value, Mapping) else value}" for name, value in self.gauges.items()
        ]
        return "; ".join([*told, f"counters: {_listed(self.counts)}"])


def _listed(numbers: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"
