"""The mode with the web front: the list of many consoles under many rules, and going to a place in a long log."""

from __future__ import annotations

import getpass
import http.client
import json
import time

from bench.measure import Run, Sample, percentile
from bench.modes_machines import MIB, Samples, Start
from bench.servers import BenchError, Daemon
from bench.text import LINE
from bench.traffic import Stream

RULES = 50
WINDOW = 262_144
"""Of a recording, as the player asks for it."""


def web(start: Start) -> Samples:
    """Lists and their filter, cold and warm; then windows of a recording, here and there in a log."""
    with start() as run:
        if not isinstance(run.server, Daemon):
            return {}  # it has nothing of the kind
        run.connected(run.sizes.known, hello=False)
        me = getpass.getuser()
        client = _Client(run.server, run.server.serve_web(_rules(me)), run.server.token(me))
        found = _lists(run, client)
        run.disconnect()
        found.update(_seeks(run, client))
        found["web.seek"].problems += run.server.problems()
        return found


def _rules(me: str) -> str:
    """Rules that all have to be looked at, of which the last shows everything."""
    rule = '[[rule]]\nwho = ["{}"]\nmay = ["admin"]\non = [{}]\n'
    others = (rule.format(me, f'"uuid:{number:08x}*", "nobody{number}*"') for number in range(RULES - 1))
    return "".join(others) + rule.format(me, '"*"')


class _Client:
    """A client with a token, that keeps its connection."""

    def __init__(self, server: Daemon, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {token}"}
        self.server = server

    def get(self, path: str) -> tuple[bytes, float]:
        """What is answered, and in how many milliseconds."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took = 1000 * (time.perf_counter() - began)
        if answer.status != 200:
            raise BenchError(f"GET {path}: {answer.status} {body[:200]!r}")
        return body, took


def _lists(run: Run, client: _Client) -> Samples:
    problems: list[str] = []
    with run.window() as first:
        _, cold = client.get("/api/v1/consoles")
    with run.window() as again:
        warm = [client.get("/api/v1/consoles") for _ in range(run.sizes.requests)]
    with run.window() as filtering:
        filtered = [client.get(f"/api/v1/consoles?q={number % 100:02}")[1] for number in range(run.sizes.requests)]
    total = json.loads(warm[0][0])["total"]
    if total < run.sizes.known:
        problems.append(f"the list has {total} consoles of {run.sizes.known}")
    return {
        "web.list.cold": first.sample(cold),
        "web.list": again.sample(percentile([took for _, took in warm], 50), problems),
        "web.filter": filtering.sample(percentile(filtered, 50)),
    }


def _seeks(run: Run, client: _Client) -> Samples:
    fleet = run.connected(1, first=run.sizes.known)
    machine = fleet.machines[0]
    began = time.time()
    stream = Stream(machine, run.sizes.seek_mib * MIB // LINE)
    run.until(lambda: stream.done, "the log is long")
    ended = time.time()
    problems = run.check(fleet)
    times, sizes = [], []
    path = f"/api/v1/consoles/{machine.uuid}/recording?window={WINDOW}"
    for number in range(run.sizes.requests):
        at = began + (ended - began) * (number + 0.5) / run.sizes.requests
        body, took = client.get(f"{path}&since=@{at:.3f}")
        times.append(took)
        sizes.append(len(body) / MIB)
        if body.count(b"\n") < 2:
            problems.append(f"there is nothing at {at - began:.1f} s")
    return {
        "web.seek": Sample(max(times), problems=problems),
        "web.seek.moved": Sample(max(sizes)),
    }
