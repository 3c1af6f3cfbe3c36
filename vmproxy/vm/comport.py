"""COM-PORT (RFC 2217) on one connection; its state moves with the VM."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.vm.actions import GuestBreak, Outbox, PortSettings, Readiness
from vmproxy.wire.comport import AccessServer, Break, PortState, Suspend
from vmproxy.wire.telnet import COM_PORT, subnegotiation

_USUAL = str(AccessServer(b"").settings)


def settings_text(server: AccessServer | None) -> str:
    """The serial parameters for people to read."""
    return _USUAL if server is None else str(server.settings)


@dataclass(frozen=True, slots=True)
class PortControlState:
    """Port control of one connection as a value."""

    on: bool
    suspended: bool
    told: bool
    server: PortState | None
    inherited: PortState | None


class PortControl:
    """Port control of one connection.

    :ivar on: whether the VM has turned it on.
    :ivar suspended: whether the VM wants data held back.
    """

    __slots__ = ("_inherited", "_out", "_server", "_signature", "_told", "on", "suspended")

    def __init__(self, signature: bytes, out: Outbox) -> None:
        """:param signature: what to answer when the VM asks who serves its port."""
        self._signature = signature
        self._out = out
        self.on = False
        self._told = False  # that somebody is present
        self.suspended = False
        self._server: AccessServer | None = None  # made when the VM sets or asks something: most never do
        self._inherited: AccessServer | None = None  # of the console, from the connection before

    @property
    def is_usual(self) -> bool:
        """Whether the VM has set nothing."""
        return self._server is None and self._inherited is None

    def switch(self, on: bool, carries: bool) -> None:
        """The VM turns port control on, or off.

        :param carries: whether there is a console to tell.
        """
        if on == self.on:
            return
        self.on = on
        if not on:
            # A VM that turned it off will not say RESUME either. What it has set is its console's.
            if carries:
                self._inherited = self._server
            self._server = None
            self._suspend(False)
            return
        self._server = self._inherited
        self._told = False
        if carries:
            self._out.actions.append(PortSettings(self._server))

    def carry(self, inherited: AccessServer | None) -> None:
        """Take over what the VM had set before, unless it has set something here."""
        self._inherited = inherited
        if self.on:
            if inherited is not None and (self._server is None or not self._server.touched):
                self._server = inherited
            self._out.actions.append(PortSettings(self._server))

    def received(self, payload: bytes, carries: bool) -> None:
        """Take in a command.

        :param carries: whether there is a console to tell.
        """
        if self._server is None:
            self._server = AccessServer(self._signature)
        answer, meaning = self._server.received(payload)
        if answer:
            self._out.control(subnegotiation(COM_PORT, answer))
        if not self._told:  # whether a host takes it unasked is not known; one that speaks of its port may have it
            self._told = True
            if state := self._server.modem_state():
                self._out.control(subnegotiation(COM_PORT, state))
        if isinstance(meaning, Suspend):
            self._suspend(meaning.on)
        elif isinstance(meaning, Break):
            if meaning.on and carries:
                self._out.actions.append(GuestBreak())
        elif carries:
            self._out.actions.append(PortSettings(self._server))

    def forget(self) -> None:
        """The connection carries no console any more."""
        self._inherited = None

    def tell(self) -> None:
        """Tell the console again what the VM has set, if it has set anything."""
        known = self._server if self.on else self._inherited
        if known is not None:
            self._out.actions.append(PortSettings(known))

    def _suspend(self, on: bool) -> None:
        self.suspended = on
        self._out.actions.append(Readiness(not on and not self._out.blocked))

    def snapshot(self) -> PortControlState:
        """The state of port control on this connection."""
        server, inherited = self._server, self._inherited
        return PortControlState(
            self.on,
            self.suspended,
            self._told,
            None if server is None else server.snapshot(),
            None if inherited is None or inherited is server else inherited.snapshot(),
        )

    def restore(self, state: PortControlState) -> None:
        """Go on where another connection's port control was."""
        self.on = state.on
        self.suspended = state.suspended
        self._told = state.told
        self._server = None if state.server is None else AccessServer.restore(state.server)
        self._inherited = None if state.inherited is None else AccessServer.restore(state.inherited)
