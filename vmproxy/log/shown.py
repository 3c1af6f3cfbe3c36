"""Text as a terminal shows it: what people search, wait for, ship and read, whatever bytes it was made of.

Plain text, which is nearly all of it, passes in whole blocks; so do colours and other sequences that do not move the
cursor, which are taken out. What is left, a line that was edited or a screen that was painted, goes through
:func:`~vmproxy.log.painter.paint`.

Lines come out as UTF-8. A byte that is no part of a character stays as it is, and :func:`escaped` or :func:`replaced`
makes valid text of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from vmproxy.log.painter import paint
from vmproxy.wire.ecma48 import eight_bit_controls, seven_bits, unfinished

LINE_LIMIT = 16 * 1024
ERRORS = "surrogateescape"

_TEXT = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), 0x09, 0x0A, 0x0D})
# Sequences and controls that neither move the cursor nor change what stands there.
_COLOURS = re.compile(rb"\x1b\[[0-;]*+[NOQRUVWcgi-qtv-z{|}~\[-_]")
_SILENT = re.compile(
    rb"\x1b(?:\[(?:[<-?][0-?]{0,99}[ -/]{0,9}[@-~]|[0-?]{0,99}[ -/]{1,9}[@-~])"
    rb"|\][^PR\x00-\x1f][^\x00-\x1f]{0,4000}(?:\x07|\x1b\\)|[()][AB]|[=>])"
)
_IDLE = bytes({*range(8), *range(0x10, 0x1B), *range(0x1C, 0x20), 0x7F})
_NO_LINE_END = re.compile(rb"\r(?!\n)")
_RETURN = re.compile(rb"\r[^\r\n]")
_EIGHT_BITS = re.compile("[\x80-\x9f]")
_NO_CHARACTER = re.compile("[\udc80-\udcff]")


class ShownText:
    """Makes text of bytes, line by line.

    :ivar encoding: that of the characters.
    """

    __slots__ = ("_controls", "_utf_8", "encoding")

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self._utf_8 = codecs.lookup(encoding).name == "utf-8"
        self._controls = eight_bit_controls(encoding)

    def is_plain(self, data: bytes) -> bool:
        """Whether lines are shown as they stand, CR at their ends aside."""
        if b"\x1b" in data or data.translate(None, _TEXT):
            return False
        if b"\r" in data and _NO_LINE_END.search(data) is not None:
            return False
        return data.isascii() or (self._utf_8 and _is_utf_8(data) and b"\xc2" not in data)

    def simple(self, data: bytes) -> bytes | None:
        """Lines as they are shown, as many as came; None if one of them has to be painted."""
        if b"\x1b" in data:
            data = b"".join(_COLOURS.split(data))  # which is faster than sub()
            if b"\x1b" in data:
                data = _SILENT.sub(b"", data)
        if data.translate(None, _TEXT):
            data = data.translate(None, _IDLE)
            if data.translate(None, _TEXT):
                return None
        if b"\r" in data:
            if _RETURN.search(data) is not None:
                return None
            data = data.translate(None, b"\r")
        if data.isascii() or (self._utf_8 and b"\xc2" not in data and _is_utf_8(data)):
            return data
        text = data.decode(self.encoding, ERRORS)
        if self._controls and _EIGHT_BITS.search(text) is not None:
            return None
        return data if self._utf_8 else text.encode("utf-8", ERRORS)

    def rows(self, line: bytes) -> list[bytes]:
        """A line as it is shown, mostly as one.

        :param line: without its line feed.
        """
        simple = self.simple(line)
        if simple is not None:
            return [simple]
        text = line.rstrip(b"\r").decode(self.encoding, ERRORS)
        if self._controls:
            # Single bytes that are no UTF-8 are none: a terminal shows that they are wrong.
            text = _EIGHT_BITS.sub(lambda match: seven_bits(match[0]), text)
        return [row.encode("utf-8", ERRORS) for row in paint(text)]

    def pieces(self, line: bytes) -> Iterator[bytes]:
        """A line, broken into pieces of :data:`LINE_LIMIT` where it is longer: between characters and sequences."""
        while len(line) > LINE_LIMIT + 2:  # two CR at its end do not count
            cut = unfinished(line[:LINE_LIMIT])
            if self._utf_8:  # no character is longer; more bytes of that kind are none
                cut = next((at for at in range(cut, cut - 4, -1) if line[at] & 0xC0 != 0x80), cut)
            yield line[:cut]
            line = line[cut:]
        yield line


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def escaped(data: bytes) -> bytes:
    """Valid text: a byte that is no part of a character is shown as ``\\xNN``."""
    return data if data.isascii() else data.decode("utf-8", "backslashreplace").encode()


def replaced(data: bytes) -> bytes:
    """Valid text: each byte that is no part of a character is one."""
    if data.isascii():
        return data
    text = data.decode("utf-8", ERRORS)
    return _NO_CHARACTER.sub("\ufffd", text).encode()
