"""What the figures mean, and what they are meant to be."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure.

    :ivar key: as the modes name it; a regular expression.
    :ivar title: for people; ``{0}`` is what the key's first group matched.
    :ivar digits: behind the point.
    """

    key: str
    title: str
    unit: str
    digits: int = 1

    def name(self, key: str) -> str:
        """The title for a key."""
        match = re.fullmatch(self.key, key)
        assert match is not None
        return self.title.format(*match.groups())


_WHERE = {"alone": "", "flood": ", beside a flood", "crowd": ", in a crowd", "files": ", new files"}

FIGURES = (
    Figure(r"storm\.(\d+)", "storm of {0}", "VMs/s", 0),
    Figure(r"storm\.(\d+)\.cpu", "storm of {0}: CPU per VM", "us", 0),
    *(
        figure
        for key, what in (("new", "new VMs connect"), ("again", "known VMs connect"))
        for figure in (
            Figure(rf"beside\.{key}\.goahead\.p50", f"BEGIN to GOAHEAD p50, while {what}", "ms", 2),
            Figure(rf"beside\.{key}\.goahead", f"BEGIN to GOAHEAD p99, while {what}", "ms", 2),
            Figure(rf"beside\.{key}\.peer", f"PEER to PEER-OK p99, while {what}", "ms", 2),
            Figure(rf"beside\.{key}\.keys\.p50", f"key to echo p50, while {what}", "ms", 2),
            Figure(rf"beside\.{key}\.keys", f"key to echo p99, while {what}", "ms", 2),
            Figure(rf"beside\.{key}\.rate", f"{what}", "VMs/s", 0),
        )
    ),
    Figure(r"idle\.memory", "memory per idle VM", "KiB", 2),
    Figure(r"idle\.cpu", "CPU while idle", "% of a core", 2),
    Figure(r"idle\.descriptors", "descriptors beside the sockets", "", 0),
    Figure(r"idle\.movable", "VMs that get a GOAHEAD", "%", 2),
    Figure(r"lines\.cpu", "lines: CPU per line", "us"),
    Figure(r"lines\.rate", "lines: highest rate kept up with", "lines/s", 0),
    Figure(r"watch\.off\.cpu", "lines, no watches: CPU per line", "us"),
    Figure(r"watch\.cpu", "lines, the sample watches: CPU per line", "us"),
    Figure(r"watch\.share", "lines: CPU with watches over that without", "", 2),
    Figure(r"many\.rate", "lines of many VMs: highest rate", "lines/s", 0),
    Figure(r"bulk\.(\d+)", "bulk, {0} VMs, text", "MiB/s"),
    Figure(r"bulk\.(\d+)\.binary", "bulk, {0} VMs, one 0xFF per line", "MiB/s"),
    Figure(r"bulk\.(\d+)\.cpu", "bulk, {0} VMs, text: CPU per MiB", "ms", 2),
    Figure(r"bulk\.(\d+)\.binary\.cpu", "bulk, {0} VMs, one 0xFF per line: CPU per MiB", "ms", 2),
    *(
        figure
        for key, where in _WHERE.items()
        for figure in (
            Figure(rf"migrations\.{key}\.goahead\.p50", f"BEGIN to GOAHEAD p50{where}", "ms", 2),
            Figure(rf"migrations\.{key}\.goahead", f"BEGIN to GOAHEAD p99{where}", "ms", 2),
            Figure(rf"migrations\.{key}\.goahead\.max", f"BEGIN to GOAHEAD max{where}", "ms", 2),
            Figure(rf"migrations\.{key}\.peer", f"PEER to PEER-OK p99{where}", "ms", 2),
            Figure(rf"migrations\.{key}\.peer\.max", f"PEER to PEER-OK max{where}", "ms", 2),
            Figure(rf"migrations\.{key}\.rate", f"vMotions finished{where}", "/s"),
            Figure(rf"migrations\.{key}\.cpu", f"vMotions: CPU meanwhile{where}", "% of a core"),
        )
    ),
    Figure(r"typing\.idle\.p50", "key to echo p50", "ms", 2),
    Figure(r"typing\.idle", "key to echo p99", "ms", 2),
    Figure(r"typing\.flood\.p50", "key to echo p50, beside a flood", "ms", 2),
    Figure(r"typing\.flood", "key to echo p99, beside a flood", "ms", 2),
    Figure(r"fanout\.complete", "fan-out: viewers that saw all", "%", 1),
    Figure(r"fanout\.stopped", "the same beside one that stopped reading", "%", 1),
    Figure(r"fanout\.memory", "memory that a stopped viewer costs", "MiB"),
    Figure(r"web\.complete", "browsers at one console: those that saw all", "%", 1),
    Figure(r"web\.cpu", "the same, 16 KiB a second to each: CPU", "% of a core"),
    Figure(r"web\.memory", "memory per browser", "KiB"),
    Figure(r"web\.silent", "memory that a browser costs which never reads", "KiB"),
    Figure(r"tail\.off\.cpu", "lines, nobody looks on: CPU", "% of a core"),
    Figure(r"tail\.cpu", "the same lines to an operator who looks at all: more CPU", "% of a core"),
    Figure(r"tail\.shown", "lines that the operator was shown", "%"),
    Figure(r"replay\.login", "from ssh to the console, no replay", "ms"),
    Figure(r"replay\.last", "from ssh to the last 600 lines", "ms"),
    Figure(r"start", "start until it answers", "s", 2),
    *(
        figure
        for key, where in {"telnets": "", "inband": " in-band", "rsa": ", RSA key", "1\\.2": " 1.2"}.items()
        for figure in (
            Figure(rf"tls\.{key}\.new", f"TLS{where}: new hosts", "/s", 0),
            Figure(rf"tls\.{key}\.new\.cpu", f"TLS{where}: CPU per new host", "us", 0),
            Figure(rf"tls\.{key}\.again", f"TLS{where}: hosts that return", "/s", 0),
            Figure(rf"tls\.{key}\.again\.cpu", f"TLS{where}: CPU per host that returns", "us", 0),
            Figure(rf"tls\.{key}\.resumed", f"TLS{where}: returning hosts that go on with their session", "%", 0),
            Figure(rf"tls\.{key}\.memory", f"TLS{where}: memory per idle VM", "KiB"),
            Figure(rf"tls\.{key}\.left", f"TLS{where}: memory that stays per VM that has gone", "KiB"),
        )
    ),
    Figure(r"web\.list\.cold", "list of all consoles over HTTP, 50 rules: the first", "ms", 0),
    Figure(r"web\.list", "list of all consoles over HTTP, 50 rules: 200 rows", "ms", 0),
    Figure(r"web\.filter", "the same with a filter", "ms", 0),
    Figure(r"web\.seek", "a window of a recording of 1 GiB, the slowest", "ms", 0),
    Figure(r"web\.seek\.moved", "what such a window has", "MiB", 2),
    Figure(r"web\.idle", "1,000 idle websockets over TLS: CPU", "% of a core", 2),
    Figure(r"web\.first", "from nothing to the past of a console in a browser, the slowest", "ms", 0),
    Figure(r"web\.keys\.p50", "key to echo over a websocket p50", "ms", 2),
    Figure(r"web\.keys", "key to echo over a websocket p99", "ms", 2),
    Figure(r"web\.flood", "a page's answer beside 64 MiB at once, the slowest", "ms", 0),
    Figure(r"web\.storm\.off", "storm, without the web: CPU per VM", "us", 0),
    Figure(r"web\.storm\.on", "storm, with the web: CPU per VM", "us", 0),
    Figure(r"web\.storm\.share", "storm: CPU with the web over that without", "", 3),
    Figure(r"web\.storm\.live", "storm: CPU with pages open over that without the web", "", 3),
    Figure(r"scrape\.p50", "scrape of the metrics p50", "ms"),
    Figure(r"scrape", "scrape of the metrics p99", "ms"),
    Figure(r"scrape\.size", "size of the metrics", "KiB"),
    Figure(r"scrape\.series", "series", "", 0),
    Figure(r"scrape\.consoles\.p50", "scrape with 500 consoles p50", "ms"),
    Figure(r"scrape\.consoles", "scrape with 500 consoles p99", "ms"),
    Figure(r"tls\.bulk", "TLS: bulk, text", "MiB/s"),
    Figure(r"tls\.bulk\.cpu", "TLS: bulk, CPU per MiB", "ms", 2),
    Figure(r"tls\.bulk\.share", "TLS: bulk, CPU per MiB in clear over that", "", 2),
)


def figure(key: str) -> Figure:
    """The figure that a key means."""
    for one in FIGURES:
        if re.fullmatch(one.key, key):
            return one
    raise KeyError(key)


@dataclass(frozen=True)
class Target:
    """What a figure is meant to be.

    :ivar ratio: whether the ratio to the reference is meant, or the figure itself.
    :ivar most: whether it is to be at most ``limit``; else, at least.
    """

    key: str
    limit: float
    ratio: bool = False
    most: bool = True

    def met(self, value: float) -> bool:
        """Whether a value is as it is meant to be."""
        return value <= self.limit if self.most else value >= self.limit


TARGETS = (
    Target("storm.2000", 0.40, ratio=True, most=False),
    Target("storm.16000", 0.40, ratio=True, most=False),
    *(Target(f"beside.{key}.{what}", 10.0) for key in ("new", "again") for what in ("goahead", "keys")),
    Target("watch.share", 1.3),
    Target("idle.memory", 2.6),
    Target("idle.cpu", 0.5),
    Target("idle.descriptors", 400),
    Target("idle.movable", 100, most=False),
    Target("lines.cpu", 1.6, ratio=True),
    Target("lines.rate", 0.5, ratio=True, most=False),
    Target("many.rate", 0.35, ratio=True, most=False),
    Target("bulk.10", 0.7, ratio=True, most=False),
    Target("bulk.1000", 0.7, ratio=True, most=False),
    Target("bulk.10.binary", 0.25, ratio=True, most=False),
    Target("bulk.1000.binary", 0.25, ratio=True, most=False),
    Target("migrations.alone.goahead", 2.0),
    Target("migrations.alone.peer", 2.0),
    Target("migrations.flood.goahead", 20.0),
    Target("migrations.flood.peer", 20.0),
    Target("migrations.crowd.goahead", 20.0),
    Target("migrations.crowd.peer", 20.0),
    Target("migrations.files.goahead", 2.0),
    Target("migrations.files.peer", 2.0),
    Target("typing.idle", 5.0),
    Target("typing.flood", 50.0),
    Target("fanout.complete", 100, most=False),
    Target("fanout.stopped", 100, most=False),
    Target("fanout.memory", 16),
    Target("web.complete", 100, most=False),
    Target("web.cpu", 35),
    Target("web.memory", 100),
    Target("web.silent", 512),
    Target("tail.cpu", 50),
    Target("tail.shown", 100, most=False),
    Target("start", 2.0),
    Target("web.list.cold", 1000),
    Target("web.list", 300),
    Target("web.filter", 150),
    Target("web.seek", 1000),
    Target("web.seek.moved", 4),
    Target("web.idle", 1),
    Target("web.first", 100),
    Target("web.keys", 5),
    Target("web.flood", 100),
    Target("web.storm.share", 1.05),
    Target("scrape", 20),
    Target("scrape.size", 64),
    Target("scrape.series", 600),
    Target("scrape.consoles", 50),
    Target("tls.telnets.new.cpu", 1200),
    Target("tls.telnets.memory", 35),
    Target("tls.inband.new.cpu", 1200),
    Target("tls.inband.memory", 35),
    Target("tls.bulk.share", 0.5, most=False),
)
"""What vmproxy is meant to reach, on one core, with logs and event trails, against the reference in the same run."""
