"""Job: a command under way, as the activity of its session."""

from __future__ import annotations

from collections.abc import Coroutine

from twisted.internet.defer import Deferred

from vmproxy.base.tasks import spawn
from vmproxy.operators.input_router import InputOnly
from vmproxy.operators.session import Session


class Job(InputOnly):
    """A command under way. Input waits for the next activity; ^C ends the command."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: Deferred[int] | None = None

    def start(self, command: Coroutine[Deferred[object], object, int]) -> Deferred[int]:
        self._task = spawn(command)
        return self._task

    def typed(self, data: bytes) -> None:
        """Input: ^C at a terminal, or for a console to which the command may attach yet."""
        if self._session.has_pty and b"\x03" in data:
            self.interrupt()
            return
        self._session.router.keep(data)

    def interrupt(self) -> None:
        """End the command."""
        self.stop()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
