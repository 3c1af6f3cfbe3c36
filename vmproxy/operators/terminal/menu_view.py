"""What the menu shows on the terminal: the list, and over it messages, a text, or the prompt.

It is drawn when something may have changed, and only while it is shown. To a client that does not read nothing is sent
until it does; then it gets what there is to be seen by that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from vmproxy.operators.terminal.menu_command_line import Prompt
from vmproxy.operators.terminal.menu_list import Entry, Roster
from vmproxy.operators.terminal.menu_refresh import Watch
from vmproxy.operators.terminal.menulast import LastLines
from vmproxy.operators.terminal.menulook import SMALLEST, bottom_row, columns_for, lay_over, picture, rows_for
from vmproxy.operators.terminal.menupick import Picker
from vmproxy.operators.terminal.screen import ENTER, LEAVE, Row, Screen
from vmproxy.operators.terminal.width import wrap

if TYPE_CHECKING:
    from vmproxy.operators.session import Session

DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
MESSAGES_LIMIT = 5
MESSAGE_LINES = 8


class Face:
    """The menu on one terminal.

    :ivar picker: the list and the place in it.
    :ivar prompt: the command line, shown while ``prompting``.
    :ivar shown: whether the terminal is ours.
    :ivar note: what just happened, for the last line.
    :ivar text: lines that are shown instead of the list, until they are read.
    """

    def __init__(self, session: Session) -> None:
        view = session.operator.view
        self._session = session
        self._clock = session.services.clock
        self._wall = session.services.wall
        self._screen = Screen(session.size)
        self._roster = Roster(view, session.services.registry)
        self._last = LastLines(view)
        self._watch = Watch(session.services, self._roster, self._last, self._with_last_lines, self.draw)
        self._messages: list[str] = []
        self._stale = False
        self._redraw: IDelayedCall | None = None
        self.picker = Picker(self._roster, view)
        self.prompt = Prompt(self._roster, view, session.services)
        self.prompting = False
        self.shown = False
        self.note = ""
        self.text: list[str] = []

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._screen.width

    def show(self, note: str) -> None:
        """Take the terminal, and keep what is there up to date from now on."""
        self.shown = True
        self.note = note
        self.resized()
        self._session.send(ENTER)
        self._watch.start()

    def hide(self) -> bytes:
        """Leave the terminal to others.

        :returns: what is to be sent before anything else.
        """
        self._watch.stop()
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        shown, self.shown, self.prompting = self.shown, False, False
        self.text = []
        self.dismiss()
        return LEAVE if shown else b""

    def resized(self) -> None:
        """The terminal may have another size than before."""
        self._screen.resize(self._session.size)
        self.prompt.resized(self._screen.width, self._screen.height)

    def forget(self) -> None:
        """Draw everything the next time."""
        self._screen.forget()

    def add_message(self, text: str) -> None:
        """Show a message until a key is pressed."""
        self._messages = [*self._messages, text][-MESSAGES_LIMIT:]
        self.draw()

    def dismiss(self) -> None:
        """A key was pressed: messages and notes have been read."""
        self._messages = []
        self.note = ""

    def next_page(self) -> bool:
        """Go on in the text; :returns: whether there is more."""
        self.text = self.text[self._screen.height - 1 :]
        return bool(self.text)

    def draw(self) -> None:
        """Bring the terminal up to date."""
        if not self.shown:
            return
        if self._session.queued > DRAW_LIMIT:
            self._stale = True
            return
        rows, cursor, behind = self._picture()
        self._session.send(self._screen.draw(rows, cursor, behind))
        self._watch.read()

    def draw_soon(self) -> None:
        """Draw once, however many keys come at once."""
        if self._redraw is None and self.shown:
            self._redraw = self._clock.callLater(0, self._draw_now)

    def _draw_now(self) -> None:
        self._redraw = None
        self.draw()

    def drained(self) -> None:
        """The client has read everything."""
        if self._stale:
            self._stale = False
            self.draw()

    def _with_last_lines(self) -> Sequence[Entry]:
        """The consoles whose last lines are on the screen."""
        shown = columns_for(self._screen.width, self._roster.longest).last
        return self.picker.on_screen if shown else ()

    def _picture(self) -> tuple[list[Row], tuple[int, int], bytes]:
        """What is to be seen now: the lines, where the cursor is, and what is drawn there."""
        size = width, height = self._screen.width, self._screen.height
        below = (height - 1, 0)
        if width < SMALLEST[0] or height < SMALLEST[1]:
            return [Row(line) for line in wrap("too small for the menu", width, height)], below, b""
        if self.text:
            rows = [Row(line) for line in self.text[: height - 1]]
            return [*rows, *[Row()] * (height - 1 - len(rows)), bottom_row("any key: go on", width)], below, b""
        if self._roster.void:
            self._watch.look_through()
        self.picker.room = rows_for(height)
        self.picker.arrange()
        rows, column = picture(size, self._roster, self.picker, self._last, self._wall())
        over = [line for text in self._messages for line in wrap(text, width - 1, MESSAGE_LINES)]
        if self.prompting:
            return lay_over(rows, over + self.prompt.choices), below, self.prompt.redraw()
        return [*lay_over(rows, over), bottom_row(self.note, width)], (0, column), b""
