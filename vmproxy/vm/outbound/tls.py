"""TLS towards a remote end: the context that the rule asks for, and the reason of a failure for people."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.exceptions import VerificationError
from twisted.internet._sslverify import ClientTLSOptions  # the public way makes a context for each host
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol
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


class _Layer(BufferingTLSTransport):
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's
        # What is sent waits above; but TLS itself answers, to each question for new keys for instance.
        if isinstance(self.transport, Connection) and unsent(self.transport) > UNSENT_LIMIT:
            cast(Any, self.wrappedProtocol).abort("it keeps asking but does not read the answers")

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]  # Twisted's
        if reason is not None:
            reason.cleanFailure()  # a frame of Twisted's has it, and it has the frame, and with it this


def start_tls(
    connection: Protocol, tcp: Connection, creator: IOpenSSLClientConnectionCreator, clock: IReactorTime
) -> None:
    """Slip TLS in between a connection and its transport.

    The transport's own ``startTLS`` leaves it with methods of the layer, which nothing takes back at the end.

    :raises ValueError: for a name that no certificate can be for.
    """
    layer = _Layer(TLSMemoryBIOFactory(creator, True, cast(IProtocolFactory, None), clock), connection, False)
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
