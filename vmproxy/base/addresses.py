"""Addresses: lists of those that are allowed, and networks that count as one.

The lists are those that OpenSSH's ``from=`` and ``source-address`` are made of; the networks of hosts are such a list.

``from=`` takes addresses, networks, wildcards and negations; ``source-address``, in certificates, addresses and
networks only. A list that cannot be understood is an error and never a list that lets anybody in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_COULD_BE_ADDRESS = re.compile(r"[0-9.*?]+|[0-9a-f:*?]+")
_MASK = re.compile(r"[0-9]{1,3}")


class BadAddresses(VMProxyError):
    """The error for a list of addresses; the text names the item."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a ``from=`` list: a network, or a pattern for the address as it is written."""

    negated: bool
    what: Network | str

    def matches(self, address: Address) -> bool:
        if isinstance(self.what, str):
            return fnmatchcase(str(address), self.what)
        return address in self.what


@dataclass(frozen=True, slots=True)
class AddressPatterns:
    """A ``from=`` list.

    :ivar text: the list as it was written.
    :ivar names: the items that can only be host names. No address is ever looked up, so they match nothing.
    """

    text: str
    items: tuple[_Item, ...]
    names: tuple[str, ...]

    def matches(self, address: str) -> bool:
        """Whether an address is allowed: an item matches it, and none that begins with ``!``.

        :param address: a numeric address; anything else matches nothing, not even ``*``.
        """
        numeric = numeric_address(address)
        if numeric is None:
            return False
        matching = [item.negated for item in self.items if item.matches(numeric)]
        return bool(matching) and not any(matching)


def numeric_address(text: str) -> Address | None:
    """An address as lists see it: without a zone, and one of IPv4 as such even where it arrived on an IPv6 socket.

    :returns: None if it is none.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(4096)
def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this machine and stays on it."""
    address = numeric_address(host)
    return host == "localhost" if address is None else address.is_loopback


def neighbourhood(address: str) -> str:
    """The network that an address is counted under: itself, or its /64 of IPv6, which one host has all of.

    :param address: as the transport gives it; the path of a Unix socket is counted under itself.
    """
    return _neighbourhood(address) if ":" in address else address


@lru_cache(4096)
def _neighbourhood(address: str) -> str:
    numeric = numeric_address(address)
    if isinstance(numeric, IPv6Address):
        return str(IPv6Network((int(numeric), 64), strict=False))
    return address if numeric is None else str(numeric)


def same_network(one: str, other: str, bits4: int, bits6: int) -> bool:
    """Whether two addresses are in one network.

    :param bits4: how many leading bits of IPv4 addresses must agree; ``bits6`` of IPv6.
    :returns: for what are no numeric addresses (of Unix sockets), whether they are equal.
    """
    first, second = numeric_address(one), numeric_address(other)
    if first is None or second is None:
        return one == other
    if first.version != second.version:
        return False
    shift = first.max_prefixlen - (bits4 if first.version == 4 else bits6)
    return int(first) >> shift == int(second) >> shift


def parse_patterns(text: str) -> AddressPatterns:
    """Understand a ``from=`` list (``10.0.0.0/8,!10.0.0.66,192.168.1.*,2001:db8::/32``).

    :raises BadAddresses: for an empty item or a network that is none. sshd takes such a list for no match at all.
    """
    items = []
    names = []
    for written in text.split(","):
        negated = written.startswith("!")
        item = written[negated:].lower()
        if not item:
            raise BadAddresses("an empty item in the list of addresses")
        if "/" in item or numeric_address(item):
            items.append(_Item(negated, network(item)))
        elif ("*" in item or "?" in item) and _COULD_BE_ADDRESS.fullmatch(item):
            items.append(_Item(negated, item))
        else:
            names.append(written)
    return AddressPatterns(text, tuple(items), tuple(names))


def parse_networks(text: str) -> tuple[Network, ...]:
    """Understand a ``source-address`` list: addresses and networks, separated by commas.

    :raises BadAddresses: for anything else.
    """
    return tuple(network(item) for item in text.split(","))


def within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of some networks; what is no numeric address is in none."""
    numeric = numeric_address(address)
    return numeric is not None and any(numeric in one for one in networks)


def network(text: str) -> Network:
    """``10.0.0.0/8`` or one address.

    :raises BadAddresses: for anything else.

    As with sshd, the mask is a number, and nothing may be set behind it: 10.0.0.1/8 may mean the host or the network.
    """
    base, slash, mask = text.partition("/")
    try:
        if "%" in base or (slash and not _MASK.fullmatch(mask)):
            raise ValueError(text)
        found = ip_network(text)
    except ValueError:
        raise BadAddresses(f"{visible(text, 80)!r} is neither an address nor a network such as 10.0.0.0/8") from None
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        address = found.network_address.ipv4_mapped
        assert address is not None
        return IPv4Network((address, found.prefixlen - 96))
    return found
