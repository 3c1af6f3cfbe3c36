"""The mode that looks at others while VMs connect: vMotions and an operator beside a storm."""

from __future__ import annotations

import contextlib

from bench.machines import Fleet
from bench.measure import Run, Sample, percentile
from bench.modes_machines import EXTRA, Samples, Start
from bench.modes_operators import echo
from bench.operators import Typist
from bench.traffic import Arrivals, Migrations

KEY_SECONDS = 0.005
LATE_SECONDS = 10.0  # after the last was dialled; one that found no place in the queue is never heard
ON_TIME = 0.9  # of the connections that are due, in the time that they have


def beside(start: Start) -> Samples:
    """Machines move, and an operator types, while others connect: first new ones, then the same once more."""
    with start() as run:
        console = run.connected(1, hello=False)
        moving = run.connected(run.sizes.talking, first=1)
        machine = console.machines[0]
        assert machine.connection is not None
        machine.connection.heard = echo(machine)
        coming = run.fleet(int(run.sizes.arrivals * run.sizes.arrival_seconds), first=EXTRA)
        found: Samples = {}
        with contextlib.closing(Typist(run.loop, run.for_operators, machine.name)) as typist:
            run.until(lambda: typist.attached, f"the operator is attached: {typist.said!r}")
            for key in ("new", "again"):
                arrivals = Arrivals(coming, coming.machines, run.sizes.arrivals)
                run.loop.rest(0.3)
                found |= _beside(run, f"beside.{key}", arrivals, moving, typist)
                coming.close()
                run.loop.rest(min(2.0, run.sizes.arrival_seconds))  # until the server has taken leave of them
        found["beside.again.goahead"].problems += run.check(console) + run.check(moving)
        return found


def _beside(run: Run, key: str, arrivals: Arrivals, moving: Fleet, typist: Typist) -> Samples:
    loop, seconds = run.loop, run.sizes.arrival_seconds
    typist.times.clear()
    with run.window() as window:
        arrivals.begin()
        moves = Migrations(moving, moving.machines, run.sizes.moves)
        loop.tasks += [arrivals, moves]
        while arrivals.dialling:
            typist.type()
            run.until(lambda: not typist.waiting, "a key's echo comes")
            loop.rest(KEY_SECONDS)
        loop.tasks.remove(moves)
        on_time = arrivals.up
        loop.run(lambda: arrivals.done, LATE_SECONDS)
    loop.run(lambda: moves.settled, 10)
    loop.tasks.clear()
    late = [f"not in time: {arrivals.total - on_time} machines"] if on_time < ON_TIME * arrivals.total else []
    lost = [f"{arrivals.total - arrivals.up} machines did not get in"] if arrivals.up < arrivals.total else []
    failed = [] if moves.settled else [f"{moves.begun - moves.finished} of {moves.begun} vMotions failed"]
    return {
        f"{key}.goahead.p50": window.sample(1000 * percentile(moves.ahead, 50)),
        f"{key}.goahead": window.sample(1000 * percentile(moves.ahead, 99), failed),
        f"{key}.peer": window.sample(1000 * percentile(moves.over, 99)),
        f"{key}.keys.p50": window.sample(1000 * percentile(typist.times, 50)),
        f"{key}.keys": window.sample(1000 * percentile(typist.times, 99)),
        f"{key}.rate": Sample(arrivals.up / max(arrivals.seconds, seconds), problems=late + lost),
    }
