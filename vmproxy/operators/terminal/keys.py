"""Keys, decoded from the bytes that a terminal sends: characters, control characters, arrows and their kin.

A pure state machine, for the line editor and the menu. An arrow is ESC and more bytes, the key Esc is ESC alone; so an
ESC is kept until the next byte or, by the owner of the clock, for a moment: see :attr:`KeyDecoder.waiting`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
PAGE_UP, PAGE_DOWN, HOME, END = "page up", "page down", "home", "end"
ENTER, TAB, BACKSPACE, DELETE, ESCAPE, INSERT = "enter", "tab", "backspace", "delete", "escape", "insert"
SEQUENCE_LIMIT = 32

_CONTROLS = {0x09: TAB, 0x0A: ENTER, 0x0D: ENTER, 0x08: BACKSPACE, 0x7F: BACKSPACE}
_FINALS = {"A": UP, "B": DOWN, "C": RIGHT, "D": LEFT, "H": HOME, "F": END}
_NUMBERS = {"1": HOME, "2": INSERT, "3": DELETE, "4": END, "5": PAGE_UP, "6": PAGE_DOWN, "7": HOME, "8": END}
_SEQUENCE = re.compile(r"\x1b(?:\[|O)([\d;]*)(.)")


class KeyDecoder:
    """Decodes bytes to keys: characters, the names above, and control characters such as ``^L``."""

    __slots__ = ("_after_return", "_decoder", "_sequence")

    def __init__(self) -> None:
        self._sequence = b""
        self._after_return = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def waiting(self) -> bool:
        """Whether an ESC is kept that may be the key: call :meth:`timeout` if nothing follows soon."""
        return self._sequence == b"\x1b"

    def timeout(self) -> str:
        """End the wait; :returns: the key that was kept; empty if there was none."""
        held, self._sequence = self.waiting, b""
        return ESCAPE if held else ""

    def feed(self, data: bytes) -> Iterator[tuple[str, int]]:
        """The keys in some input, cut anywhere, each with the offset behind it.

        A reader that stops in the middle leaves the input behind that offset to the session's next reader.
        """
        at = 0
        while at < len(data):
            byte = data[at]
            found = self._feed(byte)
            at += 1
            if self._after_return and data[at : at + 1] == b"\n":
                self._after_return = False
                at += 1  # CR LF is one Enter
            for key in found:
                yield key, at

    def _feed(self, byte: int) -> list[str]:
        returned, self._after_return = self._after_return, False
        if self._sequence:
            return self._in_sequence(byte)
        if byte == 0x1B:
            self._sequence = b"\x1b"
            return []
        if byte == 0x0A and returned:
            return []
        self._after_return = byte == 0x0D
        if byte < 0x20 or byte == 0x7F:
            self._decoder.reset()
            return [_CONTROLS.get(byte) or f"^{chr(byte ^ 0x40)}"]
        char = self._decoder.decode(bytes((byte,)))
        return [char] if char.isprintable() and char else []

    def _in_sequence(self, byte: int) -> list[str]:
        if byte < 0x20 or byte == 0x7F:
            alone, self._sequence = self.waiting, b""
            return ([ESCAPE] if alone else []) + self._feed(byte)
        if self.waiting and byte not in b"[O":
            self._sequence = b""
            return []  # Meta and a character: nothing here
        begun = len(self._sequence) == 1
        if len(self._sequence) < SEQUENCE_LIMIT:  # the rest of a longer one is dropped up to its end
            self._sequence += bytes((byte,))
        if begun or byte < 0x40:
            return []
        sequence, self._sequence = self._sequence.decode("latin-1"), b""
        match = _SEQUENCE.fullmatch(sequence)
        if match is None:
            return []
        key = _NUMBERS.get(match[1].partition(";")[0]) if match[2] == "~" else _FINALS.get(match[2])
        return [key] if key else []
