"""The SSH transport: conch's, hardened.

Each guard answers a fault of stock conch:

* it offers compression (one packet may inflate to hundreds of megabytes, before login too), CBC, 3DES, SHA-1 and MD5;
* it lacks strict key exchange (the answer to the Terrapin attack) and accepts any packet at any time;
* it sets no time limit for the beginning of a login or for the end of a later key exchange;
* a malformed packet raises into the reactor;
* it goes on after its own disconnect;
* it writes without bound to a client that does not read. Channels ask :attr:`flowing` before they write, and are
  resumed when the client has caught up; answers that are sent meanwhile are counted.
"""

from __future__ import annotations

import socket
from typing import Protocol, cast

from twisted.conch.ssh import _kex
from twisted.conch.ssh.transport import (
    DISCONNECT_CONNECTION_LOST,
    DISCONNECT_KEY_EXCHANGE_FAILED,
    DISCONNECT_PROTOCOL_ERROR,
    MSG_NEWKEYS,
    SSHServerTransport,
)
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.limits import ConnectionLimiter
from vmproxy.auth.signatures import SIGNATURES
from vmproxy.base.compat import exchanging_keys
from vmproxy.base.deadlines import Deadlines
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.keepalive import ClientKeepalive

STRICT_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
KEY_EXCHANGES = [
    kex
    for kex in (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")
    if kex in _kex.getSupportedKeyExchanges()
]

PACKET_LIMIT_BEFORE_LOGIN = 64 * 1024
UNREAD_LIMIT = 256 * 1024
PACKET_OVERHEAD = 64  # length, padding, authentication; or what a queued packet costs

_KEXINIT, _NEWKEYS, _KEX_INIT = 20, 21, 30
_ALWAYS = frozenset((1, 2, 3, 4))  # DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG
_DISCONNECT_ONLY = frozenset((1,))


class Frontend(Protocol):
    """The front, as its connections know it.

    :ivar services: what all operators' sessions share.
    :ivar deadline: the connections with an unfinished login or key exchange.
    :ivar parting: the connections that we have disconnected and that are not closed yet.
    :ivar alive: the keepalive of clients that have logged in.
    """

    services: Services
    deadline: Deadlines[OperatorTransport]
    parting: Deadlines[OperatorTransport]
    alive: ClientKeepalive

    def arrived(self, transport: OperatorTransport) -> None:
        """Add a connection."""

    def gone(self, transport: OperatorTransport) -> None:
        """Remove a connection."""


class LoginFactory(Protocol):
    """The factory, as a login knows it.

    :ivar accounts: who may log in.
    """

    accounts: Authenticator

    def admit(self, transport: OperatorTransport, account: Account) -> str:
        """Count a connection as an operator's own, until it is gone.

        :returns: why it may not stay, for the operator to read; ``""`` if it may.
        """


class Resumable(Protocol):
    """A service whose channels wait for the client to read."""

    def go_on(self) -> None:
        """Send what waits."""


class OperatorTransport(SSHServerTransport):
    """One operator's SSH connection."""

    version = b"vmproxy"
    ourVersionString = b"SSH-2.0-vmproxy"
    supportedCiphers = [b"aes256-ctr", b"aes192-ctr", b"aes128-ctr"]
    supportedMACs = [b"hmac-sha2-512", b"hmac-sha2-256"]
    supportedCompressions = [b"none"]
    supportedKeyExchanges = [*KEY_EXCHANGES, STRICT_SERVER]
    supportedPublicKeys = [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"]
    _log = QuietLogger()

    def __init__(self, front: Frontend) -> None:
        self._front = front
        self.services = front.services
        self._paused = False
        self._strict = False
        self._expected: int | None = None  # the next packet of a key exchange under way
        self._logged_in = False
        self._over = False  # closed, or we have disconnected
        self._unread = 0
        self._later = False  # what has arrived waits for a turn of the reactor

    # The life of the connection.

    def connectionMade(self) -> None:
        """Start the deadline of the login, unless too many clients have yet to log in."""
        if not self._gate.enter(self, self.peer):
            self.abort()
            return
        self._front.arrived(self)
        transport = self._tcp
        transport.registerProducer(self, True)
        handle = transport.getHandle() if ISystemHandle.providedBy(self.transport) else None
        if isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._over = True
        super().connectionLost(reason)
        self._gate.leave(self)
        self._front.gone(self)
        self.service = None  # it knows us too: without this only the cyclic collector would free the two

    @property
    def over(self) -> bool:
        """Whether the connection is closed, or we have disconnected."""
        return self._over

    def leave(self) -> None:
        """Close the connection at the stop of the process, unless sessions are about to end with their exit status."""
        if self.service is None or not getattr(self.service, "channels", None):
            self.loseConnection()

    def too_slow(self) -> None:
        """Disconnect a client that has missed the deadline of its login or key exchange."""
        self._complain("closed, it took too long to log in")
        self.sendDisconnect(DISCONNECT_CONNECTION_LOST, b"that took too long")

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Disconnect. Nothing is received or sent after it; a client that does not read it is cut off soon."""
        if self._over:
            return
        super().sendDisconnect(reason, desc)
        self._over = True
        # With a producer registered, Twisted would wait for it as long as the client does not read.
        self._tcp.unregisterProducer()
        self._front.parting.start(self)

    def abort(self) -> None:
        """Cut the connection."""
        self._over = True
        self._tcp.abortConnection()

    def logged_in(self) -> None:
        """End the deadline of the login; start the keepalive."""
        self._logged_in = True
        self._gate.leave(self)
        self._front.deadline.discard(self)
        self._front.alive.watch(self)

    @property
    def _gate(self) -> ConnectionLimiter:
        return cast(LoginFactory, self.factory).accounts.gate

    @property
    def _tcp(self) -> Connection:
        return cast(Connection, self.transport)

    @property
    def peer(self) -> str:
        """The client's address, for people to read."""
        address = self._tcp.getPeer()
        return str(getattr(address, "host", None) or getattr(address, "name", None) or "local")

    # What arrives.

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._front.alive.heard(self)
        super().dataReceived(data)
        if not (self._logged_in or self._later) and len(self.buf) > PACKET_LIMIT_BEFORE_LOGIN:
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"that packet is too large")

    def getPacket(self) -> bytes | None:
        """The next packet; none when it is over, or the turn of the reactor has been used up."""
        if self._over or self._later or not self.buf:
            return None
        turns = self.services.turns
        operator = cast("Operator | None", self.avatar) if self._logged_in else None
        if not turns.open() or (operator is not None and not operator.view.prepare(turns.open)):
            # One read can hold thousands of small packets, and each cost much: others have a turn in between.
            self._later = True
            self._tcp.pauseProducing()
            turns.wait(self.who, self._next_turn)
            return None
        return cast("bytes | None", super().getPacket())

    @property
    def who(self) -> str:
        """Whose time it takes: the operator's; that of all who have not logged in."""
        return cast(Operator, self.avatar).name if self._logged_in else ""

    def _next_turn(self) -> None:
        self._later = False
        if not self._over:
            self._tcp.resumeProducing()
            self.dataReceived(b"")

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Handle one packet. A malformed or untimely one ends the connection."""
        if not self._may_come(messageNum):
            self._refuse(messageNum, "it may not come now")
            return
        try:
            super().dispatchMessage(messageNum, payload)
        except Exception as error:  # whatever a malformed packet makes the parsers raise
            self._refuse(messageNum, f"it makes no sense ({error.__class__.__name__})")

    def _may_come(self, number: int) -> bool:
        first = self.sessionID is None
        others = _DISCONNECT_ONLY if self._strict and (first or self._expected is not None) else _ALWAYS
        if number in others:
            return True
        if self._expected is not None:
            if number != self._expected:
                return False
            if not self.ignoreNextPacket:  # the right packet follows a wrong guess of the client
                self._expected = _NEWKEYS if number == _KEX_INIT else None
            return True
        return number == _KEXINIT or not (first or _NEWKEYS <= number <= 49)

    def _complain(self, what: str) -> None:
        cast(LoginFactory, self.factory).accounts.complain(self.peer, what)

    def _refuse(self, number: int, why: str) -> None:
        self._complain(f"SSH packet {number}: {why}; closed")
        self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"that packet makes no sense")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Begin a key exchange, a strict one if the client can (OpenSSH's PROTOCOL, section 1.10)."""
        self._expected = _KEX_INIT
        if self.sessionID is None:
            length = int.from_bytes(packet[16:20], "big")
            self._strict = STRICT_CLIENT in packet[20 : 20 + length].split(b",")
            if self._strict and self.incomingPacketSequence != 1:
                self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"strict key exchange: KEXINIT was not first")
                return
        elif self._logged_in:
            self._front.deadline.start(self)  # before the login, that of the login runs
        super().ssh_KEXINIT(packet)
        if self.kexAlg in (STRICT_CLIENT, STRICT_SERVER):
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"couldn't match all kex parts")

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        """Use the client's new keys. In a strict exchange its numbering starts again."""
        if self._strict:
            self.incomingPacketSequence = 0
        self._unread = 0
        super().ssh_NEWKEYS(packet)
        if self._logged_in:
            self._front.deadline.discard(self)
        if self.flowing:
            self._go_on()

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """Start the login, once: a second request must not give the client new tries."""
        if self.service is not None:
            self._refuse(5, "there is a service already")
        else:
            super().ssh_SERVICE_REQUEST(packet)

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """Ignore the client's extensions: none is of use here."""

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        self._over = True
        self._tcp.loseConnection()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send a packet. In a strict exchange our numbering starts again after our NEWKEYS.

        Channels send data only while the client reads. Bound: a client that asks and does not read the answers is cut
        off after :data:`UNREAD_LIMIT` bytes of them.
        """
        if self._over:
            return
        if not self.flowing and self.sessionID is not None:
            self._unread += len(payload) + PACKET_OVERHEAD
            if self._unread > UNREAD_LIMIT:
                self._complain("disconnected, it asks but does not read the answers")
                self.abort()
                return
        super().sendPacket(messageType, payload)
        if messageType == MSG_NEWKEYS and self._strict:
            self.outgoingPacketSequence = 0

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        """Announce the signature algorithms of operators: conch would list those of the host keys."""
        told = dict(extensions)
        told[b"server-sig-algs"] = b",".join(SIGNATURES)
        super().sendExtInfo(list(told.items()))

    # IPushProducer: the client and its reading.

    @property
    def flowing(self) -> bool:
        """Whether channels may send: the client reads, and no key exchange is under way, in which conch queues."""
        return not (self._paused or self._over) and not exchanging_keys(self)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._unread = 0
        if self.flowing:
            self._go_on()

    def stopProducing(self) -> None:
        """Nothing to do: connectionLost follows."""

    def _go_on(self) -> None:
        if self.service is not None and self.service.name == b"ssh-connection":
            cast(Resumable, self.service).go_on()
