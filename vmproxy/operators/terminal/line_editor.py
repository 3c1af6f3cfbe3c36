"""A line that a person types and edits at a terminal: for questions in a session, and for the menu's prompt.

Keys in, events out; it sends nothing itself. The line stays on one row of the screen and scrolls sideways where it is
longer, so that it can be drawn again at any time with :meth:`LineEditor.redraw`, whatever was on the screen before. It
takes printable characters only, so what is entered is safe to show. Keys are those of bash and of everything else:
arrows, Home, End, Delete, ``^A ^E ^B ^F ^D ^H ^K ^U ^W ^L``, ``^P`` and ``^N`` for what was entered before, Tab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wcwidth import grapheme_boundary_before, iter_graphemes

from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.keys import Keys
from vmproxy.operators.terminal.width import CLUSTER_LIMIT, cells, clusters, tail

LINE_LIMIT = 1000
HISTORY_LIMIT = 100
CHOICES_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Draw:
    """Send this to the terminal."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Entered:
    """The line is finished. What was typed behind it is in :attr:`LineEditor.rest`."""

    text: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """``^C``, or ``^D`` on an empty line, which ``end`` tells apart. What was typed behind it is in ``rest``."""

    end: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """Tab was pressed and there are several ways to go on: show them, if there is room, and then redraw the line."""

    choices: tuple[str, ...]


Event = Draw | Entered | Cancelled | Choices


@dataclass(frozen=True, slots=True)
class Completion:
    """How what stands left of the cursor could go on.

    :ivar start: where the part begins that is completed, in characters.
    :ivar choices: what could stand there instead; of too many only the first :data:`CHOICES_LIMIT` are shown.
    :ivar end: what follows if there is but one choice: a blank, say.
    """

    start: int
    choices: Sequence[str]
    end: str = ""


def columns(choices: Sequence[str], width: int, rows: int) -> list[str]:
    """Set choices out in columns, as a shell does.

    :param width: of the terminal; ``rows``: how many lines there is room for.
    :returns: the lines; the last one says how many are not shown, if any.
    """
    if not choices:
        return []
    widest = max(map(cells, choices)) + 2
    across = max(1, (width - 1) // widest)
    shown = choices[: across * max(1, rows)]
    if len(shown) < len(choices):
        shown = choices[: across * max(1, rows - 1)]
    lines = []
    for at in range(0, len(shown), across):
        row = shown[at : at + across]
        lines.append("".join(c + " " * (widest - cells(c)) for c in row).rstrip())
    if len(shown) < len(choices):
        lines.append(f"... and {len(choices) - len(shown)} more")
    return lines


class LineEditor:
    """One line, from its prompt to Enter or ``^C``; it can be used again for the next.

    :ivar prompt: what stands before it.
    :ivar text: what is in it; ``cursor``: where, in characters.
    :ivar history: what was entered before, the newest last; it may be shared between editors.
    :ivar rest: what was typed behind the end of a line.
    """

    def __init__(
        self,
        prompt: str,
        width: int = 80,
        complete: Callable[[str], Completion] | None = None,
        history: list[str] | None = None,
        limit: int = LINE_LIMIT,
    ) -> None:
        """
        :param width: columns of the terminal.
        :param complete: told what stands left of the cursor, says how it could go on.
        :param limit: characters at most; what is typed beyond that is not taken.
        """
        self.prompt = prompt
        self.text = ""
        self.cursor = 0
        self.history = [] if history is None else history
        self.rest = b""
        self._width = width
        self._complete = complete
        self._limit = limit
        self._recalled = len(self.history)
        self._draft = ""
        self._keys = Keys()

    # On the screen.

    def redraw(self) -> bytes:
        """The line as it is, drawn over whatever is on the terminal's current row; the cursor is where it belongs."""
        room = max(2, self._width - 1)  # the last column makes terminals wrap
        prompt = tail(self.prompt, room // 2)
        room -= cells(prompt)
        left = tail(self.text[: self.cursor], room - 1)
        used = shown = cells(left)
        right = ""
        for cluster, width in clusters(self.text[self.cursor : self.cursor + CLUSTER_LIMIT * room]):
            shown += width
            if shown > room:
                break
            right += cluster
        drawn = f"\r{prompt}{left}{right}\x1b[K"
        column = cells(prompt) + used
        if right:
            drawn += "\r" + (f"\x1b[{column}C" if column else "")
        return drawn.encode()

    @staticmethod
    def erase() -> bytes:
        """Takes the line off the screen, so that something else can be written there."""
        return b"\r\x1b[K"

    def resized(self, width: int) -> None:
        """The terminal is so many columns wide from now on."""
        self._width = width

    # Keys.

    def feed(self, data: bytes) -> list[Event]:
        """What was typed, or pasted, or cut anywhere in between.

        :returns: what is to be done about it, in order. :class:`Entered` or :class:`Cancelled` is the last one: what
            follows in ``data`` is for whoever comes next, and in :attr:`rest`.
        """
        events: list[Event] = []
        changed = completed = False
        self.rest = b""
        for key, behind in self._keys.feed(data):
            if key in (keys.ENTER, "^C") or (key == "^D" and not self.text):
                if changed:
                    events.append(Draw(self.redraw()))
                self.rest = data[behind:]
                text = self._finish()
                events.append(Entered(text) if key == keys.ENTER else Cancelled(key == "^D"))
                return events
            if key == keys.TAB:
                # Looking for choices may be work: a paste that is full of tabs gets one look.
                choices = () if completed else self._tab()
                completed = True
                if choices:
                    events.append(Choices(choices))
            else:
                self._edit(key)
            changed = True
        if changed:
            events.append(Draw(self.redraw()))
        return events

    def _edit(self, key: str) -> None:
        action = _ACTIONS.get(key)
        if action is not None:
            action(self)
        elif len(key) == 1 and len(self.text) < self._limit:
            self.text = self.text[: self.cursor] + key + self.text[self.cursor :]
            self.cursor += 1

    def _finish(self) -> str:
        text, self.text, self.cursor = self.text, "", 0
        if text.strip() and self.history[-1:] != [text]:
            self.history.append(text)
            del self.history[:-HISTORY_LIMIT]
        self._recalled = len(self.history)
        self._draft = ""
        return text

    def _tab(self) -> tuple[str, ...]:
        if self._complete is None:
            return ()
        left = self.text[: self.cursor]
        completion = self._complete(left)
        choices = completion.choices
        if not choices:
            return ()
        common = _common(choices)
        if len(choices) == 1:
            common += completion.end
        elif len(common) <= self.cursor - completion.start:
            return tuple(choices[:CHOICES_LIMIT])
        text = left[: completion.start] + common + self.text[self.cursor :]
        if len(text) <= self._limit:
            self.text = text
            self.cursor = completion.start + len(common)
        return ()

    def _before(self) -> int:
        """Where the character left of the cursor begins."""
        return grapheme_boundary_before(self.text, self.cursor)

    def _behind(self) -> int:
        """Where the character at the cursor ends."""
        return self.cursor + len(next(iter_graphemes(self.text[self.cursor :]), ""))

    def _left(self) -> None:
        self.cursor = self._before()

    def _right(self) -> None:
        self.cursor = self._behind()

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _backspace(self) -> None:
        before = self._before()
        self.text = self.text[:before] + self.text[self.cursor :]
        self.cursor = before

    def _delete(self) -> None:
        self.text = self.text[: self.cursor] + self.text[self._behind() :]

    def _kill(self) -> None:
        self.text = self.text[: self.cursor]

    def _kill_back(self) -> None:
        self.text = self.text[self.cursor :]
        self.cursor = 0

    def _kill_word(self) -> None:
        left = self.text[: self.cursor].rstrip()
        left = left[: left.rfind(" ") + 1]
        self.text = left + self.text[self.cursor :]
        self.cursor = len(left)

    def _older(self) -> None:
        self._recall(self._recalled - 1)

    def _newer(self) -> None:
        self._recall(self._recalled + 1)

    def _recall(self, number: int) -> None:
        last = len(self.history)
        if not 0 <= number <= last:
            return
        if self._recalled >= last:
            self._draft = self.text
        self._recalled = number
        self.text = (self._draft if number == last else self.history[number])[: self._limit]
        self.cursor = len(self.text)


def _common(choices: Sequence[str]) -> str:
    """What all choices begin with, whatever the capitals; spelled as in the first in order."""
    first, last = min(choices, key=str.casefold), max(choices, key=str.casefold)
    for at in range(len(first)):
        if last[at : at + 1].casefold() != first[at].casefold():
            return first[:at]
    return first


_ACTIONS: dict[str, Callable[[LineEditor], None]] = {
    "^A": LineEditor._home,
    "^B": LineEditor._left,
    "^D": LineEditor._delete,
    "^E": LineEditor._end,
    "^F": LineEditor._right,
    "^K": LineEditor._kill,
    "^N": LineEditor._newer,
    "^P": LineEditor._older,
    "^U": LineEditor._kill_back,
    "^W": LineEditor._kill_word,
    keys.BACKSPACE: LineEditor._backspace,
    keys.DELETE: LineEditor._delete,
    keys.DOWN: LineEditor._newer,
    keys.END: LineEditor._end,
    keys.HOME: LineEditor._home,
    keys.LEFT: LineEditor._left,
    keys.RIGHT: LineEditor._right,
    keys.UP: LineEditor._older,
}
