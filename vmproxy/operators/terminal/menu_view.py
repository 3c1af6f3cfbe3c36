"""The view of the menu on a terminal: the list, and over it messages, a text, or the command line.

It is drawn when something may have changed, and only while it is shown. To a client that does not read nothing is sent
until it reads again; then it gets the list of that time. Columns are left out as the screen gets narrower: first the
last line of output, then the writer. At 20 columns the name and the state are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmproxy.base.escape import show_escape
from vmproxy.console.console import Console
from vmproxy.console.naming import MARK
from vmproxy.operators.commands.list import to_connect
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.menu_command_line import CommandLine
from vmproxy.operators.terminal.menu_list import ConsoleEntry, ConsoleList, Selection
from vmproxy.operators.terminal.menu_refresh import LastLines, Refresher
from vmproxy.operators.terminal.screen import BOLD, ENTER, LEAVE, REVERSE, Row, Screen, lay_over
from vmproxy.operators.terminal.width import cells, cut, pad, tail, wrap

DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
MESSAGES_LIMIT = 5
MESSAGE_LINES = 8
SMALLEST = (20, 5)
HEADINGS_FROM = 8  # lines
STATE_WIDTH = 9
_HINTS = (
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
        " character. state:down shows those that are down, state:up web those that are up and have web in their name.",
    ),
    ("", ""),
    ("Enter", "attach; read-only if another operator writes"),
    ("Tab", "attach read-only"),
    ("Up Down", "the console before, or after; also ^P ^N"),
    ("PgUp PgDn", "a page back, or on; Home and End: the first, the last"),
    ("Esc", "clear the filter; also ^U"),
    (":", "a command, as after ssh; Tab completes it"),
    ("?", "this help; : and ? work only while the filter is empty"),
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
        self.command_line = CommandLine(self._listed, view, session.services)
        self._prompting = False
        self.shown = False
        self._note = ""
        self._text: list[str] = []

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
        self._note = ""

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
        shown = columns_for(self._screen.width, self._listed.longest).last
        return self.selection.on_screen if shown else ()

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
        advice = () if self._listed.entries else to_connect(self._session)
        rows, column = picture(size, self._listed, self.selection, self._last, self._wall(), advice)
        over = [line for text in self._messages for line in wrap(text, width - 1, MESSAGE_LINES)]
        if self._prompting:
            return lay_over(rows, over + self.command_line.choices), below, self.command_line.redraw()
        return [*lay_over(rows, over), bottom_row(self._note, width)], (0, column), b""


@dataclass(frozen=True, slots=True)
class ColumnWidths:
    """Widths of the columns; 0 for a column that is not shown."""

    name: int
    state: int
    writer: int
    last: int


def rows_for(height: int) -> int:
    """Consoles that a screen of so many lines has room for."""
    return max(1, height - (3 if height >= HEADINGS_FROM else 2))


def columns_for(width: int, longest: int) -> ColumnWidths:
    """How the columns share a line.

    :param longest: columns that the longest name takes.
    """
    state = STATE_WIDTH
    writer = 0 if width < 40 else 10 if width < 60 else 14 if width < 100 else 24
    room = width - 1 - 1 - state - (writer + 1 if writer else 0)  # the mark at the left; a blank before each column
    if width < 56:
        return ColumnWidths(max(1, room), state, writer, 0)
    name = min(max(longest, 8), room * 2 // 5)
    return ColumnWidths(name, state, writer, room - name - 1)


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


def fitted(name: str, width: int) -> str:
    """A name in a column; of an SSH NAME with digits of the UUID, these stay."""
    word, mark, digits = name.rpartition(MARK)
    if mark and cells(name) > width > 2 * len(digits):
        name = cut(word, width - len(digits) - 1) + mark + digits
    return pad(name, width)


def console_row(
    entry: ConsoleEntry,
    name: str,
    columns: ColumnWidths,
    now: float,
    last: Callable[[Console], str],
    chosen: bool,
    width: int,
) -> Row:
    """One console.

    :param name: see :meth:`ConsoleList.shown`.
    :param last: knows its last line of output.
    """
    console = entry.console
    parts = [
        (">" if chosen else " ") + fitted(name, columns.name),
        pad(short_state(console, now), columns.state),
    ]
    if columns.writer:
        parts.append(pad(writer_of(console, columns.writer), columns.writer))
    if columns.last:
        parts.append(cut(last(console), columns.last))
    text = " ".join(parts)
    return Row(pad(text, width), REVERSE) if chosen else Row(text.rstrip())


def heading_row(columns: ColumnWidths) -> Row:
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
    size: tuple[int, int],
    listed: ConsoleList,
    selection: Selection,
    last: LastLines,
    now: float,
    advice: Sequence[str] = (),
) -> tuple[list[Row], int]:
    """The list on the screen, without the last line.

    :param size: columns and lines.
    :param advice: what to do while there is no console.
    :returns: the lines, and the column of the cursor in the first of them.
    """
    width, height = size
    names = [listed.shown(entry) for entry in selection.on_screen]
    columns = columns_for(width, max(listed.longest, *map(cells, names), 0))
    top, column = top_row(len(selection.found), len(listed.entries), listed.complete, selection.filter, width)
    rows = [top]
    if height >= HEADINGS_FROM:
        rows.append(heading_row(columns))
    for number, (entry, name) in enumerate(zip(selection.on_screen, names, strict=True), selection.top):
        rows.append(console_row(entry, name, columns, now, last.of, number == selection.chosen, width))
    if not selection.found:
        rows += empty_rows(len(listed.entries), listed.complete, advice, width)
    return (rows + [Row()] * (height - 1 - len(rows)))[: height - 1], column


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
