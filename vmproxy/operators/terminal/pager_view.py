"""What is seen of a console's history: the rows of a screen, made on a thread, and the line below them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vmproxy.base.sanitize import visible
from vmproxy.log.history import History, Place
from vmproxy.log.pattern import Pattern
from vmproxy.log.shown import LINE_LIMIT
from vmproxy.operators.terminal.screen import BOLD, REVERSE, Row
from vmproxy.operators.terminal.width import cells, cut, fill, wrap

_HINTS = (
    "/ ? search  n N next  16:04 time  h help  q live",
    "/ ? search  16:04 time  h help  q live",
    "/ ? search  h help  q live",
    "h help  q live",
    "q live",
    "q",
)
_HELP = (
    ("Up Down", "a line back, or on; also k j"),
    ("u d", "half a page"),
    ("PgUp PgDn", "a page; also b and the space bar"),
    ("Home End", "the beginning, and what is newest; also g G"),
    ("Left Right", "the rest of long lines"),
    ("16:04", "to a time: just type it. Also 10m, 2026-11-22, 2026-11-22 16:04; 50% is half-way; t asks for the rest"),
    ("/ ?", "search on, or back, for a regular expression; without capitals in it, those in the log do not matter"),
    ("n N", "the next match, and the one before; ^C ends a search"),
    ("^L", "draw everything again"),
    ("q Esc", "back to the live console, which goes on meanwhile: +12 are the lines that have come"),
)
_KEY_WIDTH = 12


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of text that is safe to show.

    :ivar marks: where the pattern matches, in characters.
    """

    place: Place
    text: str
    marks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """A part of the history, as many rows as there is room for.

    :ivar end: the position behind the last of them.
    :ivar is_last: whether there was nothing behind them.
    :ivar size: bytes of history; ``before``: of them, before the end of what is shown.
    """

    rows: tuple[ShownRow, ...]
    end: int
    is_last: bool
    size: int
    before: int

    @property
    def top(self) -> Place:
        """The place of the first row."""
        return self.rows[0].place if self.rows else Place(self.end)

    def shows(self, position: int) -> bool:
        """Whether a line is on the screen."""
        return any(row.place.position == position for row in self.rows)


def look(history: History, height: int, pattern: Pattern | None, top: Place | None = None, move: int = 0) -> Sight:
    """Look at the history; it waits for the disk.

    :param top: what is in the first row; None: as much as there is room for before the end.
    :param move: by how many rows to go on from there, or back.
    """
    window = history.last(height) if top is None else history.window(top, height, move)
    if window.is_last and len(window.rows) < height and top is not None:
        window = history.last(height)
    rows = tuple(_row(place, text, pattern) for place, text in window.rows)
    end = window.end if window.rows else history.end
    return Sight(rows, end, window.is_last, history.end - history.start, end - history.start)


def _row(place: Place, text: bytes, pattern: Pattern | None) -> ShownRow:
    shown = visible(text.decode("utf-8", "backslashreplace").expandtabs().rstrip(), LINE_LIMIT)
    if pattern is None:
        return ShownRow(place, shown, ())
    data = shown.encode()
    if len(data) == len(shown):
        return ShownRow(place, shown, tuple(pattern.spans(data)))
    spans = ((len(data[:start].decode("utf-8", "ignore")), start, end) for start, end in pattern.spans(data))
    return ShownRow(
        place, shown, tuple((at, at + len(data[start:end].decode("utf-8", "ignore"))) for at, start, end in spans)
    )


def rows_of(sight: Sight, pan: int, hit: int | None, mark: str) -> list[Row]:
    """The rows as they are drawn.

    :param pan: how many characters are left out at the left.
    :param hit: the position of the line that was found last; ``mark``: how other matches are shown.
    """
    return [
        Row(
            row.text[pan:],
            marks=tuple((max(0, start - pan), end - pan) for start, end in row.marks if end > pan),
            mark=REVERSE if row.place.position == hit else mark,
        )
        for row in sight.rows
    ]


def status_row(width: int, title: str, at: float | None, now: float, where: str, new: int, note: str) -> Row:
    """The line below: which console, when the first row came, where that is, and what has come meanwhile.

    :param note: shown in place of the keys.
    """
    moment = "" if at is None else _moment(at, now)
    more = f"+{new:,} line{'' if new == 1 else 's'}" if new else ""
    name = cut(title, max(1, width // 3))
    left = "  ".join(filter(None, (name, moment, where, more)))
    if cells(left) >= width - 4:
        left = "  ".join(filter(None, (name, moment[-8:], where, f"+{new}" if new else "")))
    room = width - cells(left) - 4
    right = cut(note, room) if note else next((hint for hint in _HINTS if len(hint) <= room), "")
    return Row(fill(cut(f" {fill(left, width - cells(right) - 3)}  {right}", width), width), REVERSE)


def _moment(at: float, now: float) -> str:
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", then)


def where_in(sight: Sight) -> str:
    """``37%`` of the history is above the lower edge of the screen."""
    if sight.is_last:
        return "end"
    return f"{min(99, 100 * sight.before // sight.size) if sight.size else 0}%"


def help_rows(width: int) -> list[Row]:
    rows = [Row("The history of the console", BOLD)]
    for keys, text in _HELP:
        first, *more = wrap(text, max(8, width - _KEY_WIDTH - 1), 20)
        rows.append(Row(f"{fill(keys, _KEY_WIDTH)}{first}"))
        rows += (Row(" " * _KEY_WIDTH + line) for line in more)
    return rows
