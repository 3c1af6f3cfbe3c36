"""The input line of a simulated shell: echo, editing, history. Bytes in, bytes to echo out.

It edits the way people expect of a terminal line: backspace takes a whole character of UTF-8, ^U the line, ^W a word;
arrow up and down walk through what was entered before; other escape sequences are swallowed. As on a Linux terminal
CR and LF are an Enter each, also one behind the other (``icrnl``), and NUL is nothing.
"""

from __future__ import annotations

from enum import Enum, auto

LINE_LIMIT = 4096
_HISTORY = 20
_RUBOUT = b"\b \b"


class Key(Enum):
    """What ended an edit."""

    ENTER = auto()
    INTERRUPT = auto()  # ^C
    END = auto()  # ^D on an empty line
    CLEAR = auto()  # ^L


class ShellLine:
    """One line after the other.

    :ivar echo: whether input is shown; off for a password.
    """

    __slots__ = ("_escape", "_history", "_line", "_place", "echo")

    def __init__(self) -> None:
        self.echo = True
        self._line = bytearray()
        self._escape = b""
        self._history: list[bytes] = []
        self._place = 0

    def set_echo(self, on: bool) -> None:
        """Show the characters that are typed, or not."""
        self.echo = on

    @property
    def line(self) -> bytes:
        """The input so far."""
        return bytes(self._line)

    def take(self, remember: bool) -> bytes:
        """End the line and start the next.

        :param remember: whether it goes into the history.
        """
        line = bytes(self._line)
        self._line.clear()
        if remember and line and self._history[-1:] != [line]:
            self._history.append(line)
            del self._history[:-_HISTORY]
        self._place = len(self._history)
        return line

    def forget(self) -> None:
        """Another user, another history."""
        self._history.clear()
        self._line.clear()
        self._place = 0

    def type(self, code: int) -> tuple[bytes, Key | None]:
        """Take in one byte.

        :returns: what to echo, and what the key ends, if anything.
        """
        if self._escape:
            return self._escaped(code), None
        echo = b""
        match code:
            case 13 | 10:
                return b"\r\n", Key.ENTER
            case 3:
                self._line.clear()
                return b"^C\r\n", Key.INTERRUPT
            case 4 if not self._line:
                return b"", Key.END
            case 12:
                return b"\x1b[H\x1b[2J", Key.CLEAR
            case 8 | 127:
                echo = self._rub(1 if self._line else 0)
            case 21:
                echo = self._rub(_width(self._line))
            case 23:
                kept = self._line.rstrip(b" ")
                word = kept[kept.rfind(b" ") + 1 :]
                echo = self._rub(_width(self._line) - _width(kept) + _width(word))
            case 27:
                self._escape = b"\x1b"
            case _ if code < 32:
                pass
            case _ if len(self._line) >= LINE_LIMIT:
                return b"\a", None
            case _:
                self._line.append(code)
                echo = bytes((code,))
        return (echo if self.echo else b""), None

    def _rub(self, characters: int) -> bytes:
        for _ in range(characters):
            while len(self._line) > 1 and self._line[-1] & 0xC0 == 0x80:
                del self._line[-1]
            del self._line[-1:]
        return _RUBOUT * characters

    def _escaped(self, code: int) -> bytes:
        if self._escape == b"\x1b" and code in b"[O":
            self._escape += bytes((code,))
            return b""
        if len(self._escape) > 1 and 32 <= code < 64:
            return b""  # the parameters of a sequence, which this shell has no use for
        known = len(self._escape) > 1
        self._escape = b""
        if known and self.echo and code in b"AB":
            return self._recall(-1 if code == ord("A") else 1)
        return b""

    def _recall(self, step: int) -> bytes:
        place = self._place + step
        if not 0 <= place <= len(self._history):
            return b""
        self._place = place
        erased = self._rub(_width(self._line))
        self._line[:] = self._history[place] if place < len(self._history) else b""
        return erased + self._line


def _width(line: bytes | bytearray) -> int:
    """How many characters ``line`` shows, however many bytes they take."""
    return sum(code & 0xC0 != 0x80 for code in line) if line else 0
