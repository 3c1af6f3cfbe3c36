"""The programs of actions, on threads of their own: those of alerts must not keep an operator waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from vmproxy.hooks.program import STOPS, Programs, passed_on
from vmproxy.operators.actions import AT_ONCE, Outcome


class ActionPrograms:
    """Runs the programs of actions. Bound: threads for :data:`AT_ONCE`; whoever asks for more waits."""

    def __init__(self, reactor: PosixReactorBase) -> None:
        self._reactor = reactor
        self._programs = Programs()
        self._pool: ThreadPool | None = None
        self._stopped = False

    def run(
        self, words: Sequence[str], data: bytes, environment: Mapping[str, str], timeout: float
    ) -> Deferred[Outcome]:
        """Run a program: see :data:`~vmproxy.operators.actions.Run`."""
        if self._stopped:
            return succeed(Outcome(STOPS, b""))  # no thread may begin that nobody ends
        if self._pool is None:
            self._pool = ThreadPool(0, AT_ONCE, "vmproxy-actions")
            self._pool.start()

        def run() -> Outcome:
            output = bytearray()
            problem = self._programs.run(words, data, {**passed_on(), **environment}, timeout, output)
            return Outcome(problem, bytes(output))

        return deferToThreadPool(self._reactor, self._pool, run)

    def stop(self) -> None:
        """Kill the programs, and run no more."""
        self._stopped = True
        self._programs.stop()
        if self._pool is not None:
            self._pool.stop()
            self._pool = None
