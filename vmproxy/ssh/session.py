"""A session channel: what the client asks for (a terminal, a command, a break) turned into one thing that runs.

``ssh web01@host`` and ``ssh -t alice@host web01`` attach to a console; ``ssh alice@host list`` runs a command; without
either, the operator gets the menu, or is told what there is. What runs is an :class:`Activity`; one may make room for
another, as the menu does for a console, and take over again when that is left.
"""

from __future__ import annotations

import struct

from twisted.conch.ssh.common import getNS
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall

from vmproxy.base.sanitize import visible
from vmproxy.operators import exit_status, shell
from vmproxy.operators.input_router import InputRouter
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.session import tell
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.sftp import SFTP

COMMAND_LIMIT = 4096
BARRIER_SECONDS = 1.0
LARGEST_TERMINAL = 1000
USUAL_SIZE = (80, 24)


class SessionChannel(FlowChannel):
    """A session.

    :ivar operator: whose.
    :ivar has_pty: whether the client has a terminal here.
    :ivar size: its columns and rows, within bounds that a program can live with.
    :ivar term: its kind, ``xterm`` say; empty where there is none.
    :ivar input_ended: whether the client has said that it sends no more.
    """

    name = b"session"

    def __init__(self, operator: Operator, services: Services, window: int, max_packet: int) -> None:
        super().__init__(window, max_packet)
        self.operator = operator
        self.services = services
        self.has_pty = False
        self.size = USUAL_SIZE
        self.term = ""
        self.input_ended = False
        self._started = False
        self.router = InputRouter(self, services.clock)
        self._stream: int | None = None
        self._barrier: IDelayedCall | None = None

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port at which the client has reached us, if that is over TCP."""
        address = self.transport.getHost().address
        return (address.host, address.port) if isinstance(address, IPv4Address | IPv6Address) else None

    # What the client asks for.

    def request_pty_req(self, data: bytes) -> int:
        """A terminal. The client puts its own into raw mode; the guest does the rest."""
        if not self.operator.account.pty:
            return 0  # the key is restricted
        term, rest = getNS(data)
        self.size = _size(rest)
        self.term = visible(term[:64].decode("ascii", "replace"), 64)
        self.has_pty = True
        return 1

    def request_window_change(self, data: bytes) -> int:
        """The terminal's size. A serial line has no way to tell it to the guest; who draws here has to know it."""
        self.size = _size(data)
        if self.router.activity is not None:
            self.router.activity.resized(*self.size)
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

    def request_subsystem(self, data: bytes) -> int:
        """SFTP, and no other."""
        if getNS(data)[0] != b"sftp" or self._started:
            return 0
        self._started = True
        self.router.push(SFTP(self))
        return 1

    def request_break(self, data: bytes) -> int:
        """RFC 4335: ``~B`` in OpenSSH's client."""
        if self.router.activity is None:
            return 0
        self.router.activity.send_break()
        return 1

    def _begin(self, command: str) -> int:
        if self._started:
            return 0
        self._started = True
        # The client must have its "success" before anything that we send.
        self.services.clock.callLater(0, self._run, command)
        return 1

    def _run(self, command: str) -> None:
        if self.over:
            return
        if command.startswith("scp -"):
            self.complain("scp: the old protocol is not served here; leave out -O, or use sftp", exit_status.USAGE)
            return
        shell.start(self, command)

    # Clients handle stdout and stderr apart, and on a terminal the replay would land before its headline. So before a
    # switch from one to the other the client is asked for a sign that it has dealt with what came before.

    def may_switch(self, stream: int) -> bool:
        """Whether the next bytes may go to this stream now."""
        if self.services.stopping:
            return True  # there is little time, and what is said last is not lost for want of an answer
        if self._barrier is not None:
            return False
        before, self._stream = self._stream, stream
        if before in (None, stream) or not self.has_pty or self.conn is None:
            return True
        self._barrier = self.services.clock.callLater(BARRIER_SECONDS, self._end_barrier)
        asked = self.conn.sendRequest(self, b"keepalive@openssh.com", b"", wantReply=1)
        asked.addBoth(lambda _: self._end_barrier())  # it will say that it does not know that: that is the sign
        return False

    def _end_barrier(self) -> None:
        if self._barrier is not None:
            if self._barrier.active():
                self._barrier.cancel()
            self._barrier = None
            self.pump()

    # Output.

    def finish(self, status: int | None = None) -> None:
        """End the session when everything queued is sent, with the terminal as it was found."""
        if not self.over:
            self.send(self.router.farewell())
        super().finish(status)

    def print(self, text: str) -> None:
        """Send text to the client's stdout."""
        self.send(self._encoded(text))

    def complain(self, text: str, status: int) -> None:
        """Send text to the client's stderr, and end the session."""
        tell(self, text)
        self.finish(status)

    def _encoded(self, text: str) -> bytes:
        if self.has_pty:
            text = text.replace("\n", "\r\n")
        return text.encode("utf-8", "backslashreplace")

    # The channel's life.

    def channelOpen(self, specificData: bytes) -> None:
        """The channel is open."""
        self.services.presence.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Input."""
        if self.router.activity is None and self.has_pty and b"\x03" in data:
            self.finish(exit_status.INTERRUPTED)  # ^C
        else:
            self.router.feed(data)

    def eofReceived(self) -> None:
        """The client will send no more: an attached session goes on, and who lives of input is told."""
        self.input_ended = True
        self.router.eof()

    def drained(self) -> None:
        """All output is sent."""
        if self.router.activity is not None:
            self.router.activity.drained()

    def closed(self) -> None:
        """The channel is gone."""
        super().closed()
        self.services.presence.closed(self)
        if self._barrier is not None and self._barrier.active():
            self._barrier.cancel()
        self._barrier = None
        self.router.close()

    def request_signal(self, data: bytes) -> int:
        """A signal for what runs here: INT, TERM and HUP end it."""
        if getNS(data)[0] in (b"INT", b"TERM", b"HUP"):
            self.finish(exit_status.FAILED)
            if self.router.activity is not None:
                self.router.activity.stop()
        return 1


def _size(data: bytes) -> tuple[int, int]:
    """Columns and rows; what makes no sense is taken as usual, or as the largest that makes some."""
    wide, high = struct.unpack(">2L", data[:8])
    usual = USUAL_SIZE
    return min(wide or usual[0], LARGEST_TERMINAL), min(high or usual[1], LARGEST_TERMINAL)
