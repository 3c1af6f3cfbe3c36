"""The view of the menu on a terminal: the list, and over it messages, a text, or the command line.

It is drawn when something may have changed, and only while it is shown. To a client that does not read nothing is sent
until it reads again; then it gets the list of that time. Columns are left out as the screen gets narrower: first the
last line of output, then the host, then the writer. At 20 columns the name and the state are left. On a wide screen
the output of the selected console stands beside the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmproxy.base.escape import show_escape
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.console import Console
from vmproxy.console.naming import MARK
from vmproxy.operators.commands.list import to_connect
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.colour import has_colours
from vmproxy.operators.terminal.menu_actions import Action
from vmproxy.operators.terminal.menu_command_line import CommandLine
from vmproxy.operators.terminal.menu_list import ConsoleEntry, ConsoleList, Order, Selection
from vmproxy.operators.terminal.menu_refresh import LastLines, Refresher
from vmproxy.operators.terminal.screen import (
    BOLD,
    DIM,
    ENTER,
    LEAVE,
    RED,
    REVERSE,
    YELLOW,
    Row,
    Screen,
    lay_over,
)
from vmproxy.operators.terminal.width import cells, cut, pad, tail, wrap
from vmproxy.operators.visible import VisibleConsoles

DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
MESSAGES_LIMIT = 5
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
_KEY_WIDTH = 11


class MenuView:
    """The menu on one terminal.

    :ivar selection: the filter and the selected console.
    :ivar command_line: the command line; on the screen between two calls of :meth:`prompt`.
    :ivar shown: whether the terminal is ours.
    """

    def __init__(self, session: Session) -> None:
        view = session.operator.view
        self._session = session
        self._clock = session.services.clock
        self._wall = session.services.wall
        self._screen = Screen(session.size)
        self._listed = ConsoleList(view, session.services.registry)
        self._last = LastLines(view)
        self._refresher = Refresher(session, self._listed, self._last)
        self._messages: list[str] = []
        self._stale = False
        self._redrawing = False
        self.selection = Selection(self._listed, view)
        self.command_line = CommandLine(self._listed, session.operator, session.services)
        self._prompting = False
        self.shown = False
        self._note = ""
        self._text: list[str] = []
        self._offered: list[str] = []
        self._colours = has_colours(session)

    def show(self, note: str) -> None:
        """Take the terminal, and refresh the list from now on."""
        self.shown = True
        self._note = note
        self.resized()
        self._session.send(ENTER)
        self._refresher.start(self)

    def hide(self) -> bytes:
        """Leave the terminal to others.

        :returns: what is to be sent before anything else.
        """
        self._refresher.stop()
        shown, self.shown, self._prompting = self.shown, False, False
        self._text = []
        self.dismiss()
        return LEAVE if shown else b""

    def resized(self) -> None:
        self._screen.resize(self._session.size)
        self.command_line.resized(self._screen.width, self._screen.height)

    def forget(self) -> None:
        self._screen.forget()

    def add_message(self, text: str) -> None:
        """Show a message until a key is pressed."""
        self._messages = [*self._messages, text][-MESSAGES_LIMIT:]
        self.draw()

    def dismiss(self) -> None:
        """A key was pressed: messages and notes have been read."""
        self._messages = []
        self._offered = []
        self._note = ""

    def next_order(self) -> None:
        """Have the list in another order."""
        orders = list(Order)
        order = orders[(orders.index(self._listed.order) + 1) % len(orders)]
        self._listed.use(order)
        self._note = f"in the order of: {order.value}"
        self._refresher.look_through()

    def offer(self, actions: Sequence[Action], consoles: Sequence[Console]) -> None:
        """Show what can be done, until a key is pressed."""
        what = consoles[0].title if len(consoles) == 1 else f"{len(consoles)} consoles"
        shown = ", ".join(f"{action.key} {action.text}" for action in actions)
        self._offered = [what, *wrap(shown, self._screen.width - 1, MESSAGE_LINES)]

    def show_note(self, note: str) -> None:
        """Show what just happened in the last line, until a key is pressed."""
        self._note = note

    def prompt(self, on: bool) -> None:
        """Show the command line, or the list without it."""
        self._prompting = on

    def show_help(self) -> None:
        """Show the help instead of the list, until :meth:`next_page` has come to its end."""
        self._text = help_lines(self._screen.width, show_escape(self._session.operator.escape))

    def next_page(self) -> bool:
        """Go on in the text; :returns: whether there is more."""
        self._text = self._text[self._screen.height - 1 :]
        return bool(self._text)

    def draw(self) -> None:
        """Bring the terminal up to date."""
        if not self.shown:
            return
        if self._session.queued > DRAW_LIMIT:
            self._stale = True
            return
        rows, cursor, behind = self._picture()
        self._session.send(self._screen.draw(rows, cursor, behind))
        self._refresher.read()

    def draw_soon(self) -> None:
        """Draw once, however many keys come at once."""
        if not self._redrawing and self.shown:
            self._redrawing = True
            self._session.services.turns.wait(self._session.operator.name, self._draw_now)

    def _draw_now(self) -> None:
        self._redrawing = False
        self.draw()

    def drained(self) -> None:
        """The client has read everything."""
        if self._stale:
            self._stale = False
            self.draw()

    def with_last_lines(self) -> Sequence[ConsoleEntry]:
        """The consoles whose last lines are shown."""
        shown = columns_for(list_width(self._screen.width), self._listed.longest).last
        return self.selection.on_screen if shown else ()

    def previewed(self) -> Console | None:
        """The console whose output is shown beside the list."""
        return self.selection.console if list_width(self._screen.width) < self._screen.width else None

    def _picture(self) -> tuple[list[Row], tuple[int, int], bytes]:
        """What is to be seen now: the lines, where the cursor is, and what is drawn there."""
        size = width, height = self._screen.width, self._screen.height
        below = (height - 1, 0)
        if width < SMALLEST[0] or height < SMALLEST[1]:
            return [Row(line) for line in wrap("too small for the menu", width, height)], below, b""
        if self._text:
            rows = [Row(line) for line in self._text[: height - 1]]
            return (
                [*rows, *[Row()] * (height - 1 - len(rows)), bottom_row("any key: continue", width)],
                below,
                b"",
            )
        if self._listed.void:
            self._refresher.look_through()
        self.selection.arrange(rows_for(height))
        if self._listed.busy:
            self._refresher.look_through()
            self.selection.arrange(rows_for(height))
        advice = () if self._listed.entries else to_connect(self._session)
        seen = Seen(self._session.operator.view, self._last.of, self._wall(), self._colours)
        console = self.previewed()
        width = list_width(width)
        rows, column = picture((width, height), self._listed, self.selection, seen, advice)
        if console is not None:
            rows = beside(rows, width, console.title, self._refresher.preview_of(console))
            width = size[0]
        over = [line for text in self._messages for line in wrap(text, width - 1, MESSAGE_LINES)]
        if self._offered:
            kept = rows[: max(1, len(rows) - len(over) - len(self._offered))]
            what, *keys = self._offered
            offered = [*kept, *map(Row, over), Row(what, BOLD), *map(Row, keys)]
            return [*offered, bottom_row("a key from above; any other: back", width)], (0, column), b""
        if self._prompting:
            return lay_over(rows, over + self.command_line.choices), below, self.command_line.redraw()
        return [*lay_over(rows, over), bottom_row(self._note, width)], (0, column), b""


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


def picture(
    size: tuple[int, int], listed: ConsoleList, selection: Selection, seen: Seen, advice: Sequence[str] = ()
) -> tuple[list[Row], int]:
    """The list on the screen, without the last line.

    :param size: columns and lines.
    :param advice: what to do while there is no console.
    :returns: the lines, and the column of the cursor in the first of them.
    """
    width, height = size
    on_screen = selection.on_screen
    names = [listed.shown(entry) for entry in on_screen]
    alerts = any(seen.view.alerts(entry.console).total for entry in on_screen)
    columns = columns_for(width, max(listed.longest, *map(cells, names), 0), alerts)
    place = selection.chosen + 1 if selection.found else 0
    complete = listed.complete and not listed.partial
    top, column = top_row(
        len(selection.found),
        len(listed.entries),
        complete,
        selection.filter,
        width,
        place,
        _about(listed, selection),
    )
    rows = [top]
    if height >= HEADINGS_FROM:
        rows.append(heading_row(columns))
    for number, (entry, name) in enumerate(zip(on_screen, names, strict=True), selection.top):
        marked = entry.console in selection.marked
        rows.append(console_row(entry, name, columns, seen, number == selection.chosen, marked, width))
    if not selection.found:
        rows += empty_rows(len(listed.entries), complete, advice, width)
    return (rows + [Row()] * (height - 1 - len(rows)))[: height - 1], column


def _about(listed: ConsoleList, selection: Selection) -> str:
    parts = [f"{len(selection.marked)} marked"] if selection.marked else []
    parts += ["none that is down"] if selection.without_down else []
    parts += [f"by {listed.order.value}"] if listed.order is not Order.NAME else []
    return ", ".join(parts)


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
