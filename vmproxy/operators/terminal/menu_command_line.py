"""The command line of the menu."""

from __future__ import annotations

from functools import partial

from vmproxy.console.console import Console
from vmproxy.operators.commands.line_completion import complete
from vmproxy.operators.commands.registry import COMMANDS
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.terminal.line_editor import Cancelled, Choices, Completion, Entered, LineEditor, columns
from vmproxy.operators.terminal.menu_list import ConsoleList


class CommandLine:
    """The command line.

    :ivar choices: the choices of a completion, as lines to be shown above it.
    :ivar rest: input behind the end of the line.
    """

    def __init__(self, consoles: ConsoleList, operator: Operator, services: Services) -> None:
        self._complete = partial(_completion, consoles, operator, services)  # not bound to this: the editor keeps it
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


def _completion(consoles: ConsoleList, operator: Operator, services: Services, left: str) -> Completion:
    view = operator.view

    def starting(prefix: str, limit: int) -> list[Console]:
        if consoles.void:
            return []
        return [entry.console for entry in consoles.starting(prefix, limit) if entry.console in view]

    if not services.turns.open():
        return Completion(0, ())
    names = [action.name for action in services.actions.all_for(operator)]
    return complete(left, COMMANDS, starting, view, names)
