"""Session channels: a client's requests (a terminal, a command, a break) become one activity.

``ssh web01@host`` and ``ssh -t alice@host web01`` attach to a console; ``ssh alice@host list`` runs a command; without
either, the operator gets the menu, or an overview. See :mod:`vmproxy.operators.shell`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.conch.ssh.common import getNS
from twisted.internet.address import IPv4Address, IPv6Address

from vmproxy.base.countdown import Countdown
from vmproxy.base.sanitize import visible
from vmproxy.base.turns import Turns
from vmproxy.operators import exit_status, shell
from vmproxy.operators.input_router import InputRouter
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.session import tell
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.sftp import SFTP

COMMAND_LIMIT = 4096
BARRIER_SECONDS = 1.0
UNANSWERED_LIMIT = 16  # requests that a client has not answered; each is kept until it does
LARGEST_TERMINAL = 1000
USUAL_SIZE = (80, 24)

_NOT_SERVED = {
    "scp": "scp: the old protocol is not served here; leave out -O, or use sftp",
    "rsync": "rsync is not served here; use sftp, or scp without -O: logs can be read, and nothing can be written",
    "sftp-server": "sftp is a subsystem here: leave out the path of a server (sftp -s)",
    "mosh-server": "mosh is not served here; use ssh",
}
_PROGRAM = re.compile(r"(?:/\S*/)?(?:scp (?=-)|rsync (?=--server)|sftp-server\b|mosh-server (?=new\b))")
"""What clients start by themselves at the other end. ``scp`` alone may be the name of a VM."""


class SessionChannel(FlowChannel):
    """A session over SSH; see :class:`~vmproxy.operators.session.Session` for its attributes."""

    name = b"session"

    def __init__(self, operator: Operator, services: Services, window: int, max_packet: int) -> None:
        super().__init__(window, max_packet)
        self.operator = operator
        self.services = services
        self.has_pty = False
        self.size = USUAL_SIZE
        self.term = ""
        self.no_color = False
        self.input_ended = False
        self._started = False
        self.router = InputRouter(self, partial(_next_turn, operator, services.turns), services.turns.open)
        self._stream: int | None = None
        self._barrier = Countdown(services.clock)

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port at which the client has reached us, if that is over TCP."""
        address = self.transport.getHost().address
        return (address.host, address.port) if isinstance(address, IPv4Address | IPv6Address) else None

    # Requests of the client.

    def request_pty_req(self, data: bytes) -> int:
        """Note the terminal. The client puts its own into raw mode; the guest does the rest."""
        if not self.operator.account.pty:
            return 0  # the key is restricted
        term, rest = getNS(data)
        self.size = _size(rest)
        self.term = visible(term[:64].decode("ascii", "replace"), 64)
        self.has_pty = True
        return 1

    def request_window_change(self, data: bytes) -> int:
        """Note the size of the terminal, for what is drawn here: a serial line cannot tell the guest."""
        self.size = _size(data)
        if self.router.activity is not None:
            self.router.activity.resized(*self.size)
        return 1

    def request_env(self, data: bytes) -> int:
        """Note that the client wants no colours; ignore every other environment variable."""
        name, value, _ = getNS(data, 2)
        if name != b"NO_COLOR":
            return 0
        self.no_color = bool(value)
        return 1

    def request_shell(self, data: bytes) -> int:
        """Start without a command."""
        return self._begin("")

    def request_exec(self, data: bytes) -> int:
        """Start a command."""
        command = getNS(data)[0]
        if len(command) > COMMAND_LIMIT:
            return 0
        return self._begin(command.decode("utf-8", "surrogateescape"))

    def request_subsystem(self, data: bytes) -> int:
        """Start SFTP, the only subsystem."""
        if getNS(data)[0] != b"sftp" or self._started:
            return 0
        self._started = True
        self.router.push(SFTP(self))
        return 1

    def request_break(self, data: bytes) -> int:
        """Send a break (RFC 4335): ``~B`` in OpenSSH's client."""
        if self.router.activity is None:
            return 0
        self.router.activity.send_break()
        return 1

    def _begin(self, command: str) -> int:
        if self._started:
            return 0
        self._started = True
        # The client must have its "success" before anything that we send; and one read can hold dozens of beginnings.
        self._run_later(command)
        return 1

    def _run_later(self, command: str) -> None:
        failed = partial(self.finish, exit_status.FAILED)
        self.services.turns.wait(self.operator.name, partial(self._run, command), failed)

    def _run(self, command: str) -> None:
        if self.over:
            return
        if not self.operator.view.prepare(self.services.turns.open):
            self._run_later(command)
            return
        program = _PROGRAM.match(command)
        if program is not None:
            tell(self, next(_NOT_SERVED[name] for name in _NOT_SERVED if name in program[0]))
            self.finish(exit_status.USAGE)
            return
        shell.start(self, command)

    # Clients handle stdout and stderr apart: on a terminal the replay could appear before its headline. So before a
    # switch from one to the other the client is asked for an answer, which it gives when it has shown the former.

    def may_switch(self, stream: int) -> bool:
        if self.services.stopping:
            return True  # there is little time; the last words must not be lost for want of an answer
        if self._barrier.is_running:
            return False
        before, self._stream = self._stream, stream
        if before in (None, stream) or not self.has_pty or self.conn is None:
            return True
        unanswered = cast("dict[object, list[object]]", self.conn.deferreds).get(self.id, [])
        if len(unanswered) >= UNANSWERED_LIMIT:
            return True  # it never answers
        self._barrier.start(BARRIER_SECONDS, self.pump)
        asked = self.conn.sendRequest(self, b"keepalive@openssh.com", b"", wantReply=1)
        asked.addBoth(lambda _: self._end_barrier())  # that it does not know the request is an answer too
        return False

    def _end_barrier(self) -> None:
        if self._barrier.is_running:
            self._barrier.stop()
            self.pump()

    # Output.

    def finish(self, status: int | None = None) -> None:
        if not self.over:
            self.send(self.router.farewell())
        super().finish(status)

    def print(self, text: str) -> None:
        self.send(self._encoded(text))

    def _encoded(self, text: str) -> bytes:
        if self.has_pty:
            text = text.replace("\n", "\r\n")
        return text.encode("utf-8", "backslashreplace")

    # The channel's life.

    def channelOpen(self, specificData: bytes) -> None:
        self.services.presence.opened(self)

    def dataReceived(self, data: bytes) -> None:
        if self.router.activity is None and self.has_pty and b"\x03" in data:
            self.finish(exit_status.INTERRUPTED)  # ^C
        else:
            self.router.feed(data)

    def eofReceived(self) -> None:
        """Note the end of input. A session at a console goes on."""
        self.input_ended = True
        self.router.eof()

    def drained(self) -> None:
        if self.router.activity is not None:
            self.router.activity.drained()

    def closed(self) -> None:
        super().closed()
        self.services.presence.closed(self)
        self._barrier.stop()
        self.router.close()

    def request_signal(self, data: bytes) -> int:
        """End the session at a signal: INT, TERM or HUP."""
        if getNS(data)[0] in (b"INT", b"TERM", b"HUP"):
            self.finish(exit_status.FAILED)
            if self.router.activity is not None:
                self.router.activity.stop()
        return 1


def _next_turn(operator: Operator, turns: Turns, go_on: Callable[[], None]) -> None:
    """Have input gone on with that was put off; there may be other rules by then."""

    def when_ready() -> None:
        if operator.view.prepare(turns.open):
            go_on()
        else:
            _next_turn(operator, turns, go_on)

    turns.wait(operator.name, when_ready)


def _size(data: bytes) -> tuple[int, int]:
    """Columns and rows; the usual ones for zero, and at most :data:`LARGEST_TERMINAL` each."""
    wide, high = struct.unpack(">2L", data[:8])
    usual = USUAL_SIZE
    return min(wide or usual[0], LARGEST_TERMINAL), min(high or usual[1], LARGEST_TERMINAL)
