"""Makes a :class:`VMConnection` for every host that connects."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from vmproxy.vm.connection import VMConnection
from vmproxy.vm.frontend import Hub
from vmproxy.vm.telnet import host_of


class VMFactory(Factory[VMConnection]):
    """Listens for hosts."""

    noisy = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def buildProtocol(self, address: IAddress | None) -> VMConnection | None:
        """A connection, unless the process is being stopped, or whoever is there may not connect."""
        if address is None or self._hub.stopping or not self._hub.admission.enter(host_of(address)):
            return None
        return VMConnection(self._hub, address)
