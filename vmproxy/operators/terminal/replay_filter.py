"""The past, made harmless for a terminal that shows it now.

What a VM has said holds questions, which the operator's terminal would answer now, into a login prompt of the guest or
into the operator's own shell: where the cursor is, which terminal this is, which colours it has. It holds modes that
have a terminal send something by itself, and states that were over long ago. None of that is replayed. What paints is:
text, moves of the cursor, colours, erasing, inserting and deleting, character sets.

Invariant: of all sequences only those of ``_PAINTS`` come out, whole, however the input is cut.
"""

from __future__ import annotations

import re

from vmproxy.wire.ecma48 import BROKEN, WHOLE, SevenBits, unfinished

# All but BS, TAB, LF, VT, FF, CR, the shifts between character sets, and ESC.
_SILENT = bytes({*range(8), *range(0x10, 0x1B), *range(0x1C, 0x20), 0x7F})
# Erasing the scroll-back (J with a 3) is more than painting, and T with five numbers follows the mouse.
_PAINTS = r"(?:\[(?:[0-9:;]{0,80}[@A-IKLMPSXZ`abdefm]|[0-2]?J|\d{0,5}T|[su])|[78DEM]|[()*+][0-~])"

_HARMFUL = re.compile(rf"\x1b(?!{_PAINTS})(?:(?<=\x1b)(?:{WHOLE[4:]}|{BROKEN[4:]}))".encode())
_STARTS_ANEW = re.compile(rb"\x1b(?:c|\[!p)")

# What ESC c and CSI ! p paint.
_CLEAR = {b"c": b"\x1b[m\x1b[H\x1b[2J", b"p": b"\x1b[m"}
SLICE = 8 * 1024
USUAL = b"\x1b[m\x0f\x1b(B"


class ReplayFilter:
    """Makes a stream of the past harmless."""

    __slots__ = ("_painted", "_rest", "_seven")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the stream."""
        self._seven = SevenBits(encoding)
        self._rest = b""
        self._painted = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes; what may be the beginning of a sequence or a character is kept until the rest comes."""
        # In slices: other threads do not wait for all of it.
        return b"".join(self._clean(data[at : at + SLICE]) for at in range(0, len(data), SLICE))

    def _clean(self, data: bytes) -> bytes:
        data = self._rest + self._seven.feed(data)
        if b"\x1b" in data:
            cut = unfinished(data)
            data, self._rest = data[:cut], data[cut:]
            data = _HARMFUL.sub(b"", _STARTS_ANEW.sub(lambda match: _CLEAR[match[0][-1:]], data))
            self._painted = self._painted or b"\x1b" in data
        self._painted = self._painted or b"\x0e" in data
        return data.translate(None, _SILENT)

    @property
    def cut(self) -> bytes:
        """The beginning of a sequence or a character whose rest has not come; it has not come out yet."""
        return self._rest + self._seven.rest

    def settle(self) -> bytes:
        """What is to be sent behind it: colours and character sets are as usual then."""
        return USUAL if self._painted else b""

    def end(self) -> bytes:
        """What is to be sent at the end, where no rest will come: as much of a character as there is, too."""
        return (b"" if self._rest else self._seven.rest) + self.settle()
