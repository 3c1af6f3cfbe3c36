"""What was found: medians, the tables, and JSON."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.figures import TARGETS, Target, figure
from bench.measure import Sample

_BUSY = 0.1


@dataclass(frozen=True)
class Machine:
    """The machine that all this ran on."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    twisted: str
    descriptors: int

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        names = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return cls(
            names[0] if names else platform.machine(),
            len(os.sched_getaffinity(0)),
            round(memory / 2**30, 1),
            platform.release(),
            platform.python_version(),
            version("twisted"),
            hard,
        )

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib} GiB, Linux {self.kernel}, Python {self.python},"
            f" Twisted {self.twisted}, {self.descriptors} descriptors per process"
        )


class Others:
    """Watches how much of the machine other processes take.

    :ivar share: of all cores, from entering on; our children count as ours once they have been waited for.
    """

    def __init__(self) -> None:
        self._before = self._taken()

    def __enter__(self) -> Others:
        self._before = self._taken()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    @property
    def share(self) -> float:
        busy, ours, all_of_it = (now - before for now, before in zip(self._taken(), self._before, strict=True))
        return max(0.0, busy - ours) / all_of_it if all_of_it else 0.0

    @staticmethod
    def _taken() -> tuple[float, float, float]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        own = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = sum(usage.ru_utime + usage.ru_stime for usage in own)
        return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), ours, sum(ticks) / os.sysconf("SC_CLK_TCK")


class Results:
    """Everything that was found.

    :ivar kinds: what was measured.
    :ivar others: the share of the machine that other processes took meanwhile.
    :ivar failures: what could not be measured at all.
    """

    def __init__(self, machine: Machine, quick: bool, whole: bool, peers: tuple[str, ...] = ()) -> None:
        """
        :param whole: whether all modes are run: then a target that was not measured is shown as such.
        :param peers: the names of other concentrators that were measured, too.
        """
        self.whole = whole
        self.peers = peers
        self.kinds = ("vmproxy", "reference", *peers)
        self.machine = machine
        self.quick = quick
        self.began = time.time()
        self.others = 0.0
        self.failures: list[str] = []
        self.samples: dict[str, dict[str, list[Sample]]] = {}

    def add(self, key: str, kind: str, sample: Sample) -> None:
        """Take a sample.

        :param key: of the figure, with ``@`` and the place.
        """
        self.samples.setdefault(key, defaultdict(list))[kind].append(sample)

    def median(self, key: str, kind: str, of: Callable[[Sample], float | None] = lambda s: s.value) -> float | None:
        """The median of the runs; None where there are none."""
        values = [value for sample in self.samples[key][kind] if (value := of(sample)) is not None]
        return statistics.median(values) if values else None

    def ratio(self, key: str, other: str = "reference") -> float | None:
        """vmproxy's figure over the other's: the median of the runs' ratios."""
        pairs = zip(self.samples[key]["vmproxy"], self.samples[key][other], strict=False)
        ratios = [a.value / b.value for a, b in pairs if a.value is not None and b.value]
        return statistics.median(ratios) if ratios else None

    def problems(self, key: str, kind: str) -> list[str]:
        """What was wrong in any of the runs."""
        return list(dict.fromkeys(problem for sample in self.samples[key][kind] for problem in sample.problems))

    def load_limited(self, key: str, kind: str) -> bool:
        """Whether the load was the limit in most of the runs."""
        samples = self.samples[key][kind]
        return 2 * sum(sample.load_was_the_limit for sample in samples) > len(samples)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(results: Results, key: str, kind: str) -> str:
    server = results.median(key, kind, lambda s: s.server or None)
    load = results.median(key, kind, lambda s: s.load or None)
    return "" if server is None else f"{100 * server:.0f}/{100 * (load or 0):.0f}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * w for w in widths)


def _figures(results: Results) -> Iterator[str]:
    heads = ["figure", "logs on", *results.kinds, "unit", "ratio", *(f"to {name}" for name in results.peers)]
    rows = [(*heads, "core % v: server/load", "r: server/load")]
    for key in results.samples:
        name, _, place = key.partition("@")
        meaning = figure(name)
        values = []
        for kind in results.kinds:
            mark = "!" if results.problems(key, kind) else ">" if results.load_limited(key, kind) else ""
            values.append(mark + _number(results.median(key, kind), meaning.digits))
        shares = [_share(results, key, kind) for kind in ("vmproxy", "reference")]
        ratios = [_number(results.ratio(key, other), 2) for other in results.kinds[1:]]
        rows.append((meaning.name(name), place, *values, meaning.unit, *ratios, *shares))
    yield from _columns(rows)


def outcome(results: Results, target: Target, place: str) -> tuple[float | None, str]:
    """What was measured for a target, and whether it is met: ``yes``, ``no``, ``not measured``."""
    key = f"{target.key}@{place}"
    if key not in results.samples:
        return None, "not measured"
    value = results.ratio(key) if target.ratio else results.median(key, "vmproxy")
    if value is None:
        return None, "no"
    return value, "yes" if target.met(value) and not results.problems(key, "vmproxy") else "no"


def targets(results: Results) -> Iterator[tuple[Target, str, float | None, str]]:
    """Every target and place with what came of it."""
    places = list(dict.fromkeys(key.partition("@")[2] for key in results.samples))
    for target in TARGETS:
        measured = [place for place in places if f"{target.key}@{place}" in results.samples]
        for place in measured or ([""] if results.whole and not results.quick else []):
            yield target, place, *outcome(results, target, place)


def _targets(results: Results) -> Iterator[str]:
    rows = [("target", "logs on", "meant", "measured", "ratio", "met")]
    for target, place, value, met in targets(results):
        meaning = figure(target.key)
        limit = f"{'<=' if target.most else '>='} {target.limit:g} {'x reference' if target.ratio else meaning.unit}"
        key = f"{target.key}@{place}"
        measured = results.median(key, "vmproxy") if value is not None else None
        ratio = results.ratio(key) if place else None
        flattered = "*" if target.ratio and place and results.load_limited(key, "reference") else ""
        rows.append(
            (
                meaning.name(target.key),
                place,
                limit.strip(),
                f"{_number(measured, meaning.digits)} {meaning.unit}".strip(),
                _number(ratio, 2) + flattered,
                met,
            )
        )
    yield from _columns(rows)


def table(results: Results) -> str:
    """Everything, for people."""
    lines = ["", str(results.machine)]
    lines.append(f"Other processes took {100 * results.others:.0f} % of the machine meanwhile.")
    if results.others > _BUSY:
        lines.append("THE MACHINE WAS BUSY: these figures say little.")
    if results.quick:
        lines.append("QUICK: sizes are so small that these figures say nothing.")
    if results.samples:
        lines += ["", *_figures(results), "", *_targets(results)]
    lines += [
        "",
        "The ratio is vmproxy's figure over the reference's, the median of the runs. ! something was wrong, see below.",
        *(["to NAME: vmproxy's figure over that peer's."] if results.peers else []),
        "> the load could send no more: the server can do better. * so the ratio flatters vmproxy.",
    ]
    for key in results.samples:
        for kind in results.kinds:
            lines += [f"! {key}, {kind}: {problem}" for problem in results.problems(key, kind)]
    lines += [f"! {failure}" for failure in results.failures]
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "machine": asdict(results.machine),
        "command": sys.argv[1:],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(results.began)),
        "quick": results.quick,
        "others": round(results.others, 4),
        "failures": results.failures,
        "figures": {
            key: {
                "title": figure(key.partition("@")[0]).name(key.partition("@")[0]),
                "unit": figure(key.partition("@")[0]).unit,
                "vmproxy": results.median(key, "vmproxy"),
                "reference": results.median(key, "reference"),
                "ratio": results.ratio(key),
                "peers": {
                    name: {"value": results.median(key, name), "ratio": results.ratio(key, name)}
                    for name in results.peers
                    if results.samples[key][name]
                },
                "runs": {kind: [asdict(sample) for sample in runs] for kind, runs in kinds.items()},
            }
            for key, kinds in results.samples.items()
        },
        "targets": [
            {
                "key": target.key,
                "place": place,
                "limit": target.limit,
                "ratio": target.ratio,
                "value": value,
                "met": met,
            }
            for target, place, value, met in targets(results)
        ],
    }
