"""COM-PORT (RFC 2217) on one connection: the state is the VM's and moves with it, what hangs on it is done here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmproxy.console.console import Console
from vmproxy.wire.comport import AccessServer, Break, Suspend
from vmproxy.wire.telnet import COM_PORT, subnegotiation

if TYPE_CHECKING:
    from vmproxy.vm.protocol import VMConnection


class PortControl:
    """Port control of one connection.

    :ivar suspended: whether the VM wants data held back.
    """

    __slots__ = ("_link", "_server", "_signature", "suspended")

    def __init__(self, link: VMConnection, signature: bytes) -> None:
        """:param signature: what to answer when the VM asks who we are."""
        self._link = link
        self._signature = signature
        self._server: AccessServer | None = None
        self.suspended = False

    def switch(self, on: bool) -> None:
        """The VM has turned port control on, or off."""
        if on == (self._server is not None):
            return
        if not on:
            # Whoever turned it off will not say RESUME either.
            self._server = None
            self.suspended = False
            self._link.readiness_changed()
            return
        console = self._link.console
        self._server = (console.port_control if console is not None else None) or AccessServer(self._signature)
        self._link.control(subnegotiation(COM_PORT, self._server.modem_state()))
        if console is not None:
            self._show(console)

    def carry(self, console: Console) -> None:
        """The connection carries a console: what the VM had set before holds, unless it has set something here."""
        if self._server is not None:
            if console.port_control is not None and not self._server.touched:
                self._server = console.port_control
            self._show(console)

    def received(self, payload: bytes) -> bool:
        """Take in a command; :returns: whether port control is on at all."""
        if self._server is None:
            return False
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
        elif console is not None:
            self._show(console)
        return True

    def _show(self, console: Console) -> None:
        console.port_control = self._server
        if self._server is not None:
            console.settings = str(self._server.settings)
