"""Figures of the web front itself: requests, connections, websockets."""

from __future__ import annotations

from collections import Counter

from vmproxy.base.metrics import Families, Histogram, counter, gauge, histogram
from vmproxy.web.frontend import WebFrontend
from vmproxy.web.route import Route

KINDS = ("asset", "read", "stream", "write")
CLASSES = ("2xx", "3xx", "4xx", "5xx")
SOCKETS = ("attach", "live")
OTHER = "other"
CODES = (1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 4401, 4403, 4404, 4407, 4408, 4409, 4429)
"""The close codes of websockets; clients may send others."""


class HTTPMetrics:
    """Looks on at a front."""

    def __init__(self, front: WebFrontend) -> None:
        self._front = front
        self._durations = {kind: Histogram(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10) for kind in KINDS}
        front.observe(self._answered)

    def _answered(self, route: Route | None, status: int, seconds: float) -> None:
        if route is not None:
            self._durations[route.kind].observe(max(0.0, seconds))

    def families(self) -> Families:
        """All of them."""
        front = self._front
        routes = ["", *dict.fromkeys(route.label for route in front.routes)]
        requests = {(label, code): front.answers[label, code] for label in routes for code in CLASSES}
        text = "Requests that were answered, by method and path and by class of status; without a route those of none."
        yield counter("http_requests", text, requests, "route", "code")
        text = "From the head of a request to the end of its answer."
        yield histogram("http_request_duration_seconds", text, self._durations, "kind")
        yield gauge("http_connections", "Connections of browsers and scripts.", len(front.channels))
        sockets = front.web.sockets.all
        kinds = Counter(socket.kind for socket in sockets.all)
        yield gauge("websockets", "Websockets that are open.", {kind: kinds[kind] for kind in SOCKETS}, "kind")
        closed = {(kind, str(code)): 0 for kind in SOCKETS for code in (*CODES, OTHER)}
        for (kind, code), number in sockets.closed.items():
            closed[kind, str(code) if code in CODES else OTHER] += number
        yield counter("websockets_closed", "Websockets that are over, by close code.", closed, "kind", "code")
