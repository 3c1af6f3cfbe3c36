"""Figures of the process as a whole, and of all its parts, for those who watch over it from outside."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence

from twisted.internet.posixbase import PosixReactorBase

import twisted
import vmproxy
from vmproxy.app.part import Part
from vmproxy.base.clock import wall_of
from vmproxy.base.countdown import Countdown
from vmproxy.base.metrics import Families, Histogram, gauge, histogram

LATE_SECONDS = 0.25


class ProcessMetrics:
    """Figures of the process.

    :ivar late: how late the reactor comes to what is due.
    """

    def __init__(self, reactor: PosixReactorBase, parts: Callable[[], Sequence[Part]]) -> None:
        self._reactor = reactor
        self._parts = parts
        self._wall = wall_of(reactor)
        self.late = Histogram(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)
        self._looks = Countdown(reactor)
        self._due = 0.0
        self._reloaded = True
        self._reloaded_at = 0.0

    def start(self) -> None:
        """Begin to measure, if that has not begun."""
        if not self._looks.is_running:
            self._due = self._reactor.seconds() + LATE_SECONDS
            self._looks.start(LATE_SECONDS, self._look)

    def stop(self) -> None:
        """Measure no more."""
        self._looks.stop()

    def _look(self) -> None:
        self.late.observe(max(0.0, self._reactor.seconds() - self._due))
        self.start()

    def reloaded(self, well: bool) -> None:
        """The configuration was read, at the start or again; it is in force, or cannot be taken."""
        self._reloaded = well
        if well:
            self._reloaded_at = self._wall()

    def __call__(self) -> Families:
        for part in self._parts():
            yield from part.metrics()
        versions = (vmproxy.__version__, platform.python_version(), twisted.__version__)
        yield gauge("build_info", "What runs here.", {versions: 1}, "version", "python", "twisted")
        text = "Whether the configuration that was read last is in force."
        yield gauge("config_last_reload_successful", text, int(self._reloaded))
        text = "When a configuration was last taken."
        yield gauge("config_last_reload_success_timestamp_seconds", text, self._reloaded_at)
        yield histogram("reactor_late_seconds", "How late a timer of 250 ms was.", self.late)
        pool = self._reactor.getThreadPool()
        threads = {"busy": len(pool.working), "waiting": len(pool.waiters)}
        yield gauge("threads", "Threads for what takes time: busy, or waiting for work.", threads, "state")
