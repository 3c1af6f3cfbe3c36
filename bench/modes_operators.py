"""The modes with operators: typing, fan-out, log replay; and how long a start takes."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.machines import Connection, Machine
from bench.measure import Run, Sample, Window, percentile
from bench.modes_machines import EXTRA, LATE, MIB, MOST_FLOODED, Samples, Start
from bench.operators import PlainViewer, SSHViewer, TailViewer, Typist, attach_all
from bench.servers import PATIENCE, BenchError, Daemon
from bench.text import LINE, LINES, PLAIN
from bench.traffic import Lines, Stream

KEY_SECONDS = 0.015
REPLAYED = 600  # a replay has 64 KiB at most
STALLED_VIEWERS = 3


# Typing.


def typing(start: Start) -> Samples:
    """A key goes in, its echo comes out."""
    with start() as run:
        sizes, loop = run.sizes, run.loop
        console = run.connected(1, hello=False)
        machine = console.machines[0]
        others = run.connected(sizes.talking, first=1)
        flooding = run.connected(1, first=EXTRA)
        assert machine.connection is not None
        machine.connection.heard = echo(machine)
        with contextlib.closing(Typist(loop, run.for_operators, machine.name)) as typist:
            run.until(lambda: typist.attached, f"the operator is attached: {typist.said!r}")
            loop.rest(0.3)
            with run.window() as idle:
                quiet = _type(run, typist, sizes.keys)
            loop.tasks.append(Lines(others.machines, sizes.background))
            stream = Stream(flooding.machines[0], MOST_FLOODED // LINE)
            loop.rest(0.5)
            with run.window() as busy:
                beside = _type(run, typist, sizes.keys // 2)
            loop.tasks.clear()
            stream.stop()
            run.until(lambda: stream.done, "the flood has ended")
        problems = run.check(console) + run.check(others) + run.check(flooding)
        return {
            "typing.idle.p50": idle.sample(1000 * percentile(quiet, 50)),
            "typing.idle": idle.sample(1000 * percentile(quiet, 99), problems),
            "typing.flood.p50": busy.sample(1000 * percentile(beside, 50)),
            "typing.flood": busy.sample(1000 * percentile(beside, 99), problems),
        }


def echo(machine: Machine) -> Callable[[Connection, bytes], None]:
    def heard(_connection: Connection, data: bytes) -> None:
        machine.speak(data)

    return heard


def _type(run: Run, typist: Typist, keys: int) -> list[float]:
    typist.times.clear()
    for _ in range(keys):
        typist.type()
        run.until(lambda: not typist.waiting, "a key's echo comes")
        run.loop.rest(KEY_SECONDS)
    return list(typist.times)


# Fan-out.


def fanout(start: Start) -> Samples:
    """Many operators look at one console; then one of them stops reading."""
    with start() as run, contextlib.ExitStack() as stack:
        sizes = run.sizes
        console = run.connected(1)
        viewers: list[SSHViewer | PlainViewer] = []
        folder = run.scratch()
        stack.callback(lambda: [viewer.close() for viewer in viewers])
        if not attach_all(
            run.loop, sizes.viewers, lambda n: _viewer(run, console.machines[0], folder / f"{n}"), viewers
        ):
            told = [viewer.notices[-200:] for viewer in viewers if not viewer.attached][:2]
            raise BenchError(f"not all {sizes.viewers} operators could attach: {told}")
        found = {"fanout.complete": _show(run, console.machines[0], viewers, viewers)}
        viewers[0].halt()
        found["fanout.stopped"] = _show(run, console.machines[0], viewers, viewers[1:])
        found["fanout.stopped"].problems += run.check(console)
        for viewer in viewers[STALLED_VIEWERS:]:
            viewer.close()
        del viewers[STALLED_VIEWERS:]
        run.loop.rest(min(1.0, sizes.viewer_seconds))
        before = most = run.server.memory()
        stream = Stream(console.machines[0], sizes.stalled_mib * MIB // LINE)
        while not stream.done:
            run.loop.rest(0.05)
            most = max(most, run.server.memory())
        run.drained(run.expected(console.machines))
        most = max(most, run.server.memory())
        found["fanout.memory"] = Sample((most - before) / MIB, problems=run.check(console))
        return found


def _viewer(run: Run, machine: Machine, path: Path) -> SSHViewer | PlainViewer:
    server = run.for_operators
    if isinstance(server, Daemon):
        return SSHViewer(server, machine.name, path)
    return PlainViewer(run.loop, server, path)


def _show(
    run: Run, machine: Machine, viewers: list[SSHViewer | PlainViewer], reading: list[SSHViewer | PlainViewer]
) -> Sample:
    sizes, loop = run.sizes, run.loop
    starts = [viewer.received for viewer in reading]
    phase, said = machine.at, machine.said
    task = Lines([machine], sizes.viewer_rate)
    with run.window() as window:
        task.at_rate(sizes.viewer_rate)
        loop.tasks.append(task)
        loop.rest(sizes.viewer_seconds)
        loop.tasks.clear()
        size = (machine.said - said) * LINE
        loop.run(lambda: all(v.received >= s + size for v, s in zip(reading, starts, strict=True)), 20)
    wanted = (PLAIN.log * (size // len(PLAIN.log) + 2))[phase * LINE : phase * LINE + size]
    complete = sum(v.contents()[s:] == wanted for v, s in zip(reading, starts, strict=True))
    told = [viewer.notices[-200:] for viewer in reading if "skipped" in viewer.notices][:2]
    return window.sample(100 * complete / len(reading), told)


# The lines of many machines in one stream.


def tail(start: Start) -> Samples:
    """An operator looks at the lines of all machines as they come; beside the same without."""
    with start() as run:
        fleet = run.connected(run.sizes.talking)
        problems: list[str] = []
        off, _ = _cost_of_lines(run, fleet.machines, problems)
        found = {"tail.off.cpu": off.sample(100 * off.cpu / off.seconds, problems)}
        on, shown, problems = off, 100.0, []
        if isinstance(run.server, Daemon):
            with contextlib.closing(TailViewer(run.server, run.scratch() / "tail")) as viewer:
                run.until(lambda: viewer.attached, "the operator looks on")
                on, sent = _cost_of_lines(run, fleet.machines, problems, viewer)
                shown = 100 * viewer.lines / sent
        found["tail.cpu"] = on.sample(100 * (on.cpu / on.seconds - off.cpu / off.seconds), problems + run.check(fleet))
        found["tail.shown"] = on.sample(shown)
        return found


def _cost_of_lines(
    run: Run, machines: Sequence[Machine], problems: list[str], viewer: TailViewer | None = None
) -> tuple[Window, int]:
    task = Lines(machines, run.sizes.tail_rate)
    with run.window() as window:
        task.at_rate(run.sizes.tail_rate)
        run.loop.tasks.append(task)
        run.loop.rest(run.sizes.tail_seconds)
        run.loop.tasks.remove(task)
        late = task.behind
    if late > LATE:
        problems.append(f"the load was {100 * late:.0f} % behind")
    run.loop.run(lambda: viewer is None or viewer.lines >= task.sent, 5)
    return window, task.sent


# Replay.


def replay(start: Start) -> Samples:
    """An operator attaches and reads the last lines of a long log."""
    with start() as run:
        sizes = run.sizes
        console = run.connected(1)
        machine = console.machines[0]
        stream = Stream(machine, sizes.replay_mib * MIB // LINE)
        run.until(lambda: stream.done, "the log is long")
        problems = run.check(console)
        size = REPLAYED * LINE
        wanted = (PLAIN.log * 3)[: (machine.at + LINES) * LINE][-size:]
        times, logins = [], []
        for number in range(sizes.replays):
            logins.append(_replay(run, machine, run.scratch() / f"login{number}", 0, b""))
            times.append(_replay(run, machine, run.scratch() / f"{number}", REPLAYED, wanted))
        return {
            "replay.login": Sample(1000 * percentile(logins, 50)),
            "replay.last": Sample(1000 * percentile(times, 50), problems=problems + run.server.problems()),
        }


def _replay(run: Run, machine: Machine, path: Path, lines: int, wanted: bytes) -> float:
    """Seconds from the start of a client until the lines are there, or, where none are wanted, it is attached."""
    server = run.for_operators
    began = time.perf_counter()
    if not isinstance(server, Daemon):
        with socket.create_connection(("127.0.0.1", server.tail_port if lines else server.viewer_port)) as tail:
            received = b""
            while lines and (data := tail.recv(65536)):
                received += data
        ended = time.perf_counter()
    else:
        viewer = SSHViewer(server, machine.name, path, f",ro,replay={lines}")
        try:
            run.until(
                lambda: viewer.received >= len(wanted) if lines else viewer.attached,
                "the operator has the last lines",
            )
            ended = time.perf_counter()
            received = viewer.contents()
        finally:
            viewer.close()
    if received != wanted:
        raise BenchError(
            f"{run.kind}: the replay is not what the log ends with: {len(received)} of {len(wanted)} bytes"
        )
    return ended - began


# Start.


def starting(start: Start) -> Samples:
    """The server starts again, and knows many consoles."""
    with start() as run:
        run.connected(run.sizes.known, hello=False)
        run.disconnect()
        times, problems = [], []
        for _ in range(run.sizes.starts):
            run.server.stop()
            began = time.perf_counter()
            run.server.start()
            ports = [run.server.vm_port]
            if isinstance(run.server, Daemon):
                ports.append(run.server.ssh_port)
                if f"({run.sizes.known} consoles known)" not in run.server.said():
                    problems.append("it does not know them")
            for port in ports:
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                    if not connection.recv(100):
                        problems.append("it does not answer")
            times.append(time.perf_counter() - began)
        return {"start": Sample(percentile(times, 50), problems=problems + run.server.problems())}
