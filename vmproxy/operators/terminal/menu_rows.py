"""The rows of the menu: what a console is shown as, and the columns that a screen has room for.

Columns are left out as the screen gets narrower: first the last line of output, then the host, then the writer. At 20
columns the name and the state are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.console import Console
from vmproxy.console.naming import MARK
from vmproxy.operators.terminal.menu_list import ConsoleEntry
from vmproxy.operators.terminal.screen import BOLD, DIM, RED, REVERSE, YELLOW, Row
from vmproxy.operators.terminal.width import cells, cut, pad, tail, wrap
from vmproxy.operators.visible import VisibleConsoles

MESSAGE_LINES = 8
SMALLEST = (20, 5)
HEADINGS_FROM = 8  # lines
STATE_WIDTH = 9
HOST_FROM, ALERTS_FROM, PREVIEW_FROM = 110, 64, 130  # columns of the screen
HOST_WIDTH, ALERTS_WIDTH = 15, 6
_HINTS = (
    "Enter attach   Tab read-only   Right more   : command   ? help   ^D leave",
    "Enter attach   Tab read-only   : command   ? help   ^D leave",
    "Enter attach  Tab spy  : command  ? help  ^D leave",
    "Enter, Tab spy, : command, ? help, ^D",
    "Enter : ? help, ^D",
    "? help",
)
_KEY_WIDTH = 11
_HELP = (
    (
        "",
        "The consoles that you may see. Type a part of a name to filter them; * stands for any text, ? for any one"
        " character. Words about columns go with it: state:down, host:10.1.2.3, tag:team=web, who:alice, writer:alice,"
        " alerts:critical, uuid:564d; state:up web shows those that are up and have web in their name.",
    ),
    ("", ""),
    ("Enter", "attach; read-only if another operator writes"),
    ("Tab", "attach read-only"),
    ("Right", "more: log, events, status, send, and so on"),
    ("Ins ^T", "mark, for more with several at once"),
    ("^X", "leave out those that are down, or show them again"),
    ("^O", "another order: by name, state, last change, host, alerts"),
    ("Up Down", "the console before, or after; also ^P ^N"),
    ("PgUp PgDn", "a page back, or on; Home and End: the first, the last"),
    ("Esc", "clear the filter, then the marks; also ^U"),
    (":", "a command, as after ssh; Tab completes it"),
    ("?", "this help, while the filter is empty"),
    ("^L", "draw everything again"),
    ("^D ^C", "leave"),
    ("", ""),
    (
        "",
        "On a console, the escape and a dot ({escape}.) bring you back here. STATE shows how long a console has been up"
        " or down. WRITER is the operator who writes; +2: two others are attached.",
    ),
)


@dataclass(frozen=True, slots=True)
class ColumnWidths:
    """Widths of the columns; 0 for a column that is not shown."""

    name: int
    state: int
    alerts: int
    writer: int
    host: int
    last: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What rows are made of, beside the list.

    :ivar last: knows the last line of output of a console.
    :ivar now: seconds since the epoch.
    :ivar colours: whether the terminal has colours, and the operator wants them.
    """

    view: VisibleConsoles
    last: Callable[[Console], str]
    now: float
    colours: bool


def list_width(width: int) -> int:
    """The columns of the list: with a preview beside it, half of the screen."""
    return width if width < PREVIEW_FROM else max(80, width // 2)


def rows_for(height: int) -> int:
    """Consoles that a screen of so many lines has room for."""
    return max(1, height - (3 if height >= HEADINGS_FROM else 2))


def columns_for(width: int, longest: int, alerts: bool = False) -> ColumnWidths:
    """How the columns share a line.

    :param longest: columns that the longest name takes.
    :param alerts: whether there are any to be shown.
    """
    state = STATE_WIDTH
    writer = 0 if width < 40 else 10 if width < 60 else 14 if width < 100 else 24
    marks = ALERTS_WIDTH if alerts and width >= ALERTS_FROM else 0
    host = HOST_WIDTH if width >= HOST_FROM else 0
    # The mark at the left; a blank before each column.
    room = width - 1 - 1 - state - sum(column + 1 for column in (writer, marks, host) if column)
    if width < 56:
        return ColumnWidths(max(1, room), state, marks, writer, host, 0)
    name = min(max(longest, 8), room * 2 // 5)
    return ColumnWidths(name, state, marks, writer, host, room - name - 1)


def short_alerts(marks: AlertMarks) -> str:
    """``2 crit``: how many there are of the worst."""
    for number, word in zip(marks, ("crit", "warn", "info"), strict=True):
        if number:
            return f"{min(number, 9)}{'+' if number > 9 else ' '}{word}"
    return ""


def colour_of(console: Console, marks: AlertMarks) -> str:
    """The colour of a row, as a parameter of SGR: alerts first, then the state."""
    if marks.critical:
        return RED
    if marks.warning or console.state == "migrating":
        return YELLOW
    return DIM if console.state == "down" else ""


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
    writer = next(iter(console.writers), None)
    others = len(console.watchers) - (writer is not None)
    more = f"+{others}" if others > 0 else ""
    if writer is None:
        return more
    who = writer.who if width >= 20 else writer.who.partition("@")[0]
    return f"{cut(who, width - len(more) - 1)} {more}" if more else who


def fitted(name: str, width: int) -> str:
    """A name in a column; of an SSH NAME with digits of the UUID, these stay."""
    word, mark, digits = name.rpartition(MARK)
    if mark and cells(name) > width > 2 * len(digits):
        name = cut(word, width - len(digits) - 1) + mark + digits
    return pad(name, width)


def console_row(
    entry: ConsoleEntry, name: str, columns: ColumnWidths, seen: Seen, chosen: bool, marked: bool, width: int
) -> Row:
    """One console.

    :param name: see :meth:`ConsoleList.shown`.
    """
    console = entry.console
    marks = seen.view.alerts(console)
    parts = [
        ("*" if marked else ">" if chosen else " ") + fitted(name, columns.name),
        pad(short_state(console, seen.now), columns.state),
    ]
    if columns.alerts:
        parts.append(pad(short_alerts(marks), columns.alerts))
    if columns.writer:
        parts.append(pad(writer_of(console, columns.writer), columns.writer))
    if columns.host:
        parts.append(pad(cut(console.host, columns.host), columns.host))
    if columns.last:
        parts.append(cut(seen.last(console), columns.last))
    text = " ".join(parts)
    if chosen:
        return Row(pad(text, width), REVERSE)
    return Row(text.rstrip(), colour_of(console, marks) if seen.colours else "")


def heading_row(columns: ColumnWidths) -> Row:
    widths = {
        "NAME": columns.name,
        "STATE": columns.state,
        "ALERTS": columns.alerts,
        "WRITER": columns.writer,
        "HOST": columns.host,
        "LAST OUTPUT": columns.last,
    }
    return Row(" " + " ".join(pad(text, width) for text, width in widths.items() if width).rstrip(), BOLD)


def beside(rows: list[Row], width: int, title: str, lines: list[str]) -> list[Row]:
    """The list with the last lines of a console beside it.

    :param width: columns of the list.
    """
    top, *below = rows
    shown = [title, *lines[-(len(below) - 1) :]] if len(below) > 1 else []
    shown += [""] * (len(below) - len(shown))
    return [
        top,
        *(Row(row.text, row.style, _gap(row, width) + text) for row, text in zip(below, shown, strict=True)),
    ]


def _gap(row: Row, width: int) -> str:
    return " " * max(0, width - cells(row.text)) + "| "


def top_row(
    shown: int, known: int, complete: bool, pattern: str, width: int, place: int = 0, about: str = ""
) -> tuple[Row, int]:
    """The first line: how many consoles there are, the filter, and at the right the place in the list.

    :param shown: how many fit the filter; ``known``: how many there are; ``complete``: whether these are all.
    :param place: of the selected console, from 1; 0 for none.
    :param about: the order and what is left out, in words.
    :returns: it, and the column of the cursor, behind the filter.
    """
    count = f"{known:,}" if shown == known else f"{shown:,} of {known:,}"
    many = "" if complete else "+"
    if width >= 50:
        left = f" {count}{many} {'console' if known == 1 and complete else 'consoles'}    filter: "
    else:
        left = f" {count}{many} /"
    left = cut(left, max(1, width - 6))
    at = f"{place:,}/{shown:,} " if place and width >= 50 else ""
    right = f"{about}  {at}" if about and width - cells(left) - len(about) - len(at) > 24 else at
    room = max(0, width - cells(left) - 1 - (len(right) + 1 if right else 0))
    text = left + tail(pattern, room)
    column = cells(text)
    if not pattern and room > 24:
        text += "type a part of a name"
    return Row((pad(text, width - len(right)) + right).rstrip() if right else text), column


def bottom_row(note: str, width: int) -> Row:
    """The last line: a note, or a hint of the keys."""
    if note:
        return Row(cut(f" {note}", width), BOLD)
    return Row(next((f" {hint}" for hint in _HINTS if len(hint) < width), ""))


def empty_rows(known: int, complete: bool, advice: Sequence[str], width: int) -> list[Row]:
    """The lines in place of an empty list.

    :param advice: what to do while there is no console.
    """
    if not complete or known:
        return [Row(" no match (Esc clears the filter)" if complete else " looking ...")]
    lines = [piece for line in advice for piece in wrap(line, width - 2, MESSAGE_LINES)]
    return [Row(" no consoles yet"), *([Row()] if lines else []), *(Row(f" {line}") for line in lines)]


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
