"""The mode with browsers: many look at one console over TLS, and some of them never read."""

from __future__ import annotations

import getpass
import ssl

from bench.machines import Machine
from bench.measure import Run, Sample
from bench.modes_machines import MIB, Samples, Start
from bench.servers import Daemon, make_certificate
from bench.text import LINE, PLAIN
from bench.traffic import Lines, Stream
from bench.web import WebViewer, attach_path


def fanout(start: Start) -> Samples:
    """Websockets at one console that prints 16 KiB a second; then a few that never read beside 64 MiB at once."""
    if start.kind != "vmproxy":
        return {}
    with start(make_certificate(start.keys)) as run:
        sizes = run.sizes
        server = run.for_operators
        assert isinstance(server, Daemon)
        port, token = server.serve_browsers(), server.token(getpass.getuser())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        console = run.connected(1)
        name = console.machines[0].name

        def viewer() -> WebViewer:
            return WebViewer(run.loop, context, port, token, attach_path(name))

        first = viewer()
        before = server.memory()
        viewers = [first, *(viewer() for _ in range(sizes.web_viewers - 1))]
        found = {"web.memory": Sample((server.memory() - before) / max(1, sizes.web_viewers - 1) / 1024)}
        try:
            found |= _show(run, console.machines[0], viewers)
            silent, rest = viewers[: sizes.web_silent], viewers[sizes.web_silent :]
            for one in silent:
                one.halt()
            for one in rest:
                one.close()
            run.loop.rest(min(1.0, sizes.viewer_seconds))
            before = most = server.memory()
            stream = Stream(console.machines[0], sizes.stalled_mib * MIB // LINE)
            while not stream.done:
                run.loop.rest(0.05)
                most = max(most, server.memory())
            run.drained(run.expected(console.machines))
            most = max(most, server.memory())
            found["web.silent"] = Sample((most - before) / sizes.web_silent / 1024, problems=run.check(console))
        finally:
            for one in viewers:
                one.close()
        return found


def _show(run: Run, machine: Machine, viewers: list[WebViewer]) -> Samples:
    sizes, loop = run.sizes, run.loop
    phase, said = machine.at, machine.said
    task = Lines([machine], sizes.web_rate)
    with run.window() as window:
        task.at_rate(sizes.web_rate)
        loop.tasks.append(task)
        loop.rest(sizes.viewer_seconds)
        loop.tasks.clear()
        size = (machine.said - said) * LINE
        loop.run(lambda: all(len(one.received) >= size for one in viewers), 20)
    wanted = (PLAIN.log * (size // len(PLAIN.log) + 2))[phase * LINE : phase * LINE + size]
    complete = sum(one.received == wanted for one in viewers)
    return {
        "web.complete": window.sample(100 * complete / len(viewers)),
        "web.cpu": window.sample(100 * window.cpu / window.seconds),
    }
