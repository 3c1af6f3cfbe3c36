"""Alerts among the fakes: a center with a book on the disk, and hooks that write down what they are told."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.consoles import World
from vmproxy.alerts.alert import Alert
from vmproxy.alerts.book import AlertBook
from vmproxy.alerts.center import AlertCenter
from vmproxy.alerts.watch import Watch
from vmproxy.log.audit import Audit


class FakeHooks:
    """Hooks that do nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Alert, tuple[str, ...], tuple[str, ...]]] = []

    def tell(self, watch: Watch, alert: Alert, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        self.told.append((watch.name, alert, tuple(before), tuple(after)))


def alert_center(w: World, hooks: FakeHooks | None = None) -> AlertCenter:
    """The alerts of a world; ``alerts.jsonl`` is in its state folder."""
    book = AlertBook(w.folder / "state" / "alerts-kept.json", w.clock, w.runner.submit)
    record = Audit(w.folder / "state" / "alerts.jsonl", w.runner.submit, w.clock).record
    return AlertCenter(w.clock, w.directory, book, record, hooks or FakeHooks())
