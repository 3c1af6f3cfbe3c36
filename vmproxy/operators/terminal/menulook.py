"""What the menu looks like: its lines, made of what is to be shown and of how large the screen is.

Columns are left out as the screen gets narrower: the last line of output first, then who writes. What is left at 20
columns are the name and the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmproxy.console.console import Console
from vmproxy.operators.terminal.menu_list import Entry, Roster
from vmproxy.operators.terminal.menulast import LastLines
from vmproxy.operators.terminal.menupick import Picker
from vmproxy.operators.terminal.screen import BOLD, REVERSE, Row
from vmproxy.operators.terminal.width import cells, cut, pad, tail, wrap

SMALLEST = (20, 5)
HEADINGS_FROM = 8  # lines
STATE_WIDTH = 9
_HINTS = (
    "Enter attach   Tab only look   : command   ? help   ^D leave",
    "Enter attach  Tab look  : command  ? help  ^D leave",
    "Enter, Tab look, : command, ? help, ^D",
    "Enter : ? help, ^D",
    "? help",
)

_HELP = (
    (
        "",
        "These are the consoles that you may see. Type a part of a name, and only those stay that hold it; * stands"
        " for anything, ? for any one character.",
    ),
    ("", ""),
    ("Enter", "attach; to read along, where somebody else writes"),
    ("Tab", "attach, but only look on"),
    ("Up Down", "the console before, or after; also ^P ^N"),
    ("PgUp PgDn", "a page back, or on; Home and End: the first, the last"),
    ("Esc", "show all again; also ^U"),
    (":", "a command, as after ssh; Tab completes it"),
    ("?", "this help. : and ? are that only while the filter is empty"),
    ("^L", "draw everything again"),
    ("^D ^C", "leave"),
    ("", ""),
    (
        "",
        "On a console, the escape and a dot ({escape}.) bring you back here. STATE says since when a console is up or"
        " down. WRITER is who writes there; +2: two others are there.",
    ),
)
_KEY_WIDTH = 11


@dataclass(frozen=True, slots=True)
class Columns:
    """How many columns each column has; 0 where it is not shown."""

    name: int
    state: int
    writer: int
    last: int


def rows_for(height: int) -> int:
    """How many consoles there is room for."""
    return max(1, height - (3 if height >= HEADINGS_FROM else 2))


def columns_for(width: int, longest: int) -> Columns:
    """How the columns share a line.

    :param longest: columns that the longest name takes.
    """
    state = STATE_WIDTH
    writer = 0 if width < 40 else 10 if width < 60 else 14 if width < 100 else 24
    room = width - 1 - 1 - state - (writer + 1 if writer else 0)  # the mark at the left; a blank before each column
    if width < 56:
        return Columns(max(1, room), state, writer, 0)
    name = min(max(longest, 8), room * 2 // 5)
    return Columns(name, state, writer, room - name - 1)


def short_state(console: Console, now: float) -> str:
    """``up 3d``, ``down 12m``, ``vMotion``: coarse, so that what is on the screen seldom changes."""
    if console.state == "migrating":
        return "vMotion"
    if not console.since:
        return console.state
    seconds = max(0, int(now - console.since))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{console.state} {min(999, seconds // size)}{unit}"
    return f"{console.state} <1m"


def writer_of(console: Console, width: int) -> str:
    """``alice +2`` for who writes, and how many others are there.

    :param width: columns; in many there is room for where the writer comes from.
    """
    writer = console.write_access.writer
    others = len(console.viewers.all) - (writer is not None)
    more = f"+{others}" if others > 0 else ""
    if writer is None:
        return more
    who = writer.who if width >= 20 else writer.who.partition("@")[0]
    return f"{cut(who, width - len(more) - 1)} {more}" if more else who


def console_row(
    entry: Entry, columns: Columns, now: float, last: Callable[[Console], str], chosen: bool, width: int
) -> Row:
    """One console.

    :param last: knows its last line of output.
    """
    console = entry.console
    parts = [
        (">" if chosen else " ") + pad(entry.title, columns.name),
        pad(short_state(console, now), columns.state),
    ]
    if columns.writer:
        parts.append(pad(writer_of(console, columns.writer), columns.writer))
    if columns.last:
        parts.append(cut(last(console), columns.last))
    text = " ".join(parts)
    return Row(pad(text, width), REVERSE) if chosen else Row(text.rstrip())


def heading_row(columns: Columns) -> Row:
    """What the columns are."""
    widths = {"NAME": columns.name, "STATE": columns.state, "WRITER": columns.writer, "LAST OUTPUT": columns.last}
    return Row(" " + " ".join(pad(text, width) for text, width in widths.items() if width).rstrip(), BOLD)


def top_row(shown: int, known: int, complete: bool, pattern: str, width: int) -> tuple[Row, int]:
    """The first line: how many consoles there are, and the filter.

    :param shown: how many fit the filter; ``known``: how many there are; ``complete``: whether these are all.
    :returns: it, and the column of the cursor, behind the filter.
    """
    count = f"{known:,}" if shown == known else f"{shown:,} of {known:,}"
    many = "" if complete else "+"
    if width >= 50:
        left = f" {count}{many} {'console' if known == 1 and complete else 'consoles'}    filter: "
    else:
        left = f" {count}{many} /"
    left = cut(left, max(1, width - 6))
    text = left + tail(pattern, max(0, width - cells(left) - 1))
    if not pattern and width - cells(text) > 24:
        return Row(text + "type a part of a name"), cells(text)
    return Row(text), cells(text)


def bottom_row(note: str, width: int) -> Row:
    """The last line: what just happened, or what can be done."""
    if note:
        return Row(cut(f" {note}", width), BOLD)
    return Row(next((f" {hint}" for hint in _HINTS if len(hint) < width), ""))


def empty_row(known: int, complete: bool) -> Row:
    """What stands where there is nothing to choose from."""
    if not complete:
        return Row(" looking ...")
    return Row(" nothing fits; Esc clears" if known else " no consoles yet")


def picture(
    size: tuple[int, int], roster: Roster, picker: Picker, last: LastLines, now: float
) -> tuple[list[Row], int]:
    """The list on the screen, without the last line.

    :param size: columns and lines.
    :returns: the lines, and the column of the cursor in the first of them.
    """
    width, height = size
    columns = columns_for(width, roster.longest)
    top, column = top_row(len(picker.found), len(roster.entries), roster.complete, picker.filter, width)
    rows = [top]
    if height >= HEADINGS_FROM:
        rows.append(heading_row(columns))
    for number, entry in enumerate(picker.on_screen, picker.top):
        rows.append(console_row(entry, columns, now, last.of, number == picker.chosen, width))
    if not picker.found:
        rows.append(empty_row(len(roster.entries), roster.complete))
    return rows + [Row()] * (height - 1 - len(rows)), column


def lay_over(rows: list[Row], lines: list[str]) -> list[Row]:
    """Put lines over the last of some rows; the very first row stays."""
    lines = lines[1 - len(rows) :] if len(rows) > 1 else []
    return [*rows[: len(rows) - len(lines)], *map(Row, lines)]


def help_lines(width: int, escape: str) -> list[str]:
    """The help, in lines of a width.

    :param escape: the operator's, as it is shown.
    """
    lines: list[str] = []
    indent = _KEY_WIDTH if width >= 3 * _KEY_WIDTH else 1
    for key, text in _HELP:
        pieces = wrap(text.format(escape=escape), width - 1 - (indent if key else 0), 20)
        if not key:
            lines += [f" {piece}" for piece in pieces] or [""]
        elif len(key) >= indent:
            lines += [f" {key}", *(f"  {piece}" for piece in pieces)]
        else:
            lines += [f" {(key if not n else '').ljust(indent)}{piece}" for n, piece in enumerate(pieces)]
    return lines
