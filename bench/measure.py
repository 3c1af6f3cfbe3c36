"""One run of one server: its folders, its machines, the clock around what is measured, and what was found.

A mode is written once, for all servers; it asks the :class:`Run` for what differs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.loop import Loop
from bench.machines import Fleet, Machine, storm
from bench.secure import Hosts
from bench.servers import PATIENCE, BenchError, Daemon, Reference, Server
from bench.sizes import Sizes
from bench.text import PLAIN, Expected, Text, problems, written

IN_FLIGHT = 128
NO_PROGRESS = 15.0
REST = 0.02
RESTING = 0.05  # of a core
FULL = 0.9


@dataclass
class Sample:
    """What one run found.

    :ivar value: the figure, in the unit of its key; None where it could not be measured.
    :ivar server: the server's share of its core meanwhile, ``load`` that of the load; 0 where that means nothing.
    :ivar problems: what was wrong, in words.
    """

    value: float | None
    server: float = 0.0
    load: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def load_was_the_limit(self) -> bool:
        """Whether the load could not have sent more, while the server could have taken more."""
        return self.load > FULL > self.server


@dataclass
class Window:
    """A stretch of time.

    :ivar seconds: how long it was; ``cpu`` the server's processor time in it.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    server: float = 0.0
    load: float = 0.0

    def sample(self, value: float | None, found: Sequence[str] = ()) -> Sample:
        """A figure that was measured in it."""
        return Sample(value, self.server, self.load, list(found))


class Run:
    """One server, freshly started, and the load.

    :ivar kind: ``vmproxy``, ``reference`` or the name of a peer.
    :ivar loop: the load's loop.
    """

    def __init__(self, kind: str, server: Server, sizes: Sizes) -> None:
        """:param server: not started yet; its folder is removed at the end."""
        self.sizes = sizes
        self.kind = kind
        self.loop = Loop()
        self._fleets: list[Fleet] = []
        self.server = server

    def __enter__(self) -> Run:
        try:
            self.server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.disconnect()
            self.server.stop()
        finally:
            self.loop.close()
            shutil.rmtree(self.server.folder, ignore_errors=True)

    @property
    def for_operators(self) -> Daemon | Reference:
        """The server, where operators are needed: none that is only known by its port."""
        assert isinstance(self.server, (Daemon, Reference))
        return self.server

    def scratch(self) -> Path:
        """A folder for what the mode writes itself; it goes with the run."""
        folder = self.server.folder / "scratch"
        folder.mkdir(exist_ok=True)
        return folder

    def disconnect(self, *some: Fleet) -> None:
        """Close connections: all, or those of some machines."""
        for fleet in some or self._fleets:
            fleet.close()
        self._fleets = [fleet for fleet in self._fleets if some and fleet not in some]

    def fleet(self, count: int, text: Text = PLAIN, first: int = 0, hosts: Hosts | None = None) -> Fleet:
        """So many machines, not connected yet.

        :param hosts: with TLS.
        """
        server = self.server
        port = server.vm_port if hosts is None or hosts.inband else server.tls_port
        make = None if hosts is None else hosts.connection
        fleet = Fleet(self.loop, port, count, text, first, server.handshake, make)
        self._fleets.append(fleet)
        return fleet

    def connected(
        self, count: int, text: Text = PLAIN, first: int = 0, hello: bool = True, hosts: Hosts | None = None
    ) -> Fleet:
        """So many machines, connected; each has said who it is.

        :raises BenchError: if not all of them get in.
        """
        fleet = self.fleet(count, text, first, hosts)
        _, up = storm(fleet, fleet.machines, IN_FLIGHT, PATIENCE + count / 100)
        if up < count:
            raise BenchError(f"{self.kind}: only {up} of {count} machines could connect; {self.server.problems()}")
        if hello:
            for machine in fleet.machines:
                machine.hello()
            self.drained(self.expected(fleet.machines))
        return fleet

    def expected(self, machines: Sequence[Machine]) -> list[Expected]:
        """What must stand in the logs of machines."""
        return [one for machine in machines for one in self.server.expected(machine)]

    def drained(self, expected: list[Expected], pause: float = 0.01) -> bool:
        """Wait until logs have the size that they must have; where that is not known, until the server has a rest.

        :returns: False if nothing happens any more.
        """
        if not self.server.logs_are_known:
            return self._at_rest()
        total = sum(one.total for one in expected)
        seen, since = -1, time.perf_counter()
        while True:
            now = written(expected)
            if now >= total:
                return True
            if now != seen:
                seen, since = now, time.perf_counter()
            elif time.perf_counter() - since > NO_PROGRESS:
                return False
            self.loop.rest(pause)

    def _at_rest(self) -> bool:
        deadline, used = time.perf_counter() + NO_PROGRESS, -1.0
        while time.perf_counter() < deadline:
            before, used = used, self.server.cpu()
            if used - before < REST * RESTING and before >= 0:
                return True
            self.loop.rest(REST)
        return False

    def check(self, fleet: Fleet) -> list[str]:
        """Wait for the logs and compare them with what was said; whether anything else went wrong, too."""
        expected = self.expected(fleet.machines)
        self.drained(expected)
        found = problems(expected)
        if fleet.lost:
            found.append(f"{fleet.lost} connections were closed by the server")
        return found + self.server.problems()

    @contextmanager
    def window(self) -> Iterator[Window]:
        """A stretch of time in which something is measured."""
        window = Window()
        cpu, load, began = self.server.cpu(), time.process_time(), time.perf_counter()
        yield window
        window.seconds = time.perf_counter() - began
        window.cpu = self.server.cpu() - cpu
        window.server = window.cpu / window.seconds
        window.load = (time.process_time() - load) / window.seconds

    def until(self, done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Go on until something has become true.

        :raises BenchError: if it does not.
        """
        if not self.loop.run(done, seconds):
            raise BenchError(f"{self.kind}: still not so after {seconds:.0f} s: {what}; {self.server.problems()}")


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
