"""The SSH transport: conch's, hardened.

What is guarded here, each against something that stock conch does: it offers compression (one packet may inflate to
hundreds of megabytes, before login too), CBC, 3DES, SHA-1 and MD5; it lacks strict key exchange (the answer to the
Terrapin attack); it lets a client take for ever until its login begins; a malformed packet raises into the reactor;
and it writes to a client who does not read, without bound. The last is the business of :attr:`flowing`: channels ask it
before they write, and are told to go on when the client has caught up.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, cast

from twisted.conch.ssh import _kex
from twisted.conch.ssh.transport import (
    DISCONNECT_KEY_EXCHANGE_FAILED,
    DISCONNECT_PROTOCOL_ERROR,
    MSG_NEWKEYS,
    SSHServerTransport,
)
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from vmproxy.ssh.connection import OperatorConnection
    from vmproxy.ssh.factory import SSHFront

STRICT_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
KEY_EXCHANGES = [
    kex
    for kex in (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")
    if kex in _kex.getSupportedKeyExchanges()
]
SIGNATURES = (
    b"ssh-ed25519",
    b"sk-ssh-ed25519@openssh.com",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
"""The signature algorithms that operators' keys may use."""

_MSG_KEXINIT = 20
_log = Logger()


class OperatorTransport(SSHServerTransport):
    """One operator's SSH connection.

    :ivar flowing: whether the client reads what it is sent.
    """

    version = b"vmproxy"
    ourVersionString = b"SSH-2.0-vmproxy"
    supportedCiphers = [b"aes256-ctr", b"aes192-ctr", b"aes128-ctr"]
    supportedMACs = [b"hmac-sha2-512", b"hmac-sha2-256"]
    supportedCompressions = [b"none"]
    supportedKeyExchanges = [*KEY_EXCHANGES, STRICT_SERVER]
    supportedPublicKeys = [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"]

    def __init__(self, front: SSHFront) -> None:
        self._front = front
        self._paused = False
        self._strict = False

    # The life of the connection.

    def connectionMade(self) -> None:
        """Somebody connected, and has so long to log in."""
        self._front.logging_in.start(self)
        self._front.transports.add(self)
        transport = self._tcp
        transport.registerProducer(self, True)
        if ISystemHandle.providedBy(self.transport):
            handle = cast(socket.socket, transport.getHandle())
            if handle.family in (socket.AF_INET, socket.AF_INET6):
                transport.setTcpNoDelay(True)
                transport.setTcpKeepAlive(True)
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """It is gone."""
        super().connectionLost(reason)
        self._front.gone(self)

    def leave(self) -> None:
        """The process is being stopped: go now, unless sessions are about to end with their exit status."""
        if self.service is None or not getattr(self.service, "channels", None):
            self.loseConnection()

    def logged_in(self) -> None:
        """The operator has proved who he is."""
        self._front.logging_in.discard(self)

    @property
    def _tcp(self) -> Connection:
        return cast(Connection, self.transport)

    @property
    def peer(self) -> str:
        """The client's address, for people to read."""
        address = self._tcp.getPeer()
        return str(getattr(address, "host", None) or getattr(address, "name", None) or "local")

    # What arrives.

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Handle one packet; one that makes no sense ends the connection and nothing else."""
        if self._strict and self.sessionID is None and not 20 <= messageNum <= 49 and messageNum != 1:
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"strict key exchange: unexpected packet")
            return
        try:
            super().dispatchMessage(messageNum, payload)
        except Exception as error:
            _log.warn(
                "{peer}: SSH packet {number} makes no sense: {error!r}", peer=self.peer, number=messageNum, error=error
            )
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"that packet makes no sense")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Key exchange, strict where the client can do that (OpenSSH's PROTOCOL, section 1.10)."""
        if self.sessionID is None:
            length = int.from_bytes(packet[16:20], "big")
            self._strict = STRICT_CLIENT in packet[20 : 20 + length].split(b",")
            if self._strict and self.incomingPacketSequence != 1:
                self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"strict key exchange: KEXINIT was not first")
                return
        super().ssh_KEXINIT(packet)
        if self.kexAlg in (STRICT_CLIENT, STRICT_SERVER):
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"couldn't match all kex parts")

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        """The client uses the new keys from here on; strictly, numbering starts again."""
        if self._strict:
            self.incomingPacketSequence = 0
        super().ssh_NEWKEYS(packet)
        if self.flowing:
            self._go_on()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send a packet; the numbering of what we send starts again behind our NEWKEYS."""
        super().sendPacket(messageType, payload)
        if messageType == MSG_NEWKEYS and self._strict:
            self.outgoingPacketSequence = 0

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        """Tell which signatures operators may use: conch would list those of the host keys."""
        told = dict(extensions)
        told[b"server-sig-algs"] = b",".join(SIGNATURES)
        super().sendExtInfo(list(told.items()))

    # IPushProducer: the client and its reading.

    @property
    def flowing(self) -> bool:
        # During a key exchange conch queues what is written, without bound.
        return not self._paused and self._keyExchangeState == self._KEY_EXCHANGE_NONE

    def pauseProducing(self) -> None:
        """The client reads slower than we write."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self.flowing:
            self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""

    def _go_on(self) -> None:
        if self.service is not None and self.service.name == b"ssh-connection":
            cast("OperatorConnection", self.service).go_on()
