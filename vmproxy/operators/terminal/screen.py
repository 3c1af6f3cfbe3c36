"""A terminal's screen, drawn line by line: what the menu is shown on.

Whoever has something to show makes all lines of it; :class:`Screen` remembers what it sent the last time, and sends
only the lines that are different. It says nothing that a VT100 does not understand, but for the alternate screen, which
keeps what the operator had on their terminal before; a terminal without one is left empty, and in order. Lines never
wrap: a character that turns out wider than we believe spoils its own line and no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vmproxy.base.sanitize import visible
from vmproxy.operators.terminal.width import cells, cut

REVERSE = "7"
BOLD = "1"
USUAL_SIZE = (80, 24)
LARGEST = (500, 200)

# The alternate screen, and whatever a guest may have left behind undone: attributes, character sets, origin mode,
# margins, insert mode, a hidden cursor, application keys, reports of the mouse and of pastes. Last, lines do not wrap.
ENTER = (
    b"\x1b[?1049h\x1b[0m\x1b(B\x0f\x1b[?6l\x1b[r\x1b[4l\x1b[?25h\x1b[?1l\x1b>"
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?2004l\x1b[?7l"
)
# What ENTER did on purpose taken back, with the screen left empty where there is but one.
LEAVE = b"\x1b[0m\x1b[?7h\x1b[H\x1b[2J\x1b[?1049l"

_FAMILIES = re.compile(
    r"(xterm|screen|tmux|vt[1-5]\d\d|linux|rxvt|putty|konsole|kterm|gnome|vte|alacritty|foot|st|kitty|wezterm|ghostty"
    r"|contour|iterm2?|mintty|cygwin|ms-terminal|eterm|aterm|mlterm|nsterm|teraterm|dtterm|con\d*x\d*|wsvt25|cons25"
    r"|pccon|ansi|jfbterm|bterm|fbterm|mosh|qansi|hpterm|sun|iris-ansi|att|pcansi)([-_+.\d].*)?",
    re.IGNORECASE,
)


def usable(term: str) -> bool:
    """Whether a terminal understands what :class:`Screen` sends.

    :param term: what kind it is, as in the client's ``TERM``.
    """
    return len(term) <= 64 and _FAMILIES.fullmatch(term) is not None


def bounded(size: tuple[int, int]) -> tuple[int, int]:
    """A size to draw for: columns and lines, as they were told; 0 where the client did not know."""
    width, height = (told or usual for told, usual in zip(size, USUAL_SIZE, strict=True))
    return min(max(width, 1), LARGEST[0]), min(max(height, 1), LARGEST[1])


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the screen.

    :ivar style: how it is shown: empty, :data:`REVERSE` or :data:`BOLD`.
    """

    text: str = ""
    style: str = ""


EMPTY = Row()


def lay_over(rows: list[Row], lines: list[str]) -> list[Row]:
    """Put lines over the last of some rows; the very first row stays."""
    lines = lines[1 - len(rows) :] if len(rows) > 1 else []
    return [*rows[: len(rows) - len(lines)], *map(Row, lines)]


class Screen:
    """What is on a terminal, as far as we know.

    :ivar width: columns; ``height``: lines.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """:param size: columns and lines, as the client told them."""
        self.width, self.height = bounded(size)
        self._drawn: list[Row] | None = None
        self._cursor = (-1, -1)

    def resize(self, size: tuple[int, int]) -> None:
        """The terminal has another size; nobody knows what is on it now."""
        self.width, self.height = bounded(size)
        self.forget()

    def forget(self) -> None:
        """Draw everything the next time."""
        self._drawn = None

    def draw(self, rows: Sequence[Row], cursor: tuple[int, int], behind: bytes = b"") -> bytes:
        """What to send to have these lines on the screen.

        :param rows: from the top; missing ones are empty, those too many are left out.
        :param cursor: where it goes: line and column, from 0.
        :param behind: drawn by somebody else where the cursor is; sent if anything is, or if it is not as before.
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
        # What comes here is fit to be shown already; this is for the day when it is not.
        text = cut(row.text if row.text.isprintable() else visible(row.text, 4 * self.width), self.width)
        shown = f"\x1b[{row.style}m{text}\x1b[0m" if row.style else text
        # A full line is not erased behind: on some terminals the cursor still stands on its last character.
        erase = "" if cells(text) >= self.width else "\x1b[K"
        return f"\x1b[{number + 1};1H{shown}{erase}".encode("utf-8", "backslashreplace")
