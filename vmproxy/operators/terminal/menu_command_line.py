"""The command line of the menu, and its completion.

The first word may be a command or a console; only consoles that the operator may see are ever offered. Names that a
shell would take apart come in quotes, as the prompt takes them apart in the same way.
"""

from __future__ import annotations

import shlex
from functools import partial

from vmproxy.operators.commands.parser import split
from vmproxy.operators.commands.registry import COMMANDS, TABLE
from vmproxy.operators.services import Services
from vmproxy.operators.terminal.line_editor import Cancelled, Choices, Completion, Entered, LineEditor, columns
from vmproxy.operators.terminal.menu_list import ConsoleList
from vmproxy.operators.visible import VisibleConsoles

OFFERED = 200
_NAMES = tuple(command.name for command in TABLE)


class CommandLine:
    """The command line.

    :ivar choices: the choices of a completion, as lines to be shown above it.
    :ivar rest: input behind the end of the line.
    """

    def __init__(self, consoles: ConsoleList, view: VisibleConsoles, services: Services) -> None:
        self._complete = partial(_completion, consoles, view, services)  # not bound to this: the editor keeps it
        self._history: list[str] = []
        self._size = (80, 24)
        self._editor = self._new()
        self.choices: list[str] = []
        self.rest = b""

    def _new(self) -> LineEditor:
        return LineEditor(":", self._size[0], self._complete, self._history)

    def resized(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._editor.resized(width)

    def begin(self, text: str) -> None:
        """Begin a line with a text, to be gone on with."""
        self._editor = self._new()
        self.feed(text.encode("utf-8", "replace"))

    def redraw(self) -> bytes:
        """Bytes that draw the line on the row of the cursor."""
        return self._editor.redraw()

    def feed(self, data: bytes) -> str | None:
        """Take input.

        :returns: the line when it is complete, empty if it was cancelled; None until then.
        """
        self.choices = []
        self.rest = b""
        if data == b"\x1b" or (data in (b"\x7f", b"\x08") and not self._editor.text):
            self._editor = self._new()
            return ""
        for event in self._editor.feed(data):
            match event:
                case Choices():
                    self.choices = columns(event.choices, self._size[0], max(1, self._size[1] // 2))
                case Entered() | Cancelled():
                    self.rest = self._editor.rest
                    self._editor = self._new()
                    return event.text.strip() if isinstance(event, Entered) else ""
        return None


def _completion(consoles: ConsoleList, view: VisibleConsoles, services: Services, left: str) -> Completion:
    return complete(left, consoles, view) if services.turns.open() else Completion(0, ())


def complete(left: str, consoles: ConsoleList, view: VisibleConsoles) -> Completion:
    """The completion of a line by a command, an option or a console, as the table of commands has it.

    :param left: the text left of the cursor.
    """
    start, quote, word = last_word(left)
    before = split(left[:start])
    found: list[str] = []
    if not before and not quote:
        found = [name for name in _NAMES if name.startswith(word)]
        if not word:
            return Completion(start, found)
    elif before and (command := COMMANDS.get(before[0])) is not None:
        if word.startswith("-") and not quote:
            options = [name for option in command.options if not option.hidden for name in option.names]
            return Completion(start, [name for name in options if name.startswith(word)], " ")
        kinds = {argument.completes for argument in command.arguments}
        if "command" in kinds:
            return Completion(start, [name for name in _NAMES if name.startswith(word)], " ")
        if "console" not in kinds:
            return Completion(start, ())
    # An alias begins as the name does, and goes on with a tilde.
    prefix = word if "~" not in word or consoles.starting(word, 1) else word[: word.rindex("~")]
    entries = [] if consoles.void else [e for e in consoles.starting(prefix, OFFERED) if e.console in view]
    names = [view.typed(entry.console) for entry in entries]
    if prefix != word:
        names = [name for name in names if name.casefold().startswith(word.casefold())]
    if quote or any(_needs_quotes(name) for name in names):
        # All in the same quotes, so that their common beginning can be filled in.
        mark = quote or "'"
        quoted = [_quoted(name, mark) for name in names]
        return Completion(start, [*found, *quoted], " ")
    return Completion(start, [*found, *names], " ")


def last_word(left: str) -> tuple[int, str, str]:
    """The word that is being typed.

    :returns: its offset, the quote that is open in it (empty if none), and the word without quotes.
    """
    start, quote, word = 0, "", ""
    escaped = False
    for at, char in enumerate(left):
        if escaped:
            word += char if not quote or char in '"\\' else "\\" + char
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote = char
        elif char.isspace():
            start, word = at + 1, ""
        else:
            word += char
    return start, quote, word


def _needs_quotes(name: str) -> bool:
    return shlex.quote(name) != name and any(char in " \t'\"\\" for char in name)


def _quoted(name: str, mark: str) -> str:
    if mark == "'":
        return "'" + name.replace("'", "'\"'\"'") + "'"
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
