"""The rules for destinations of VMs: none is allowed without a rule.

A rule names destinations (hosts by name or by a pattern of names, addresses, networks) and ports. A name is looked up
first, and then it is the *address* that is judged, and that one is connected to: what DNS says a moment later changes
nothing. There are addresses that a general rule never means: this machine's own, and those of its own cable. Behind
them are the services that trust whoever is there already, our own port for hosts among them.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vmproxy.wire.dialuri import Address, DialURI

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER = [ipaddress.ip_network(n) for n in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")]
_NAMED_ONLY = [ipaddress.ip_network(n) for n in ("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10")]


def plain(address: Address) -> Address:
    """An address as it is connected to: an IPv4 address mapped into IPv6 is IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _inside(network: Network, wider: Network) -> bool:
    return (
        network.version == wider.version and network.prefixlen >= wider.prefixlen and network.network_address in wider
    )


@dataclass(frozen=True, slots=True)
class DialRule:
    """One rule.

    :ivar number: its place, from 1.
    :ivar anywhere: whether every destination is meant.
    :ivar names: patterns of host names, in small letters.
    :ivar networks: addresses and networks.
    :ivar ports: ranges, both ends included.
    :ivar verify: whether the certificate of a remote end that speaks TLS is verified.
    :ivar authorities: the certificates (PEM) to verify it with; None for those that the system trusts.
    """

    number: int
    anywhere: bool
    names: tuple[str, ...]
    networks: tuple[Network, ...]
    ports: tuple[tuple[int, int], ...]
    verify: bool = True
    authorities: bytes | None = field(default=None, repr=False)

    def concerns(self, port: int) -> bool:
        """Whether the rule is about a port."""
        return any(low <= port <= high for low, high in self.ports)

    def names_host(self, host: str) -> bool:
        """Whether the rule is about a host of this name, whatever its address."""
        return self.anywhere or any(re.match(fnmatch.translate(name), host) for name in self.names)

    def allows(self, uri: DialURI, address: Address, own: bool) -> bool:
        """Whether a destination may be connected to at an address.

        :param own: whether the address is one of this machine's own.
        """
        if not self.concerns(uri.port):
            return False
        special = any(address in network for network in _NAMED_ONLY)
        for network in self.networks:
            if address.version != network.version or address not in network:
                continue
            # What no general rule means must be named: loopback and its like as a part of those, one of ours by itself.
            by_name = any(_inside(network, wide) for wide in _NAMED_ONLY)
            if by_name or not (special or (own and network.prefixlen != network.max_prefixlen)):
                return True
        return not (own or special) and (self.anywhere or (uri.address is None and self.names_host(uri.host)))


@dataclass(frozen=True, slots=True)
class DialRules:
    """All rules; without any, nothing may be dialled."""

    rules: tuple[DialRule, ...] = ()

    def could(self, uri: DialURI) -> bool:
        """Whether any address of a destination could be allowed: is a lookup worth it?"""
        address = uri.address
        if address is not None:
            return self.judge(uri, address) is not None
        return any(rule.concerns(uri.port) and (rule.networks or rule.names_host(uri.host)) for rule in self.rules)

    def judge(self, uri: DialURI, address: Address, own: bool = False) -> DialRule | None:
        """The first rule that allows a destination at an address; None if none does.

        :param address: what the host was found to be; :func:`plain` has been applied.
        :param own: whether the address is one of this machine's own.
        """
        address = plain(address)
        if any(address in never for never in _NEVER):
            return None
        return next((rule for rule in self.rules if rule.allows(uri, address, own)), None)

    def allowed(
        self, uri: DialURI, addresses: Sequence[Address], is_own: Callable[[Address], bool]
    ) -> list[tuple[Address, DialRule]]:
        """The allowed ones of several addresses, each with its rule, in their order.

        :param is_own: tells whether an address is one of this machine's own.
        """
        found: dict[Address, DialRule] = {}
        for address in map(plain, addresses):
            rule = self.judge(uri, address, is_own(address))
            if rule is not None and uri.family in (0, address.version):
                found.setdefault(address, rule)
        return list(found.items())
