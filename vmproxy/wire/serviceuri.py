"""Service URIs: the word that VM and proxy agree on, and a query.

``vmproxy?port=console`` is the service ``vmproxy`` with the query ``port=console``. The word is the only secret that
the protocol has, so it is compared as it stands: case counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class ServiceURI:
    """A service URI taken apart.

    :ivar service: what stands before the ``?``.
    :ivar query: the query's pairs in order; the first of a name counts.
    """

    service: str
    query: tuple[tuple[str, str], ...]

    @property
    def port(self) -> str | None:
        """The serial port that the query names (``?port=``), where that is a usable label: letters, digits, ``_``
        and (not first) ``-``, 32 at most. It becomes part of file names and of what operators type."""
        for key, value in self.query:
            if key == "port":
                return value if _LABEL.fullmatch(value) else None
        return None


@lru_cache(256)  # all VMs have the same one, or nearly
def parse(uri: str) -> ServiceURI:
    """Take a service URI apart; nonsense matches no service."""
    service, _, query = uri.partition("?")
    try:
        pairs = tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        pairs = ()
    return ServiceURI(service, pairs)


def matches(uri: ServiceURI, accepted: Iterable[str]) -> bool:
    """Whether a service is among the accepted ones; ``*`` accepts any."""
    return any(word in ("*", uri.service) for word in accepted)
