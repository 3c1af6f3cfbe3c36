"""How many logins there were, and how long their credentials took to check: plain numbers, by front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime

from vmproxy.base.metrics import Histogram

OTHER = "other"
METHODS = {
    "ssh": ("publickey", "certificate", "password", "keyboard-interactive", OTHER),
    "web": ("password", "certificate", "proxy", "oidc", OTHER),
    "api": ("token", "certificate", OTHER),
}
"""The methods of each front. Clients may name others, and as many as they like."""

RESULTS = ("ok", "failed", "busy", "refused")
"""In; wrong; could not be checked in time; right, but this operator may have no more connections."""


class LoginTally:
    """Counts logins.

    :ivar counts: by front, method and result.
    :ivar durations: by front: how long keys and passwords took to check, the wait for a thread included.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.durations = {front: Histogram(0.01, 0.03, 0.1, 0.3, 1, 3, 10) for front in METHODS}

    def count(self, front: str, method: str, result: str) -> None:
        """Count a login that came to an end."""
        self.counts[front, method if method in METHODS[front] else OTHER, result] += 1

    @contextmanager
    def timed(self, front: str) -> Iterator[None]:
        """Measure a check."""
        began = self._clock.seconds()
        try:
            yield
        finally:
            self.durations[front].observe(max(0.0, self._clock.seconds() - began))
