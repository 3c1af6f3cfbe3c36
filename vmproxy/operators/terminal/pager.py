"""The pager: a console's history on the alternate screen of an operator's terminal, while the console goes on behind.

It moves by lines, pages, times and matches. What is shown is text, so nothing that a VM has ever said is asked of the
terminal. The log is read on threads, one step after the other; keys that come meanwhile wait.
Bound: :data:`STEPS_LIMIT` keys wait, and one screen of text is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.countdown import Countdown
from vmproxy.base.tasks import spawn
from vmproxy.base.timeparse import parse_when
from vmproxy.errors import VMProxyError
from vmproxy.log.history import History, Place
from vmproxy.log.pattern import Pattern
from vmproxy.operators.history_reader import HistoryReader
from vmproxy.operators.log_reading import SearchSlot
from vmproxy.operators.session import Session
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.colour import has_colours
from vmproxy.operators.terminal.keys import KeyDecoder
from vmproxy.operators.terminal.line_editor import Cancelled, Entered, LineEditor
from vmproxy.operators.terminal.pager_view import Sight, help_rows, look, rows_of, status_row, where_in
from vmproxy.operators.terminal.screen import REVERSE, Row, Screen

ESCAPE_SECONDS = 0.3
DRAW_LIMIT = 16 * 1024  # bytes not sent yet; above it nothing more is drawn
STEPS_LIMIT = 32
COUNT_SECONDS = 0.5  # between two drawings of how many lines have come
PATTERN_MARK = "1;31"
ANSWER_LIMIT = 200

_SAME = {
    "k": keys.UP,
    "y": keys.UP,
    "^P": keys.UP,
    "^Y": keys.UP,
    "j": keys.DOWN,
    "e": keys.DOWN,
    "^N": keys.DOWN,
    keys.ENTER: keys.DOWN,
    "b": keys.PAGE_UP,
    "^B": keys.PAGE_UP,
    "f": keys.PAGE_DOWN,
    " ": keys.PAGE_DOWN,
    "^F": keys.PAGE_DOWN,
    "^U": "u",
    "^D": "d",
    "g": keys.HOME,
    "<": keys.HOME,
    "G": keys.END,
    ">": keys.END,
    "F": keys.END,
    "q": keys.ESCAPE,
    "Q": keys.ESCAPE,
}
_END_SEARCH = ("^C", keys.ESCAPE, "q")

_log = Logger()


class Pager:
    """One operator's look at the history of a console, as an activity of a session."""

    def __init__(
        self,
        session: Session,
        title: str,
        reader: HistoryReader,
        touched: Callable[[], None],
        leave: Callable[[], None],
        farewell: Callable[[], bytes],
        send_break: Callable[[], None],
    ) -> None:
        """
        :param title: of the console.
        :param touched: called when a key was pressed.
        :param leave: called when the operator goes back to the console.
        :param farewell: gives what puts the terminal right before the session ends.
        :param send_break: sends a break to the guest.
        """
        self._session = session
        self._title = title
        self._reader = reader
        self._touched = touched
        self._leave = leave
        self.farewell = farewell
        self.send_break = send_break
        self._screen = Screen(session.size)
        self._keys = KeyDecoder()
        self._steps: deque[Callable[[], Awaitable[None]]] = deque()
        self._stepping = False
        self._sight: Sight | None = None
        self._at: float | None = None  # when the first row came
        self._pan = 0
        self._pattern: Pattern | None = None
        self._pattern_text = ""
        self._back = False
        self._hit: int | None = None  # the position of the line that was found last
        self._cancelled = False
        self._searching = False
        self._editor: LineEditor | None = None
        self._answered: Callable[[str], None] = lambda _: None
        self._patterns: list[str] = []
        self._note = ""
        self._help: list[Row] = []
        self._stale = self._drawing = self._gone = False
        self._mark = PATTERN_MARK if has_colours(session) else REVERSE
        self._counting = Countdown(session.services.clock)
        self._lone_escape = Countdown(session.services.clock)

    def start(self, search: bool) -> None:
        """Show the end of the history.

        :param search: ask at once what to look for.
        """
        if search:
            self._ask_pattern(back=True)
        self._step(lambda: self._look(None, anew=True))
        self._draw()

    def stop(self) -> None:
        """Show nothing more."""
        self._gone = True
        self._steps.clear()
        self._reader.end()
        self._counting.stop()
        self._lone_escape.stop()

    def came(self, data: bytes) -> None:
        """The VM says more."""
        self._reader.output(data)
        if not self._counting.is_running:
            self._counting.start(COUNT_SECONDS, self._draw)

    def told(self, text: str) -> None:
        """Something is said about the console."""
        self._note = text
        self._draw_soon()

    def resized(self, width: int, height: int) -> None:
        self._screen.resize(self._session.size)
        if self._editor is not None:
            self._editor.resized(self._screen.width)
        sight = self._sight
        if sight is not None:
            self._step(lambda: self._look(None if sight.is_last else sight.top))
        self._draw()

    def drained(self) -> None:
        if self._stale:
            self._draw()

    # Keys.

    def typed(self, data: bytes) -> None:
        self._touched()
        self._lone_escape.stop()
        while data and not self._gone:
            data = self._typed_in_list(data) if self._editor is None else self._typed_in_prompt(self._editor, data)
        if data:
            self._session.router.put_off(data)  # for the console
        elif not self._gone:
            if self._keys.waiting:
                self._lone_escape.start(ESCAPE_SECONDS, self._escape_was_meant)
            self._draw_soon()

    def _typed_in_list(self, data: bytes) -> bytes:
        for key, behind in self._keys.feed(data):
            self._key(key)
            if self._gone or self._editor is not None:
                return data[behind:]
        return b""

    def _escape_was_meant(self) -> None:
        if self._editor is None and self._keys.timeout():
            self._key(keys.ESCAPE)

    def _key(self, key: str) -> None:
        self._note = ""
        if self._searching and key in _END_SEARCH:
            self._cancelled = True
            return
        if self._help:
            self._help = self._help[self._room :]
            return
        page = max(1, self._room - 1)
        match _SAME.get(key, key):
            case keys.UP:
                self._move(-1)
            case keys.DOWN:
                self._move(1)
            case keys.PAGE_UP:
                self._move(-page)
            case keys.PAGE_DOWN:
                self._move(page)
            case "u":
                self._move(-max(1, self._room // 2))
            case "d":
                self._move(max(1, self._room // 2))
            case keys.HOME:
                self._step(lambda: self._go_to(lambda history: history.start))
            case keys.END:
                self._step(lambda: self._look(None, anew=True))
            case keys.LEFT:
                self._pan = max(0, self._pan - self._screen.width // 2)
            case keys.RIGHT:
                self._pan = min(self._pan + self._screen.width // 2, self._longest)
            case "/" | "?":
                self._ask_pattern(back=key == "?")
            case "n" | "N":
                self._seek(self._back != (key == "N"))
            case "t":
                self._ask_time("")
            case _ if key in "0123456789":
                self._ask_time(key)
            case "h" | "H":
                self._help = help_rows(self._screen.width)
            case "^L":
                self._screen.forget()
            case keys.ESCAPE | "^C":
                self._leave()

    @property
    def _room(self) -> int:
        """The rows for text."""
        return max(1, self._screen.height - 1)

    @property
    def _longest(self) -> int:
        """How far to the right there is something to see."""
        rows = () if self._sight is None else self._sight.rows
        return max(0, max((len(row.text) for row in rows), default=0) - self._screen.width // 2)

    # Questions.

    def _ask(self, prompt: str, answered: Callable[[str], None], history: list[str] | None = None) -> None:
        self._answered = answered
        self._editor = LineEditor(prompt, self._screen.width, history=history, limit=ANSWER_LIMIT)

    def _typed_in_prompt(self, editor: LineEditor, data: bytes) -> bytes:
        if data == b"\x1b":
            self._editor = None
            return b""
        for event in editor.feed(data):
            if isinstance(event, Entered | Cancelled):
                self._editor = None
                if isinstance(event, Entered):
                    self._answered(event.text.strip())
                break
        return editor.rest

    def _ask_pattern(self, back: bool) -> None:
        self._ask("search back: " if back else "search: ", lambda text: self._pattern_given(text, back), self._patterns)

    def _pattern_given(self, text: str, back: bool) -> None:
        text = text or self._pattern_text
        if not text:
            return
        try:
            pattern = Pattern(text, ignore_case=text == text.lower())
        except VMProxyError as error:
            self._note = str(error)
            return
        self._pattern, self._pattern_text, self._back = pattern, text, back
        self._hit = None
        self._seek(back)

    def _ask_time(self, begun: str) -> None:
        self._ask("go to (16:04, 10m, 2026-11-22, 50%): ", self._time_given)
        if begun and self._editor is not None:
            for _ in self._editor.feed(begun.encode()):
                pass

    def _time_given(self, text: str) -> None:
        if not text:
            return
        share = text.removesuffix("%").strip()
        if share != text and share.isascii() and share.isdecimal():
            part = min(100, int(share[:3]))
            self._step(lambda: self._go_to(lambda h: h.line_at(h.start + (h.end - h.start) * part // 100)))
            return
        try:
            when = parse_when(text, self._session.services.wall())
        except VMProxyError as error:
            self._note = str(error)
            return
        self._step(lambda: self._go_to(lambda h: h.line_at(h.place_of(when)), anew=True))

    # Steps, one after the other.

    def _step(self, step: Callable[[], Awaitable[None]]) -> None:
        if len(self._steps) >= STEPS_LIMIT or self._gone:
            return
        self._steps.append(step)
        if not self._stepping:
            self._stepping = True
            spawn(self._go_on()).addErrback(self._failed)

    async def _go_on(self) -> None:
        try:
            while self._steps:
                try:
                    await self._steps.popleft()()
                except (VMProxyError, OSError) as error:
                    self._note = str(error)
                self._draw()
                if not self._steps and not self._gone:
                    with suppress(VMProxyError, OSError):  # then nothing says when it came
                        await self._tell_time()
        finally:
            self._stepping = False

    def _failed(self, failure: Failure) -> None:
        _log.failure("a pager failed", failure=failure)
        self._note = "internal error; the daemon's log says more"
        self._draw()

    async def _look(self, top: Place | None, move: int = 0, anew: bool = False) -> None:
        room, pattern = self._room, self._pattern
        self._use(await self._reader.read(lambda history: look(history, room, pattern, top, move), anew))

    def _use(self, sight: Sight) -> None:
        if self._sight is None or sight.top != self._sight.top:
            self._at = None
        self._sight = sight

    def _move(self, rows: int) -> None:
        self._step(lambda: self._moved(rows))

    async def _moved(self, rows: int) -> None:
        sight = self._sight
        if sight is not None and sight.rows:
            await self._look(sight.top, rows, anew=rows > 0 and sight.is_last and self._reader.lines > 0)

    async def _go_to(self, position: Callable[[History], int], anew: bool = False) -> None:
        room, pattern = self._room, self._pattern
        self._pan = 0
        self._use(await self._reader.read(lambda h: look(h, room, pattern, Place(position(h))), anew))

    async def _tell_time(self) -> None:
        sight = self._sight
        if sight is None or not sight.rows or self._at is not None:
            return
        at = await self._reader.read(lambda history: history.time_of(sight.top.position))
        if self._sight is sight:
            self._at = at
            self._draw()

    # Search.

    def _seek(self, back: bool) -> None:
        if self._pattern is None:
            self._note = "nothing to look for yet: / searches"
        else:
            self._step(lambda: self._search(back))

    async def _search(self, back: bool) -> None:
        pattern, sight = self._pattern, self._sight
        if pattern is None or sight is None or not sight.rows:
            return
        self._searching, self._cancelled = True, False
        slot = SearchSlot(self._session)
        try:
            position = await self._reader.read(self._begin(sight, back))
            while True:
                at = position
                seen = await slot.run(lambda: self._reader.read(lambda h: h.seek(pattern, at, back)))  # noqa: B023
                position = seen.position
                if seen.found is not None or seen.done or self._cancelled or self._gone:
                    break
                size = max(1, sight.size)
                self._note = f"searching, {100 * abs(position - sight.end) // size}% ... ^C ends it"
                self._draw()
        finally:
            self._searching = False
        self._note = ""
        if seen.found is not None:
            await self._show_hit(seen.found, pattern)
        elif self._cancelled:
            self._note = "search ended"
        else:
            self._note = f"not found {'above' if back else 'below'}: {self._pattern_text}"

    def _begin(self, sight: Sight, back: bool) -> Callable[[History], int]:
        """Where a search begins: at the last hit, if that is on the screen; else at its edge."""
        hit = self._hit if self._hit is not None and sight.shows(self._hit) else None
        if hit is not None:
            return lambda history: hit if back else history.window(Place(hit), 1).end
        return lambda history: sight.end if back else sight.top.position

    async def _show_hit(self, position: int, pattern: Pattern) -> None:
        self._hit, room, sight = position, self._room, self._sight
        if sight is not None and sight.shows(position):
            await self._look(sight.top)
        else:
            await self._look(Place(position), -(room // 3))
        shown = self._sight
        rows = () if shown is None else [row for row in shown.rows if row.place.position == position and row.marks]
        if rows:  # it may be far to the right
            start, end = rows[0].marks[0]
            if not self._pan <= start < end <= self._pan + self._screen.width:
                self._pan = max(0, min(start, end - self._screen.width // 2)) if end > self._screen.width else 0

    # On the screen.

    def _draw_soon(self) -> None:
        if not self._drawing:
            self._drawing = True
            self._session.services.turns.wait(self._session.operator.name, self._draw_now)

    def _draw_now(self) -> None:
        self._drawing = False
        self._draw()

    def _draw(self) -> None:
        if self._gone:
            return
        self._stale = self._session.queued > DRAW_LIMIT
        if self._stale:
            return
        rows, behind = self._picture()
        self._session.send(self._screen.draw(rows, (self._screen.height - 1, 0), behind))

    def _picture(self) -> tuple[list[Row], bytes]:
        width, room, sight = self._screen.width, self._room, self._sight
        if self._help:
            rows = self._help[:room]
            return [*rows, *[Row()] * (room - len(rows)), Row("any key: continue", REVERSE)], b""
        rows = [] if sight is None else rows_of(sight, self._pan, self._hit, self._mark)
        if sight is not None and not rows:
            rows = [Row("nothing has been recorded of this console")]
        rows = [*rows[:room], *[Row()] * (room - len(rows))]
        if self._editor is not None:
            return rows, self._editor.redraw()
        where = "..." if sight is None else where_in(sight)
        now = self._session.services.wall()
        return [*rows, status_row(width, self._title, self._at, now, where, self._reader.lines, self._note)], b""
