"""A question of a command at a terminal."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from vmproxy.operators.session import Session
from vmproxy.operators.terminal.prompt import Prompt


class _Question:
    """A question as the activity of its session; ``^C`` is no answer."""

    def __init__(self, session: Session, text: str) -> None:
        self.answer: Deferred[str | None] = Deferred()
        self._session = session
        self._prompt = Prompt(session, text, self._answered)

    def _answered(self, answer: str | None) -> None:
        if not self.answer.called:
            self.answer.callback(answer)

    def typed(self, data: bytes) -> None:
        rest = self._prompt.typed(data)
        if rest:
            self._session.router.keep(rest)

    def drained(self) -> None:
        self._prompt.drained()

    def send_break(self) -> None:
        """There is no console for a break."""

    def resized(self, width: int, height: int) -> None:
        self._prompt.resized(width)

    def stop(self) -> None:
        self._prompt.stop()
        self._answered(None)


async def confirmed(session: Session, text: str) -> bool:
    """Ask at the terminal of a session; :returns: whether the answer is yes."""
    question = _Question(session, f"{text} [y/N] ")
    session.router.push(question)
    try:
        answer = await question.answer
    finally:
        question.stop()
        session.router.pop(question)
    return (answer or "").casefold() in ("y", "yes")
