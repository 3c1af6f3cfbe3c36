"""Who is traced, and for whom: hosts in the process's log (``vm.trace``), hosts and consoles for operators (``trace``).

A host is traced by its address. A console's connections are known by it only when they have said which VM they are; so
while one is traced, the first bytes of new connections are kept until then. Nothing is kept, and nothing is looked at,
while nobody traces anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.addresses import numeric_address
from vmproxy.console.console import Console
from vmproxy.vm.wire_trace import Told, WireTrace
from vmproxy.wire.telnet import Scanner

LINES_LIMIT = 500
"""The lines that the log has of a connection."""
EARLY_LIMIT = 4096
"""The bytes that are kept of a connection until it is known which VM it is of."""
EARLY_CONNECTIONS = 256
OBSERVERS = 8

_log = Logger()


class Observer:
    """Somebody to whom hosts or a console are traced.

    :ivar hosts: the addresses of hosts.
    :ivar console: a console; None for hosts alone.
    """

    __slots__ = ("_told", "console", "hosts", "lines")

    def __init__(
        self, told: Told, hosts: Iterable[str] = (), console: Console | None = None, lines: int = sys.maxsize
    ) -> None:
        """:param lines: how many lines of a connection are told."""
        self._told = told
        self.hosts = frozenset(map(_plain, hosts))
        self.console = console
        self.lines = lines

    def wants(self, peer: str, console: Console | None) -> bool:
        """Whether it is about a connection."""
        return (console is not None and self.console is console) or _plain(peer) in self.hosts

    def trace(self, label: str, started: float, is_lost: bool) -> WireTrace:
        """Begin the trace of a connection."""
        return WireTrace(self._told, label, started, self.lines, is_lost)


def _plain(host: str) -> str:
    # An address of IPv4 is one also where it came on a socket of IPv6.
    return host if ":" not in host else str(numeric_address(host) or host)


class _Early(NamedTuple):
    at: float
    way: str
    data: bytes


class TracedConnection:
    """What is traced of one connection."""

    __slots__ = ("_clock", "_label", "_started", "early", "size", "traces")

    def __init__(self, clock: IReactorTime, label: str) -> None:
        self._clock = clock
        self._label = label
        self._started = clock.seconds()
        self.traces: dict[Observer, WireTrace] = {}
        self.early: list[_Early] | None = None
        self.size = 0

    def keep(self, on: bool = True) -> None:
        """Keep what is said first, until it is known which VM this is."""
        self.early = [] if on else None

    def begin(self, observer: Observer, is_new: bool = False) -> None:
        """Trace it for an observer, from its beginning if it is new, or if that has been kept."""
        if observer not in self.traces:
            is_lost = not is_new and self.early is None
            trace = self.traces[observer] = observer.trace(self._label, self._started, is_lost)
            for at, way, data in self.early or ():
                trace.take(at, way, data)
            if self.early and self.size > EARLY_LIMIT:
                trace.lose(self._clock.seconds(), "more than was kept before it was known which VM this is")

    def take(self, way: str, data: bytes, link: Traceable) -> None:
        """Take bytes, before the connection does.

        :param way: ``<`` from the host, ``>`` to it.
        """
        at = self._clock.seconds()
        if self.early is not None and self.size <= EARLY_LIMIT:
            self.early.append(_Early(at, way, data[: EARLY_LIMIT - self.size]))
            self.size += len(data)
        for trace in list(self.traces.values()):
            if trace.is_lost and way == "<":
                scanner = link.scanner()
                if scanner is None:
                    continue
                trace.go_on(scanner)
            trace.take(at, way, data)

    def tell(self, text: str) -> None:
        """Tell what has happened to the connection."""
        for trace in list(self.traces.values()):
            trace.tell(self._clock.seconds(), "-", text)


class Traceable(Protocol):
    """A connection from a host."""

    @property
    def peer(self) -> str: ...

    @property
    def traced(self) -> TracedConnection | None: ...

    def be_traced(self, traced: TracedConnection | None) -> None:
        """Hand on what is said from now on, or no more."""

    def __hash__(self) -> int: ...

    def scanner(self) -> Scanner | None:
        """A scanner that stands where the host is in what it says; None while some of that has not been looked at."""


L = TypeVar("L", bound=Traceable)


class Traces(Generic[L]):
    """All traces.

    Bound: :data:`OBSERVERS`, of connections that nobody knows yet :data:`EARLY_CONNECTIONS` of :data:`EARLY_LIMIT`.

    :ivar active: whether anybody traces anything.
    """

    def __init__(self, clock: IReactorTime, carried: Callable[[L], Console | None]) -> None:
        """:param carried: the console that a connection carries, or is to carry at the end of a vMotion."""
        self.active = False
        self._clock = clock
        self._carried = carried
        self._observers: list[Observer] = []
        self._hosts: frozenset[str] = frozenset()
        self._logged: Observer | None = None
        self._early: set[L] = set()
        self._count = 0

    def log(self, hosts: frozenset[str], connections: Iterable[L]) -> None:
        """Trace these hosts, and no others, in the log."""
        before = self._logged
        if hosts != self._hosts:
            self._hosts = hosts
            if before is not None:
                self.remove(before, connections)
            self._logged = Observer(_to_log, hosts, lines=LINES_LIMIT) if hosts else None
            if self._logged is not None:
                self.add(self._logged, connections)

    @property
    def full(self) -> bool:
        """Whether so many observe that no other one may."""
        return len(self._observers) >= OBSERVERS

    def add(self, observer: Observer, connections: Iterable[L]) -> None:
        """Trace for an observer from now on, also those of these connections that it is about."""
        self._observers.append(observer)
        self.active = True
        for link in connections:
            if observer.wants(link.peer, self._carried(link) if observer.console is not None else None):
                self._traced(link).begin(observer)

    def remove(self, observer: Observer, connections: Iterable[L]) -> None:
        """Trace for an observer no more."""
        self._observers.remove(observer)
        self.active = bool(self._observers)
        if not any(other.console is not None for other in self._observers):
            for link in list(self._early):
                self._known(link)
        for link in connections:
            if link.traced is not None and link.traced.traces.pop(observer, None) is not None:
                self._drop(link)

    def connected(self, link: L) -> None:
        """Take note of a new connection."""
        for observer in self._observers:
            if observer.wants(link.peer, None):
                self._traced(link).begin(observer, is_new=True)
        if len(self._early) < EARLY_CONNECTIONS and any(o.console is not None for o in self._observers):
            self._early.add(link)
            self._traced(link).keep()

    def identified(self, link: L, console: Console) -> None:
        """Take note that it is known which console a connection carries, or will."""
        for observer in self._observers:
            if observer.console is console:
                self._traced(link).begin(observer)
        self._known(link)

    def ended(self, link: L, reason: str) -> None:
        """Take note that a connection is gone."""
        if link.traced is not None:
            link.traced.tell(reason)
            self._early.discard(link)
            link.be_traced(None)

    def _traced(self, link: L) -> TracedConnection:
        if link.traced is None:
            self._count += 1
            traced = TracedConnection(self._clock, f"{link.peer}#{self._count}")
            link.be_traced(traced)
            return traced
        return link.traced

    def _known(self, link: L) -> None:
        if link in self._early and link.traced is not None:
            self._early.discard(link)
            link.traced.keep(False)
            self._drop(link)

    def _drop(self, link: L) -> None:
        if link.traced is not None and not link.traced.traces and link.traced.early is None:
            link.be_traced(None)


def _to_log(line: str) -> None:
    _log.info("trace {line}", line=line)
