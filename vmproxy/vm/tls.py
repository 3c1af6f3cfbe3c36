"""TLS between a host's TCP connection and its :class:`HostTelnet`: one layer for both ways in.

``telnets://`` is TLS from the first byte: :class:`TLSFactory` puts a :class:`Layer` around each new connection. With
TLS in-band (see :mod:`starttls`) the layer is slipped in between later, by :meth:`HostTLS.wrap`. Either way the
connection writes to the layer, the layer to TCP.

The layer is Twisted's, with what a concentrator needs besides:

* the bytes of an incomplete record count as unread: draining a connection depends on it;
* a connection with TLS at its end is closed when its last bytes are out, or soon. Twisted waits for a producer that is
  not asked any more, or for an answer of the host;
* closing it when it is gone already does no harm;
* reads are made as small as the connection says;
* a handshake may be long, with the names of hundreds of authorities in it.
"""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base.compat import handshake_done, tls_connection
from vmproxy.base.deadlines import Deadlines
from vmproxy.base.turns import Turns
from vmproxy.vm.certificates import Credentials, reasons

CLOSING_SECONDS = 5.0
LATE_TIMES = 10
_FLUSH = 32 * 1024
_HEADER = 5  # of a record: type, version, length (RFC 8446, section 5.1)


class Layer(TLSMemoryBIOProtocol):
    """TLS on one connection.

    :ivar partial: how many bytes have come of a record that is not complete.
    """

    factory: TLSFactory
    partial = 0
    _head = b""  # the beginning of a record, as far as it is no complete header
    _missing = 0  # of the record under way
    _late = 0
    _waiting = b""  # bytes of a handshake that wait for a turn of the reactor

    @property
    def waiting(self) -> bool:
        """Whether bytes of the handshake wait for a turn of the reactor."""
        return bool(self._waiting)

    @property
    def tcp(self) -> Connection:
        """The connection below."""
        return cast(Connection, self.transport)

    @property
    def bufferSize(self) -> int:
        """The most bytes of one read."""
        return self.tcp.bufferSize

    @bufferSize.setter
    def bufferSize(self, size: int) -> None:
        self.tcp.bufferSize = size

    @property
    def version(self) -> str:
        """The TLS version, such as ``TLSv1.3``; empty before and after TLS."""
        tls = tls_connection(self)
        return tls.get_protocol_version_name() if tls is not None and handshake_done(self) else ""

    def may_be_late(self) -> bool:
        """Grant the handshake more time: the host has sent bytes that are not read yet.

        Bound: :data:`LATE_TIMES`.
        """
        self._late += 1
        return self._late <= LATE_TIMES

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the host: whole records are opened, the rest is kept. Handshakes have their turns."""
        turns = self.factory.tls.turns
        if self._waiting or not (handshake_done(self) or turns.open()):
            if not self._waiting:
                self.tcp.pauseProducing()
                turns.wait("", self._next_turn, self.abortConnection)
            self._waiting += data
            return
        self._count(data)
        super().dataReceived(data)

    def _next_turn(self) -> None:
        data, self._waiting = self._waiting, b""
        if not self.disconnecting and tls_connection(self) is not None:
            if not cast(Any, self.wrappedProtocol).session.holds:  # it has reasons of its own not to read
                self.tcp.resumeProducing()
            self._count(data)
            super().dataReceived(data)

    def _count(self, data: bytes) -> None:
        at, end = 0, len(data)
        while True:
            take = min(self._missing, end - at)
            self._missing -= take
            self.partial += take
            at += take
            if self._missing:
                return
            self.partial = 0
            if len(self._head) + end - at < _HEADER:
                self._head += data[at:]
                self.partial = len(self._head)
                return
            body = at + _HEADER - len(self._head)
            header = self._head + data[at:body]
            self._missing = int.from_bytes(header[3:], "big")
            self._head = b""
            self.partial = _HEADER
            at = body

    def _flushSendBIO(self) -> None:
        # All of it. Twisted hands on 32 KiB, and the rest of a long handshake would wait for an answer to the whole.
        while True:
            try:
                data = tls_connection(self).bio_read(_FLUSH)
            except SSL.WantReadError:
                return
            self.tcp.write(data)
            if len(data) < _FLUSH:
                return

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()  # a frame of Twisted's has it, and it has the frame, and with it this
        # Nobody writes any more. A producer that is paused would keep the connection open, and so would a host that
        # does not read what is left.
        self.unregisterProducer()
        self.factory.closing.start(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """TCP is gone."""
        super().connectionLost(reason)
        self.factory.closing.discard(self)  # behind it: this may be how TLS learns that it is over

    def loseConnection(self) -> None:
        """Send what there is and close, without waiting for the host's goodbye."""
        super().loseConnection()
        self.tcp.loseConnection()  # its own goodbye is not waited for

    def abortConnection(self) -> None:
        """Close at once; nothing happens if it is gone."""
        if tls_connection(self) is not None:
            super().abortConnection()


def _still_closing(layer: Layer) -> None:
    layer.abortConnection()


class TLSFactory(TLSMemoryBIOFactory):
    """Puts TLS around the connections of another factory.

    :ivar closing: the connections of which TLS is over, but TCP is not.
    """

    protocol = Layer

    def __init__(self, tls: HostTLS, factory: IProtocolFactory | None, clock: IReactorTime) -> None:
        # Connections that are switched in-band have no factory: they are there already.
        super().__init__(tls, False, cast(IProtocolFactory, factory), clock)
        self.tls = tls
        self.closing: Deadlines[Layer] = Deadlines(clock, CLOSING_SECONDS, _still_closing)

    def buildProtocol(self, addr: IAddress | None) -> Layer | None:  # type: ignore[override]
        """A connection, if the other factory makes one: a refused host costs no handshake."""
        inner = self.wrappedFactory.buildProtocol(addr) if self.tls.credentials is not None else None
        return None if inner is None else Layer(self, inner)

    def doStart(self) -> None:
        if self.wrappedFactory is not None:
            super().doStart()


@implementer(IOpenSSLServerConnectionCreator)
class HostTLS:
    """TLS towards hosts, as the configuration has it now.

    :ivar turns: the time in each turn of the reactor for handshakes.
    :ivar credentials: what new connections are shown, None where there is no certificate; connections that are there
        keep what they have.
    """

    def __init__(self, clock: IReactorTime, turns: Turns) -> None:
        self.turns = turns
        self.credentials: Credentials | None = None
        self._clock = clock
        self._inband = TLSFactory(self, None, clock)

    def use(self, credentials: Credentials | None) -> Credentials | None:
        """Show new connections other credentials; :returns: the former."""
        before, self.credentials = self.credentials, credentials
        return before

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Part of Twisted's interface: OpenSSL's side of a new connection."""
        assert self.credentials is not None  # whoever asks has looked
        return SSL.Connection(self.credentials.context, None)

    def over(self, factory: IProtocolFactory) -> TLSFactory:
        """The same factory, with TLS from the first byte."""
        return TLSFactory(self, factory, self._clock)

    def wrap(self, connection: Protocol, tcp: Connection) -> Layer:
        """Slip TLS in between a connection and its transport.

        The connection's producer must not be registered.

        What was written before goes out in clear before it, what comes from now on is TLS.
        """
        layer = Layer(self._inband, connection, False)
        if isinstance(tcp, ProtocolWrapper):  # haproxy: endpoints have a layer of their own
            tcp.wrappedProtocol = layer
        else:
            tcp.protocol = layer
        connection.transport = layer
        layer.makeConnection(tcp)
        return layer


_REMEDIES = {
    "unsupported protocol": 'it is an old host; vm.tls-minimum = "1.0" lets it in',
    "no shared cipher": 'it offers nothing but RSA key exchange or CBC suites; vm.tls-minimum = "1.0" lets it in',
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
