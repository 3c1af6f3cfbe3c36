"""The front as a whole: what all sessions share, and a transport for every client that connects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime

from vmproxy.console.console import Console
from vmproxy.console.directory import Directory
from vmproxy.console.notices import ShuttingDown
from vmproxy.deadlines import Deadlines
from vmproxy.ssh.auth import KeyChecker, Realm, UserAuth
from vmproxy.ssh.connection import Operator, OperatorConnection
from vmproxy.ssh.transport import OperatorTransport
from vmproxy.ssh.wording import state_line
from vmproxy.text import human_bytes, visible

PARTING_SECONDS = 1.0
PARTING_LIMIT = 10.0

T = TypeVar("T")


class SSHFront:
    """What all sessions share.

    :ivar directory: the consoles.
    :ivar transports: the connections there are.
    :ivar deadline: those that have yet to log in, or to finish a key exchange.
    :ivar parting: those to whom we have said goodbye.
    """

    def __init__(
        self,
        clock: IReactorTime,
        directory: Directory,
        login_timeout: float,
        defer_to_thread: Callable[[Callable[[], object]], Deferred[object]],
    ) -> None:
        """:param login_timeout: seconds that a client has to log in."""
        self.clock = clock
        self.directory = directory
        self.transports: set[OperatorTransport] = set()
        self.deadline: Deadlines[OperatorTransport] = Deadlines(clock, login_timeout, OperatorTransport.too_slow)
        self.parting: Deadlines[OperatorTransport] = Deadlines(clock, PARTING_LIMIT, OperatorTransport.abort)
        self._defer_to_thread = defer_to_thread
        self.stopping = False
        self._all_gone: Deferred[None] | None = None

    def in_thread(self, call: Callable[[], T]) -> Deferred[T]:
        """Have something that waits for the disk done on another thread."""
        return self._defer_to_thread(call)  # type: ignore[return-value]

    def describe(self, console: Console, now: float) -> list[str]:
        """All that is known about a console, a line each."""
        directory = self.directory
        writer = console.pen.writer
        link = [f"serial: {console.settings}"] if console.settings else []
        return [
            f"console: {console.title}  (ssh name {directory.alias(console)})",
            f"state: {state_line(console, now)}",
            f"VC UUID: {console.uuid}  port {console.port}",
            f"BIOS UUID: {console.bios_uuid or '-'}  location UUID: {console.location_uuid or '-'}",
            f"service URI: {visible(console.uri)}",
            *link,
            f"from the VM: {human_bytes(console.bytes_out)}  to the VM: {human_bytes(console.bytes_in)}",
            f"log: {console.log.path}"
            + (f"  NOT being recorded: {console.log.problem}" if console.log.problem else ""),
            f"writer: {writer.who if writer else '-'}  viewers: {len(console.viewers)}",
        ]

    def arrived(self, transport: OperatorTransport) -> None:
        """There is a connection."""
        self.deadline.start(transport)
        self.transports.add(transport)

    def gone(self, transport: OperatorTransport) -> None:
        """A connection is gone."""
        self.deadline.discard(transport)
        self.parting.discard(transport)
        self.transports.discard(transport)
        if self._all_gone is not None and not self.transports:
            self._all_gone.callback(None)

    async def stop(self) -> None:
        """Tell everybody, give the clients a moment to leave with their exit status, and close what is left."""
        self.stopping = True
        self.deadline.stop()
        for console in self.directory:
            console.tell(ShuttingDown())
        for transport in list(self.transports):
            transport.leave()
        if self.transports:
            self._all_gone = Deferred()
            parting = self.clock.callLater(PARTING_SECONDS, self._all_gone.callback, None)
            await self._all_gone
            self._all_gone = None
            if parting.active():
                parting.cancel()
        for transport in list(self.transports):
            transport.loseConnection()
        self.parting.stop()


class OperatorFactory(SSHFactory):
    """Listens for operators."""

    noisy = False
    services = {b"ssh-userauth": UserAuth, b"ssh-connection": OperatorConnection}

    def __init__(self, front: SSHFront, operator: str, key_files: Sequence[str]) -> None:
        """
        :param operator: who everybody is who holds one of the keys.
        :param key_files: patterns of the files with those keys.
        """
        self._front = front
        self.privateKeys: dict[bytes, Key] = {}
        self.publicKeys: dict[bytes, Key] = {}
        self.portal = Portal(
            Realm(lambda name: Operator(front, name)), [KeyChecker(operator, key_files, front.in_thread)]
        )

    def use_host_keys(self, host_keys: Sequence[Key]) -> None:
        """Take the server's own keys; called once, before any client can connect."""
        self.privateKeys = {key.sshType(): key for key in host_keys}
        self.publicKeys = {key.sshType(): key.public() for key in host_keys}

    def startFactory(self) -> None:
        """conch would look for its keys here, which is before they may be read."""

    def buildProtocol(self, addr: IAddress | None) -> OperatorTransport | None:  # type: ignore[override]
        """A transport, unless the process is being stopped."""
        if self._front.stopping:
            return None
        transport = OperatorTransport(self._front)
        transport.factory = self
        return transport
