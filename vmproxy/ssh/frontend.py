"""The SSH front: the connections of all clients, and the factory that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from weakref import WeakValueDictionary

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.keyring import Keyring
from vmproxy.auth.limits import LOGINS_IN_ALL, Quota
from vmproxy.base.deadlines import Deadlines
from vmproxy.operators import exit_status, shell
from vmproxy.operators.services import Services
from vmproxy.ssh.algorithms import HOST_KEYS, Algorithms
from vmproxy.ssh.connection import OperatorConnection
from vmproxy.ssh.keepalive import ClientKeepalive
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.settings import SSHSettings
from vmproxy.ssh.share import Share
from vmproxy.ssh.transport import OperatorTransport
from vmproxy.ssh.userauth import UserAuth

PARTING_SECONDS = 1.0
PARTING_LIMIT = 10.0
REMOVED = "you are no longer an operator"
GUEST_OVER = "your time as a guest is over"

_log = Logger()


class SSHFrontend:
    """The connections of all SSH clients.

    :ivar services: what all operators' sessions share.
    :ivar transports: the connections there are.
    :ivar deadline: the connections with an unfinished login or key exchange.
    :ivar parting: the connections that are over and not closed yet.
    :ivar alive: the keepalive of clients that have logged in.
    :ivar logins: the connections that have logged in, by operator.
    """

    def __init__(self, services: Services, settings: SSHSettings) -> None:
        self.services = services
        self.transports: set[OperatorTransport] = set()
        clock = services.clock
        self.deadline: Deadlines[OperatorTransport] = Deadlines(
            clock, settings.login_timeout, OperatorTransport.too_slow
        )
        self.parting: Deadlines[OperatorTransport] = Deadlines(clock, PARTING_LIMIT, OperatorTransport.abort)
        self.alive = ClientKeepalive(clock, settings.keepalive)
        self.logins: Quota[OperatorTransport] = Quota(settings.limits.per_operator, LOGINS_IN_ALL)
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()
        self._all_gone: Deferred[None] | None = None

    def reconfigure(self, settings: SSHSettings) -> None:
        """Use other settings; connections that exist stay."""
        self.deadline.use(settings.login_timeout)
        self.alive.reconfigure(settings.keepalive)
        self.logins.use(settings.limits.per_operator)

    def share_of(self, who: str) -> Share:
        """What an operator may be sent in a turn, over all connections."""
        share = self._shares.get(who)
        if share is None:
            share = self._shares[who] = Share(partial(self.services.turns.wait, who))
        return share

    def arrived(self, transport: OperatorTransport) -> None:
        """Add a connection."""
        self.deadline.start(transport)
        self.transports.add(transport)

    def gone(self, transport: OperatorTransport) -> None:
        """Remove a connection."""
        self.deadline.discard(transport)
        self.parting.discard(transport)
        self.alive.discard(transport)
        self.transports.discard(transport)
        self.logins.give_back(transport)
        if self._all_gone is not None and not self.transports:
            self._all_gone.callback(None)

    async def stop(self) -> None:
        """Tell all operators, give clients a moment to leave with their exit status, then close all connections."""
        self.deadline.stop()
        self.alive.stop()
        self.services.shut_down()
        for transport in list(self.transports):
            for channel in list(getattr(transport.service, "channels", {}).values()):
                if isinstance(channel, SessionChannel):
                    shell.shut_down(channel)
            transport.leave()
        if self.transports:
            self._all_gone = Deferred()
            parting = self.services.clock.callLater(PARTING_SECONDS, self._all_gone.callback, None)
            await self._all_gone
            self._all_gone = None
            if parting.active():
                parting.cancel()
        for transport in list(self.transports):
            transport.loseConnection()
        self.parting.stop()


class OperatorFactory(SSHFactory):
    """Makes the connections."""

    noisy = False
    services = {b"ssh-userauth": UserAuth, b"ssh-connection": OperatorConnection}

    def __init__(self, front: SSHFrontend, accounts: Authenticator, algorithms: Algorithms) -> None:
        """
        :param accounts: who may log in.
        :param algorithms: what new connections are offered.
        """
        self._front = front
        self.use(algorithms, "")
        self.use_accounts(accounts)
        self.privateKeys: dict[bytes, Key] = {}
        self.publicKeys: dict[bytes, Key] = {}

    def use_accounts(self, accounts: Authenticator) -> None:
        """Use another authenticator."""
        self.accounts = accounts
        accounts.call_on_change(self._close_removed)
        if accounts.guests is not None:
            accounts.guests.call_when_ended(self._close_guests)

    def _close_removed(self, keyring: Keyring) -> None:
        for transport, name in self._front.logins:
            if not self.accounts.knows(keyring, name) and not transport.over:
                self._close(transport, name, REMOVED)

    def _close_guests(self, names: Iterable[str]) -> None:
        gone = set(names)
        for transport, name in list(self._front.logins) if gone else ():
            if name in gone and not transport.over:
                for channel in list(getattr(transport.service, "channels", {}).values()):
                    if isinstance(channel, SessionChannel):  # with its terminal as it was found
                        channel.finish(exit_status.KICKED)
                self._close(transport, name, GUEST_OVER)

    def _close(self, transport: OperatorTransport, name: str, why: str) -> None:
        _log.info("{peer}: {who} is disconnected: {why}", peer=transport.peer, who=name, why=why)
        self._front.services.audit.record("login-ended", who=name, reason=why, **{"from": transport.peer})
        transport.sendDisconnect(DISCONNECT_BY_APPLICATION, why.encode())

    def admit(self, transport: OperatorTransport, account: Account) -> str:
        """Count a connection as an operator's own, until it is gone.

        :returns: why it may not stay, for the operator to read; ``""`` if it may.
        """
        if problem := self._front.logins.problem(account.name):
            return f"too many connections: {problem}"
        self._front.logins.take(transport, account.name)
        return ""

    def use(self, algorithms: Algorithms, banner: str) -> None:
        """Offer these algorithms to new connections, and show them this banner."""
        self.algorithms, self.banner = algorithms, banner

    def use_host_keys(self, host_keys: Sequence[Key]) -> None:
        """Use the server's own keys; called once, before any client can connect."""
        self.privateKeys = {key.sshType(): key for key in host_keys}
        self.publicKeys = {key.sshType(): key.public() for key in host_keys}

    def host_key(self, algorithm: bytes) -> Key:
        return self.privateKeys[HOST_KEYS[algorithm]]

    def startFactory(self) -> None:
        """Do nothing: conch would read its keys here, before they may be read."""

    def buildProtocol(self, addr: IAddress | None) -> OperatorTransport | None:  # type: ignore[override]
        """Make a connection, unless the process is being stopped."""
        if self._front.services.stopping:
            return None
        transport = OperatorTransport(self._front)
        transport.factory = self
        return transport
