"""What TLS towards hosts costs: connecting, coming back, being there, having gone, and bulk.

The reference has TLS as Twisted has it, from the first byte only.
"""

from __future__ import annotations

import ssl

from bench.machines import Fleet, storm
from bench.measure import IN_FLIGHT, Run, Sample, Window
from bench.modes_machines import MIB, WARM, Samples, Start
from bench.secure import Hosts
from bench.servers import PATIENCE, make_certificate
from bench.text import LINE
from bench.traffic import Stream

NEW, AGAIN = 0, 30_000  # numbers of the first machines


def tls(start: Start) -> Samples:
    """Hosts connect with TLS, come back, and go; and print as much as is taken."""
    found = _coming_and_going(start, "telnets", Hosts())
    if start.kind == "vmproxy":
        found |= _coming_and_going(start, "inband", Hosts(inband=True))
    found |= _arriving(start, "rsa", Hosts(), "--kind", "rsa")
    found |= _arriving(start, "1.2", Hosts(newest=ssl.TLSVersion.TLSv1_2))
    return found | _bulk(start)


def _coming_and_going(start: Start, way: str, hosts: Hosts) -> Samples:
    with start(make_certificate(start.keys)) as run:
        sizes = run.sizes
        warm = min(WARM, sizes.secure // 2)
        run.connected(warm, hello=False, hosts=hosts)
        run.loop.rest(min(1.0, sizes.secure_seconds))
        before = run.server.memory()
        fleet = run.fleet(sizes.secure, first=warm, hosts=hosts)
        found = _storm(run, fleet, f"tls.{way}.new")
        run.loop.rest(sizes.secure_seconds)
        found[f"tls.{way}.memory"] = Sample((run.server.memory() - before) / sizes.secure / 1024)
        for machine in fleet.machines:
            hosts.remember(machine)
        run.disconnect(fleet)
        run.loop.rest(2 * sizes.secure_seconds)
        found[f"tls.{way}.left"] = Sample((run.server.memory() - before) / sizes.secure / 1024)
        hosts.resumed = 0
        found |= _storm(run, run.fleet(sizes.secure, first=warm, hosts=hosts), f"tls.{way}.again")
        found[f"tls.{way}.resumed"] = Sample(100 * hosts.resumed / sizes.secure)
        return found


def _arriving(start: Start, what: str, hosts: Hosts, *words: str) -> Samples:
    with start(make_certificate(start.keys, *words)) as run:
        return _storm(run, run.fleet(run.sizes.secure, hosts=hosts), f"tls.{what}.new")


def _storm(run: Run, fleet: Fleet, key: str) -> Samples:
    count = len(fleet.machines)
    with run.window() as window:
        seconds, up = storm(fleet, fleet.machines, IN_FLIGHT, PATIENCE + count / 100)
    problems = [f"{count - up} of {count} machines did not get in"] if up < count else []
    return {
        key: window.sample(up / seconds, problems + run.server.problems()),
        f"{key}.cpu": window.sample(1e6 * window.cpu / max(1, up)),
    }


def _bulk(start: Start) -> Samples:
    count, mib = start.sizes.secure_bulk
    with start(make_certificate(start.keys)) as run:
        windows, problems = [], []
        for hosts, first in ((Hosts(), 0), (None, count)):
            fleet = run.connected(count, first=first, hosts=hosts)
            each = mib * MIB // count // LINE
            with run.window() as window:
                streams = [Stream(machine, each) for machine in fleet.machines]
                run.until(lambda: all(stream.done for stream in streams), "everything is sent", 5 * PATIENCE)  # noqa: B023
                run.drained(run.expected(fleet.machines), 0.005)
            windows.append(window)
            problems += run.check(fleet)
        secure, clear = windows
        taken = each * count * LINE / MIB

        def cost(window: Window) -> float:
            return 1000 * window.cpu / taken

        return {
            "tls.bulk": secure.sample(taken / secure.seconds, problems),
            "tls.bulk.cpu": secure.sample(cost(secure)),
            "tls.bulk.share": Sample(cost(clear) / cost(secure) if secure.cpu else None),
        }
