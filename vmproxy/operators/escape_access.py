"""The escape commands about write access."""

from __future__ import annotations

from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.messages import taken_from
from vmproxy.operators.write_request import Answer, WriteRequest, ask

_NO_FORCE = "[you may not take over from others]"
_REFUSALS = {
    Answer.READ_ONLY: "[this session is read-only]",
    Answer.NO_RIGHT: "[read-only: you may not write to this console]",
    Answer.NO_FORCE: _NO_FORCE,
}


def _ask(session: ConsoleSession, join: bool = False, force: bool = False) -> Answer | None:
    """The answer to a write request; None if it is refused for good, and the operator has been told."""
    request = WriteRequest(session.read_only, join, force)
    answer = ask(session.operator.view, session.console, request, session)
    if answer not in _REFUSALS:
        return answer
    session.say(_REFUSALS[answer])
    return None


def attach(session: ConsoleSession) -> None:
    """Take write access if nobody has it, or wait for it."""
    if _ask(session) is None:
        return
    had = session.writing
    if session.console.viewers.take_write(session):
        if not had:
            session.audit("take")
        session.say("[attached]")
        return
    writer = session.console.write_access.writer
    who = writer.who if writer is not None else "somebody"
    place = session.console.write_access.place(session)
    session.say(f"[no, {who} is attached -- waiting for write access: position {place}]")


def force(session: ConsoleSession) -> None:
    """Take write access from the writer, with a reason where one is required."""
    match _ask(session, force=True):
        case Answer.REASON:
            session.ask("reason for taking over: ", lambda answer: _force_because(session, answer))
        case Answer.WRITE | Answer.FORCE:
            _take_over(session, "")


def _force_because(session: ConsoleSession, reason: str | None) -> None:
    if reason is None:
        session.say("[not taken over: a reason is required here]")
        return
    request = WriteRequest(session.read_only, force=True, reason=reason)
    if ask(session.operator.view, session.console, request, session) in (Answer.WRITE, Answer.FORCE):
        _take_over(session, reason)
    else:
        session.say(_NO_FORCE)


def _take_over(session: ConsoleSession, reason: str) -> None:
    losers = session.console.viewers.force_write(session, reason)
    session.forced(losers, reason)
    session.say(f"[attached{taken_from([loser.who for loser in losers])}]")


def join(session: ConsoleSession) -> None:
    """Write beside the writer."""
    if _ask(session, join=True) is None:
        return
    had = session.writing
    if session.console.viewers.join_write(session):
        if not had:
            session.audit("join")
        session.say("[attached]")
    else:
        session.say("[no joining: this console has one writer at a time]")


def spy(session: ConsoleSession) -> None:
    """Give write access up."""
    if session.writing:
        session.audit("drop")
    session.console.viewers.drop_write(session)
    session.say("[spy]")
