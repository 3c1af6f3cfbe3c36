"""Prompt: a question at the terminal, answered with one line: a console, a message, a reason.

Output of the console waits behind a prompt, so a prompt without an answer ends by itself. A client may type and read
nothing: then nothing is drawn until all output is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

from twisted.internet.interfaces import IDelayedCall

from vmproxy.operators.services import Services
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.line_editor import Cancelled, Choices, Completion, Draw, Entered, LineEditor, columns
from vmproxy.operators.visible import VisibleConsoles

ANSWER_LIMIT = 500  # characters
ANSWER_SECONDS = 120.0
DRAW_LIMIT = 16 * 1024  # bytes: what waits to be read above which nothing is drawn
OFFERED = 200
_DIGITS = re.compile("[0-9A-Fa-f]{1,32}")


class Prompt:
    def __init__(
        self,
        channel: Session,
        prompt: str,
        answered: Callable[[str | None], None],
        complete: Callable[[str], Completion] | None = None,
    ) -> None:
        """
        :param answered: called once, with the answer; with None after ``^C``, an empty line or a timeout.
        """
        self._channel = channel
        self._answered = answered
        self._editor = LineEditor(prompt, channel.size[0], complete, limit=ANSWER_LIMIT)
        self._deadline: IDelayedCall | None = channel.services.clock.callLater(ANSWER_SECONDS, self._done, None)
        self._due = False
        self._draw(self._editor.redraw())

    def typed(self, data: bytes) -> bytes:
        """Take input.

        :returns: the input behind the answer.
        """
        if self._deadline is not None:
            self._deadline.reset(ANSWER_SECONDS)
        for event in self._editor.feed(data):
            match event:
                case Draw():
                    self._draw(event.data)
                case Choices():
                    self._show(event.choices)
                case Entered():
                    self._done(event.text.strip() or None)
                case Cancelled():
                    self._done(None)
        return self._editor.rest

    def drained(self) -> None:
        """All output is sent: draw what could not be drawn before."""
        if self._due:
            self._draw(self._editor.redraw())

    def _draw(self, data: bytes) -> None:
        """Draw, or do it later if output waits for the client."""
        self._due = self._channel.queued > DRAW_LIMIT
        if not self._due:
            self._channel.send_err(data)

    def _show(self, choices: tuple[str, ...]) -> None:
        if self._channel.queued > DRAW_LIMIT:
            return  # the next Tab shows them to a client that reads
        width, height = self._channel.size
        lines = columns(choices, width, max(1, height - 3))
        self._channel.send_err(b"\r\n" + b"".join(line.encode() + b"\r\n" for line in lines))

    def over(self, line: bytes) -> bytes:
        """Bytes that put a line in place of the prompt, and the prompt below it."""
        return self.lift() + line + self.put_back()

    def lift(self) -> bytes:
        """Bytes that take the prompt from the screen."""
        return self._editor.erase()

    def put_back(self) -> bytes:
        return self._editor.redraw()

    def resized(self, width: int) -> None:
        self._editor.resized(width)
        self._draw(self._editor.redraw())

    def cancel(self) -> None:
        """End it as ``^C`` does."""
        self._done(None)

    def stop(self) -> None:
        """Forget the prompt: its session is over."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _done(self, answer: str | None) -> None:
        self.stop()
        self._draw(b"\r\n")
        self._answered(answer)


def _uuids(view: VisibleConsoles, digits: str) -> set[str]:
    """UUIDs that begin so: of too many the first ones and the last, so that their common beginning is that of all.

    As numbers: those of a vCenter's VMs begin alike, and there may be thousands.
    """
    shift = 4 * (32 - len(digits))
    low = int(digits, 16) << shift
    high = low + (1 << shift)
    numbers = sorted({number for console in view if low <= (number := console.uuid.int) < high})
    if len(numbers) > OFFERED:
        numbers[OFFERED - 1 :] = numbers[-1:]
    return {str(UUID(int=number)) for number in numbers}


def consoles_by_name(view: VisibleConsoles, services: Services) -> Callable[[str], Completion]:
    """Completion by the names of an operator's consoles, or by UUIDs if no name fits."""

    def complete(beginning: str) -> Completion:
        if not services.turns.open():
            return Completion(0, ())  # one packet can hold thousands of Tabs
        found = {console.title for console in view.beginning(beginning, OFFERED)}
        if not found and _DIGITS.fullmatch(digits := beginning.replace("-", "")):
            found = _uuids(view, digits)
        return Completion(0, sorted(found, key=str.casefold))

    return complete
