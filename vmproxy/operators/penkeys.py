"""The escape commands about the pen: who writes. The rights are asked when the key comes, and again at an answer."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.messages import taken_from


def _may_write(session: ConsoleSession) -> bool:
    if session.read_only:
        session.say("[this session is read-only]")
    elif not session.may(Right.WRITE):
        session.say("[read-only: you may not write to this console]")
    else:
        return True
    return False


def attach(session: ConsoleSession) -> None:
    """Take the pen if it is free, or stand in the line."""
    if not _may_write(session):
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
    """Take it from whoever has it, with a reason where one is needed."""
    if not _may_write(session):
        return
    if not session.may(Right.FORCE):
        session.say("[you may not take over from others]")
    elif session.console.options.force_reason and any(w is not session for w in session.console.write_access.writers):
        session.ask("reason for taking over: ", lambda answer: _force_because(session, answer))
    else:
        take_over(session, "")


def _force_because(session: ConsoleSession, reason: str | None) -> None:
    if reason is None:
        session.say("[not taken over: a reason is required here]")
    elif not (session.may_write and session.may(Right.FORCE)):
        session.say("[you may not take over from others]")
    else:
        take_over(session, reason)


def take_over(session: ConsoleSession, reason: str) -> None:
    """Take the pen from whoever has it, and say who lost it."""
    losers = session.console.viewers.force_write(session, reason)
    session.forced(losers, reason)
    session.say(f"[attached{taken_from([loser.who for loser in losers])}]")


def join(session: ConsoleSession) -> None:
    """Write beside whoever has it."""
    if not _may_write(session):
        return
    had = session.writing
    if session.console.viewers.join_write(session):
        if not had:
            session.audit("join")
        session.say("[attached]")
    else:
        session.say("[no joining: this console has one writer at a time]")


def spy(session: ConsoleSession) -> None:
    """Put it down."""
    if session.writing:
        session.audit("drop")
    session.console.viewers.drop_write(session)
    session.say("[spy]")
