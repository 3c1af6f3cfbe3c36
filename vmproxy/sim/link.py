"""The thin part between a :class:`~vmproxy.sim.port.HostPort` and Twisted: a Protocol, and the factory that an
endpoint asks for one."""

from __future__ import annotations

from functools import cache
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vmproxy.sim.interfaces import SimulationError
from vmproxy.sim.port import HostPort

_log = Logger()


@cache
def tls_options() -> IOpenSSLClientConnectionCreator:
    """The TLS client's settings, one for all connections: a context each would cost more than all the rest of a VM.

    The proxy's certificate is not verified: a simulator has nothing to lose to an impostor.
    """
    from twisted.internet.ssl import CertificateOptions

    return cast(IOpenSSLClientConnectionCreator, CertificateOptions())


@implementer(IPushProducer)
class HostProtocol(Protocol):
    """Carries one port."""

    transport: ITCPTransport | None
    noisy = False

    def __init__(self, port: HostPort) -> None:
        self.port = port

    # -- from Twisted ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport = self.transport
        assert transport is not None
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self.port.connected(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            self.port.received(data)
        except Exception as error:
            # Whatever the guest at the other end is made of, one broken VM must not take its neighbours along.
            _log.failure("a simulated VM failed over what its proxy sent")
            self.port.fail(SimulationError(f"a fault of the simulator: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.port.lost("closed by the proxy" if reason.check(ConnectionDone) else reason.getErrorMessage())

    def pauseProducing(self) -> None:
        self.port.full(True)

    def resumeProducing(self) -> None:
        self.port.full(False)

    def stopProducing(self) -> None:
        """Nothing to do: connectionLost follows."""

    # -- for the port ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        # A registered producer would keep a TLS connection from ever closing.
        transport = self.transport
        assert transport is not None
        transport.unregisterProducer()  # type: ignore[attr-defined]
        transport.loseConnection()

    def abort(self) -> None:
        transport = self.transport
        assert transport is not None
        # Not every transport can (pipes cannot); all can close.
        getattr(transport, "abortConnection", transport.loseConnection)()

    def start_tls(self) -> None:
        transport = self.transport
        if not ITLSTransport.providedBy(transport):
            raise SimulationError("the proxy asked for TLS on a transport that cannot do it")
        transport.startTLS(tls_options())


class HostFactory(Factory):
    """Makes the protocol of one port, once."""

    noisy = False

    def __init__(self, port: HostPort) -> None:
        self._port = port

    def buildProtocol(self, addr: IAddress | None) -> HostProtocol:
        return HostProtocol(self._port)
