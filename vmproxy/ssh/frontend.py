"""The front as a whole: what all sessions share, and a transport for every client that connects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from vmproxy.access.policy import Grants, Right
from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import Accounts
from vmproxy.auth.keyring import Keyring
from vmproxy.auth.limits import FILES_EACH, FILES_IN_ALL, LOGINS_EACH, LOGINS_IN_ALL, Shares
from vmproxy.base.clock import wall_of
from vmproxy.base.deadlines import Deadlines
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.console import Console
from vmproxy.console.notices import ShuttingDown
from vmproxy.console.registry import Directory
from vmproxy.log.audit import Audit
from vmproxy.operators.escape_keys import DEFAULT_ESCAPE
from vmproxy.operators.messages import far_line, recording, state_line
from vmproxy.operators.visible import View
from vmproxy.ssh.connection import Operator, OperatorConnection
from vmproxy.ssh.keepalive import Alive
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.transport import OperatorTransport
from vmproxy.ssh.userauth import UserAuth

PARTING_SECONDS = 1.0
PARTING_LIMIT = 10.0
REMOVED = "you are not one of the operators any more"

T = TypeVar("T")

_log = Logger()


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """How operators are served.

    :ivar login_timeout: seconds that a client has to log in.
    :ivar escape: the two bytes that precede a command, where an operator has none of his own.
    :ivar quiet: whether operators get fewer notices, where they do not say.
    :ivar keepalive: seconds of silence after which a client is asked whether it is still there; 0 is never.
    :ivar message: of the day, for everybody who attaches.
    """

    login_timeout: float = 60.0
    escape: bytes = DEFAULT_ESCAPE
    quiet: bool = False
    keepalive: float = 30.0
    message: str = ""


class SSHFront:
    """What all sessions share.

    :ivar settings: may be replaced; what is under way keeps what it had.
    :ivar audit: the audit trail.

    :ivar directory: the consoles.
    :ivar transports: the connections there are.
    :ivar deadline: those that have yet to log in, or to finish a key exchange.
    :ivar parting: those to whom we have said goodbye.
    :ivar alive: watches whether those who have logged in are still there.
    :ivar logins: the connections that have logged in, by operator.
    :ivar files: what is open over SFTP, by operator.
    """

    def __init__(
        self,
        clock: IReactorTime,
        directory: Directory,
        settings: FrontSettings,
        audit: Audit,
        defer_to_thread: Callable[[Callable[[], object]], Deferred[object]],
    ) -> None:
        """:param defer_to_thread: has something that waits for the disk done elsewhere."""
        self.clock = clock
        self.wall = wall_of(clock)
        self.directory = directory
        self.settings = settings
        self.audit = audit
        self.transports: set[OperatorTransport] = set()
        self.deadline: Deadlines[OperatorTransport] = Deadlines(
            clock, settings.login_timeout, OperatorTransport.too_slow
        )
        self.parting: Deadlines[OperatorTransport] = Deadlines(clock, PARTING_LIMIT, OperatorTransport.abort)
        self.alive = Alive(clock, settings.keepalive)
        self.logins: Shares[OperatorTransport] = Shares(LOGINS_EACH, LOGINS_IN_ALL)
        self.files: Shares[object] = Shares(FILES_EACH, FILES_IN_ALL)
        self._defer_to_thread = defer_to_thread
        self.stopping = False
        self._all_gone: Deferred[None] | None = None
        self._policy = directory.policy
        self._grants: dict[Account, Grants] = {}

    def grants(self, account: Account) -> Grants:
        """The rules that concern an operator, as they are now."""
        if self._policy is not self.directory.policy:
            self._policy = self.directory.policy
            self._grants.clear()
        grants = self._grants.get(account)
        if grants is None:
            grants = self._grants[account] = self._policy.grants(account.name, account.groups)
        return grants

    def in_thread(self, call: Callable[[], T]) -> Deferred[T]:
        """Have something that waits for the disk done on another thread."""
        return self._defer_to_thread(call)  # type: ignore[return-value]

    def describe(self, console: Console, view: View, now: float) -> list[str]:
        """All that is known about a console, a line each."""
        writers = ", ".join(writer.who for writer in console.pen.writers)
        path = console.log.path if view.may(console, Right.ADMIN) else f"{view.alias(console)}.log"
        link = [f"serial: {console.settings}"] if console.settings else []
        return [
            f"console: {console.title}  (ssh name {view.alias(console)})",
            f"state: {state_line(console, now)}",
            f"VC UUID: {console.uuid}  port {console.port}",
            f"BIOS UUID: {console.bios_uuid or '-'}  location UUID: {console.location_uuid or '-'}",
            f"service URI: {visible(console.uri)}",
            *link,
            *([f"far end: {far_line(console.far)}"] if console.far is not None else []),
            f"from the VM: {human_bytes(console.bytes_out)}  to the VM: {human_bytes(console.bytes_in)}",
            f"log: {path}  ({recording(console, view)})",
            f"writer: {writers or '-'}  viewers: {len(console.viewers)}",
        ]

    def arrived(self, transport: OperatorTransport) -> None:
        """There is a connection."""
        self.deadline.start(transport)
        self.transports.add(transport)

    def gone(self, transport: OperatorTransport) -> None:
        """A connection is gone."""
        self.deadline.discard(transport)
        self.parting.discard(transport)
        self.alive.discard(transport)
        self.transports.discard(transport)
        self.logins.give_back(transport)
        if self._all_gone is not None and not self.transports:
            self._all_gone.callback(None)

    async def stop(self) -> None:
        """Tell everybody, give the clients a moment to leave with their exit status, and close what is left."""
        self.stopping = True
        self.deadline.stop()
        self.alive.stop()
        for console in self.directory:
            console.tell(ShuttingDown())
        for transport in list(self.transports):
            for channel in list(getattr(transport.service, "channels", {}).values()):
                if isinstance(channel, SessionChannel):
                    channel.shut_down()
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

    def __init__(self, front: SSHFront, accounts: Accounts) -> None:
        """:param accounts: who may log in."""
        self._front = front
        self.use_accounts(accounts)
        self.privateKeys: dict[bytes, Key] = {}
        self.publicKeys: dict[bytes, Key] = {}

    def use_accounts(self, accounts: Accounts) -> None:
        """Have these decide who may log in, and for how long."""
        self.accounts = accounts
        accounts.on_change = self._close_removed

    def _close_removed(self, keyring: Keyring) -> None:
        for transport, name in self._front.logins:
            if keyring.account(name) is None and not transport.over:
                _log.info("{peer}: closed, {who} is an operator no more", peer=transport.peer, who=name)
                self._front.audit.record("login-ended", who=name, reason=REMOVED, **{"from": transport.peer})
                transport.sendDisconnect(DISCONNECT_BY_APPLICATION, REMOVED.encode())

    def admit(self, transport: OperatorTransport, account: Account) -> str:
        """Count a connection as an operator's own, until it is gone.

        :returns: why it may not stay, for him to read; ``""`` if it may.
        """
        if problem := self._front.logins.problem(account.name):
            return f"too many connections: {problem}"
        self._front.logins.take(transport, account.name)
        return ""

    def avatar(self, account: Account) -> Operator:
        """Who has logged in."""
        return Operator(self._front, account)

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
