"""TLS between a host's TCP connection and its :class:`HostTelnet`: one layer for both ways in.

``telnets://`` is TLS from the first byte: :class:`TLSFactory` puts a :class:`Layer` around each new connection. With
TLS in-band (see :mod:`starttls`) the layer is slipped in between later, by :meth:`HostTLS.wrap`. Either way the
connection writes to the layer, the layer to TCP.

It is a thin layer of our own over OpenSSL's memory buffers, where Twisted has one for everybody. There are thousands of
these: it costs less than half, keeps no buffers of a connection that is silent, and does what a concentrator needs:

* the bytes of an incomplete record count as unread: draining a connection depends on it;
* a connection with TLS at its end is closed when its last bytes are out, or soon. A producer that is not asked any more
  is not waited for, nor an answer of the host;
* closing it when it is gone already does no harm;
* reads are made as small as the connection says, and what they bring is handed on in one piece;
* a handshake may be long, with the names of hundreds of authorities in it;
* handshakes and tiny records, which cost much, have their turns of the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IPushProducer, IReactorTime, ITransport
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base.deadlines import Deadlines
from vmproxy.base.memory import Population
from vmproxy.base.turns import Turns
from vmproxy.vm.certificates import Credentials, reasons
from vmproxy.vm.openssl import count_messages, decrypt, renew_buffers, to_send
from vmproxy.vm.sending import send

_log = Logger()

CLOSING_SECONDS = 5.0
LATE_TIMES = 10
ANSWERS_LIMIT = 64 * 1024
"""Bytes of answers of TLS' own behind the handshake: a host can ask for new keys again and again, and read nothing."""
_PIECE = 32 * 1024  # more than a record holds
_RECORD = 16 * 1024
SMALL_RECORD = 256  # bytes; to open one costs about as much as to open one of 4 KiB
SMALL_READ = 4096  # of them
FEW_RECORDS = 16  # whatever their size
_HEADER = 5  # of a record: type, version, length (RFC 8446, section 5.1)


@implementer(IProtocol, ITransport)
class Layer:
    """TLS on one connection.

    :ivar wrappedProtocol: the connection above, until TCP is gone.
    :ivar tcp: the connection below.
    :ivar partial: how many bytes have come of a record that is not complete.
    :ivar shaken: whether the handshake is complete.
    :ivar disconnecting: whether nothing more is sent.
    """

    __slots__ = (
        "_answers",
        "_head",
        "_hurry",
        "_late",
        "_missing",
        "_over",
        "_producer",
        "_reading",
        "_reason",
        "_ssl",
        "_unsent",
        "_usual",
        "_waiting",
        "disconnecting",
        "partial",
        "shaken",
        "tcp",
        "tls",
        "wrappedProtocol",
    )
    tcp: Connection

    def __init__(self, tls: HostTLS, connection: Protocol) -> None:
        self.tls = tls
        self.wrappedProtocol = connection
        self._ssl: SSL.Connection | None = None
        self._producer: IPushProducer | None = None
        self._reason: Failure | None = None  # why TLS ended, if it failed
        self._unsent: list[bytes] = []  # waits for the handshake
        self._waiting = b""  # bytes of a handshake, or of tiny records, that wait for a turn of the reactor
        self._hurry = False
        self._head = b""  # the beginning of a record, as far as it is no complete header
        self._missing = 0  # of the record under way
        self._usual = 0  # the most bytes of one read, where it is less for now
        self._late = 0
        self._answers = 0
        self._over = False
        self._reading = False  # what is written goes out behind that, in one piece
        self.partial = 0
        self.shaken = False
        self.disconnecting = False

    # What is known of it.

    @property
    def waiting(self) -> int:
        """How many bytes wait for a turn of the reactor."""
        return len(self._waiting)

    @property
    def bufferSize(self) -> int:
        """The most bytes of one read."""
        return self.tcp.bufferSize

    @bufferSize.setter
    def bufferSize(self, size: int) -> None:
        self._usual = 0
        self.tcp.bufferSize = size

    @property
    def version(self) -> str:
        """The TLS version, such as ``TLSv1.3``; empty before and after TLS."""
        return self._ssl.get_protocol_version_name() if self._ssl is not None and self.shaken else ""

    def may_be_late(self) -> bool:
        """Grant the handshake more time: the host has sent bytes that are not read yet.

        Bound: :data:`LATE_TIMES`.
        """
        self._late += 1
        return self._late <= LATE_TIMES

    # From below.

    def makeConnection(self, transport: ITransport) -> None:
        """TCP is there, and the connection above is told."""
        self.begin(cast(Connection, transport))
        self.wrappedProtocol.makeConnection(self)

    def begin(self, tcp: Connection) -> None:
        """TCP is there, and what comes from it is TLS."""
        self.tcp = tcp
        self._ssl = self.tls.server_side()

    def connectionMade(self) -> None:
        """Part of IProtocol; nobody calls it."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the host: whole records are opened, the rest is kept. What costs much has its turns."""
        turns = self.tls.turns
        if not self._waiting and (self._hurry or not self._costs(data) or turns.open()):
            self._take_in(data)
            return
        if not self._waiting:
            turns.wait(cast(Any, self.wrappedProtocol).crowd if self.shaken else "", self._next_turn)
        self._waiting += data
        self.tcp.pauseProducing()

    def _costs(self, data: bytes) -> bool:
        # A handshake does, and records so small that to open them costs far more than what is in them.
        if not self.shaken or self._usual:
            return True
        at, data = self._missing, self._head + data
        for _ in range(max(FEW_RECORDS, len(data) // SMALL_RECORD)):
            if at + _HEADER > len(data):
                return False
            at += _HEADER + data[at + 3] * 256 + data[at + 4]
        return at < len(data)

    def hurry(self, on: bool) -> None:
        """Take in at once what waits and what comes behind the handshake, or give it its turns again.

        The handshake itself has them always: it brings nothing, and thousands may be under way when the process stops.
        """
        self._hurry = on and self.shaken
        if self._hurry and self._waiting:
            self._next_turn()

    def _next_turn(self) -> None:
        data, self._waiting = self._waiting, b""
        if data and not self.disconnecting and self._ssl is not None:
            if not cast(Any, self.wrappedProtocol).session.holds:  # it has reasons of its own not to read
                self.tcp.resumeProducing()
            try:
                self._take_in(data)
            except Exception:  # as in a read: it costs the connection, which would miss what is lost
                _log.failure("what has waited for its turn failed")
                self.abortConnection()

    def _take_in(self, data: bytes) -> None:
        self._pace(self._count(data), len(data))
        if self._ssl is None or self._over:
            return
        self._reading = True
        try:
            if self.shaken:
                self._hand_on(self._ssl, data)
            elif self._shake(self._ssl, data):
                self._hand_on(self._ssl, b"")  # what has come right behind the handshake
                if self._ssl is not None:
                    renew_buffers(self._ssl)  # they have had certificates in them
        finally:
            self._reading = False
            self._flush()

    def _shake(self, ssl: SSL.Connection, data: bytes) -> bool:
        ssl.bio_write(data)
        try:
            ssl.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error:
            self._end(Failure())
            return False
        self.shaken = True
        count_messages(ssl)
        cast(Any, self.wrappedProtocol).handshakeCompleted()
        unsent, self._unsent = self._unsent, []
        for data in unsent:
            self._encrypt(data)
        if len(unsent) > 1 and self._producer is not None and not self._unsent:
            self._producer.resumeProducing()
        return True

    def _hand_on(self, ssl: SSL.Connection, data: bytes) -> None:
        plain, error = decrypt(ssl, data)
        if data:
            self._answers += to_send(ssl)
            if error is None and self._answers > ANSWERS_LIMIT:
                error = SSL.Error([("SSL routines", "", "too many questions behind the handshake")])
        if error is not None:
            if isinstance(error, SSL.ZeroReturnError):
                self._say_goodbye()
            self._over = True
        if plain and not self.disconnecting:
            self.wrappedProtocol.dataReceived(plain)
        if error is not None:
            self._end(None if isinstance(error, SSL.ZeroReturnError) else Failure(error))

    def _pace(self, records: int, size: int) -> None:
        # A host that sends thousands of tiny records in one read is read in small portions as long as it does.
        if records * SMALL_RECORD <= size:
            if self._usual:
                self.tcp.bufferSize, self._usual = self._usual, 0
        elif size > SMALL_READ and not self._usual:
            self._usual, self.tcp.bufferSize = self.tcp.bufferSize, SMALL_READ

    def _count(self, data: bytes) -> int:
        at, end, records = 0, len(data), 0
        while True:
            take = min(self._missing, end - at)
            self._missing -= take
            self.partial += take
            at += take
            if self._missing:
                return records
            self.partial = 0
            if len(self._head) + end - at < _HEADER:
                self._head += data[at:]
                self.partial = len(self._head)
                return records
            body = at + _HEADER - len(self._head)
            header = self._head + data[at:body]
            self._missing = int.from_bytes(header[3:], "big")
            self._head = b""
            self.partial = _HEADER
            at = body
            records += 1

    def _end(self, reason: Failure | None) -> None:
        # TLS is over: it failed, or the host has said goodbye.
        if self._ssl is None:
            return
        self._over = True
        self._reason = self._reason or reason
        self._flush()  # the host is told why
        if reason is not None:
            reason.cleanFailure()  # a frame of this has it, and it has the frame, and with it this
        # Nobody writes any more. A producer that is paused would keep the connection open, and so would a host that
        # does not read what is left.
        self.unregisterProducer()
        self.tcp.loseConnection()
        self.tls.closing.start(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """TCP is gone."""
        self.hurry(True)
        if self._reason is not None:
            reason, self._reason = self._reason, None
        elif not self._over and reason.check(ConnectionDone):
            reason = Failure(CONNECTION_LOST)  # anybody can end TCP; only the host can end TLS
        self._over = self.disconnecting = True
        self.partial = 0  # the rest of it never comes
        if self._ssl is not None:
            self._ssl = self._producer = None
            self.tls.connections.went()
        self._unsent.clear()
        self.tls.closing.discard(self)
        connection = self.wrappedProtocol
        del self.wrappedProtocol  # which has us for its transport
        connection.connectionLost(reason)

    # From above.

    def write(self, data: bytes) -> None:
        """Send, behind the handshake."""
        if self._over or self.disconnecting:
            return
        if self.shaken and not self._unsent:
            self._encrypt(data)
        else:
            self._unsent.append(data)
            # Our opening is no reason to wait: one that waits is no longer like all others (see Beginning).
            if len(self._unsent) > 1 and self._producer is not None:
                self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """Send pieces, behind the handshake."""
        self.write(b"".join(data))

    def _encrypt(self, data: bytes) -> None:
        ssl, at = self._ssl, 0
        if ssl is None or self._over:
            return
        try:
            while at < len(data):
                at += ssl.send(data[at : at + _RECORD] if at or len(data) > _RECORD else data)
        except SSL.WantReadError:
            self._unsent.append(data[at:])
            if self._producer is not None:
                self._producer.pauseProducing()
        except SSL.Error:
            self._end(Failure())
            return
        if not self._reading:
            self._flush()

    def _flush(self) -> None:
        while self._ssl is not None:
            try:
                data = self._ssl.bio_read(_PIECE)
            except SSL.WantReadError:
                return
            send(self.tcp, data)
            if len(data) < _PIECE:
                return

    def _say_goodbye(self) -> None:
        if self._ssl is not None and self.shaken and not self._over:
            try:
                self._ssl.shutdown()
            except SSL.Error:
                return  # nobody hears it
            self._flush()

    def loseConnection(self) -> None:
        """Send what there is and close, without waiting for the host's goodbye."""
        if not self.disconnecting:
            self.disconnecting = True
            self._say_goodbye()
        self.tcp.loseConnection()

    def abortConnection(self) -> None:
        """Close at once; nothing happens if it is gone."""
        if self._ssl is not None:
            self.disconnecting = True
            self.tcp.abortConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Tell somebody when the host does not read, and when it does again."""
        if self._over:
            producer.stopProducing()
            return
        self.tcp.registerProducer(producer, streaming)
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Tell nobody any more."""
        if self._producer is not None:
            self._producer = None
            self.tcp.unregisterProducer()

    # What TCP does as it is.

    def doRead(self) -> Any:
        """Read what is there."""
        return self.tcp.doRead()

    def pauseProducing(self) -> None:
        """Read nothing from the host."""
        self.tcp.pauseProducing()

    def resumeProducing(self) -> None:
        """Read from the host again."""
        self.tcp.resumeProducing()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def getPeer(self) -> IAddress:
        """The host's address."""
        return cast(IAddress, self.tcp.getPeer())

    def getHost(self) -> IAddress:
        """Our own address."""
        return cast(IAddress, self.tcp.getHost())


class TLSFactory(Factory[Any]):
    """Puts TLS around the connections of another factory."""

    noisy = False

    def __init__(self, tls: HostTLS, factory: IProtocolFactory) -> None:
        self._tls = tls
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Layer | None:
        """A connection, if the other factory makes one: a refused host costs no handshake."""
        inner = self._factory.buildProtocol(cast(IAddress, addr)) if self._tls.credentials is not None else None
        return None if inner is None else Layer(self._tls, cast(Protocol, inner))

    def doStart(self) -> None:
        """A port listens."""
        self._factory.doStart()
        super().doStart()

    def doStop(self) -> None:
        """A port listens no more."""
        self._factory.doStop()
        super().doStop()


def _still_closing(layer: Layer) -> None:
    layer.abortConnection()


class HostTLS:
    """TLS towards hosts, as the configuration has it now.

    :ivar turns: the time in each turn of the reactor for handshakes and tiny records.
    :ivar credentials: what new connections are shown, None where there is no certificate; connections that are there
        keep what they have.
    :ivar connections: how many there are, those in the handshake included.
    :ivar closing: the connections of which TLS is over, but TCP is not.
    """

    def __init__(self, clock: IReactorTime, turns: Turns, give_back: Callable[[], object]) -> None:
        """:param give_back: starts giving freed memory back to the operating system."""
        self.turns = turns
        self.connections = Population(give_back)
        self.credentials: Credentials | None = None
        self.closing: Deadlines[Layer] = Deadlines(clock, CLOSING_SECONDS, _still_closing)

    def use(self, credentials: Credentials | None) -> Credentials | None:
        """Show new connections other credentials; :returns: the former."""
        before, self.credentials = self.credentials, credentials
        return before

    def server_side(self) -> SSL.Connection:
        """OpenSSL's side of a new connection."""
        assert self.credentials is not None  # whoever asks has looked
        ssl = SSL.Connection(self.credentials.context, None)
        ssl.set_accept_state()
        self.connections.came()
        return ssl

    def over(self, factory: IProtocolFactory) -> TLSFactory:
        """The same factory, with TLS from the first byte."""
        return TLSFactory(self, factory)

    def wrap(self, connection: Protocol, tcp: Connection) -> Layer:
        """Slip TLS in between a connection and its transport.

        The connection's producer must not be registered.

        What was written before goes out in clear before it, what comes from now on is TLS.
        """
        layer = Layer(self, connection)
        if isinstance(tcp, ProtocolWrapper):  # haproxy: endpoints have a layer of their own
            tcp.wrappedProtocol = layer
        else:
            tcp.protocol = cast(Protocol, layer)
        connection.transport = layer
        layer.begin(tcp)
        return layer


_REMEDIES = {
    "unsupported protocol": 'it is an old host; vm.tls-minimum = "1.0" lets it in',
    "no shared cipher": "it offers nothing but RSA key exchange or CBC suites, or none for an ECDSA key; a certificate"
    " of `vmproxy make-cert --kind rsa' and"
    ' vm.tls-minimum = "1.0" let it in',
    "wrong version number": "it does not speak TLS here: telnets:// in its settings goes to vm.tls-listen,"
    " telnet:// to vm.listen",
    "http request": "a web browser",
}
"""What OpenSSL says, and what it means for a host."""


def failure_of(reason: Failure) -> str:
    """The reason why TLS failed, for people; empty if the connection ended otherwise."""
    if reason.check(SSL.Error) is None:
        return ""
    why = reasons(cast(SSL.Error, reason.value))
    return f"{why}: {_REMEDIES[why]}" if why in _REMEDIES else why
