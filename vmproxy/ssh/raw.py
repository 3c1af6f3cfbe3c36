"""The raw stream: ``ssh -W web01:0`` and ``ssh -L 1234:web01:0``. Eight bits both ways, nothing in between.

For gdb, kgdb, WinDbg, minicom and scripts. It takes the pen like any writer, and is refused if somebody has it. As
there is nobody to tell about skipped bytes, a raw stream whose reader is too slow is closed: better broken than wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED
from zope.interface import implementer

from vmproxy.console.console import Console
from vmproxy.console.directory import Directory, NoSuchConsole
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Demoted, LineDown, Notice, ShuttingDown
from vmproxy.errors import VMProxyError
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.wording import idle

if TYPE_CHECKING:
    from vmproxy.ssh.connection import Operator

QUEUE_LIMIT = 1024 * 1024


def open_raw(operator: Operator, host: str, port: int, window: int, max_packet: int) -> RawChannel:
    """Open a raw stream.

    :param host: what the client gave as the host: a console.
    :param port: what it gave as the port: 0, or the console's serial port.
    :raises ConchError: if it cannot be opened; the client shows the text.
    """
    try:
        console = _find(operator.front.directory, host, port)
    except VMProxyError as error:
        raise _refusal(str(error), OPEN_CONNECT_FAILED) from None
    writer = console.pen.writer
    if writer is not None:
        now = operator.front.clock.seconds()
        reason = f"{console.title}: {writer.who} is attached, idle {idle(writer, now)}"
        raise _refusal(reason, OPEN_ADMINISTRATIVELY_PROHIBITED)
    if console.state == "down":
        raise _refusal(f"{console.title}: down ({console.reason or 'not seen yet'})", OPEN_CONNECT_FAILED)
    return RawChannel(operator, console, window, max_packet)


def _find(directory: Directory, host: str, port: int) -> Console:
    if not port:
        return directory.find(host)
    try:
        return directory.find(host, str(port))
    except NoSuchConsole:
        # OpenSSH's client lets nobody ask for port 0: 1 is also the port of a VM whose only one has another label.
        if port != 1:
            raise
        return directory.find(host)


def _refusal(text: str, code: int) -> ConchError:
    # conch can send ASCII only; a name that is none stays recognizable.
    return ConchError(text.encode("ascii", "backslashreplace").decode("ascii"), code)


@implementer(IViewer)
class RawChannel(FlowChannel):
    """A raw stream to a console."""

    name = b"direct-tcpip"

    def __init__(self, operator: Operator, console: Console, window: int, max_packet: int) -> None:
        super().__init__(window, max_packet)
        self._front = operator.front
        self._console = console
        self.who = operator.who
        self.since = self.last_input = operator.front.clock.seconds()
        self.skipped = 0

    def channelOpen(self, specificData: bytes) -> None:
        """The client has been told that the channel is open: go live."""
        self._console.attach(self, write=True)

    def dataReceived(self, data: bytes) -> None:
        """Input for the VM."""
        self.last_input = self._front.clock.seconds()
        if self._console.pen.writer is not self or not self._console.send(data):
            self._break_off("input could not be delivered")

    def eofReceived(self) -> None:
        """No more input: somebody else may write. The other direction goes on until the client closes it."""
        self._console.drop_pen(self)

    def closed(self) -> None:
        """The channel is gone."""
        super().closed()
        self._console.detach(self)

    def output(self, data: bytes) -> None:
        """Bytes from the VM."""
        if self.queued + len(data) > QUEUE_LIMIT:
            self.skipped += len(data)
            self._break_off("the client reads too slowly")
        else:
            self.send(data)

    def notice(self, notice: Notice) -> None:
        """There is no place to show notices; some of them end the stream."""
        if isinstance(notice, LineDown | ShuttingDown | Demoted):
            self._console.detach(self)
            self.finish()

    def hold_input(self, on: bool) -> None:
        """The console has enough."""
        self.hold(on)

    def _break_off(self, reason: str) -> None:
        if not self.over:
            self._console.log.event("raw-closed", who=self.who, reason=reason)
            self._console.detach(self)
            self.loseConnection()
