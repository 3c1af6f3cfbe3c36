"""The mode that scrapes the metrics."""

from __future__ import annotations

import http.client
import time

from bench.measure import Sample, Window, percentile
from bench.modes_machines import Samples, Start
from bench.servers import BenchError, Daemon

SCRAPES = 50


def scrape(start: Start) -> Samples:
    """Many machines are there, and their metrics are asked for; then those of 500 consoles as well."""
    with start() as run:
        if not isinstance(run.server, Daemon):
            return {}
        run.connected(run.sizes.idle, hello=False)
        port = run.server.serve_metrics("")
        with run.window() as window:
            text, times = _scrapes(port)
        found = _samples(window, "scrape", times)
        found["scrape.size"] = Sample(len(text) / 1024)
        found["scrape.series"] = Sample(_series(text))
        if run.server.serve_metrics("*") != port:
            raise BenchError("the port has changed")
        with run.window() as window:
            text, times = _scrapes(port)
        if b"\nvmproxy_console_up{" not in text:
            raise BenchError("there are no metrics of single consoles")
        return found | _samples(window, "scrape.consoles", times)


def _scrapes(port: int) -> tuple[bytes, list[float]]:
    text, times = b"", []
    for _ in range(SCRAPES):
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        connection.close()
        times.append(time.perf_counter() - began)
    return text, times


def _series(text: bytes) -> int:
    return sum(not line.startswith(b"#") for line in text.splitlines())


def _samples(window: Window, key: str, times: list[float]) -> Samples:
    return {
        f"{key}.p50": window.sample(1000 * percentile(times, 50)),
        key: window.sample(1000 * percentile(times, 99)),
    }
