"""Attaching: from the console that is asked for to an operator who is on it, and what they are told first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmproxy.base.escape import show_escape
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.operators import exit_status
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.escape_commands import run_escape
from vmproxy.operators.escape_keys import EscapeCommand
from vmproxy.operators.input_router import Activity
from vmproxy.operators.messages import banner, others_line, taken_from
from vmproxy.operators.replay import opened
from vmproxy.operators.resolve import TargetError, check, locate
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import Target
from vmproxy.operators.write_request import Answer, ask

REPLAY_LINES = 20

OnLeave = Callable[[int, str], None]
"""Called with the exit status, and the title of the console that was left."""


def attach(session: Session, target: Target, on_leave: OnLeave | None = None, unknown: str = "") -> bool:
    """Go to a console and stay there.

    :param on_leave: called when the console is left, or when there is none to go to, instead of ending the session;
        only with a server that stops the session ends all the same.
    :param unknown: a line of advice for where there is no such console, instead of the usual one.
    :returns: whether it is attached. If not, the operator has been told why.
    """
    view = session.operator.view
    try:
        console = locate(view, target)
        check(view, console, target, session.has_pty)
    except TargetError as refused:
        text = str(refused)
        if unknown and refused.status == exit_status.NO_SUCH_CONSOLE:
            text = text.splitlines()[0] if refused.has_meaning else f"{text.splitlines()[0]}\n{unknown}"
        tell(session, text)
        _end(session, refused.status, target.console, on_leave)
        return False
    go_to(session, console, target, on_leave)
    return True


def go_to(
    session: Session,
    console: Console,
    target: Target,
    on_leave: OnLeave | None = None,
    stamps: bool = False,
    instead_of: Activity | None = None,
) -> None:
    """Attach to a console that has been found, and that the operator may look at; see :func:`attach`.

    :param stamps: whether there are times in front of lines.
    :param instead_of: the activity whose place it takes.
    """

    known = console.title

    def left(activity: ConsoleSession, status: int) -> None:
        # A name that it has got since may be none of the operator's business.
        title = console.title if console in session.operator.view else known
        session.router.pop(activity, lambda: _end(session, status, title, on_leave))

    def move(activity: ConsoleSession, other: Console, wanted: Target) -> None:
        go_to(session, other, wanted, on_leave, activity.display.stamps, instead_of=activity)

    activity = ConsoleSession(session, console, target, stamps, run_escape, left, move)
    session.router.push(activity, lambda: _begin(activity, target), instead_of)


def _end(session: Session, status: int, title: str, on_leave: OnLeave | None) -> None:
    if on_leave is None or session.services.stopping:
        session.finish(status)
    elif not session.over:
        on_leave(status, title)


def _begin(session: ConsoleSession, target: Target) -> None:
    console, now = session.console, session.wall()
    before = console.write_access.writers
    answer = ask(session.operator.view, console, target.write_request, session)
    force = answer is Answer.FORCE
    _greet(session, now)
    lines = next((n for n in (target.replay, console.options.replay) if n is not None), REPLAY_LINES)
    files = opened(console.log) if lines else None
    writing = session.enter(force, target.join, target.reason)
    if force:
        session.forced(before, target.reason)
    _say_how(session, target, writing, before, force)

    def live() -> None:
        if answer is Answer.REASON:
            run_escape(session, EscapeCommand(b"f"))

    if files is not None:
        session.display.replay(files, lines, session.seam_lines, live)
    else:
        live()


def _greet(session: ConsoleSession, now: float) -> None:
    """Say where the operator is, before they attach."""
    if session.has_keys:
        session.say(f"[Enter `{show_escape(session.escape)}?' for help]")
    else:
        session.say("[no terminal: there are no escape keys; ssh -t gives one]")
    session.say(f"[{banner(session.console, session.operator.view, now)}]")
    for message in (session.session.services.settings.message, session.console.options.message):
        for line in message.splitlines():
            session.say(line)
    if session.console.options.record_input:
        session.say("[what is typed here is recorded]")


def _say_how(session: ConsoleSession, target: Target, writing: bool, before: Sequence[IViewer], forced: bool) -> None:
    """Say whether the operator may write, and who else is there.

    :param before: the writers of before; ``forced``: whether the operator has taken over from them.
    """
    console = session.console
    named = console.write_access.writer if session.may_write and not writing else None
    if writing:
        session.say(f"[attached{taken_from([loser.who for loser in before]) if forced else ''}]")
    elif session.read_only:
        session.say("[spy]")
    elif text := session.read_only_line():
        session.say(text)
    if target.join and before and not writing and session.may_write:
        session.say("[no joining: this console has one writer at a time]")
    others = [viewer for viewer in console.viewers.all if viewer is not named and viewer is not session]
    if others:
        session.say(f"[-- {others_line(console, others)} --]")
