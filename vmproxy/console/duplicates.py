"""The policy for a second connection of a console that has one already.

A vMotion is no such case: its destination shows a pair and claims nothing. The old connection counts until it is
closed or keepalive has given it up. A host that lost power says nothing: under ``refuse`` its VM comes back when
keepalive has found the old connection dead, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.base import values
from vmproxy.base.addresses import same_network
from vmproxy.base.schema import setting
from vmproxy.errors import VMProxyError

REPLACE, REFUSE, SAME_NETWORK = "replace", "refuse", "same-network"
POLICIES = (REPLACE, REFUSE, SAME_NETWORK)


class ClaimRefused(VMProxyError):
    """A connection may not have the console that it claims; the text says why."""


@dataclass(frozen=True, slots=True)
class DuplicatePolicy:
    """The policy for second connections.

    :ivar policy: one of :data:`POLICIES`.
    :ivar bits4: how many leading bits make the network of an IPv4 address, ``bits6`` of an IPv6 one.
    """

    policy: str = setting(values.one_of(POLICIES), REPLACE, key="second-connection")
    bits4: int = setting(values.whole(1, 32), 24, key="same-network-ipv4")
    bits6: int = setting(values.whole(1, 128), 64, key="same-network-ipv6")

    def problem(self, there: str, new: str) -> str:
        """Why a new connection may not replace the old one; ``""`` if it may.

        :param there: the address of the old connection's host; ``new`` that of the new one.
        """
        if self.policy == REFUSE:
            return f"it is connected from {there} already"
        if self.policy == SAME_NETWORK and not same_network(there, new, self.bits4, self.bits6):
            return f"it is connected from {there} already, which is another network"
        return ""
