"""Listening sockets that can be changed while the process runs, and that survive a lack of descriptors.

Invariant: a new set of endpoints is taken as a whole or not at all. Endpoints in both sets are not touched, so clients
that are connecting notice nothing. New endpoints are opened before old ones are closed. Where an old endpoint blocks a
new one (another interface, the same port), the old ones are closed first, and opened again if that does not help.
Accepted connections do not depend on the socket that accepted them.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.app.descriptors import SpareDescriptor
from vmproxy.base.compat import QuickServer
from vmproxy.base.failures import explain_listening
from vmproxy.base.ratelimit import RefusalLog
from vmproxy.errors import VMProxyError

# Twisted's 50 are too few when thousands of hosts come back at once: a host that finds no place waits for a second.
BACKLOG = 1024
ACCEPTS_AT_ONCE = 32
PAUSE = 1.0

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = Logger()


class CannotListen(VMProxyError):
    """An endpoint that cannot be listened on; the text says which and why.

    :ivar taken: whether another socket listens there, perhaps one of ours.
    """

    def __init__(self, description: str, problem: str, taken: bool = False) -> None:
        super().__init__(f"cannot listen on {description}: {problem}")
        self.taken = taken


class Listeners:
    """The sockets of one factory."""

    def __init__(
        self,
        reactor: PosixReactorBase,
        factory: IProtocolFactory,
        spare: SpareDescriptor,
        prepare: Callable[[socket.socket], None] = lambda listening: None,
    ) -> None:
        """
        :param spare: the descriptor for turning connections away when there is no other.
        :param prepare: sets options of a listening socket, which its connections inherit.
        """
        self._prepare = prepare
        self._reactor = reactor
        self._factory = factory
        self._spare = spare
        self._ports: dict[str, IListeningPort] = {}
        self._closed = False
        self._refusals = RefusalLog(reactor, _tell)

    @property
    def addresses(self) -> list[str]:
        """The addresses that are listened on, for people to read."""
        return [_address(port, description) for description, port in self._ports.items()]

    @property
    def refused(self) -> int:
        """How many connections were turned away for lack of a descriptor."""
        return self._refusals.counts.total()

    def open(self, descriptions: Sequence[str]) -> None:
        """Listen, at the start.

        :param descriptions: Twisted endpoints.
        :raises CannotListen: for the first endpoint that cannot be opened; those before it are open then.
        """
        for description in dict.fromkeys(descriptions):
            self._ports[description] = self._open(description)

    def prepare(self) -> None:
        """Set the options of all listening sockets again."""
        for port in self._ports.values():
            if isinstance(port, Port):
                self._prepare(cast(ListeningSocket, port.socket).listening)

    async def change(self, descriptions: Sequence[str]) -> None:
        """Listen on these endpoints from now on, and on nothing else.

        :raises CannotListen: if one cannot be opened; nothing has changed then.
        """
        wanted = list(dict.fromkeys(descriptions))
        new = [description for description in wanted if description not in self._ports]
        old = [description for description in self._ports if description not in wanted]
        try:
            opened = await self._open_all(new)
        except CannotListen as error:
            if not (old and error.taken):
                raise
            opened = await self._in_place_of(old, new)
        await self._close(old)
        ports = {**self._ports, **opened}
        self._ports = {description: ports[description] for description in wanted if description in ports}
        if self._closed:  # while sockets were being closed here
            await self.close()

    async def close(self) -> None:
        """Close all sockets, for good."""
        self._closed = True
        await self._close(list(self._ports))

    async def _in_place_of(self, old: list[str], new: list[str]) -> dict[str, IListeningPort]:
        _log.info("listening on {old} ends in favour of {new}", old=", ".join(old), new=", ".join(new))
        # An endpoint whose port the system chose comes back with the same port.
        before = {description: _with_port(description, self._ports[description]) for description in old}
        await self._close(old)
        try:
            return await self._open_all(new)
        except CannotListen:
            for description, again in before.items():
                try:
                    self._ports[description] = self._open(again)
                except CannotListen as error:
                    _log.error("{error}; it was in force before, and is tried again at SIGHUP", error=error)
            raise

    async def _open_all(self, descriptions: Sequence[str]) -> dict[str, IListeningPort]:
        opened: dict[str, IListeningPort] = {}
        try:
            for description in descriptions:
                opened[description] = self._open(description)
        except CannotListen:
            for port in opened.values():
                await maybeDeferred(port.stopListening)
            raise
        return opened

    async def _close(self, descriptions: Sequence[str]) -> None:
        for description in descriptions:
            port = self._ports.pop(description, None)
            if port is not None:
                await maybeDeferred(port.stopListening)

    def _open(self, description: str) -> IListeningPort:
        # All of Twisted's own endpoints listen, or have failed, when listen() returns.
        outcome: list[IListeningPort | Failure] = []
        try:
            serverFromString(self._reactor, description).listen(self._factory).addBoth(outcome.append)
        except Exception as error:  # an endpoint's plugin may raise anything
            outcome.append(Failure(error))
        if not outcome:
            raise CannotListen(description, "it takes too long")
        port = outcome[0]
        if isinstance(port, Failure):
            raise CannotListen(description, explain_listening(port.value), _taken(port.value))
        if isinstance(port, Port):
            port.socket.listen(BACKLOG)
            self._spare.hold()
            listening = cast(socket.socket, port.socket)
            self._prepare(listening)
            port.socket = ListeningSocket(listening, lambda: self._out_of_descriptors(port, listening))
            if port.transport is Server:  # neither TLS nor a Unix socket
                port.transport = QuickServer  # type: ignore[assignment]  # narrowed by the line above
        return port

    def _out_of_descriptors(self, port: Port, listening: socket.socket) -> None:
        # The socket stays readable until the connection that waits is accepted.
        gone = self._spare.turn_away(listening)
        if gone:
            host = gone[-1][0] if isinstance(gone[-1], tuple) else "a local process"
            why = "no descriptor is left for it (LimitNOFILE)"
            self._refusals.add("descriptors", str(host), why, len(gone))
            return
        self._refusals.add("waiting", "a client", "no descriptor is left (LimitNOFILE); it has to wait")
        port.stopReading()
        self._reactor.callLater(PAUSE, self._resume, port)

    def _resume(self, port: Port) -> None:
        if port.connected and not port.disconnecting:
            self._spare.hold()
            port.startReading()


class ListeningSocket:
    """A listening socket for Twisted that handles the lack of descriptors itself.

    Twisted would write a line to the log for each connection, and once its own reserve is gone, it would do nothing
    but fail to accept, turn after turn.

    Bound: :data:`ACCEPTS_AT_ONCE` connections in a turn of the reactor; Twisted would accept all that wait.
    """

    __slots__ = ("_left", "_out_of_descriptors", "listening")

    def __init__(self, listening: socket.socket, out_of_descriptors: Callable[[], None]) -> None:
        """:param out_of_descriptors: called when there is no descriptor for a connection that waits."""
        self.listening = listening
        self._left = ACCEPTS_AT_ONCE
        self._out_of_descriptors = out_of_descriptors

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        :raises BlockingIOError: if there is none, no descriptor for it, or the others have to wait for the next turn.
        """
        if not self._left:
            self._left = ACCEPTS_AT_ONCE
            raise BlockingIOError(errno.EAGAIN, "enough for this turn")
        self._left -= 1
        try:
            return self.listening.accept()
        except OSError as error:
            self._left = ACCEPTS_AT_ONCE
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
        self._out_of_descriptors()
        raise BlockingIOError(errno.EAGAIN, "no connection waits")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.listening, name)


def _tell(who: str, why: str, count: int) -> None:
    _log.warn("{peer}: connection refused: {why} ({n} refused)", peer=who, why=why, n=count)


def _taken(error: BaseException | None) -> bool:
    # For a Unix socket the lock beside it is taken, and the cause is a text.
    cause = error.socketError if isinstance(error, CannotListenError) else None
    return isinstance(cause, str) or getattr(cause, "errno", None) == errno.EADDRINUSE


def _address(port: IListeningPort, description: str) -> str:
    address = port.getHost()
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    return description


def _with_port(description: str, port: IListeningPort) -> str:
    address = port.getHost()
    if isinstance(address, IPv4Address | IPv6Address):
        for beginning in ("tcp:0", "tcp4:0", "tcp6:0"):
            if description == beginning or description.startswith(beginning + ":"):
                return f"{beginning[:-1]}{address.port}{description[len(beginning) :]}"
    return description
