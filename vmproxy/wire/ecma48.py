"""Control sequences of terminals: the grammar of ECMA-48, and what DEC, xterm and Linux have added to it.

The grammar knows sequences of seven bits, which begin with an ESC; :class:`SevenBits` turns the 8-bit controls into
those, and leaves alone what is a part of a character. The patterns are texts, for bytes and for decoded text alike.

A sequence that anything else interrupts is over: one that a crash cut off swallows none of the message behind it.
Bound: one of more than :data:`SEQUENCE_LIMIT` bytes ends there. All patterns take time linear in what they look at.
"""

from __future__ import annotations

import codecs
import re

SEQUENCE_LIMIT = 4096
_MOST = SEQUENCE_LIMIT - 3

# What follows the ESC, as far as it belongs to the sequence: of a string, without its end. The Linux console has two
# commands that nothing ends: ESC ] R, and ESC ] P with seven hexadecimal digits.
_CONTROL = r"\[[0-?]{0,%d}[ -/]{0,16}"
_COMMAND = r"\](?![PR])[^\x00-\x1f]{0,%d}"
_STRING = r"[PX^_][^\x1b\x18\x1a\n]{0,%d}"
_PALETTE = r"\]P[0-9A-Fa-f]"
_OTHER = r"[ -/]?[ -/]{0,%d}"

WHOLE = (
    rf"\x1b(?:{_CONTROL}[@-~]|{_COMMAND}(?:\x07|\x1b\\)|{_STRING}\x1b\\|{_PALETTE}{{7}}|\]R|[0-OQ-WYZ`-~\\]"
    rf"|(?=[ -/]){_OTHER}[0-~])"
).replace("%d", str(_MOST))
"""A whole sequence."""

BROKEN = rf"\x1b(?:{_CONTROL}|{_COMMAND}|{_STRING}|{_PALETTE}{{0,6}}|{_OTHER})".replace("%d", str(_MOST + 1))
"""The beginning of a sequence; where :data:`WHOLE` does not match, something else has interrupted it."""

_UNFINISHED = re.compile(
    rf"\x1b(?:{_CONTROL}|{_COMMAND}\x1b?|{_STRING}\x1b?|\]|{_PALETTE}{{0,6}}|{_OTHER})\Z".replace(
        "%d", str(_MOST)
    ).encode()
)
_EIGHT_BITS = re.compile("[\x80-\x9f\udc80-\udc9f]")
_IN_UTF_8 = re.compile(b"\xc2[\x80-\x9f]")


def unfinished(data: bytes) -> int:
    """Where a sequence begins whose end has not come yet; the length of the data if there is none."""
    size = len(data)
    at = data.rfind(b"\x1b", max(0, size - SEQUENCE_LIMIT))
    if at >= 0:
        # The ESC may be the beginning of a string's end.
        before = data.rfind(b"\x1b", max(0, size - SEQUENCE_LIMIT), at) if at >= size - 2 else -1
        for start in (before, at):
            if start >= 0 and _UNFINISHED.match(data, start):
                return start
    return size


def eight_bit_controls(encoding: str) -> bool:
    """Whether an encoding has room for the 8-bit controls, and no characters in their place."""
    return codecs.lookup(encoding).name == "utf-8" or b"\x9b".decode(encoding, "replace") == "\x9b"


class SevenBits:
    """Turns the 8-bit controls in a stream into sequences of seven bits.

    In UTF-8 they are characters of two bytes; some guests send them as single bytes all the same, which are no UTF-8.

    :ivar rest: the beginning of a character, kept until the rest comes.
    """

    __slots__ = ("_decode", "_name", "rest")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the stream."""
        self._name = "utf-8" if codecs.lookup(encoding).name == "utf-8" else "latin-1"
        self._decode = eight_bit_controls(encoding)
        self.rest = b""

    def forget(self) -> None:
        """The rest of a character will not come."""
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes; the beginning of a character is kept."""
        if not self._decode or (data.isascii() and not self.rest):
            return data
        if self.rest:
            data = self.rest + data
        if self._name != "utf-8":
            return seven_bits(data.decode(self._name)).encode(self._name)
        try:
            _, used = codecs.utf_8_decode(data, "strict", False)
            whole, self.rest = data[:used], data[used:]
            if b"\xc2" not in whole or _IN_UTF_8.search(whole) is None:
                return whole
        except UnicodeDecodeError:
            pass
        text, used = codecs.utf_8_decode(data, "surrogateescape", False)
        self.rest = data[used:]
        return seven_bits(text).encode("utf-8", "surrogateescape")


def seven_bits(text: str) -> str:
    """Turn the 8-bit controls in decoded text into sequences of seven bits."""
    for control in set(_EIGHT_BITS.findall(text)):  # each at once: a guest may print nothing else
        text = text.replace(control, "\x1b" + chr((ord(control) & 0xFF) - 0x40))
    return text
