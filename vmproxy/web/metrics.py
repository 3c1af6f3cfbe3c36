"""The metrics in the formats of Prometheus and OpenMetrics.

Made when somebody asks, in slices: thousands of consoles are looked at, and everybody else goes on meanwhile. Whoever
asks while that is under way gets the same text. No label names a console, an operator or an address, but for those of
the consoles that the configuration chooses (:mod:`vmproxy.web.console_metrics`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vmproxy.base.metrics import Families, Family, Histogram, Kind
from vmproxy.base.tasks import spawn
from vmproxy.base.turns import Turns
from vmproxy.web.process_metrics import process_metrics

PREFIX = "vmproxy_"
_WHO = "metrics"  # of whom the turns are
_END = b"# EOF\n"
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
SLICE = 200  # samples


class Exposition:
    """The text of all metrics."""

    def __init__(
        self,
        read: Callable[[bool], Families],
        turns: Turns,
        in_thread: Callable[[Callable[[], list[Metric]]], Awaitable[list[Metric]]],
    ) -> None:
        """
        :param read: gives all families, those of single consoles too or not; of one name there may be several.
        :param in_thread: runs a call that waits on another thread.
        """
        self._read = read
        self._turns = turns
        self._in_thread = in_thread
        self._asked: dict[tuple[str, bool], list[Deferred[bytes]]] = {}

    async def text(self, accept: str, consoles: bool) -> tuple[bytes, str]:
        """All metrics now.

        :param accept: the formats that the client can read, as in HTTP.
        :param consoles: whether those of single consoles are wanted.
        :returns: the text, and its type.
        """
        encode, media = _encoder(accept)
        key = media, consoles
        waiter: Deferred[bytes] = Deferred()
        asked = self._asked.get(key)
        if asked is not None:
            asked.append(waiter)
        else:
            self._asked[key] = [waiter]
            # On its own: the first to ask may go away, and the others still wait.
            spawn(self._make(encode, consoles)).addBoth(self._made, key)
        return await waiter, media

    def _made(self, outcome: bytes | Failure, key: tuple[str, bool]) -> None:
        for waiter in self._asked.pop(key):
            if not waiter.called:
                waiter.callback(outcome)

    async def _make(self, encode: Callable[[Collector], bytes], consoles: bool) -> bytes:
        families: dict[str, Family] = {}
        for family in self._read(consoles):
            if family is not None:
                name = family.name + family.kind.value
                before = families.get(name)
                families[name] = (
                    family if before is None else replace(before, values={**before.values, **family.values})
                )
            await self._turn()
        process = await self._in_thread(process_metrics)  # it may have to list the descriptors
        parts = []
        ends = False
        labels = _LabelTexts()
        for family in families.values():
            whole = family.kind is Kind.HISTOGRAM
            part = encode(_One(metric_of(family if whole else replace(family, values={}))))
            ends = part.endswith(_END)
            parts.append(part.removesuffix(_END))
            for lines in () if whole else _lines(family, labels):
                parts.append(lines)
                await self._turn()
            await self._turn()
        for metric in process:
            part = encode(_One(metric))
            ends = part.endswith(_END)
            parts.append(part.removesuffix(_END))
            await self._turn()
        return b"".join(parts) + (_END if ends else b"")

    async def _turn(self) -> None:
        while not self._turns.open():
            await self._turns.next(_WHO)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except Exception:  # the library looks at versions that are no numbers
        return choose_encoder("")


class _One(Collector):
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def metric_of(family: Family) -> Metric:
    """A family as the library knows it."""
    name, values = PREFIX + family.name, family.values.items()
    if family.kind is Kind.HISTOGRAM:
        histograms = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, value in values:
            if isinstance(value, Histogram):
                histograms.add_metric(labels, list(_buckets(value)), value.total)
        return histograms
    of_kind = GaugeMetricFamily if family.kind is Kind.GAUGE else CounterMetricFamily
    metric = of_kind(name, family.help, labels=family.labels)
    for labels, value in values:
        if not isinstance(value, Histogram):
            metric.add_metric(labels, value)
    return metric


class _LabelTexts(dict[tuple[tuple[str, ...], tuple[str, ...]], str]):
    """Labels as both formats have them; those of a console come with each of its figures."""

    def __missing__(self, labels: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
        pairs = [f'{name}="{value.translate(_ESCAPED)}"' for name, value in sorted(zip(*labels, strict=True))]
        text = self[labels] = f"{{{','.join(pairs)}}}" if pairs else ""
        return text


def _lines(family: Family, labels: _LabelTexts) -> Iterator[bytes]:
    """The samples of a gauge or a counter, in slices: hundreds of them take the library a hundredth of a second."""
    name = PREFIX + family.name + ("_total" if family.kind is Kind.COUNTER else "")
    lines: list[str] = []
    for values, value in family.values.items():
        if not isinstance(value, Histogram):
            lines.append(f"{name}{labels[family.labels, values]} {floatToGoString(value)}\n")
        if len(lines) == SLICE:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    bounds = (*histogram.bounds, float("inf"))
    return zip(map(floatToGoString, bounds), accumulate(histogram.counts), strict=True)
