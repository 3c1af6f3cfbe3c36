"""Raw streams: ``ssh -W web01:0`` and ``ssh -L 1234:web01:0``. Eight bits both ways, nothing in between.

For gdb, kgdb, WinDbg, minicom and scripts. A raw stream takes write access, and is refused if another viewer has it,
unless the console is shared. Invariant: it is complete or it ends. A slow reader gets the output from the log, see
:mod:`vmproxy.operators.viewer_queue`; if the log cannot give it, the stream is closed.
"""

from __future__ import annotations

from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Right
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.naming import NoSuchConsole
from vmproxy.console.notices import Demoted, InputRecorded, Kicked, LineDown, Notice, ShuttingDown
from vmproxy.errors import VMProxyError
from vmproxy.operators.messages import idle
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.viewer_queue import LateReader
from vmproxy.operators.visible import VisibleConsoles
from vmproxy.operators.write_request import Answer, WriteRequest, ask
from vmproxy.ssh.channel import FlowChannel

QUEUE_LIMIT = 1024 * 1024

_log = Logger()


def open_raw(operator: Operator, services: Services, host: str, port: int, window: int, max_packet: int) -> RawChannel:
    """Open a raw stream.

    :param host: what the client gave as the host: a console.
    :param port: what it gave as the port: 0, or the console's serial port.
    :raises ConchError: if it cannot be opened; the client shows the text.
    """
    try:
        console = _find(operator.view, host, port)
    except VMProxyError as error:
        raise _refusal(str(error), OPEN_CONNECT_FAILED) from None
    if not operator.view.may(console, Right.RAW):
        raise _refusal(f"{console.title}: you have no right to a raw stream", OPEN_ADMINISTRATIVELY_PROHIBITED)
    if console.options.record_input:
        reason = f"{console.title}: what is typed there is recorded, which a raw stream cannot tell you"
        raise _refusal(reason, OPEN_ADMINISTRATIVELY_PROHIBITED)
    writer = console.write_access.writer
    if writer is not None and ask(operator.view, console, WriteRequest(join=True)) is not Answer.JOIN:
        now = services.wall()
        reason = f"{console.title}: {writer.who} is attached, idle {idle(writer, now)}"
        raise _refusal(reason, OPEN_ADMINISTRATIVELY_PROHIBITED)
    if console.state == "down":
        raise _refusal(f"{console.title}: down ({console.reason or 'not seen yet'})", OPEN_CONNECT_FAILED)
    return RawChannel(operator, services, console, window, max_packet)


def _find(view: VisibleConsoles, host: str, port: int) -> Console:
    if not port:
        return view.find(host)
    try:
        return view.find(host, str(port))
    except NoSuchConsole:
        # OpenSSH's client lets nobody ask for port 0: 1 is also the port of a VM whose only one has another label.
        if port != 1:
            raise
        return view.find(host)


def _refusal(text: str, code: int) -> ConchError:
    # conch can send ASCII only; a name that is none stays recognizable.
    return ConchError(text.encode("ascii", "backslashreplace").decode("ascii"), code)


@implementer(IViewer)
class RawChannel(FlowChannel):
    """A raw stream to a console."""

    name = b"direct-tcpip"

    def __init__(self, operator: Operator, services: Services, console: Console, window: int, max_packet: int) -> None:
        super().__init__(window, max_packet)
        self._operator = operator
        self._services = services
        self._console = console
        self._behind: LateReader | None = None
        self._ending = False
        self._open = False
        self.who = operator.who
        self.front = operator.front
        self.since = self.last_input = services.wall()
        self.skipped = 0

    def channelOpen(self, specificData: bytes) -> None:
        """Attach: the client knows that the channel is open."""
        self._console.viewers.attach(self, write=True, join=True)
        self._operator.audit("attach", console=self._console.title, uuid=str(self._console.uuid), mode="raw")
        self._open = True

    def dataReceived(self, data: bytes) -> None:
        self.last_input = self._services.wall()
        if not self._console.write_access.writes(self) or not self._console.send(data, self.who):
            self._break_off("input could not be delivered")

    def eofReceived(self) -> None:
        """Give up write access. The other direction goes on until the client closes it."""
        self._console.viewers.drop_write(self)

    def closed(self) -> None:
        super().closed()
        if self._open:
            self._operator.audit("detach", console=self._console.title, uuid=str(self._console.uuid))
        self._console.viewers.detach(self)
        if self._behind is not None:
            self._behind.wake()

    def output(self, data: bytes) -> None:
        if self._behind is not None:
            self._behind.output(data)
        elif self.queued + len(data) <= QUEUE_LIMIT:
            self.send(data)
        elif not self.over:
            self._behind = LateReader(self, self._console.log, self._services, data)
            live = spawn(self._behind.run())
            live.addCallback(self._live).addErrback(self._cannot_catch_up)

    def drained(self) -> None:
        if self._behind is not None:
            self._behind.wake()

    def _live(self, rest: bytes) -> None:
        self._behind = None
        self.send(rest)
        if self._ending:
            self.finish()

    def _cannot_catch_up(self, failure: Failure) -> None:
        if not failure.check(VMProxyError, OSError):
            _log.failure("a raw stream of {who} failed", failure=failure, who=self.who)
        self._break_off(f"the client reads too slowly, and {failure.getErrorMessage()}")

    def notice(self, notice: Notice) -> None:
        """End the stream at some notices, after the output before them; none can be shown."""
        recorded = isinstance(notice, InputRecorded) and notice.on
        if (recorded or isinstance(notice, LineDown | ShuttingDown | Demoted | Kicked)) and not self._ending:
            self._ending = True
            self._console.viewers.detach(self)
            if self._behind is None:
                self.finish()

    def hold_input(self, on: bool) -> None:
        self.hold(on)

    def idle_times(self) -> IdleTimes:
        return self._operator.view.idle_times(self._console)

    def rules_changed(self) -> None:
        if not self._operator.view.may(self._console, Right.RAW):
            self._break_off("the rules have changed")

    def _break_off(self, reason: str) -> None:
        if not self.over:
            self._console.log.event("raw-closed", who=self.who, reason=reason)
            self._console.viewers.detach(self)
            self.loseConnection()
