"""Service URIs: the word that VM and proxy agree on, and a query.

``vmproxy?port=console`` is the service ``vmproxy`` with the query ``port=console``. The ESXi Host Client takes nothing
but URLs, so the word may come as ``telnet://vmproxy``, ``telnet://vmproxy:13370`` or ``vmproxy:13370``, with a query or
without. Blanks around the whole and around the word do not count. The word is the only secret that the protocol has,
so it is compared as it stands: case counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

COMMON_WORDS = ("vmproxy", "vSPC.py", "vmware-vspc")
"""The words that concentrators have agreed on with hosts."""

_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}")
_URL = re.compile(r"(telnets?://)?(.*?)(:[0-9]{1,5})?/?", re.IGNORECASE | re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ServiceURI:
    """A service URI taken apart.

    :ivar service: the word.
    :ivar query: the query's pairs in order; the first of a name counts.
    :ivar literal: what stands before the ``?``, as it came.
    :ivar bare: whether that is the word alone, no URL and no port: nothing that anybody could be connected to.
    """

    service: str
    query: tuple[tuple[str, str], ...]
    literal: str
    bare: bool

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
    literal, _, query = uri.strip().partition("?")
    literal = literal.strip()
    match = _URL.fullmatch(literal)
    word = match[2].strip() if match is not None else literal
    try:
        pairs = tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        pairs = ()
    return ServiceURI(word, pairs, literal, word == literal)


def matches(uri: ServiceURI, accepted: Iterable[str]) -> bool:
    """Whether a service is among the accepted ones; ``*`` accepts any."""
    return any(word in ("*", uri.service, uri.literal) for word in accepted)


def label(uri: ServiceURI, accepted: Collection[str]) -> str | None:
    """The word as the label of its port, where any word is accepted, and nobody has agreed on this one."""
    if "*" not in accepted or uri.service in accepted or uri.service in COMMON_WORDS:
        return None
    return uri.service if _LABEL.fullmatch(uri.service) else None
