"""The line editor of prompts and of the menu's command line.

Bytes in, events out; the editor sends nothing itself. The line stays on one row of the screen and scrolls sideways if
it is longer, so :meth:`LineEditor.redraw` can draw it at any time, whatever was on the screen before. Keys are those of
bash: arrows, Home, End, Delete, ``^A ^E ^B ^F ^D ^H ^K ^U ^W ^L``, ``^P`` and ``^N`` for the history, Tab.
Invariant: the line holds printable characters only, so it is safe to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wcwidth import grapheme_boundary_before, iter_graphemes

from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.keys import KeyDecoder
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
    """The line is finished. Input behind it is in ``LineEditor.rest``."""

    text: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """``^C``, or ``^D`` on an empty line (``end``). Input behind it is in ``LineEditor.rest``."""

    end: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """Tab was pressed, and there are several choices: show them if there is room, then redraw the line."""

    choices: tuple[str, ...]


EditorEvent = Draw | Entered | Cancelled | Choices


@dataclass(frozen=True, slots=True)
class Completion:
    """The choices for the text left of the cursor.

    :ivar start: the beginning of the part that a choice replaces, in characters.
    :ivar choices: the choices. Bound: the first :data:`CHOICES_LIMIT` are shown.
    :ivar end: the text behind a single choice: a blank, for example.
    """

    start: int
    choices: Sequence[str]
    end: str = ""


def columns(choices: Sequence[str], width: int, rows: int) -> list[str]:
    """Choices in columns, as a shell shows them.

    :param width: columns of the terminal.
    :param rows: lines that there is room for.
    :returns: the lines; the last one tells how many choices are not shown, if any.
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
    """Editor of one line, from its prompt to Enter or ``^C``; then of the next line.

    :ivar prompt: the text before the line.
    :ivar text: the line; ``cursor``: the offset of the cursor in it, in characters.
    :ivar history: the lines entered before, the newest last; editors may share it.
    :ivar rest: input behind the end of the line.
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
        :param complete: finds the choices for the text left of the cursor.
        :param limit: characters of the line at most; more are ignored.
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
        self._keys = KeyDecoder()

    # On the screen.

    def redraw(self) -> bytes:
        """Bytes that draw the line over the terminal's current row, with the cursor at its place."""
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
        """Bytes that clear the row of the line."""
        return b"\r\x1b[K"

    def resized(self, width: int) -> None:
        self._width = width

    # Keys.

    def feed(self, data: bytes) -> list[EditorEvent]:
        """Take input, cut anywhere.

        :returns: the events, in order. :class:`Entered` or :class:`Cancelled` is the last one; input behind it is in
            ``rest``, for the session's next reader.
        """
        events: list[EditorEvent] = []
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
                # Finding choices may be expensive: a paste full of tabs gets one completion.
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
        """The offset of the character left of the cursor."""
        return grapheme_boundary_before(self.text, self.cursor)

    def _behind(self) -> int:
        """The offset behind the character at the cursor."""
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
    """The longest common beginning of all choices, without regard to case; spelled as in the first one."""
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
