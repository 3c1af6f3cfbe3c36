"""The destination of a VM with direction "client": the URI in its DO-PROXY.

PROTOCOL: ``tcp://host:port``, ``tcp4://``, ``tcp6://``, ``telnet://``, ``telnets://``, ``ssl://``, ``tcp+ssl://`` (with
4 or 6 behind ``tcp`` too), and bare ``host:port``. Behind it may stand a query, as in the service URIs of direction
"server": ``?port=2`` is the label of the serial port. The text comes from a VM's settings and so from whoever may edit
them; what is accepted is only what can be meant in one way. Resolvers take ``127.1``, ``0x7f.1`` and ``2130706433`` for
addresses: here these are neither addresses nor names.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from vmproxy.errors import WireError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URI_LIMIT = 1024
_SHOWN = 100
_HOST_LIMIT = 253
_TELNET_PORTS = {"telnet": 23, "telnets": 992}
_SCHEME = re.compile(r"(telnets?|ssl|tcp([46]?)(\+ssl)?)://", re.IGNORECASE | re.ASCII)
_ANY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_QUERY = re.compile(r"[A-Za-z0-9._~!$'()*+,;:@/?%&=-]*", re.ASCII)


class DialError(WireError):
    """A URI that nobody can be connected to; the text says why, safe to show."""


@dataclass(frozen=True, slots=True)
class DialURI:
    """A destination.

    :ivar scheme: in small letters: ``tcp``, ``tcp4+ssl``, ``telnets`` ...
    :ivar host: a name in small letters without a dot at its end, or an address, that of IPv6 in hexadecimal digits.
    :ivar port: 1 to 65535.
    :ivar query: what stands behind the ``?``; may be empty.
    """

    scheme: str
    host: str
    port: int
    query: str = ""

    @property
    def address(self) -> Address | None:
        """The address, where the host is one; None where it is a name."""
        return literal(self.host)

    @property
    def family(self) -> int:
        """4 or 6 where only such addresses will do, else 0."""
        return int(self.scheme[3]) if self.scheme[3:4] in ("4", "6") else 0

    @property
    def tls(self) -> bool:
        """Whether the remote end speaks TLS from the first byte."""
        return self.scheme == "telnets" or self.scheme.endswith("ssl")

    @property
    def telnet(self) -> bool:
        """Whether the remote end speaks Telnet; else its bytes are the serial data as they stand."""
        return self.scheme.startswith("telnet")

    @property
    def place(self) -> str:
        """The URI without its query, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.place}?{self.query}" if self.query else self.place


def literal(host: str) -> Address | None:
    """The address that a text is; None where it is none, or one with a zone."""
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def is_dialled(uri: str) -> bool:
    """Whether the URI of a console is one of direction "client", as :func:`parse` has it written."""
    if "://" not in uri:
        return False
    try:
        return str(parse(uri)) == uri
    except DialError:
        return False


def parse(text: str) -> DialURI:
    """Take a URI apart.

    :raises DialError: if it is no destination; the text says why.
    """
    if len(text) > URI_LIMIT:
        raise DialError(f"the URI is longer than {URI_LIMIT} characters")
    shown = ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise DialError(f"{shown} holds characters that no URI may hold")
    match = _SCHEME.match(text)
    if match is None and (known := _ANY_SCHEME.match(text)):
        raise DialError(f"{shown}: there is no scheme {known[0]}")
    scheme = match[1].lower() if match else "tcp"
    rest, _, fragment = text[match.end() if match else 0 :].partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if path or (slash and match is None):
        raise DialError(f"{shown}: a destination has no path")
    if "@" in authority:
        raise DialError(f"{shown}: a user or password can be sent to nobody here")
    if fragment not in ("", "verify"):
        raise DialError(f"{shown}: nothing is known of what stands behind #; how to verify is said by our rules")
    if not _QUERY.fullmatch(query):
        raise DialError(f"{shown}: the query holds characters that no query may hold")
    host, number = _split(authority, shown)
    port = _port(number, scheme, shown)
    uri = DialURI(scheme, host, port, query)
    address = uri.address
    if address is not None and uri.family not in (0, address.version):
        raise DialError(f"{shown}: {scheme} wants another kind of address")
    return uri


def _split(authority: str, shown: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        address = literal(inner)
        if not bracket or not isinstance(address, ipaddress.IPv6Address) or (rest and not rest.startswith(":")):
            raise DialError(f"{shown}: in brackets stands an IPv6 address without a zone, then :port")
        mapped = address.ipv4_mapped
        # From 3.13 on Python writes these otherwise, and what is stored must not depend on that.
        host = str(address) if mapped is None else f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"
        return host, rest[1:] if rest else None
    host, colon, number = authority.partition(":")
    if ":" in number:
        raise DialError(f"{shown}: write an IPv6 address in brackets")
    return _host(host, shown), number if colon else None


def _host(host: str, shown: str) -> str:
    name = host.lower().removesuffix(".")
    if not name:
        raise DialError(f"{shown} names no host")
    address = literal(name)
    if address is not None:
        return str(address)
    labels = name.split(".")
    if len(name) > _HOST_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        raise DialError(f"{shown}: the host is neither a name nor an address")
    if _NUMBER.fullmatch(labels[-1]):
        raise DialError(f"{shown}: the host looks like an address and is none")
    return name


def _port(number: str | None, scheme: str, shown: str) -> int:
    if number is None:
        if scheme not in _TELNET_PORTS:
            raise DialError(f"{shown} names no port")
        return _TELNET_PORTS[scheme]
    if not _PORT.fullmatch(number) or not 1 <= int(number) <= 65535:
        raise DialError(f"{shown}: a port is a number from 1 to 65535")
    return int(number)
