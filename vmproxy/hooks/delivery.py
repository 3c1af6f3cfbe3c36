"""Delivery of alerts to programs and webhooks: in order, a few at a time.

Bound: :data:`PROGRAMS` programs and :data:`REQUESTS` requests at a time, and :data:`WAITING` of each wait. What does
not fit is not delivered, and counted. Programs and receivers have their turns one after the other, and the one for
which most waits makes place: one that hangs, or is away, hides nothing from the others.
"""

from __future__ import annotations

import codecs
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from vmproxy.alerts.alert import Alert
from vmproxy.alerts.watch import Watch
from vmproxy.base.program import Programs, passed_on
from vmproxy.base.ratelimit import RateLimit
from vmproxy.base.sanitize import visible
from vmproxy.base.tasks import spawn
from vmproxy.base.threads import OwnThreads
from vmproxy.base.troubles import Kind, Troubles

if TYPE_CHECKING:
    from vmproxy.hooks.webhook import Webhooks

PROGRAMS = 4
REQUESTS = 8
WAITING = 100
TOLD_A_MINUTE = 60

_log = Logger()

Job = Callable[[], Awaitable[str]]


class _Waiting(NamedTuple):
    """A job that waits for its turn.

    :ivar lose: called in place of ``deliver`` if it does not fit.
    """

    deliver: Callable[[], Coroutine[Any, Any, None]]
    lose: Callable[[], None]


class _Line:
    """Jobs that wait for their turn.

    :ivar lost: how many did not fit.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: dict[Hashable, deque[_Waiting]] = {}  # for whom; the next one first
        self._size = 0
        self._running = 0
        self.lost = 0

    def add(self, whom: Hashable, job: _Waiting) -> None:
        """Do a job when it is its turn, if it fits."""
        self._waiting.setdefault(whom, deque()).append(job)
        self._size += 1
        if self._size > WAITING:
            self.lost += 1
            # Of several, the last in the line.
            self._take(max(reversed(self._waiting), key=lambda one: len(self._waiting[one])), -1).lose()
        self._go_on()

    def clear(self) -> None:
        """Forget those that wait."""
        self._waiting.clear()
        self._size = 0

    def _take(self, whom: Hashable, place: int) -> _Waiting:
        queue = self._waiting[whom]
        job = queue[place]
        del queue[place]
        self._size -= 1
        if not queue:
            del self._waiting[whom]
        return job

    def _go_on(self) -> None:
        while self._waiting and self._running < self._at_once:
            self._running += 1
            whom = next(iter(self._waiting))
            job = self._take(whom, 0)
            if whom in self._waiting:
                self._waiting[whom] = self._waiting.pop(whom)  # the others first
            spawn(job.deliver()).addBoth(self._done)

    def _done(self, _result: object) -> None:
        self._running -= 1
        self._go_on()


class Delivery:
    """Runs the programs and calls the webhooks of watches.

    :ivar delivered: how many since the start; ``failed``: how many were not, for whatever reason.
    """

    def __init__(
        self, reactor: PosixReactorBase, resolver: IHostnameResolver, troubles: Troubles, agent_name: str
    ) -> None:
        """:param resolver: looks up the receivers of webhooks, on threads of its own."""
        self._reactor = reactor
        self._resolver = resolver
        self._troubles = troubles
        self._agent_name = agent_name
        self._programs = Programs()
        self._threads = OwnThreads(reactor, "vmproxy-hooks", PROGRAMS)
        self._program_line = _Line(PROGRAMS)
        self._request_line = _Line(REQUESTS)
        self._stop_requests: Callable[[], object] = int
        self._send: Callable[[str, bytes], Deferred[str]] | None = None
        self._stopped = False
        self._told = RateLimit(reactor, TOLD_A_MINUTE, 60.0)
        self.delivered = self.failed = 0

    def tell(self, watch: Watch, alert: Alert, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        """Do what a watch wants to be done about an alert; see :class:`~vmproxy.alerts.center.Hooks`."""
        if self._stopped:
            return
        fields = {**alert.fields(), "server": server(), "before": list(before), "after": list(after)}
        del fields["acknowledged"], fields["offset"]
        data = json.dumps(fields).encode("ascii") + b"\n"
        if watch.run:
            self._add(
                self._program_line, watch.run, lambda: self._run(watch, environment(alert), data), watch, "its program"
            )
        if watch.webhook:
            self._add(self._request_line, watch.webhook, lambda: self._sent(watch, data), watch, "its webhook")

    def _add(self, line: _Line, whom: Hashable, job: Job, watch: Watch, what: str) -> None:
        async def deliver() -> None:
            try:
                problem = await job()
            except Exception:
                _log.failure("a hook failed")
                problem = "see the log of vmproxy"
            if problem:
                self._failed(f"watch {watch.name}: {what}: {visible(problem, 300)}")
            else:
                self.delivered += 1

        def lose() -> None:
            self._failed(f"watch {watch.name}: {what}: {line.lost} were too many at once")

        line.add(whom, _Waiting(deliver, lose))

    def _failed(self, text: str) -> None:
        self.failed += 1
        if not self._stopped:
            if self._told.allow():
                _log.warn("{problem}", problem=text)
            self._troubles.tell(Kind.HOOK, text)

    # Programs.

    def _run(self, watch: Watch, env: dict[str, str], data: bytes) -> Deferred[str]:
        def run() -> str:
            return self._programs.run(watch.run, data, env, watch.timeout).problem

        return self._threads(run)

    # Webhooks.

    def _sent(self, watch: Watch, data: bytes) -> Deferred[str]:
        if self._send is None:
            webhooks = prepare()(self._reactor, self._resolver, self._agent_name)
            self._stop_requests = webhooks.stop
            self._send = lambda url, body: spawn(webhooks.send(url, body))
        return self._send(watch.webhook, data)

    def stop(self) -> None:
        """Kill the programs, and deliver nothing more."""
        self._stopped = True
        self._program_line.clear()
        self._request_line.clear()
        self._programs.stop()
        self._stop_requests()
        self._threads.stop()


def prepare() -> type[Webhooks]:
    """Load what webhooks need, only where there is one: it takes a while, and memory. On any thread.

    :raises ImportError: if it cannot be loaded any more.
    """
    from vmproxy.hooks.webhook import Webhooks

    codecs.lookup("charmap")  # Twisted's client encodes with it
    return Webhooks


def environment(alert: Alert) -> dict[str, str]:
    """The environment of a program that is told of an alert."""
    fields = alert.fields()
    names = ("alert", "at", "watch", "severity", "console", "uuid", "port", "host", "line", "repeated")
    own = {f"VMPROXY_{name.upper()}": "" if fields[name] is None else str(fields[name]) for name in names}
    own["VMPROXY_SERVER"] = server()
    return passed_on() | own


def server() -> str:
    """The name of this machine, safe to show."""
    return visible(socket.gethostname())
