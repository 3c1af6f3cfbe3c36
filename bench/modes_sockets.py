"""The modes with websockets one by one: what idle ones cost, how soon a console is there, and storms beside the web."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import ssl
import time
from statistics import median

from bench.machines import storm
from bench.measure import IN_FLIGHT, Run, Sample, percentile
from bench.modes_machines import MIB, Samples, Start
from bench.modes_operators import echo
from bench.servers import PATIENCE, BenchError, Daemon, make_certificate
from bench.text import LINE
from bench.traffic import Stream
from bench.web import WebViewer, attach_path

PING_SECONDS = 25.0
CONSOLES = 10  # that idle ones are at
WITHOUT, WITH, LIVE = "off", "on", "live"


class _Browsers:
    """What connects to a daemon over TLS."""

    def __init__(self, run: Run) -> None:
        server = run.for_operators
        assert isinstance(server, Daemon)
        self._run = run
        self.port, self._token = server.serve_browsers(), server.token(getpass.getuser())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self._open: list[WebViewer] = []

    def attach(self, name: str, query: str = "mode=spy&replay=0") -> WebViewer:
        """One at a console."""
        return self._opened(attach_path(name, query), b'"type":"hello"')

    def live(self) -> WebViewer:
        """A page that shows the list."""
        return self._opened("/api/v1/live", b"\r\n\r\n")

    def _opened(self, path: str, first: bytes) -> WebViewer:
        viewer = WebViewer(self._run.loop, self.context, self.port, self._token, path, first)
        self._open.append(viewer)
        return viewer

    def close(self) -> None:
        for one in self._open:
            one.close()
        self._open.clear()


def idle(start: Start) -> Samples:
    """Websockets at consoles and pages that nothing is said to, for some of their pings."""
    if start.kind != "vmproxy":
        return {}
    with start(make_certificate(start.keys)) as run, contextlib.closing(_Browsers(run)) as browsers:
        fleet = run.connected(CONSOLES)
        all_of_them = [
            browsers.live() if number % 2 else browsers.attach(fleet.machines[number // 2 % CONSOLES].name)
            for number in range(run.sizes.web_idle)
        ]
        run.loop.rest(run.sizes.web_idle_rounds * PING_SECONDS / 2)
        with run.window() as window:
            run.loop.rest(run.sizes.web_idle_rounds * PING_SECONDS)
        lost = sum(one.closed for one in all_of_them)
        problems = [f"{lost} websockets were closed"] if lost else []
        return {"web.idle": window.sample(100 * window.server, problems + run.server.problems())}


def attach(start: Start) -> Samples:
    """From nothing to the last lines of a console, again and again; keys and echoes; requests beside a flood."""
    if start.kind != "vmproxy":
        return {}
    with start(make_certificate(start.keys)) as run, contextlib.closing(_Browsers(run)) as browsers:
        sizes = run.sizes
        fleet = run.connected(2)
        machine, quiet = fleet.machines
        stream = Stream(machine, MIB // LINE)
        run.until(lambda: stream.done, "there is something to replay")
        run.drained(run.expected(fleet.machines))
        first: list[float] = []
        for _ in range(sizes.requests):
            began = time.perf_counter()
            viewer = browsers.attach(machine.name, "mode=spy&replay=1000")
            run.until(lambda viewer=viewer: viewer.received, "the past comes")  # type: ignore[misc]
            first.append(1000 * (time.perf_counter() - began))
            browsers.close()
        assert quiet.connection is not None
        quiet.connection.heard = echo(quiet)
        typist = browsers.attach(quiet.name, "mode=write&replay=0")
        keys: list[float] = []
        with run.window() as typing:
            for number in range(sizes.keys):
                began = time.perf_counter()
                typist.type(b"x")
                run.until(lambda number=number: len(typist.received) > number, "a key's echo comes")  # type: ignore[misc]
                keys.append(1000 * (time.perf_counter() - began))
                run.loop.rest(0.005)
        viewers = [browsers.attach(machine.name) for _ in range(3)]
        flood = _beside_a_flood(run, browsers, Stream(machine, sizes.stalled_mib * MIB // LINE))
        run.until(lambda: all(viewer.received for viewer in viewers), "the viewers are shown some of it")
        return {
            "web.first": Sample(max(first), problems=run.check(fleet)),
            "web.keys.p50": typing.sample(percentile(keys, 50)),
            "web.keys": typing.sample(percentile(keys, 99)),
            "web.flood": Sample(max(flood)),
        }


def _beside_a_flood(run: Run, browsers: _Browsers, stream: Stream) -> list[float]:
    """The milliseconds that answers take while a VM says much at once."""
    connection = http.client.HTTPSConnection("127.0.0.1", browsers.port, context=browsers.context, timeout=30)
    times: list[float] = []
    while not stream.done or not times:
        began = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - began))
        run.loop.rest(0.01)
    connection.close()
    return times


def storms(start: Start) -> Samples:
    """All machines connect at once: without the web, with it, and with pages open that show the list; in turns."""
    if start.kind != "vmproxy":
        return {}
    costs: dict[str, list[float]] = {WITHOUT: [], WITH: [], LIVE: []}
    problems: list[str] = []
    for _ in range(start.sizes.web_storms):
        for kind, found in costs.items():
            found.append(_storm(start, kind, problems))
    base = costs[WITHOUT]
    shares = {
        kind: median(cost / without for cost, without in zip(costs[kind], base, strict=True)) for kind in (WITH, LIVE)
    }
    return {
        "web.storm.off": Sample(median(base)),
        "web.storm.on": Sample(median(costs[WITH]), problems=problems),
        "web.storm.share": Sample(shares[WITH]),
        "web.storm.live": Sample(shares[LIVE]),
    }


def _storm(start: Start, kind: str, problems: list[str]) -> float:
    """The microseconds of processor time that a VM takes."""
    count = start.sizes.storms[0]
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(start(make_certificate(start.keys)))
        if kind != WITHOUT:
            browsers = stack.enter_context(contextlib.closing(_Browsers(run)))
            if kind == LIVE:
                for _ in range(start.sizes.web_pages):
                    browsers.live()
        fleet = run.fleet(count)
        with run.window() as window:
            _, up = storm(fleet, fleet.machines, IN_FLIGHT, PATIENCE + count / 100)
        if not up:
            raise BenchError(f"no machine got in: {run.server.problems()}")
        problems += run.server.problems()
        return 1e6 * window.cpu / up
