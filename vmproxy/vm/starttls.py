"""TLS in-band on ``telnet://``, as STARTTLS elsewhere: the gate before it.

With ``offer`` a host that says WILL AUTHENTICATION is asked to switch to TLS; one that does not is served in clear.
With ``require`` every host is asked, and a :class:`StartTLSGate` stands before its session until it has switched.
VMware's extension is not asked for before, and identity, request and output in clear are forgotten. Only the list of
suboptions is kept for later, because a host that speaks first sends it once; nothing hangs on it but what we ask.

At the switch the scanner stops in the middle of what was read: what an attacker on the way has put behind the host's
START is not looked at (the host itself waits for ACCEPTED). The options that were agreed on before hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.vm.actions import Outbox
from vmproxy.wire.telnet import VMWARE_EXT, subnegotiation
from vmproxy.wire.vmware import Sub, message

_WONT_PROXY = subnegotiation(VMWARE_EXT, message(Sub.WONT_PROXY))


@dataclass(frozen=True, slots=True)
class GateState:
    """The list of suboptions in clear, and whether a request was refused."""

    known: bytes
    refused: bool


class StartTLSGate:
    """The gate before a session that must switch to TLS and has not.

    :ivar known: the host's list of suboptions, as it came; empty if it has not come.
    """

    __slots__ = ("_out", "_refused", "known")

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._refused = False
        self.known = b""

    def received(self, option: int, payload: bytes) -> None:
        """A subnegotiation came in clear, about something else than TLS."""
        if option != VMWARE_EXT or not payload:
            return
        if payload[0] == Sub.KNOWN_SUBOPTIONS_1:
            self.known = payload
        elif payload[0] == Sub.DO_PROXY and not self._refused:
            # Once: it goes on, and may switch yet.
            self._refused = True
            self._out.control(_WONT_PROXY)
            self._out.complain("refused proxy requests", "WONT-PROXY: it has not switched to TLS, which is required")

    def snapshot(self) -> GateState:
        """The state of the gate."""
        return GateState(self.known, self._refused)

    def restore(self, state: GateState) -> None:
        """Go on where another connection's gate was."""
        self.known = state.known
        self._refused = state.refused
