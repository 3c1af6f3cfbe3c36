"""The pace at which input is typed at a console, for guests that lose what comes faster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators.commands.declaration import Arguments, Option, Real
from vmproxy.operators.commands.errors import UsageError

LONGEST_DELAY = 60.0
SHORTEST_PAUSE = 0.01
BITS = 10  # of a character on a serial line
GUEST = "guest"
_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BAUD = re.compile(r"\d{2,7}")


@dataclass(frozen=True, slots=True)
class Rate:
    """Bits a second, or ``guest`` for the rate that the guest has set."""

    def read(self, option: str, text: str, now: float) -> int | None:
        if text == GUEST:
            return None
        if not (_BAUD.fullmatch(text) and 50 <= int(text) <= 4_000_000):
            raise UsageError(f"{option} needs bits a second from 50 to 4000000, or `{GUEST}', not {visible(text)!r}")
        return int(text)


CHAR_DELAY = Option("--char-delay", "S", Real(0, LONGEST_DELAY), "seconds to wait after each byte")
LINE_DELAY = Option("--line-delay", "S", Real(0, LONGEST_DELAY), "seconds to wait after each line")
RATE = Option("--rate", "BAUD", Rate(), f"no faster than a line of this rate; `{GUEST}' is what the guest has set")


@dataclass(frozen=True, slots=True)
class Pace:
    """A pace.

    :ivar per_byte: seconds for a byte.
    :ivar per_line: seconds after the end of a line.
    """

    per_byte: float
    per_line: float

    def portions(self, data: bytes) -> Iterator[tuple[bytes, float]]:
        """Pieces of the input, each with the seconds to wait behind it."""
        size = max(1, int(SHORTEST_PAUSE / self.per_byte)) if self.per_byte else len(data)
        for line in _LINES.findall(data):
            for at in range(0, len(line), size):
                piece = line[at : at + size]
                ends = at + size >= len(line) and piece[-1:] in b"\r\n"
                yield piece, len(piece) * self.per_byte + (self.per_line if ends else 0.0)


def pace_of(args: Arguments, console: Console) -> Pace | None:
    """The pace that options ask for; None if there is none.

    :raises UsageError: if it is the guest's, and that is not known.
    """
    per_byte, per_line = args.get(CHAR_DELAY, 0.0), args.get(LINE_DELAY, 0.0)
    if RATE in args:
        rate = args[RATE] or _guest_rate(console)
        per_byte = max(per_byte, BITS / rate)
    return Pace(per_byte, per_line) if per_byte or per_line else None


def _guest_rate(console: Console) -> int:
    found = _BAUD.match(console.settings)
    if found is None or not int(found[0]):
        raise UsageError(f"{console.title}: the guest's rate is not known; give a number")
    return int(found[0])
