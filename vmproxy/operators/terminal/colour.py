"""Colours on an operator's terminal: whether there are any, one for each name, and matches that stand out."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from vmproxy.operators.session import Session

MATCH = b"\x1b[1;31m"
NOTHING_SPECIAL = b"\x1b[m"

# Readable on dark and on light ground; red is for matches.
_NAMES = ("32", "33", "34", "35", "36", "1;32", "1;33", "1;34", "1;35", "1;36")


def has_colours(session: Session) -> bool:
    """Whether colours may be used: at a terminal that has some, unless the client has ``NO_COLOR``."""
    return session.has_pty and session.term not in ("", "dumb") and not session.no_color


def name_colour(name: str) -> bytes:
    """What begins the colour of a name."""
    return f"\x1b[{name_style(name)}m".encode()


def name_style(name: str) -> str:
    """The colour of a name, as a parameter of SGR: the same each time, in every process."""
    return _NAMES[zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(_NAMES)]


def emphasized(text: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """A text whose parts stand out.

    :param spans: where each of them begins and ends, in order.
    """
    parts: list[bytes] = []
    place = 0
    for start, end in spans:
        parts += (text[place:start], MATCH, text[start:end], NOTHING_SPECIAL)
        place = end
    return b"".join(parts) + text[place:]
