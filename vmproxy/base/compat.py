"""Private names of Twisted, the only module that uses them.

Each has a test that fails when Twisted changes it: ``tests/base/test_compat.py``.

:func:`quicken` and :class:`QuickServer` leave out what Twisted does around each event and each connection: a context
for its former logging, two texts that nobody reads, questions for interfaces. In a storm of VMs, that was measured to
be a tenth of what an arrival costs.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection, Port, Server
from twisted.python import log


def quieten(pool: object) -> None:
    """Have the log told nothing of each connection of a pool of HTTP connections."""
    own = vars(pool)
    own["_factory"] = type("QuietFactory", (pool._factory,), {"noisy": False})  # type: ignore[attr-defined]  # private


def has_unsent(transport: Connection) -> bool:
    """Whether bytes wait in a TCP transport, or it is being closed: nothing may overtake them."""
    return bool(transport._tempDataLen or len(transport.dataBuffer) > transport.offset or transport.disconnecting)


def unsent(transport: Connection) -> int:
    """How many bytes wait in a TCP transport."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class _Pieces:
    """Makes the list of what is to be written when it is first asked for; it is an attribute from then on."""

    def __get__(self, transport: Any, owner: object) -> list[bytes]:
        pieces: list[bytes] = []
        transport._tempDataBuffer = pieces
        return pieces


class QuickServer(Server):
    """An accepted TCP connection; what is only there to be shown, or to wait, is made when it is asked for."""

    _tempDataBuffer = _Pieces()
    _tempDataLen = 0

    def __init__(
        self, sock: socket.socket, protocol: Protocol, client: Any, server: Port, number: int, reactor: IReactorFDSet
    ) -> None:
        # All that Server and its bases do, but for the texts and the number; a test compares the two.
        sock.setblocking(False)
        self.socket = sock
        self.protocol = protocol
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        reactor.addReader(self)
        self.connected = 1

    @property
    def reactor(self) -> Any:  # type: ignore[override]  # an attribute there, as what follows
        return self.server.reactor

    @property
    def hostname(self) -> Any:  # type: ignore[override]  # an attribute there
        return self.client[0]

    @property
    def sessionno(self) -> Any:  # type: ignore[override]  # an attribute there
        return self.client[1]

    @property
    def fileno(self) -> Any:  # there an attribute, of 72 bytes for each connection
        return self.socket.fileno if hasattr(self, "socket") else super().fileno

    @fileno.deleter
    def fileno(self) -> None:
        """As Connection does when it is lost."""

    @property
    def logstr(self) -> str:  # type: ignore[override]  # an attribute there
        return f"{self._getLogPrefix(self.protocol)},{self.sessionno},{self.hostname}"

    @property
    def repstr(self) -> str:  # type: ignore[override]  # an attribute there
        return f"<{type(self.protocol).__name__} #{self.sessionno} on {self.server._realPortNumber}>"

    def doRead(self) -> Any:
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as error:
            return None if error.errno == errno.EWOULDBLOCK else CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def send(self, data: bytes) -> None:
        """Write now what the socket takes, if nothing waits before it; the reactor writes the rest, and sees faults."""
        if self._tempDataLen or self.dataBuffer or self.disconnecting or self.TLS or not self.connected:
            self.write(data)  # type: ignore[no-untyped-call]  # Twisted's
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            self.write(data[sent:])  # type: ignore[no-untyped-call]  # Twisted's

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        try:
            return self.socket.send(data)
        except OSError as error:
            return 0 if error.errno in (errno.EWOULDBLOCK, errno.ENOBUFS) else CONNECTION_LOST


class QuickTurn:
    """A turn of an epoll reactor, which reads from a :class:`QuickServer` without a context around it.

    :ivar number: how many turns there were, this one included.
    :ivar poll: looks for what has arrived.
    """

    __slots__ = ("_lost", "_other", "_selectables", "number", "poll")

    def __init__(self, reactor: Any) -> None:
        self.number = 0
        self.poll: Callable[[float, int], list[tuple[int, int]]] = reactor._poller.poll
        self._selectables = reactor._selectables
        self._other = reactor._doReadOrWrite
        self._lost = reactor._disconnectSelectable

    def __call__(self, timeout: float | None) -> None:
        # As EPollReactor.doPoll; Python itself begins an interrupted poll again.
        selectables, readable = self._selectables, select.EPOLLIN
        arrived = self.poll(-1 if timeout is None else timeout, len(selectables))
        self.number += 1
        for fd, event in arrived:
            selectable = selectables.get(fd)
            if event == readable and type(selectable) is QuickServer:
                try:
                    why = selectable.doRead()
                except BaseException as error:  # as everywhere in Twisted: it costs the connection, not the process
                    log.err()
                    why = error
                if why:
                    self._lost(selectable, why, True)
            elif selectable is not None:
                log.callWithLogger(selectable, self._other, selectable, fd, event)


def quicken(reactor: Any) -> bool:
    """Have an epoll reactor read from a :class:`QuickServer` without a context around it, and count its turns.

    :returns: whether it does from now on; a reactor of another make stays as it is.
    """
    if not isinstance(getattr(reactor, "_poller", None), getattr(select, "epoll", ())):
        return False
    reactor.doPoll = reactor.doIteration = QuickTurn(reactor)
    return True


def quick_turn_of(reactor: object) -> QuickTurn | None:
    """The turn of a reactor that has been quickened; None of any other."""
    turn = getattr(reactor, "doIteration", None)
    return turn if isinstance(turn, QuickTurn) else None


class BadRequests:
    """Mixed into an HTTP channel of Twisted: what that cannot parse is answered by the channel itself."""

    def bad_request(self) -> None:
        """Answer, and close."""
        raise NotImplementedError

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request()


def let_go_of_client(connector: Any, client: Any) -> None:
    """Undo what keeps a TCP client and its connector when they are over, in a later turn than that in which they end.

    The two know each other, and a client that has failed has methods of its own as attributes.
    """
    connector.transport = None
    for name in ("doRead", "doWrite"):
        vars(client).pop(name, None)
