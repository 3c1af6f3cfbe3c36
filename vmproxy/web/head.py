"""The head of a request, as far as decisions are made by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from vmproxy.auth.tokens import looks_like_token

UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))


@dataclass(frozen=True, slots=True)
class Head:
    """One head.

    :ivar method: as the client said it; ``target``: what stands behind it, with its escapes.
    :ivar headers: by name in lower case; of several of a name the first.
    :ivar peer: the client's address; empty over a Unix socket.
    :ivar local: our own address and port at this connection; None over a Unix socket.
    :ivar secure: whether it came over TLS.
    :ivar length: of the body; None where it comes in chunks.
    :ivar for_metrics: whether it came where nothing but the metrics is served.
    :ivar user: the operator whom a trusted proxy names; empty for nobody.
    :ivar certificate_names: the names in the certificate that the client has shown.
    """

    method: str
    target: str
    headers: dict[str, str]
    peer: str
    local: tuple[str, int] | None
    secure: bool
    length: int | None
    for_metrics: bool = False
    user: str = ""
    certificate_names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path, with its escapes."""
        return self.target.partition("?")[0]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters in their order."""
        query = self.target.partition("?")[2]
        split = (pair.partition("=") for pair in query.split("&") if pair)
        return [(_decoded(name), _decoded(value)) for name, _, value in split]

    @property
    def has_token_in_url(self) -> bool:
        """Whether a token stands where it goes into logs and histories."""
        return any(looks_like_token(piece) for piece in re.split(r"[^\w-]+", _decoded(self.target)) if len(piece) >= 40)

    def cookie(self, name: str) -> str:
        """A cookie; empty if there is none of the name."""
        return cookie_of(self.headers, name)

    @property
    def unsafe(self) -> bool:
        """Whether it changes something, or opens a connection both ways."""
        return self.method in UNSAFE or "upgrade" in self.headers


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    """A cookie among the headers of a request; empty if there is none of the name."""
    for pair in headers.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def _decoded(text: str) -> str:
    return unquote_plus(text, "utf-8", "replace")
