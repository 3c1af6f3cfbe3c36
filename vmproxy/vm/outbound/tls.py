"""TLS towards a remote end: the context that the rule asks for, and the reason of a failure for people.

Handshakes, and records, have their turns of the reactor: remote ends may come back all at once, or send tiny records.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast
from typing import Protocol as Typed

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.exceptions import VerificationError
from twisted.internet._sslverify import ClientTLSOptions  # the public way makes a context for each host
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.internet.tcp import Connection
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.base import failures
from vmproxy.base.compat import unsent
from vmproxy.base.sanitize import visible
from vmproxy.base.turns import Turns
from vmproxy.vm.outbound.rules import DialRule
from vmproxy.wire.dialuri import literal

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

UNSENT_LIMIT = 8 * 1024 * 1024
"""Bytes that a far end has not read; more than ever waits of a VM's output."""


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """TLS with whoever answers: encrypted, but nobody knows with whom."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context = _unverified_context()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """An OpenSSL connection with the name of the remote end, if it has one."""
        connection = SSL.Connection(self._context, None)
        if literal(self._host) is None:
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


@lru_cache(maxsize=1)
def _unverified_context() -> SSL.Context:
    context: SSL.Context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    return context


@lru_cache(maxsize=64)
def _verifying_context(authorities: bytes | None) -> SSL.Context:
    # With the system's authorities it costs ten milliseconds and a megabyte. VMs choose the hosts, so it is not one for
    # each of them; whom it is to be is told to each connection.
    if authorities is None:
        root = platformTrust()
    else:
        read = x509.load_pem_x509_certificates(authorities)
        root = trustRootFromCertificates([Certificate(X509.from_cryptography(one)) for one in read])
    context: SSL.Context = CertificateOptions(trustRoot=root, raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    return context


def tls_creator_for(host: str, verify: bool, authorities: bytes | None) -> IOpenSSLClientConnectionCreator:
    """Make TLS connections to a host.

    :raises ValueError: for a name that no certificate can be for.
    """
    if not verify:
        return Unverified(host)
    context = _verifying_context(authorities)
    return ClientTLSOptions(lambda _: SSL.Connection(context, None), host)


def tls_creator(host: str, rule: DialRule) -> IOpenSSLClientConnectionCreator:
    """Make TLS connections to a host under a rule."""
    return tls_creator_for(host, rule.verify, rule.authorities)


class Line(Typed):
    """The connection above TLS.

    :ivar listening: whether it reads from the remote end.
    """

    @property
    def listening(self) -> bool: ...

    def abort(self, reason: str) -> None:
        """Close at once."""


class _Layer(BufferingTLSTransport):
    def __init__(self, factory: TLSMemoryBIOFactory, connection: Protocol, turns: Turns, peer: str) -> None:
        super().__init__(factory, connection, False)
        self._turns = turns
        self._peer = peer
        self._waiting = b""  # for a turn of the reactor

    @property
    def _line(self) -> Line | None:
        return cast(Line | None, self.wrappedProtocol)  # None when it is gone

    def dataReceived(self, data: bytes) -> None:
        if not self._waiting and self._turns.open():
            self._take_in(data)
            return
        if not self._waiting:
            self._turns.wait(self._peer, self._next_turn, self._failed)
        self._waiting += data
        cast(Connection, self.transport).pauseProducing()

    def _next_turn(self) -> None:
        data, self._waiting = self._waiting, b""
        line = self._line
        if data and line is not None:
            if line.listening:
                cast(Connection, self.transport).resumeProducing()
            self._take_in(data)

    def _failed(self) -> None:
        if self._line is not None:
            self._line.abort("an error in the concentrator, see its log")

    def _take_in(self, data: bytes) -> None:
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's
        # What is sent waits above; but TLS itself answers, to each question for new keys for instance.
        line = self._line
        if line is not None and isinstance(self.transport, Connection) and unsent(self.transport) > UNSENT_LIMIT:
            line.abort("it keeps asking but does not read the answers")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        data, self._waiting = self._waiting, b""
        try:
            if data:
                self._take_in(data)
        finally:
            super().connectionLost(reason)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]  # Twisted's
        if reason is not None:
            reason.cleanFailure()  # a frame of Twisted's has it, and it has the frame, and with it this


def start_tls(
    connection: Protocol,
    tcp: Connection,
    creator: IOpenSSLClientConnectionCreator,
    clock: IReactorTime,
    turns: Turns,
    peer: str,
) -> None:
    """Slip TLS in between a connection and its transport.

    The transport's own ``startTLS`` leaves it with methods of the layer, which nothing takes back at the end.

    :param connection: a :class:`Line`.
    :param turns: has the time that it may take; ``peer``: whose time that is.
    :raises ValueError: for a name that no certificate can be for.
    """
    factory = TLSMemoryBIOFactory(creator, True, cast(IProtocolFactory, None), clock)
    layer = _Layer(factory, connection, turns, peer)
    tcp.protocol = layer
    connection.transport = layer
    layer.makeConnection(tcp)  # type: ignore[no-untyped-call]  # Twisted's


def explain(failure: Failure) -> str:
    """Why a connection failed, in one line that is safe to show."""
    error = failure.value
    if isinstance(error, SSL.Error):
        parts = error.args[0] if error.args and isinstance(error.args[0], list) else []
        text = "; ".join(str(part[-1]) for part in parts if part) or "no reason given"
        return visible(f"TLS: {text}", 200)
    if isinstance(error, VerificationError):
        return "TLS: the certificate is for another host"
    return failures.explain(error)
