"""The smallest front there can be: operators come over a plain socket. It proves that a front needs no more.

The first line of a connection is the operator's user name and a command line, as they would be given to ``ssh``; what
follows is input. Output and complaints are sent as they come; an exit status closes the connection.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from zope.interface import implementer

from vmproxy.auth.accounts_file import Account
from vmproxy.operators import shell
from vmproxy.operators.input_router import InputRouter
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services

LINE_LIMIT = 4096


@implementer(IPushProducer)
class PlainSession(Protocol):
    """A connection, as a :class:`~vmproxy.operators.session.Session`.

    :ivar status: the exit status, when there is one.
    """

    operator: Operator
    has_pty = False
    size = (80, 24)
    term = ""
    no_color = False
    local_address = None
    transport: Connection

    def __init__(self, services: Services) -> None:
        self.services = services
        self.router = InputRouter(self, partial(services.turns.wait, ""))
        self.over = False
        self.input_ended = False
        self.status: int | None = None
        self._line: bytes | None = b""
        self._queue: list[bytes] = []
        self._paused = False
        self._waiting: list[Deferred[bool]] = []

    # The socket.

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._line is None:
            self.router.feed(data)
            return
        line, end, rest = (self._line + data).partition(b"\n")
        self._line = line
        if not end or len(line) > LINE_LIMIT:
            return
        self._line = None
        user, _, command = line.decode().strip().partition(" ")
        account = Account(user.partition(":")[0])
        self.operator = self.services.operator(account, user, "plain")
        self.services.presence.logged_in(self.operator)
        self.services.presence.opened(self)
        shell.start(self, command)
        if rest:
            self.router.feed(rest)

    def readConnectionLost(self) -> None:
        """The client will send no more."""
        self.input_ended = True
        self.router.eof()

    def connectionLost(self, reason: object = None) -> None:
        self.over = True
        if self._line is None:
            self.services.presence.logged_out(self.operator)
        self.router.close()
        self._tell_waiting(False)

    def hold(self, on: bool) -> None:
        """See :class:`~vmproxy.operators.input_router.InputSource`."""
        if not self.over:
            (self.transport.pauseProducing if on else self.transport.resumeProducing)()

    def pauseProducing(self) -> None:
        """The socket is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        """The socket is closed."""

    # The session.

    @property
    def queued(self) -> int:
        return sum(map(len, self._queue))

    def send(self, data: bytes) -> None:
        if not self.over:
            self._queue.append(data)
            self._pump()

    send_err = send

    def print(self, text: str) -> None:
        self.send(text.encode("utf-8", "backslashreplace"))

    def when_drained(self) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        self._waiting.append(done)
        if self.over or not self._queue:
            self._tell_waiting(not self.over)
        return done

    def finish(self, status: int | None = None) -> None:
        if not self.over:
            self.over = True
            self.status = status
            self._pump()

    def _pump(self) -> None:
        while self._queue and not self._paused:
            self.transport.write(self._queue.pop(0))
        if self._queue:
            return
        if self.router.activity is not None:
            self.router.activity.drained()
        self._tell_waiting(True)
        if self.over:
            self.transport.loseConnection()

    def _tell_waiting(self, sent: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(sent)


class PlainFront(Factory):
    """Sessions for connections."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def buildProtocol(self, address: object) -> PlainSession:
        return PlainSession(self.services)
