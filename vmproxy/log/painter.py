"""A line of output as a terminal paints it: text is written at a cursor, and sequences move that, erase and insert.

A line is what stands between two line feeds. It may be edited, by a shell say, or be a whole screen that was painted
by addresses; then its rows are lines, from the top down. Nothing is known of the terminal but that a tab has eight
columns: lines do not wrap, and where the cursor was before an address is unknown.

Bound: :data:`COLUMNS` and :data:`ROWS` that can be addressed; the text is some times as long as the line at most.
"""

from __future__ import annotations

import re

from wcwidth import wcwidth

from vmproxy.wire.ecma48 import BROKEN, WHOLE

COLUMNS = 256
ROWS = 256
_TAB = 8
_MARKS = 16  # on one character
_MOST = 4  # times as long as the line
_SPARE = 4096

_TOKEN = re.compile(
    rf"(?P<text>[^\x00-\x1f\x7f]+)|\x1b\[(?P<numbers>[0-9;:]{{0,99}})(?P<final>[@-~])|\x1b(?P<single>[78cDEM])"
    rf"|\x1b(?P<set>[()])(?P<which>[0-~])|(?P<control>\x08+|[\t\x0b\x0c\r\x0e\x0f])|{WHOLE}|{BROKEN}|[\x00-\x1f\x7f]"
)
_RUN = re.compile(r"(.)\1{2,}", re.DOTALL)
# The graphic characters of DEC terminals.
_GRAPHIC = str.maketrans("_`abcdefghijklmnopqrstuvwxyz{|}~", " ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")


def paint(text: str) -> list[str]:
    """The rows of a line that are not empty, or one that is.

    :param text: decoded, without its line feed, and with sequences of seven bits.
    """
    painter = _Painter()
    for match in _TOKEN.finditer(text):
        painter.take(match)
    painter.end_frame(True)
    rows = painter.out or [""]
    if sum(map(len, rows)) > _MOST * len(text) + _SPARE:
        rows = [_RUN.sub(r"\1\1", row) for row in rows]
    return rows


class _Painter:
    """What has been painted of a line.

    :ivar out: rows that nothing can change any more.
    """

    def __init__(self) -> None:
        self.out: list[str] = []
        self._rows: dict[int, list[str]] = {}
        self._row = self._column = 0
        self._saved = (0, 0)
        self._absolute = False  # whether rows are counted from the top of the screen
        self._insert = False
        self._graphic = [False, False]
        self._set = 0

    def take(self, match: re.Match[str]) -> None:
        if text := match["text"]:
            self._write(text)
        elif final := match["final"]:
            self._control(final, match["numbers"])
        elif control := match["control"]:
            self._move(control)
        elif which := match["which"]:
            self._graphic[match["set"] == ")"] = which == "0"
        elif single := match["single"]:
            self._escape(single)

    def end_frame(self, last: bool = False) -> None:
        """Put out what has been painted."""
        for number in sorted(self._rows):
            cells = self._rows[number]
            row = "".join(cells).rstrip(" ")
            if last and number == self._row:
                # Blanks before the cursor stay: those of a prompt.
                row = max(row, "".join(cells[: self._column]), key=len)
            if row.strip(" "):
                self.out.append(row)
        self._rows.clear()

    # Text.

    def _write(self, text: str) -> None:
        if self._graphic[self._set]:
            text = text.translate(_GRAPHIC)
        row = self._rows.setdefault(self._row, [])
        column = min(self._column, max(COLUMNS, len(row)))  # what made it wider may be erased
        if column > len(row):
            row.extend(" " * (column - len(row)))
        cells = list(text) if text.isascii() else _cells(text)
        end = column + len(cells)
        if column < len(row) and not row[column]:
            row[column - 1] = row[column] = " "  # the second half of a wide character
        if self._insert:
            row[column:column] = cells
        else:
            if end < len(row) and not row[end]:
                row[end] = " "
            row[column:end] = cells
        self._column = end

    def _repeat(self, count: int) -> None:
        row = self._rows.get(self._row, [])
        if 0 < self._column <= len(row) and self._column < COLUMNS:
            # Without its marks: there may be more of those than columns.
            self._write(row[self._column - 1][:1] * min(count, COLUMNS - self._column))

    # The cursor.

    def _move(self, control: str) -> None:
        match control[0]:
            case "\b":
                self._column = max(0, self._column - len(control))
            case "\r":
                self._column = 0
            case "\t":
                self._tab(1)
            case "\x0e" | "\x0f":
                self._set = int(control == "\x0e")
            case _:
                self._to(self._row + 1, self._column)

    def _tab(self, count: int) -> None:
        column = max(0, (self._column // _TAB + min(count, COLUMNS)) * _TAB)
        self._to(self._row, column if count > 0 or self._column % _TAB == 0 else column + _TAB)

    def _to(self, row: int, column: int) -> None:
        self._row = min(max(row, 0 if self._absolute else -ROWS), ROWS)
        # What was written may be longer than what can be addressed.
        self._column = min(max(column, 0), max(COLUMNS, self._column))

    def _address(self, row: int, column: int) -> None:
        if not self._absolute:
            self.end_frame()
            self._absolute = True
        self._to(row, column)

    def _escape(self, single: str) -> None:
        match single:
            case "7":
                self._saved = (self._row, self._column)
            case "8":
                self._to(*self._saved)
            case "c":
                self.end_frame()
                self._address(0, 0)
                self._insert = False
                self._graphic = [False, False]
            case "D":
                self._to(self._row + 1, self._column)
            case "E":
                self._to(self._row + 1, 0)
            case "M":
                self._to(self._row - 1, self._column)

    def _control(self, final: str, numbers: str) -> None:
        first, _, rest = numbers.partition(";")
        number = _number(first)
        count = number or 1
        row, column = self._row, self._column
        match final:
            case "A":
                self._to(row - count, column)
            case "B" | "e":
                self._to(row + count, column)
            case "C" | "a":
                self._to(row, column + count)
            case "D":
                self._to(row, column - count)
            case "E":
                self._to(row + count, 0)
            case "F":
                self._to(row - count, 0)
            case "G" | "`":
                self._to(row, count - 1)
            case "H" | "f":
                self._address(count - 1, (_number(rest) or 1) - 1)
            case "d":
                self._address(count - 1, column)
            case "r":
                self._address(0, 0)
            case "I":
                self._tab(count)
            case "Z":
                self._tab(-count)
            case "s":
                self._saved = (row, column)
            case "u":
                self._to(*self._saved)
            case "b":
                self._repeat(count)
            case "h" | "l" if number == 4:
                self._insert = final == "h"
            case "L" | "M" | "S" | "T":
                self.end_frame()  # what stood there is a line by now
            case "J":
                self._erase_rows(number)
            case "K" | "P" | "X" | "@":
                self._change(final, number)

    def _change(self, final: str, number: int) -> None:
        """Erase, delete and insert in the row of the cursor."""
        row, column = self._rows.get(self._row), self._column
        if row is None or (column >= len(row) and not (final == "K" and number)):
            return
        # No terminal is wider than what can be addressed, so no sequence has more to do.
        end = column + min(number or 1, len(row) - column, COLUMNS)
        match final:
            case "P":
                del row[column:end]
            case "X":
                row[column:end] = " " * (end - column)
            case "@":
                row[column:column] = " " * min(number or 1, COLUMNS)
                del row[max(COLUMNS, self._column, len(row) - min(number or 1, COLUMNS)) :]
            case "K" if number == 0:
                del row[column:]
            case "K" if number == 1:
                start, end = max(0, column + 1 - COLUMNS), min(column + 1, len(row))
                row[start:end] = " " * (end - start)
            case "K":
                row.clear()

    def _erase_rows(self, number: int) -> None:
        rows, here = self._rows, self._row
        if number >= 2 or (number == 0 and not self._column and rows and here <= min(rows)):
            self.end_frame()  # the whole screen: what stood there was to be seen
            return
        for other in [other for other in rows if (other > here if number == 0 else other < here)]:
            del rows[other]
        self._change("K", number)


def _number(text: str) -> int:
    digits = re.match(r"\d{1,5}", text)
    return int(digits[0]) if digits else 0


def _cells(text: str) -> list[str]:
    """The columns that some text takes: of a wide character the second is empty, marks go with what is before them."""
    cells: list[str] = []
    for char in text:
        width = 1 if "\udc80" <= char <= "\udcff" else wcwidth(char)
        if width == 0:
            if cells:
                at = -1 if cells[-1] or len(cells) < 2 else -2
                if len(cells[at]) <= _MARKS:
                    cells[at] += char
        else:
            cells.append(char)
            if width == 2:
                cells.append("")
    return cells
