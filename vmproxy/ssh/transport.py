"""The SSH transport: conch's, with packets and key exchanges of our own, and hardened.

The versions, messages that are no packets' or keys', and the services are conch's; packets are those of
:mod:`vmproxy.ssh.packets`, key exchanges those of :mod:`vmproxy.ssh.key_exchange`: stock conch has neither
authenticated encryption nor strict key exchange (the answer to the Terrapin attack). Each guard answers a fault of it:

* it accepts any packet at any time, and compression (one packet may inflate to hundreds of megabytes);
* it sets no time limit for the beginning of a login or for the end of a later key exchange, and never asks for one;
* a malformed packet raises into the reactor;
* it goes on after its own disconnect;
* it writes without bound to a client that does not read. Channels ask :attr:`flowing` before they write, and are
  resumed when the client has caught up; answers that are sent meanwhile are counted.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import (
    DISCONNECT_CONNECTION_LOST,
    DISCONNECT_KEY_EXCHANGE_FAILED,
    DISCONNECT_MAC_ERROR,
    DISCONNECT_PROTOCOL_ERROR,
    SSHServerTransport,
)
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.limits import ConnectionLimiter
from vmproxy.auth.signatures import SIGNATURES
from vmproxy.base.deadlines import Deadlines
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.ssh import key_exchange
from vmproxy.ssh.algorithms import Agreement, Algorithms, NoAgreement, agree
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.keepalive import ClientKeepalive
from vmproxy.ssh.packets import (
    SEQUENCE,
    BadPacket,
    Keys,
    Opener,
    PlainOpener,
    PlainSealer,
    Sealer,
    make_opener,
    make_sealer,
)
from vmproxy.ssh.share import Share

VERSION_LIMIT = 4096  # conch's
PACKET_LIMIT_BEFORE_LOGIN = 64 * 1024
PACKET_LIMIT = 256 * 1024
UNREAD_LIMIT = 256 * 1024
PACKET_OVERHEAD = 64  # length, padding, authentication; or what a queued packet costs
BYTES_PER_KEY = 1 << 33
"""Bound: bytes under one set of keys, each packet with its overhead. Hence packets are fewer than 2**27."""

_LEAST_LENGTH = 6  # the size of the padding, a message number, the least padding
_UNIMPLEMENTED = 3
_KEXINIT, _NEWKEYS = 20, 21
_KEX_INIT, _KEX_REPLY = 30, 31
_GEX_GROUP, _GEX_INIT, _GEX_REPLY, _GEX_REQUEST = 31, 32, 33, 34
_EXT_INFO = 7
_NOTHING = -1  # while we compute
_KEX = range(30, 50)
_ALWAYS = frozenset((1, 2, 3, 4))  # DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG
_DISCONNECT_ONLY = frozenset((1,))


class Frontend(Protocol):
    """The front, as its connections know it.

    :ivar services: what all operators' sessions share.
    :ivar deadline: the connections with an unfinished login or key exchange.
    :ivar parting: the connections that are over and not closed yet.
    :ivar alive: the keepalive of clients that have logged in.
    """

    services: Services
    deadline: Deadlines[OperatorTransport]
    parting: Deadlines[OperatorTransport]
    alive: ClientKeepalive

    def arrived(self, transport: OperatorTransport) -> None:
        """Add a connection."""

    def share_of(self, who: str) -> Share:
        """What an operator may be sent in a turn."""

    def gone(self, transport: OperatorTransport) -> None:
        """Remove a connection."""


class LoginFactory(Protocol):
    """The factory, as a connection knows it.

    :ivar accounts: who may log in.
    :ivar algorithms: what new connections are offered.
    :ivar banner: a text for everybody, before the login.
    """

    accounts: Authenticator
    algorithms: Algorithms
    banner: str

    def host_key(self, algorithm: bytes) -> Key:
        """The host key of a signature algorithm."""

    def admit(self, transport: OperatorTransport, account: Account) -> str:
        """Count a connection as an operator's own, until it is gone.

        :returns: why it may not stay, for the operator to read; ``""`` if it may.
        """


class Channels(Protocol):
    """The service after the login, with its channels."""

    def go_on(self) -> None:
        """Send what waits: the client reads again."""

    def close_one(self) -> bool:
        """Close a channel, as the connection is lost; :returns: whether there was one."""


class OperatorTransport(SSHServerTransport):
    """One operator's SSH connection.

    :ivar who: whose time it takes: the operator's, or that of all who have not logged in.
    :ivar share: what the operator may be sent in a turn.
    """

    version = b"vmproxy"
    ourVersionString = b"SSH-2.0-vmproxy"
    _log = QuietLogger()
    who = ""
    share: Share  # from the login on

    def __init__(self, front: Frontend) -> None:
        self._front = front
        self.services = front.services
        self._paused = False
        self._sealer: Sealer = PlainSealer()
        self._opener: Opener = PlainOpener()
        self._length = 0  # of the packet that has begun to arrive
        self._left = BYTES_PER_KEY
        self._agreement: Agreement | None = None
        self._exchange: key_exchange.Exchange | None = None
        self._next_opener: Opener | None = None  # from the client's NEWKEYS on
        self._strict = False
        self._exchanging = False  # from our KEXINIT to our NEWKEYS
        self._blocked: list[tuple[int, bytes]] = []  # meanwhile
        self._expected: int | None = None  # the next packet of a key exchange that the client has begun
        self._logged_in = False
        self._over = False  # closed, or we have disconnected
        self._unread = 0
        self._later = False  # what has arrived waits for a turn of the reactor

    # The life of the connection.

    def connectionMade(self) -> None:
        """Begin, unless too many clients have yet to log in: then it waits a moment, and may not be read from."""
        if self._gate.enter(self, self.peer):
            self._begin()
        elif not self._over:
            self._tcp.pauseProducing()

    def come_in(self) -> None:
        """A place is free."""
        if not self._over:
            self._tcp.resumeProducing()
            self._begin()

    def make_place(self) -> None:
        """No place was free in time, or another connection is to have this one's."""
        self.abort()

    @property
    def silent(self) -> bool:
        """Whether the client has not come to a key exchange."""
        return self.sessionID is None

    def _begin(self) -> None:
        self._front.arrived(self)
        transport = self._tcp
        transport.registerProducer(self, True)
        handle = transport.getHandle() if ISystemHandle.providedBy(self.transport) else None
        if isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        self._algorithms = self._factory.algorithms
        transport.write(self.ourVersionString + b"\r\n")
        self.sendKexInit()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._over = True
        self._gate.leave(self)
        self._close_channels()

    def _close_channels(self) -> None:
        # Of hundreds of connections that are lost at once, each may have dozens of channels.
        turns = self.services.turns
        while self._channels is not None and self._channels.close_one():
            if not turns.open():
                turns.wait(self.who, self._close_channels, self._close_channels)
                return
        super().connectionLost()
        self._front.gone(self)
        self.service = None  # it knows us too: without this only the cyclic collector would free the two

    @property
    def _channels(self) -> Channels | None:
        service = self.service
        return cast(Channels, service) if service is not None and service.name == b"ssh-connection" else None

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
        what = "change keys" if self._logged_in else "log in"
        self._complain(f"closed, it took too long to {what}")
        self.sendDisconnect(DISCONNECT_CONNECTION_LOST, b"that took too long")

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Disconnect. Nothing is received or sent after it; a client that does not read it is cut off soon."""
        if self._over:
            return
        super().sendDisconnect(reason, desc)
        self._part()

    def _part(self) -> None:
        self._over = True
        self.buf = b""
        # With a producer registered, Twisted would wait for it as long as the client does not read.
        self._tcp.unregisterProducer()
        self._front.parting.start(self)

    def abort(self) -> None:
        """Cut the connection."""
        self._over = True
        self._tcp.abortConnection()

    def logged_in(self, who: str) -> None:
        """End the deadline of the login; start the keepalive."""
        self._logged_in = True
        self.who = who
        self.share = self._front.share_of(who)
        self._gate.leave(self)
        if not self._exchanging and self._expected is None:  # else it is that of the key exchange
            self._front.deadline.discard(self)
        self._front.alive.watch(self)

    @property
    def _gate(self) -> ConnectionLimiter:
        return self._factory.accounts.gate

    @property
    def _factory(self) -> LoginFactory:
        return cast(LoginFactory, self.factory)

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
        if not self.gotVersion:  # conch counts what comes with it, a KEXINIT say, as part of it
            room = VERSION_LIMIT - len(self.buf)
            super().dataReceived(data[:room])
            data = data[room:]
            if not data or self._over:
                return
        super().dataReceived(data)

    def getPacket(self) -> bytes | None:
        """The next packet; none when it is over, or the turn of the reactor has been used up.

        Bound: a packet that is too long is refused when its length is known.
        """
        if self._over or self._later or not self.buf:
            return None
        turns = self.services.turns
        operator = cast("Operator | None", self.avatar) if self._logged_in else None
        if not turns.open() or (operator is not None and not operator.view.prepare(turns.open)):
            # One read can hold thousands of small packets, and each cost much: others have a turn in between.
            self._later = True
            self._tcp.pauseProducing()
            turns.wait(self.who, self._next_turn, self.abort)
            return None
        data, opener = self.buf, self._opener
        if not self._length:
            if len(data) < opener.head:
                return None
            length = opener.length(self.incomingPacketSequence, data[: opener.head])
            most = PACKET_LIMIT if self._logged_in else PACKET_LIMIT_BEFORE_LOGIN
            if not _LEAST_LENGTH <= length <= most or (4 + length - opener.uncounted) % opener.block:
                self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"that packet has a wrong length")
                return None
            self._length = length
        end = 4 + self._length + opener.tag
        if len(data) < end:
            return None
        try:
            message = opener.open(self.incomingPacketSequence, data[:end])
        except BadPacket as error:
            self._complain(f"closed, a packet of the client: {error}")
            self.sendDisconnect(DISCONNECT_MAC_ERROR, b"that packet is not authentic")
            return None
        self.buf = data[end:]
        self._length = 0
        self.incomingPacketSequence = (self.incomingPacketSequence + 1) & SEQUENCE
        self._left -= end + PACKET_OVERHEAD
        if self._left < 0:
            self._new_keys_are_due()
        return message

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
            if messageNum not in _KEX:
                super().dispatchMessage(messageNum, payload)
            elif self.ignoreNextPacket:
                self.ignoreNextPacket = 0  # the client has guessed wrong; the right packet follows
            else:
                self._key_exchange_message(messageNum, payload)
        except Exception as error:  # whatever a malformed packet makes the parsers raise
            self._refuse(messageNum, f"it makes no sense ({error.__class__.__name__})")

    def _may_come(self, number: int) -> bool:
        first = self.sessionID is None
        others = _DISCONNECT_ONLY if self._strict and isinstance(self._opener, PlainOpener) else _ALWAYS
        if number in others:
            return True
        if self._expected is not None:
            return number == self._expected or (number in _KEX and bool(self.ignoreNextPacket))
        return number == _KEXINIT or not (first or _NEWKEYS <= number <= 49)

    def sendUnimplemented(self) -> None:
        """Answer to the packet that came last; conch would name the next one."""
        self.sendPacket(_UNIMPLEMENTED, struct.pack(">L", (self.incomingPacketSequence - 1) & SEQUENCE))

    def _complain(self, what: str) -> None:
        self._factory.accounts.complain(self.peer, what)

    def _refuse(self, number: int, why: str) -> None:
        self._complain(f"SSH packet {number}: {why}; closed")
        self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"that packet makes no sense")

    # Key exchanges.

    def sendKexInit(self) -> None:
        """Begin a key exchange, or answer to the client's beginning."""
        message = self._algorithms.kexinit()
        self.ourKexInitPayload = bytes((_KEXINIT,)) + message
        self._exchanging = True
        self.sendPacket(_KEXINIT, message)

    def _new_keys_are_due(self) -> None:
        if not self._exchanging and self._expected is None:
            if self._logged_in:  # before the login, that of the login runs
                self._front.deadline.start(self)
            self.sendKexInit()

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Begin a key exchange, a strict one if the client can (OpenSSH's PROTOCOL, section 1.10)."""
        try:
            agreement = agree(self._algorithms, packet)
        except NoAgreement as error:
            self._complain(f"closed, {error}")
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"there is no common algorithm")
            return
        if self.sessionID is None:
            self._strict = agreement.strict
            if self._strict and self.incomingPacketSequence != 1:
                self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"strict key exchange: KEXINIT was not first")
                return
        elif self._logged_in:
            self._front.deadline.start(self)  # as above
        self.otherKexInitPayload = bytes((_KEXINIT,)) + packet
        self.ignoreNextPacket = agreement.guess_is_wrong
        if not self._exchanging:
            self.sendKexInit()
        self._agreement = agreement
        self._exchange = key_exchange.METHODS[agreement.kex].make()
        self._expected = _GEX_REQUEST if self._exchange.chooses_group else _KEX_INIT

    def _key_exchange_message(self, number: int, payload: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if number == _GEX_REQUEST:
            self.sendPacket(_GEX_GROUP, exchange.group(payload))
            self._expected = _GEX_INIT
            return
        self._expected = _NOTHING
        if not exchange.slow:
            exchange.begin(payload)
            self._reply(exchange.finish())
            return
        self._compute(number, lambda: exchange.begin(payload), lambda: self._reply(exchange.finish()))

    def _compute(self, number: int, *steps: Callable[[], None]) -> None:
        """Do what takes long, each step in a turn of its own."""
        self.services.turns.wait(self.who, partial(self._step, number, steps))

    def _step(self, number: int, steps: tuple[Callable[[], None], ...]) -> None:
        if self._over:
            return
        try:
            steps[0]()
        except Exception as error:  # as in dispatchMessage
            self._refuse(number, f"it makes no sense ({error.__class__.__name__})")
        else:
            if steps[1:]:
                self._compute(number, *steps[1:])

    def _reply(self, agreed: key_exchange.Agreed) -> None:
        """Sign and send our half of the exchange; use our new keys, and go on with what was to be sent meanwhile."""
        agreement, exchange = self._agreement, self._exchange
        assert agreement is not None
        assert exchange is not None
        host_key = self._factory.host_key(agreement.host_key)
        blob = host_key.public().blob()
        digest = key_exchange.METHODS[agreement.kex].digest
        kexinits = self.otherKexInitPayload, self.ourKexInitPayload
        parts = (self.otherVersionString, self.ourVersionString, *kexinits, blob)
        exchange_hash = key_exchange.digest_of(digest, parts, agreed)
        signature = host_key.sign(exchange_hash, agreement.host_key)
        number = _GEX_REPLY if exchange.chooses_group else _KEX_REPLY
        self.sendPacket(number, NS(blob) + agreed.ours + NS(signature))
        self.sendPacket(_NEWKEYS, b"")
        first = self.sessionID is None
        session = self.sessionID = self.sessionID or exchange_hash
        key = partial(key_exchange.derived, digest, agreed.secret, exchange_hash, session)
        self._sealer = make_sealer(*agreement.outward, Keys(key(b"B"), key(b"D"), key(b"F")))
        self._next_opener = make_opener(*agreement.inward, Keys(key(b"A"), key(b"C"), key(b"E")))
        if self._strict:
            self.outgoingPacketSequence = 0
        self._expected = _NEWKEYS
        self._exchanging = False
        self._unread = 0
        self._left = BYTES_PER_KEY
        if first and agreement.extensions:
            # conch would list the algorithms of the host keys here, and not those of operators.
            self.sendPacket(_EXT_INFO, struct.pack(">L", 1) + NS(b"server-sig-algs") + NS(b",".join(SIGNATURES)))
        blocked, self._blocked = self._blocked, []
        for packet in blocked:
            self.sendPacket(*packet)
        if self.flowing:
            self._go_on()

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        """Use the client's new keys. In a strict exchange its numbering starts again."""
        if packet or self._next_opener is None:
            self._refuse(_NEWKEYS, "it takes no data")
            return
        self._opener, self._next_opener = self._next_opener, None
        self._agreement = self._exchange = self._expected = None
        if self._strict:
            self.incomingPacketSequence = 0
        if self._logged_in:
            self._front.deadline.discard(self)

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """Start the login, once: a second request must not give the client new tries."""
        if self.service is not None:
            self._refuse(5, "there is a service already")
        else:
            super().ssh_SERVICE_REQUEST(packet)

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """Ignore the client's extensions: none is of use here."""

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        self._tcp.loseConnection()
        self._part()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send a packet. In a key exchange all but its own have to wait.

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
        if self._exchanging and not (messageType in _ALWAYS or _KEXINIT <= messageType < _KEX.stop):
            self._blocked.append((messageType, payload))
            return
        packet = self._sealer.seal(self.outgoingPacketSequence, messageType, payload)
        self.outgoingPacketSequence = (self.outgoingPacketSequence + 1) & SEQUENCE
        self._tcp.write(packet)
        self._left -= len(packet) + PACKET_OVERHEAD
        if self._left < 0:
            self._new_keys_are_due()

    # IPushProducer: the client and its reading.

    @property
    def flowing(self) -> bool:
        """Whether channels may send: the client reads, and no key exchange is under way."""
        return not (self._paused or self._over or self._exchanging)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self.flowing:  # else what waits for the end of a key exchange still counts
            self._unread = 0
            self._go_on()

    def stopProducing(self) -> None:
        """Nothing to do: connectionLost follows."""

    def _go_on(self) -> None:
        if self._channels is not None:
            self._channels.go_on()
