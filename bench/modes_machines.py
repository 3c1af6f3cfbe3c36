"""The modes that need machines only: storm, idle, lines, bulk, migrations.

Each takes something that starts a run, does its work with one server, and returns its figures by key; what the keys
mean stands in :mod:`bench.figures`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bench.machines import Fleet, storm
from bench.measure import FULL, IN_FLIGHT, Run, Sample, percentile
from bench.servers import PATIENCE, Daemon
from bench.sizes import Sizes
from bench.text import BINARY, LINE, PLAIN, Text
from bench.traffic import Lines, Migrations, Newcomers, Probe, Stream, all_movable

Samples = dict[str, Sample]

MIB = 1024 * 1024
MOST_FLOODED = 6 * 1024 * MIB
WARM = 100
EXTRA = 50_000  # the number of the first machine beside the usual ones
PROBE_SECONDS = 0.025
KEPT_UP = 0.020
LATE = 0.03


class Start(Protocol):
    """Starts runs.

    :ivar kind: of what: ``vmproxy``, ``reference`` or the name of a peer.
    :ivar sizes: how large they are.
    :ivar keys: a folder for keys.
    """

    kind: str
    sizes: Sizes
    keys: Path

    def __call__(self, certificate: Path | None = None) -> Run:
        """A run, not begun yet; with TLS where there is a certificate."""


def storms(start: Start) -> Samples:
    """All machines connect at once."""
    found: Samples = {}
    for count in start.sizes.storms:
        with start() as run:
            fleet = run.fleet(count)
            with run.window() as window:
                seconds, up = storm(fleet, fleet.machines, IN_FLIGHT, PATIENCE + count / 100)
            problems = [f"{count - up} of {count} machines did not get in"] if up < count else []
            found[f"storm.{count}"] = window.sample(up / seconds, problems + run.server.problems())
            found[f"storm.{count}.cpu"] = window.sample(1e6 * window.cpu / max(1, up))
    return found


def idle(start: Start) -> Samples:
    """Many machines are there and say nothing."""
    with start() as run:
        count = run.sizes.idle
        warm = run.connected(min(WARM, count // 2), hello=False)
        run.loop.rest(min(1.0, run.sizes.idle_seconds))
        before = run.server.memory()
        fleet = run.connected(count - len(warm.machines), first=len(warm.machines), hello=False)
        run.loop.rest(min(3.0, run.sizes.idle_seconds))
        memory = (run.server.memory() - before) / len(fleet.machines)
        with run.window() as window:
            run.loop.rest(run.sizes.idle_seconds)
        descriptors = run.server.descriptors() - count
        lost = [f"{fleet.lost + warm.lost} machines lost their connection"] if fleet.lost or warm.lost else []
        found = {
            "idle.memory": Sample(memory / 1024, problems=lost),
            "idle.cpu": Sample(100 * window.server),
            "idle.descriptors": Sample(descriptors),
        }
        with run.window() as window:
            movable = all_movable(fleet, [*warm.machines, *fleet.machines], IN_FLIGHT, PATIENCE + count / 100)
        found["idle.movable"] = window.sample(100 * movable / count, run.server.problems())
        return found


# Lines.


def lines(start: Start) -> Samples:
    """Many machines print a line now and then."""
    with start() as run:
        fleet = run.connected(run.sizes.talking)
        return {
            "lines.cpu": _cost_of_a_line(run, fleet),
            "lines.rate": _highest_rate(run, fleet, run.sizes.ramp_from),
        }


def _cost_of_a_line(run: Run, fleet: Fleet) -> Sample:
    """The processor time that a line takes, in microseconds."""
    task = Lines(fleet.machines, run.sizes.rate)
    with run.window() as window:
        task.at_rate(run.sizes.rate)
        run.loop.tasks.append(task)
        run.loop.rest(run.sizes.rate_seconds)
        run.loop.tasks.remove(task)
        late = task.behind
        run.drained(run.expected(fleet.machines), 0.05)
    problems = run.check(fleet)
    if late > LATE:
        problems.append(f"the load was {100 * late:.0f} % behind")
    return window.sample(1e6 * window.cpu / task.sent, problems)


def watch(start: Start) -> Samples:
    """The same with the sample watches on, beside the same without."""
    with start() as run:
        fleet = run.connected(run.sizes.talking)
        off = _cost_of_a_line(run, fleet)
        if isinstance(run.server, Daemon):
            run.server.watch()
        on = _cost_of_a_line(run, fleet)
        share = Sample(on.value / off.value if on.value and off.value else None, problems=run.server.problems())
        return {"watch.off.cpu": off, "watch.cpu": on, "watch.share": share}


def many(start: Start) -> Samples:
    """More machines print than there are descriptors for their logs."""
    with start() as run:
        fleet = run.connected(run.sizes.many)
        return {"many.rate": _highest_rate(run, fleet, run.sizes.ramp_from)}


def _highest_rate(run: Run, fleet: Fleet, rate: float) -> Sample:
    # Kept up with is what leaves the server time to answer: nothing piles up in the sockets, or an answer, which waits
    # in the same line, would come late. A step that fails is tried once more: the machine may have had other business.
    sizes, loop = run.sizes, run.loop
    probed = run.connected(1, first=EXTRA)
    probe = Probe(probed.machines[0], PROBE_SECONDS)
    task = Lines(fleet.machines, rate)
    loop.tasks += [task, probe]
    kept = Sample(None, problems=[f"not even {rate:.0f} lines/s"])
    failures, factor, best = 0, sizes.ramp_first, 0.0
    load_limit = False
    for _ in range(sizes.ramp_steps):
        task.at_rate(rate)
        loop.rest(sizes.ramp_seconds / 4)
        probe.take()
        sent = task.sent
        with run.window() as window:
            loop.rest(sizes.ramp_seconds)
        times = probe.take()
        late = task.behind > LATE
        if times and percentile(times, 90) <= KEPT_UP and not late:
            failures, best = 0, rate
            kept = window.sample((task.sent - sent) / window.seconds)
            rate *= factor
            continue
        load_limit = late and window.server < FULL
        failures += 1
        task.at_rate(1)
        loop.rest(min(1.0, sizes.ramp_seconds))
        if failures < 2:
            continue
        if best and factor == sizes.ramp_factor:
            break
        # The large steps have gone too far: small ones from the last good rate. If there is none, look further down.
        failures = 0
        factor = sizes.ramp_factor if best else factor
        rate = best * factor if best else rate / 2
    else:
        kept.problems.append("it can do better: the rate was not raised any further")
    loop.tasks.clear()
    kept.problems += run.check(fleet) + run.check(probed)
    if load_limit:
        kept.load = 1.0
    return kept


# As much as is taken.


def bulk(start: Start) -> Samples:
    """Machines print as much as is taken."""
    found: Samples = {}
    for count, text_mib, binary_mib in start.sizes.bulk:
        found |= _bulk(start, f"bulk.{count}", count, PLAIN, text_mib)
        found |= _bulk(start, f"bulk.{count}.binary", count, BINARY, binary_mib)
    return found


def _bulk(start: Start, key: str, count: int, text: Text, mib: int) -> Samples:
    with start() as run:
        fleet = run.connected(count, text)
        each = mib * MIB // count // LINE
        with run.window() as window:
            streams = [Stream(machine, each) for machine in fleet.machines]
            run.until(lambda: all(stream.done for stream in streams), "everything is sent", 5 * PATIENCE)
            drained = run.drained(run.expected(fleet.machines), 0.005)
        taken = each * count * LINE / MIB
        return {
            key: window.sample(taken / window.seconds if drained else None, run.check(fleet)),
            f"{key}.cpu": window.sample(1000 * window.cpu / taken),
        }


# vMotions.


def migrations(start: Start) -> Samples:
    """Machines move, with lines in the background."""
    return _migrations(start, "alone")


def migrations_flood(start: Start) -> Samples:
    """The same beside a machine that prints as fast as is taken."""
    return _migrations(start, "flood")


def migrations_crowd(start: Start) -> Samples:
    """The same with many more machines connected."""
    return _migrations(start, "crowd")


def migrations_files(start: Start) -> Samples:
    """The same while many logs are made at once."""
    return _migrations(start, "files")


def _migrations(start: Start, what: str) -> Samples:
    with start() as run:
        sizes, loop = run.sizes, run.loop
        fleets = [run.connected(sizes.talking)]
        moving = fleets[0]
        seconds = sizes.move_seconds
        flood = None
        if what == "flood":
            fleets.append(run.connected(1, first=EXTRA))
            seconds /= 2  # it would fill a small tmpfs
        elif what == "crowd":
            fleets.append(run.connected(sizes.crowd - sizes.talking, first=EXTRA, hello=False))
        elif what == "files":
            fleets.append(run.connected(sizes.new_files, first=EXTRA, hello=False))
        task = Migrations(moving, moving.machines, sizes.moves)
        with run.window() as window:
            loop.tasks += [task, Lines(moving.machines, sizes.background)]
            if what == "flood":
                flood = Stream(fleets[1].machines[0], MOST_FLOODED // LINE)
            elif what == "files":
                loop.tasks.append(Newcomers(fleets[1].machines, seconds / 3))
            loop.rest(seconds)
            loop.tasks.remove(task)
            loop.run(lambda: task.settled, 10)
        loop.tasks.clear()
        if flood is not None:
            flood.stop()
            loop.run(lambda: flood.done, PATIENCE)
        problems = [problem for fleet in fleets for problem in run.check(fleet)]
        if not task.settled:
            problems.append(f"{task.begun - task.finished} of {task.begun} vMotions failed")
        key = f"migrations.{what}"
        return {
            f"{key}.goahead.p50": window.sample(1000 * percentile(task.ahead, 50)),
            f"{key}.goahead": window.sample(1000 * percentile(task.ahead, 99), problems),
            f"{key}.goahead.max": window.sample(1000 * max(task.ahead, default=0)),
            f"{key}.peer": window.sample(1000 * percentile(task.over, 99)),
            f"{key}.peer.max": window.sample(1000 * max(task.over, default=0)),
            f"{key}.rate": window.sample(task.finished / window.seconds),
            f"{key}.cpu": Sample(100 * window.server),
        }
