"""``[web]``: how browsers and scripts are served. Off without a listener."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vmproxy.access.selector import Selector
from vmproxy.base import values
from vmproxy.base.addresses import Network, is_loopback
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, section, setting

MOST = 100_000


def _url(value: Any) -> str:
    parts = urlsplit("")
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else parts
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidValue(f"{value!r} is not an address such as https://consoles.example.org, without a path")
    usual = ":443" if parts.scheme == "https" else ":80"  # which browsers leave out
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual)}"


def _header(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").isalnum():
        raise InvalidValue(f"{value!r} is not the name of a header such as X-Remote-User")
    return value.lower()


_NETWORKS = values.list_of(values.one_network, 'networks such as ["10.1.0.0/16", "2001:db8:1::/48"]', may_be_empty=True)
_CLEAR = values.endpoints(values.endpoint_without_tls("web"), may_be_empty=True)
_GLOBS = values.list_of(lambda value: Selector(values.word(value)), 'globs such as "web*"', may_be_empty=True)


def provider_address(value: Any) -> str:
    """The address of a provider of OpenID Connect: https, or http on this machine."""
    text = values.word(value)
    try:
        parts = urlsplit(text)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        good = secure and parts.hostname and not parts.query and not parts.fragment and "@" not in parts.netloc
        good = good and parts.port != 0 and text.isascii() and text.isprintable()
    except ValueError:
        good = False
    if not good:
        raise InvalidValue(f"{visible(text)!r} is not a provider such as https://login.example.com")
    return text


@dataclass(frozen=True, slots=True)
class OIDCSettings:
    """A provider that operators log in at.

    :ivar issuer: its address; empty for none.
    :ivar client_id: what it calls us.
    :ivar client_secret_file: the file with the secret that we share with it; None without one.
    :ivar scopes: what is asked for.
    :ivar claim: what names the operator.
    :ivar ca_file: the authorities that sign its certificate; None for those of the system.
    :ivar label: what stands on the button.
    """

    issuer: str = setting(values.or_empty(provider_address, ""), "")
    client_id: str = setting(values.or_empty(values.word, ""), "")
    client_secret_file: Path | None = setting(values.or_empty(values.file, None), None)
    scopes: tuple[str, ...] = setting(values.list_of(values.word, 'words such as ["openid", "profile"]'), ("openid",))
    claim: str = setting(values.word, "preferred_username")
    ca_file: Path | None = setting(values.or_empty(values.file, None), None)
    label: str = setting(values.text, "Single sign-on")

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """What does not go together."""
        if self.issuer and not self.client_id and "client-id" not in wrong:
            yield "issuer", "this needs a client-id, what the provider calls vmproxy"
        if self.issuer and "openid" not in self.scopes and "scopes" not in wrong:
            yield "scopes", '"openid" has to be among them'


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How browsers and scripts are served.

    :ivar listen: endpoints in clear: loopback, Unix sockets, or behind trusted proxies.
    :ivar tls_listen: endpoints where connections begin with TLS.
    :ivar certificates: PEM files: the certificate and those that lead to its root, and its private key.
    :ivar public_url: where browsers find it, if that is not where it listens.
    :ivar trusted_proxies: networks of proxies that say who the client is.
    :ivar proxy_user_header: the header in which a trusted proxy names the operator; None for none.
    :ivar client_ca: the PEM file of the authorities of operators' certificates; None for none.
    :ivar session_idle: seconds without a key or pointer after which a session ends; 0: never.
    :ivar session_longest: seconds after which a session ends in any case.
    :ivar connections: connections in all.
    :ivar connections_per_operator: connections of one operator.
    :ivar metrics_listen: endpoints that serve the metrics and nothing else.
    :ivar metrics_from: networks that get the metrics on the other endpoints.
    :ivar metrics_consoles: the consoles that have metrics of their own.
    :ivar console_log_from: networks that get the ends of logs as OpenStack asks for them.
    :ivar oidc: single sign-on.
    """

    listen: tuple[str, ...] = setting(_CLEAR, ())
    tls_listen: tuple[str, ...] = setting(_CLEAR, ())
    certificates: tuple[tuple[Path, Path], ...] = setting(values.key_pairs("web"), ())
    public_url: str = setting(values.or_empty(_url, ""), "")
    trusted_proxies: tuple[Network, ...] = setting(_NETWORKS, ())
    proxy_user_header: str | None = setting(values.or_empty(_header, None), None)
    client_ca: Path | None = setting(values.or_empty(values.file, None), None)
    session_idle: float = setting(values.span, 2 * 3600.0)
    session_longest: float = setting(values.span, 12 * 3600.0)
    connections: int = setting(values.whole(1, MOST), 2000)
    connections_per_operator: int = setting(values.whole(1, MOST), 100)
    metrics_listen: tuple[str, ...] = setting(_CLEAR, ())
    metrics_from: tuple[Network, ...] = setting(_NETWORKS, ())
    metrics_consoles: tuple[Selector, ...] = setting(_GLOBS, ())
    console_log_from: tuple[Network, ...] = setting(_NETWORKS, ())
    oidc: OIDCSettings = section(OIDCSettings)

    @property
    def on(self) -> bool:
        """Whether anything is served."""
        return bool(self.listen or self.tls_listen or self.metrics_listen)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """The values that do not go with others."""
        if not self.trusted_proxies and "trusted-proxies" not in wrong:
            for endpoint in self.listen:
                if not values.is_local(endpoint):
                    yield (
                        "listen",
                        f"{endpoint!r}: passwords would go over the network in clear; give web.tls-listen, or"
                        " interface=127.0.0.1, or the proxy in front of it in web.trusted-proxies",
                    )
        if self.tls_listen and not self.certificates and "certificates" not in wrong:
            yield "tls-listen", "this needs a certificate in web.certificates; `vmproxy make-cert' makes one"
        if self.proxy_user_header and not self.trusted_proxies and "trusted-proxies" not in wrong:
            yield "proxy-user-header", "this needs the proxy in web.trusted-proxies"
        if not self.session_longest and "session-longest" not in wrong:
            yield "session-longest", 'a session has to end; give "12h", say'
