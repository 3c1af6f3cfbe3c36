"""Proxies: what one that is trusted says of who is behind it (RFC 7239, and X-Forwarded-For and -Proto before it).

Each proxy on the way adds the address of whom it was asked by to the right end. From there the first address that is no
trusted proxy's is the client's; what stands left of it, the client may have written.

Most proxies know one kind of header, and pass on what the client says in the other: two that disagree name nobody. Who
is not known does not have the address of the proxy, for which there may be rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vmproxy.base.addresses import Network, numeric_address, within

HOPS = 32
USER_LIMIT = 64
UNKNOWN = "unknown"
# Each character is looked at once: what has no closing quote goes to the end.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[^",;]+|[,;]')


@dataclass(frozen=True, slots=True)
class Behind:
    """Who is behind a proxy.

    :ivar peer: the client's address.
    :ivar secure: whether the client has come to the first trusted proxy over TLS.
    :ivar user: the operator whom the proxy names; empty for nobody.
    """

    peer: str
    secure: bool
    user: str = ""


def behind(
    values: Callable[[str], Sequence[str]],
    peer: str,
    secure: bool,
    trusted: tuple[Network, ...],
    user_header: str | None,
) -> Behind:
    """Who is behind a trusted proxy.

    :param values: gives the values of a header, in their order.
    :param peer: the address of the proxy.
    :param secure: whether the proxy has come over TLS.
    :param user_header: the header in which it names the operator; None if it does not.
    """
    older = _older(values)
    client, protocol = _client(list(_forwarded(", ".join(values("forwarded")))) or older, peer, trusted)
    if older and older[-1][0] and _client(older, peer, trusted)[0] != client:
        client = UNKNOWN
    users = values(user_header) if user_header is not None else ()
    # Of two, one may be the client's own.
    user = users[0].strip() if len(users) == 1 else ""
    return Behind(client, secure or protocol == "https", user if len(user) <= USER_LIMIT else "")


def _client(hops: Sequence[tuple[str, str]], peer: str, trusted: tuple[Network, ...]) -> tuple[str, str]:
    """The address and protocol of the client.

    :param peer: the address of the proxy.
    """
    protocol = hops[-1][1] if hops else ""
    for address, said in reversed(hops[-HOPS:]):
        numeric = numeric_address(address)
        if not address:
            break  # nothing but the protocol
        if numeric is None:
            return UNKNOWN, protocol  # as it may say itself, or a name of its own (RFC 7239, section 6)
        peer, protocol = str(numeric), said or protocol
        if not within(peer, trusted):
            break
    return peer, protocol


def _forwarded(text: str) -> Iterator[tuple[str, str]]:
    """Address and protocol of each hop of ``Forwarded``."""
    pairs: dict[str, str] = {}
    pair = hop = ""
    for piece in [*_PIECE.findall(text), ","]:
        if piece not in (",", ";"):
            pair += piece
            hop = hop or piece.strip()
            continue
        name, _, value = pair.partition("=")
        pairs[name.strip().lower()] = _unquoted(value.strip())
        pair = ""
        if piece == ",":
            if hop:
                yield _address(pairs.get("for") or UNKNOWN), pairs.get("proto", "").lower()
            pairs, hop = {}, ""


def _older(values: Callable[[str], Sequence[str]]) -> list[tuple[str, str]]:
    addresses = [part.strip() for part in ", ".join(values("x-forwarded-for")).split(",") if part.strip()]
    protocols = [part.strip().lower() for part in ", ".join(values("x-forwarded-proto")).split(",") if part.strip()]
    if not addresses:
        return [("", protocols[-1])] if protocols else []
    # The protocol is often one value for the whole way.
    apart = len(protocols) == len(addresses)
    common = protocols[-1] if protocols else ""
    return [(_address(address), protocols[n] if apart else common) for n, address in enumerate(addresses)]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(text: str) -> str:
    """An address without its port: ``192.0.2.1:443``, ``[2001:db8::1]:443``."""
    text = text.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
