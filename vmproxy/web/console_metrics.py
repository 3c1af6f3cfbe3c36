"""Metrics of single consoles, for those that the configuration chooses: ``metrics-consoles``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vmproxy.access.selector import Selector
from vmproxy.base.metrics import Families, Family, Kind
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console

MOST = 500
SLICE = 200
LABELS = ("uuid", "port", "name")


def _viewers(console: Console) -> float:
    return sum(viewer is not console.remote for viewer in console.watchers)


_FIGURES: tuple[tuple[str, Kind, str, Callable[[Console], float]], ...] = (
    ("console_up", Kind.GAUGE, "Whether the VM is connected.", lambda console: console.state != "down"),
    ("console_received_bytes", Kind.COUNTER, "Bytes from the VM.", lambda console: console.bytes_out),
    ("console_sent_bytes", Kind.COUNTER, "Bytes of input that its hosts were given.", lambda console: console.bytes_in),
    ("console_viewers", Kind.GAUGE, "Sessions of operators.", _viewers),
    (
        "console_last_output_timestamp_seconds",
        Kind.GAUGE,
        "When the VM last printed something, to the second; 0: not since the start.",
        lambda console: console.log.file.marked,
    ),
)


def console_families(consoles: Iterable[Console], chosen: Sequence[Selector]) -> Families:
    """The families of those consoles that are chosen: the first :data:`MOST`, in the order in which they are known."""
    if not chosen:
        return
    found: list[Console] = []
    for number, console in enumerate(consoles, 1):
        if any(selector.selects(console) for selector in chosen):
            found.append(console)
            if len(found) == MOST:
                break
        if number % SLICE == 0:
            yield None
    labels = [(str(console.uuid), console.port, visible(console.name)) for console in found]
    for name, kind, text, figure in _FIGURES:
        yield Family(name, kind, text, LABELS, dict(zip(labels, map(figure, found), strict=True)))
