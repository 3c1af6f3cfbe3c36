"""The screen of a terminal, drawn line by line.

The owner makes all lines; :class:`Screen` remembers the lines that it sent last, and sends only those that differ. It
sends nothing that a VT100 does not understand, except for the alternate screen, which keeps the operator's own screen;
a terminal without one is left empty, and in order. Lines never wrap: a character that is wider than expected spoils
its own line and no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vmproxy.base.sanitize import visible
from vmproxy.operators.terminal.width import cells, cut

REVERSE = "7"
BOLD = "1"
DIM, RED, YELLOW = "2", "31", "33"
USUAL_SIZE = (80, 24)
LARGEST = (500, 200)

# The alternate screen, and a reset of all that a guest may have left behind: attributes, character sets, origin mode,
# margins, insert mode, a hidden cursor, application keys, reports of the mouse and of pastes. Last, lines do not wrap.
TO_ALTERNATE, TO_USUAL = b"\x1b[?1049h", b"\x1b[?1049l"
ENTER = (
    TO_ALTERNATE + b"\x1b[0m\x1b(B\x0f\x1b[?6l\x1b[r\x1b[4l\x1b[?25h\x1b[?1l\x1b>"
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?2004l\x1b[?7l"
)
# Undoes ENTER; the screen is left empty on a terminal without an alternate one.
LEAVE = b"\x1b[0m\x1b[?7h\x1b[H\x1b[2J" + TO_USUAL

_FAMILIES = re.compile(
    r"(xterm|screen|tmux|vt[1-5]\d\d|linux|rxvt|putty|konsole|kterm|gnome|vte|alacritty|foot|st|kitty|wezterm|ghostty"
    r"|contour|iterm2?|mintty|cygwin|ms-terminal|eterm|aterm|mlterm|nsterm|teraterm|dtterm|con\d*x\d*|wsvt25|cons25"
    r"|pccon|ansi|jfbterm|bterm|fbterm|mosh|qansi|hpterm|sun|iris-ansi|att|pcansi)([-_+.\d].*)?",
    re.IGNORECASE,
)


def usable(term: str) -> bool:
    """Whether a terminal understands the output of :class:`Screen`.

    :param term: its kind, as in the client's ``TERM``.
    """
    return len(term) <= 64 and _FAMILIES.fullmatch(term) is not None


def bounded(size: tuple[int, int]) -> tuple[int, int]:
    """A size to draw for, from the columns and lines of a client; 0 if the client did not know them."""
    width, height = (told or usual for told, usual in zip(size, USUAL_SIZE, strict=True))
    return min(max(width, 1), LARGEST[0]), min(max(height, 1), LARGEST[1])


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the screen.

    :ivar style: how it is shown: empty, or a parameter of SGR such as :data:`REVERSE`.
    :ivar beside: plain text behind it.
    :ivar marks: parts of the text that stand out, in order: where each begins and ends, in characters.
    :ivar mark: how they are shown.
    """

    text: str = ""
    style: str = ""
    beside: str = ""
    marks: tuple[tuple[int, int], ...] = ()
    mark: str = REVERSE


EMPTY = Row()


def lay_over(rows: list[Row], lines: list[str]) -> list[Row]:
    """Put lines over the last of some rows; the very first row stays."""
    lines = lines[1 - len(rows) :] if len(rows) > 1 else []
    return [*rows[: len(rows) - len(lines)], *map(Row, lines)]


class Screen:
    """The screen of one terminal, as it was drawn last.

    :ivar width: columns; ``height``: lines.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """:param size: columns and lines, as the client told them."""
        self.width, self.height = bounded(size)
        self._drawn: list[Row] | None = None
        self._cursor = (-1, -1)

    def resize(self, size: tuple[int, int]) -> None:
        """Take another size. What is on the terminal now is unknown."""
        self.width, self.height = bounded(size)
        self.forget()

    def forget(self) -> None:
        self._drawn = None

    def draw(self, rows: Sequence[Row], cursor: tuple[int, int], behind: bytes = b"") -> bytes:
        """Bytes that put lines on the screen.

        :param rows: the lines from the top; missing ones are empty, excess ones are left out.
        :param cursor: line and column of the cursor, from 0.
        :param behind: bytes that draw at the cursor.
        """
        wanted = [*rows[: self.height], *[EMPTY] * (self.height - len(rows))]
        parts: list[bytes] = []
        if self._drawn is None:
            parts.append(b"\x1b[0m\x1b[H\x1b[2J")
            self._drawn = [EMPTY] * self.height
            self._cursor = (-1, -1)
        for number, (row, before) in enumerate(zip(wanted, self._drawn, strict=True)):
            if row != before:
                parts.append(self._line(number, row))
        self._drawn = wanted
        if parts or cursor != self._cursor or behind:
            line, column = min(cursor[0], self.height - 1), min(cursor[1], self.width - 1)
            parts.append(b"\x1b[%d;%dH" % (line + 1, column + 1))
            parts.append(behind)
            self._cursor = cursor if not behind else (-1, -1)
        return b"".join(parts)

    def _line(self, number: int, row: Row) -> bytes:
        text = self._safe(row.text, self.width)
        beside = self._safe(row.beside, self.width - cells(text)) if row.beside else ""
        shown = (f"\x1b[{row.style}m{text}\x1b[0m" if row.style else self._marked(text, row)) + beside
        # A full line is not erased behind: on some terminals the cursor is still on its last character.
        erase = "" if cells(text) + cells(beside) >= self.width else "\x1b[K"
        return f"\x1b[{number + 1};1H{shown}{erase}".encode("utf-8", "backslashreplace")

    @staticmethod
    def _marked(text: str, row: Row) -> str:
        parts: list[str] = []
        place = 0
        for start, end in row.marks:
            if start < min(end, len(text)):
                parts += (text[place:start], f"\x1b[{row.mark}m", text[start:end], "\x1b[0m")
                place = end
        return "".join(parts) + text[place:]

    def _safe(self, text: str, width: int) -> str:
        # Rows are safe to show already; this is a second line of defence.
        return cut(text if text.isprintable() else visible(text, 4 * self.width), width)
