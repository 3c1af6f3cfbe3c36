"""TLS towards browsers: Twisted's own, with a context that may be another one after a reload."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer


class _Layer(BufferingTLSTransport):
    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()  # a frame of Twisted's has it, and it has the frame, and with it this


class _Factory(TLSMemoryBIOFactory):
    protocol = _Layer


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """What new connections are shown."""

    def __init__(self) -> None:
        self._context: SSL.Context | None = None

    def use(self, context: SSL.Context | None) -> None:
        """Show new connections another certificate; connections that are there keep what they have."""
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """OpenSSL's side of a new connection."""
        assert self._context is not None, "without a certificate there is no listener"
        return SSL.Connection(self._context, None)

    def over(self, factory: IProtocolFactory, clock: IReactorTime) -> TLSMemoryBIOFactory:
        """The same factory, with TLS from the first byte."""
        return _Factory(self, False, factory, clock)
