"""The view of the menu on a terminal: the list, and over it messages, a text, or the command line.

It is drawn when something may have changed, and only while it is shown. To a client that does not read nothing is sent
until it reads again; then it gets the list of that time. On a wide screen the output of the selected console stands
beside the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.base.escape import show_escape
from vmproxy.console.console import Console
from vmproxy.operators.commands.list import to_connect
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.colour import has_colours
from vmproxy.operators.terminal.menu_actions import Action
from vmproxy.operators.terminal.menu_command_line import CommandLine
from vmproxy.operators.terminal.menu_list import ConsoleEntry, ConsoleList, Order
from vmproxy.operators.terminal.menu_refresh import LastLines, Refresher
from vmproxy.operators.terminal.menu_rows import (
    HEADINGS_FROM,
    MESSAGE_LINES,
    SMALLEST,
    Seen,
    beside,
    bottom_row,
    columns_for,
    console_row,
    empty_rows,
    heading_row,
    help_lines,
    list_width,
    rows_for,
    top_row,
)
from vmproxy.operators.terminal.menu_selection import Selection
from vmproxy.operators.terminal.screen import BOLD, ENTER, LEAVE, Row, Screen, lay_over
from vmproxy.operators.terminal.width import cells, wrap

DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
MESSAGES_LIMIT = 5


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
