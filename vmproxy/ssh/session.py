"""A session channel: what the client asks for (a terminal, a command, a break) turned into one thing that runs.

``ssh web01@host`` and ``ssh -t alice@host web01`` attach to a console; ``ssh alice@host list`` runs a command; without
either, the operator is told what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.conch.ssh.common import getNS
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.console.console import Console
from vmproxy.console.directory import AmbiguousConsole, NoSuchConsole
from vmproxy.errors import VMProxyError
from vmproxy.ssh import exits
from vmproxy.ssh.attached import Attached
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.target import BadTarget, Target, from_user

if TYPE_CHECKING:
    from vmproxy.ssh.connection import Operator
    from vmproxy.ssh.factory import SSHFront

COMMAND_LIMIT = 4096
BARRIER_SECONDS = 1.0

_log = Logger()


class Activity(Protocol):
    """What a session is busy with, if it takes input or must be ended."""

    def typed(self, data: bytes) -> None:
        """Input."""

    def drained(self) -> None:
        """All output is sent."""

    def send_break(self) -> None:
        """The client asks for a break (RFC 4335)."""

    def stop(self) -> None:
        """The session is over."""


class SessionChannel(FlowChannel):
    """A session.

    :ivar operator: whose.
    :ivar has_pty: whether the client has a terminal here.
    """

    name = b"session"

    def __init__(self, operator: Operator, window: int, max_packet: int) -> None:
        super().__init__(window, max_packet)
        self.operator = operator
        self.has_pty = False
        self._started = False
        self._activity: Activity | None = None
        self._typed_early: list[bytes] = []
        self._stream: int | None = None
        self._barrier: IDelayedCall | None = None

    @property
    def front(self) -> SSHFront:
        """What all sessions share."""
        return self.operator.front

    # What the client asks for.

    def request_pty_req(self, data: bytes) -> int:
        """A terminal. The client puts its own into raw mode; the guest does the rest."""
        self.has_pty = True
        return 1

    def request_window_change(self, data: bytes) -> int:
        """The terminal's size: a serial line has no way to tell it to the guest."""
        return 1

    def request_env(self, data: bytes) -> int:
        """Environment variables mean nothing here."""
        return 0

    def request_shell(self, data: bytes) -> int:
        """No command: the console in the user name, or an overview."""
        return self._begin("")

    def request_exec(self, data: bytes) -> int:
        """A command."""
        command = getNS(data)[0]
        if len(command) > COMMAND_LIMIT:
            return 0
        return self._begin(command.decode("utf-8", "surrogateescape"))

    def request_break(self, data: bytes) -> int:
        """RFC 4335: ``~B`` in OpenSSH's client."""
        if self._activity is None:
            return 0
        self._activity.send_break()
        return 1

    def _begin(self, command: str) -> int:
        if self._started:
            return 0
        self._started = True
        # The client must have its "success" before anything that we send.
        self.front.clock.callLater(0, self._run, command)
        return 1

    def _run(self, command: str) -> None:
        if self.over:
            return
        # Here and not at the top: commands are made of sessions.
        from vmproxy.ssh.commands import run

        running = Deferred.fromCoroutine(run(self, command))
        running.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(VMProxyError):
            self.complain(failure.getErrorMessage(), exits.USAGE if failure.check(BadTarget) else exits.FAILED)
        else:
            _log.failure("a command of {who} failed", failure=failure, who=self.operator.who)
            self.complain("internal error; the daemon's log says more", exits.FAILED)

    # Clients handle stdout and stderr apart, and on a terminal the replay would land before its headline. So before a
    # switch from one to the other the client is asked for a sign that it has dealt with what came before.

    def may_switch(self, stream: int) -> bool:
        """Whether the next bytes may go to this stream now."""
        if self._barrier is not None:
            return False
        before, self._stream = self._stream, stream
        if before in (None, stream) or not self.has_pty or self.conn is None:
            return True
        self._barrier = self.front.clock.callLater(BARRIER_SECONDS, self._end_barrier)
        asked = self.conn.sendRequest(self, b"keepalive@openssh.com", b"", wantReply=1)
        asked.addBoth(lambda _: self._end_barrier())  # it will say that it does not know that: that is the sign
        return False

    def _end_barrier(self) -> None:
        if self._barrier is not None:
            if self._barrier.active():
                self._barrier.cancel()
            self._barrier = None
            self.pump()

    # What is done about it.

    def target_of_user(self) -> Target | None:
        """The console that the SSH user name asks for.

        :raises BadTarget: if it does so in a way that means nothing.
        """
        return from_user(self.operator.user, self.operator.name)

    def find(self, target: Target) -> Console | None:
        """The console that is meant; where there is none, the session ends with the reason."""
        try:
            console = self.front.directory.find(target.console, target.port)
            if target.force and not self.front.directory.is_exact(target.console, console):
                self.complain(f"{target.console}: force needs a whole name; did you mean {console.title}?", exits.USAGE)
                return None
        except NoSuchConsole as error:
            self.complain(f"{error}\n(`list' shows the consoles, `help' the commands)", exits.NO_SUCH_CONSOLE)
        except AmbiguousConsole as error:
            choices = "".join(f"  {c.title}  {c.uuid}  port {c.port}  {c.state}\n" for c in error.choices[:20])
            more = len(error.choices) - 20
            self.complain(f"{error}\n{choices}" + (f"  and {more} more\n" if more > 0 else ""), exits.AMBIGUOUS)
        else:
            return console
        return None

    def attach(self, target: Target, plain: bool = False) -> None:
        """Go to a console and stay there."""
        console = self.find(target)
        if console is not None:
            attached = Attached(self, console, target, plain)
            self._activity = attached
            attached.start()
            early, self._typed_early = self._typed_early, []
            self.hold(console.congested and console.pen.writer is attached)
            for data in early:
                attached.typed(data)

    def print(self, text: str) -> None:
        """Send text to the client's stdout."""
        self.send(self._encoded(text))

    def complain(self, text: str, status: int) -> None:
        """Send text to the client's stderr, and end the session."""
        self.send_err(self._encoded(text if text.endswith("\n") else text + "\n"))
        self.finish(status)

    def _encoded(self, text: str) -> bytes:
        if self.has_pty:
            text = text.replace("\n", "\r\n")
        return text.encode("utf-8", "backslashreplace")

    # The channel's life.

    def dataReceived(self, data: bytes) -> None:
        """Input."""
        if self.over:
            return
        if self._activity is not None:
            self._activity.typed(data)
        elif self.has_pty and b"\x03" in data:
            self.finish(exits.FAILED)  # ^C
        else:
            # It may be for a console that is not attached yet; the window that is kept shut bounds it.
            self.hold(True)
            self._typed_early.append(data)

    def drained(self) -> None:
        """All output is sent."""
        if self._activity is not None:
            self._activity.drained()

    def closed(self) -> None:
        """The channel is gone."""
        super().closed()
        if self._barrier is not None and self._barrier.active():
            self._barrier.cancel()
        self._barrier = None
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.stop()

    def request_signal(self, data: bytes) -> int:
        """A signal for what runs here: INT, TERM and HUP end it."""
        if getNS(data)[0] in (b"INT", b"TERM", b"HUP"):
            self.finish(exits.FAILED)
        return 1
