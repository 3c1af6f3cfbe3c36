"""Job: a command under way, as the activity of its session. It waits for ^C and wants no other input."""

from __future__ import annotations

from collections.abc import Coroutine

from twisted.internet.defer import Deferred

from vmproxy.operators.session import Session


class Job:
    """A command under way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: Deferred[int] | None = None

    def start(self, command: Coroutine[Deferred[object], object, int]) -> Deferred[int]:
        """Run a command; it is cancelled on ^C and at the session's end."""
        self._task = Deferred.fromCoroutine(command)
        return self._task

    def typed(self, data: bytes) -> None:
        """Input: ^C at a terminal, or something for a console that the command may reach yet."""
        if self._session.has_pty and b"\x03" in data:
            self.stop()
            return
        self._session.router.keep(data)

    def drained(self) -> None:
        """All output is sent: the session tells whoever waits for it."""

    def send_break(self) -> None:
        """There is no console to send it to."""

    def resized(self, width: int, height: int) -> None:
        """The terminal's size means nothing to a command."""

    def stop(self) -> None:
        """End the command."""
        if self._task is not None:
            self._task.cancel()
