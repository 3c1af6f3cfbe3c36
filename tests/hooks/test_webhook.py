"""Webhooks: where their receivers are looked up. What they send is tried with the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from tests.support.fakes import Logged
from vmproxy.base.tasks import spawn
from vmproxy.hooks.webhook import Webhooks


@implementer(IHostnameResolver)
class Resolver:
    """Finds every host at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resolveHostName(
        self,
        receiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[Any]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        receiver.resolutionBegan(None)  # type: ignore[arg-type]  # nobody looks at it
        receiver.addressResolved(IPv4Address("TCP", "192.0.2.7", portNumber))
        receiver.resolutionComplete()
        return receiver  # type: ignore[return-value]  # nobody looks at it


def test_receivers_are_looked_up_on_threads_of_their_own_and_the_log_tells_nothing(logged: Logged) -> None:
    reactor, own = MemoryReactorClock(), Resolver()
    webhooks = Webhooks(reactor, own, "vmproxy")  # type: ignore[arg-type]  # what of a reactor it needs
    spawn(webhooks.send("http://hook.example:8080/x", b"{}"))
    reactor.advance(0)
    assert own.asked == ["hook.example"]
    assert [(host, port) for host, port, *_ in reactor.tcpClients] == [("192.0.2.7", 8080)]
    factory = reactor.tcpClients[0][2]
    factory.doStart()
    factory.doStop()
    assert list(logged) == []
    webhooks.stop()
