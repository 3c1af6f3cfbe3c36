"""TLS in-band on ``telnet://``: what is believed of a host that has not switched and must.

With ``offer`` a host that says WILL AUTHENTICATION is asked to switch to TLS; one that does not is served in clear.
With ``require`` every host is asked, and a :class:`Guard` stands before its connection until it has switched. VMware's
extension is not asked for before, and who the host says it is, what it wants and what its guest says in clear is
forgotten. Only its list of suboptions is kept for later, because a host that speaks first sends it once; nothing hangs
on it but what we ask.

At the switch the scanner stops in the middle of what was read: what somebody on the way has put behind the host's
START is not looked at (the host itself waits for ACCEPTED). The options that were agreed on before hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmproxy.wire.telnet import VMWARE_EXT
from vmproxy.wire.vmware import Sub

if TYPE_CHECKING:
    from vmproxy.vm.telnet import HostLine


class Guard:
    """Stands before a connection that must switch to TLS and has not.

    :ivar known: the host's list of suboptions, as it came; empty if it has not come.
    """

    __slots__ = ("_refused", "known")

    def __init__(self) -> None:
        self.known = b""
        self._refused = False

    def received(self, connection: HostLine, option: int, payload: bytes) -> None:
        """A subnegotiation came in clear, about something else than TLS."""
        if option != VMWARE_EXT or not payload:
            return
        if payload[0] == Sub.KNOWN_SUBOPTIONS_1:
            self.known = payload
        elif payload[0] == Sub.DO_PROXY and not self._refused:
            # Once: it goes on, and may switch yet.
            self._refused = True
            connection.suboption(Sub.WONT_PROXY)
            connection.complain("refused proxy requests", "WONT-PROXY: it has not switched to TLS, which is required")
