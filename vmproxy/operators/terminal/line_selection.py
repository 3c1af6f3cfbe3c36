"""A selection among lines of many consoles on the alternate screen: Enter chooses the console of a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from vmproxy.base.countdown import Countdown
from vmproxy.console.console import Console
from vmproxy.operators.input_router import InputOnly
from vmproxy.operators.session import Session
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.colour import has_colours, name_style
from vmproxy.operators.terminal.keys import KeyDecoder
from vmproxy.operators.terminal.screen import ENTER, LEAVE, REVERSE, Row, Screen
from vmproxy.operators.terminal.width import cells, cut, fill

ESCAPE_SECONDS = 0.3
DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
_SAME = {
    "k": keys.UP,
    "^P": keys.UP,
    "j": keys.DOWN,
    "^N": keys.DOWN,
    "b": keys.PAGE_UP,
    " ": keys.PAGE_DOWN,
    "g": keys.HOME,
    "G": keys.END,
    "q": keys.ESCAPE,
    "^C": keys.ESCAPE,
}
_HINTS = ("Enter: go to its console  q: back to the lines", "Enter: go there  q: back", "Enter  q")


class LineSelection(InputOnly):
    """A selection, as an activity of a session.

    :ivar chosen: fires with the console whose line was chosen, or with None.
    """

    def __init__(self, session: Session, lines: Sequence[tuple[Console, str]]) -> None:
        """:param lines: at least one, the newest last; text that is safe to show."""
        self.chosen: Deferred[Console | None] = Deferred()
        self._session = session
        self._lines = lines
        self._at = len(lines) - 1
        self._top = 0
        self._screen = Screen(session.size)
        self._keys = KeyDecoder()
        self._colours = has_colours(session)
        self._lone_escape = Countdown(session.services.clock)
        self._stale = False

    def start(self) -> None:
        self._session.send(ENTER)
        self._draw()

    def farewell(self) -> bytes:
        """What puts the terminal right."""
        return LEAVE

    def stop(self) -> None:
        """Choose nothing."""
        self._end(None)

    def _end(self, console: Console | None) -> None:
        self._lone_escape.stop()
        if not self.chosen.called:
            self.chosen.callback(console)

    def drained(self) -> None:
        if self._stale:
            self._draw()

    def resized(self, width: int, height: int) -> None:
        self._screen.resize(self._session.size)
        self._draw()

    def typed(self, data: bytes) -> None:
        self._lone_escape.stop()
        for key, behind in self._keys.feed(data):
            self._key(_SAME.get(key, key))
            if self.chosen.called:
                if rest := data[behind:]:
                    self._session.router.keep(rest)  # for the console
                return
        if self._keys.waiting:
            self._lone_escape.start(ESCAPE_SECONDS, self._escape_was_meant)
        self._draw()

    def _escape_was_meant(self) -> None:
        if self._keys.timeout():
            self._end(None)

    def _key(self, key: str) -> None:
        page = max(1, self._room - 1)
        moves: dict[str, Callable[[], int]] = {
            keys.UP: lambda: self._at - 1,
            keys.DOWN: lambda: self._at + 1,
            keys.PAGE_UP: lambda: self._at - page,
            keys.PAGE_DOWN: lambda: self._at + page,
            keys.HOME: lambda: 0,
            keys.END: lambda: len(self._lines) - 1,
        }
        if key == keys.ENTER:
            self._end(self._lines[self._at][0])
        elif key == keys.ESCAPE:
            self._end(None)
        elif key == "^L":
            self._screen.forget()
        elif key in moves:
            self._at = min(max(0, moves[key]()), len(self._lines) - 1)

    @property
    def _room(self) -> int:
        return max(1, self._screen.height - 1)

    def _draw(self) -> None:
        self._stale = self._session.queued > DRAW_LIMIT
        if self._stale or self.chosen.called:
            return
        width, room = self._screen.width, self._room
        self._top = max(min(self._top, self._at), self._at - room + 1, 0)
        self._top = max(0, min(self._top, len(self._lines) - room))
        rows = [self._row(number) for number in range(self._top, min(self._top + room, len(self._lines)))]
        rows += [Row()] * (room - len(rows))
        left = f" {self._at + 1}/{len(self._lines)}  {self._lines[self._at][0].title}"
        hint = next((hint for hint in _HINTS if cells(left) + len(hint) + 3 <= width), "")
        rows.append(Row(cut(f"{fill(cut(left, width), width - len(hint) - 1)}{hint} ", width), REVERSE))
        self._session.send(self._screen.draw(rows, (self._at - self._top, 0)))

    def _row(self, number: int) -> Row:
        console, text = self._lines[number]
        if number == self._at:
            return Row(fill(cut(text, self._screen.width), self._screen.width), REVERSE)
        name = console.title
        at = text.find(name)
        if not self._colours or at < 0:
            return Row(text)
        return Row(text, marks=((at, at + len(name)),), mark=name_style(name))
