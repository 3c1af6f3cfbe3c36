"""The programs of actions, on threads of their own: those of alerts must not keep an operator waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from vmproxy.base.program import Programs, passed_on
from vmproxy.base.threads import OwnThreads, Stops
from vmproxy.operators.actions import AT_ONCE, Outcome


class ActionPrograms:
    """Runs the programs of actions. Bound: threads for :data:`AT_ONCE`; whoever asks for more waits."""

    def __init__(self, reactor: PosixReactorBase) -> None:
        self._programs = Programs()
        self._threads = OwnThreads(reactor, "vmproxy-actions", AT_ONCE)

    def run(
        self, words: Sequence[str], data: bytes, environment: Mapping[str, str], timeout: float
    ) -> Deferred[Outcome]:
        """Run a program: see :data:`~vmproxy.operators.actions.Run`."""

        def run() -> Outcome:
            output = bytearray()
            ended = self._programs.run(words, data, {**passed_on(), **environment}, timeout, output)
            return Outcome(ended.problem, bytes(output))

        return self._threads(run).addErrback(_stopped)

    def stop(self) -> None:
        """Kill the programs, and run no more."""
        self._programs.stop()
        self._threads.stop()


def _stopped(failure: Failure) -> Outcome:
    failure.trap(Stops)
    return Outcome(failure.getErrorMessage(), b"")
