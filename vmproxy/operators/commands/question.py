"""A question of a command at a terminal."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from vmproxy.operators.input_router import InputOnly
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.line_editor import Completion
from vmproxy.operators.terminal.prompt import Prompt, consoles_by_name


class _Question(InputOnly):
    """A question as the activity of its session; ``^C`` is no answer."""

    def __init__(
        self, session: Session, text: str, complete: Callable[[str], Completion] | None = None, answer: str = ""
    ) -> None:
        """:param answer: stands there already, and can be changed."""
        self.answer: Deferred[str | None] = Deferred()
        self._session = session
        self._prompt = Prompt(session, text, self._answered, complete)
        self._prompt.typed(answer.encode("utf-8", "ignore"))

    def _answered(self, answer: str | None) -> None:
        if not self.answer.called:
            self.answer.callback(answer)

    def typed(self, data: bytes) -> None:
        rest = self._prompt.typed(data)
        if rest:
            self._session.router.keep(rest)

    def drained(self) -> None:
        self._prompt.drained()

    def resized(self, width: int, height: int) -> None:
        self._prompt.resized(width)

    def stop(self) -> None:
        self._prompt.stop()
        self._answered(None)


async def confirmed(session: Session, text: str) -> bool:
    """Ask at the terminal of a session; :returns: whether the answer is yes."""
    answer = await _answered(session, _Question(session, f"{text} [y/N] "))
    return (answer or "").casefold() in ("y", "yes")


async def asked_for_console(session: Session, name: str) -> str:
    """Ask for the name of a console at the terminal of a session.

    :param name: stands there already.
    :returns: the answer; empty if there is none.
    """
    complete = consoles_by_name(session.operator.view, session.services)
    return await _answered(session, _Question(session, "Console: ", complete, name)) or ""


async def _answered(session: Session, question: _Question) -> str | None:
    session.router.push(question)
    try:
        return await question.answer
    finally:
        question.stop()
        session.router.pop(question)
