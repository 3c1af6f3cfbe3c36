"""COM-PORT (RFC 2217) on one connection: the state is the VM's and moves with it, what hangs on it is done here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmproxy.console.console import Console
from vmproxy.wire.comport import AccessServer, Break, Suspend
from vmproxy.wire.telnet import COM_PORT, subnegotiation

if TYPE_CHECKING:
    from vmproxy.vm.connection import VMConnection


# What the port of a VM is like that has not said anything about it.
_PRESENT = subnegotiation(COM_PORT, AccessServer(b"").modem_state())
_USUAL = str(AccessServer(b"").settings)


class PortControl:
    """Port control of one connection.

    :ivar suspended: whether the VM wants data held back.
    """

    __slots__ = ("_link", "_on", "_server", "_signature", "suspended")

    def __init__(self, link: VMConnection, signature: bytes) -> None:
        """:param signature: what to answer when the VM asks who we are."""
        self._link = link
        self._signature = signature
        self._on = False
        self._server: AccessServer | None = None  # made when the VM sets or asks something: most never do
        self.suspended = False

    def switch(self, on: bool) -> None:
        """The VM has turned port control on, or off."""
        if on == self._on:
            return
        self._on = on
        if not on:
            # Whoever turned it off will not say RESUME either.
            self._server = None
            self.suspended = False
            self._link.readiness_changed()
            return
        console = self._link.console if self._link.in_service else None
        if console is None or console.port_control is None:
            self._link.control(_PRESENT)
        else:
            self._server = console.port_control
            self._link.control(subnegotiation(COM_PORT, self._server.modem_state()))
        if console is not None:
            self._show(console)

    def carry(self, console: Console) -> None:
        """The connection carries a console: what the VM had set before holds, unless it has set something here."""
        if self._on:
            if console.port_control is not None and (self._server is None or not self._server.touched):
                self._server = console.port_control
            self._show(console)

    def received(self, payload: bytes) -> bool:
        """Take in a command; :returns: whether port control is on at all."""
        if not self._on:
            return False
        if self._server is None:
            self._server = AccessServer(self._signature)
        answer, meaning = self._server.received(payload)
        if answer:
            self._link.control(subnegotiation(COM_PORT, answer))
        console = self._link.console
        if isinstance(meaning, Suspend):
            self.suspended = meaning.on
            self._link.readiness_changed()
        elif isinstance(meaning, Break):
            if meaning.on and console is not None:
                console.guest_break()
        elif console is not None and self._link.in_service:  # what a connection says that was replaced is out of date
            self._show(console)
        return True

    def _show(self, console: Console) -> None:
        console.set_port_control(self._server, _USUAL if self._server is None else str(self._server.settings))
