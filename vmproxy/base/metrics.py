"""Figures for those who watch over the process from outside: how things are, how often what happened, how long it took.

Parts count with plain integers where things happen, and make families of them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TypeVar

K = TypeVar("K", bound=str | tuple[str, ...])


class Kind(Enum):
    """What can be done with the figures of a family."""

    GAUGE = "gauge"  # how it is now
    COUNTER = "counter"  # how often it has been since the start; never less than before
    HISTOGRAM = "histogram"


class Histogram:
    """How often something took how long. Written on one thread, read on any.

    :ivar bounds: of the buckets, in seconds; each holds what took no longer.
    :ivar counts: how often, of each bucket alone; the last is of what took longer than all bounds.
    :ivar total: seconds in all.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count something that took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


Values = Mapping[tuple[str, ...], float | Histogram]


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name.

    :ivar name: without the prefix of the process and the suffix of the kind.
    :ivar help: what it is, in one sentence.
    :ivar labels: what tells its figures apart.
    :ivar values: by the values of the labels.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    values: Values


Families = Iterator[Family | None]
"""Families one by one; None: some work is done and more is left, others may have their turn."""


def gauge(name: str, text: str, value: float | Mapping[K, float], *labels: str) -> Family:
    return Family(name, Kind.GAUGE, text, labels, _by_labels(value))


def counter(name: str, text: str, value: float | Mapping[K, float], *labels: str) -> Family:
    """A counter; with labels the values by theirs."""
    return Family(name, Kind.COUNTER, text, labels, _by_labels(value))


def histogram(name: str, text: str, value: Histogram | Mapping[K, Histogram], *labels: str) -> Family:
    """A histogram; with labels the values by theirs."""
    return Family(name, Kind.HISTOGRAM, text, labels, _by_labels(value))


def _by_labels(value: float | Histogram | Mapping[K, float] | Mapping[K, Histogram]) -> Values:
    if not isinstance(value, Mapping):
        return {(): value}
    return {(key if isinstance(key, tuple) else (key,)): one for key, one in value.items()}


def told_of(counts: Mapping[tuple[str, ...], int], *labels: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """What has been counted, of all there may be: it is there from the start, and nothing else ever is.

    :param labels: the values that each label may have.
    """
    return {key: counts.get(key, 0) for key in product(*labels)}
