"""Headers: those on every answer, and how the client may call us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from vmproxy.base.addresses import numeric_address
from vmproxy.web.head import Head
from vmproxy.web.problem import Problem

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), serial=()",
    ),
)
HSTS = ("Strict-Transport-Security", "max-age=31536000")


def security(secure: bool) -> Iterator[tuple[str, str]]:
    """The headers that all answers have.

    :param secure: whether the client has come over TLS.
    """
    yield from SECURITY
    if secure:
        yield HSTS


def head_bytes(status: str, headers: Iterable[tuple[str, str]], secure: bool) -> bytes:
    """The head of an answer that no request object makes, with the headers that all have."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*headers, *security(secure)))]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def check_host(head: Head, public_url: str, names: Iterable[str]) -> tuple[str, str]:
    """Check how the client calls us: a name that somebody else chose would make their pages our own.

    :param names: those of our certificate.
    :returns: the name with its port, and the origin.
    :raises Problem: if it is not one of ours.
    """
    host = head.headers.get("host", "").lower()
    public = urlsplit(public_url)
    if public_url and host in (public.netloc, f"{public.hostname}:{public.port or _PORTS[public.scheme]}"):
        return host, public_url
    scheme = "https" if head.secure else "http"
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
        good = not (parts.path or parts.query or parts.fragment or "@" in host or host != "".join(host.split()))
    except ValueError:
        name, good = "", False
    if not (good and name and _is_ours(name, head, names)):
        raise Problem("misdirected", "the Host header names another server; web.public-url says how this one is called")
    return host, f"{scheme}://{host}"


_PORTS = {"http": 80, "https": 443}


def _is_ours(name: str, head: Head, names: Iterable[str]) -> bool:
    local = numeric_address(head.local[0]) if head.local is not None else None
    if name == "localhost":
        return local is None or local.is_loopback
    address = numeric_address(name)
    if address is not None:
        return address == local or (local is not None and local.is_loopback and address.is_loopback)
    return head.secure and any(
        name == one or (one.startswith("*.") and name.partition(".")[2] == one[2:])
        for one in (one.casefold() for one in names)
    )
