"""What an operator is told when he attaches: where he is, whether he may write, and who else is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmproxy.base.escape import show_escape
from vmproxy.console.interfaces import IViewer
from vmproxy.operators.messages import banner, idle, others_line
from vmproxy.operators.penkeys import taken_from
from vmproxy.operators.target import Target

if TYPE_CHECKING:
    from vmproxy.operators.console_session import Attached


def greet(session: Attached, now: float) -> None:
    """Say where the operator is, before he attaches."""
    if session.has_keys:
        session.say(f"[Enter `{show_escape(session.escape)}?' for help]")
    session.say(f"[{banner(session.console, session.operator.view, now)}]")
    for message in (session.channel.services.settings.message, session.console.options.message):
        for line in message.splitlines():
            session.say(line)
    if session.console.options.record_input:
        session.say("[what is typed here is recorded]")


def say_how(
    session: Attached, target: Target, writing: bool, before: Sequence[IViewer], forced: bool, now: float
) -> None:
    """Say whether he may write, and who else is there.

    :param before: who could write when he came; ``forced``: whether he has taken the pen from them.
    """
    console = session.console
    named: IViewer | None = None
    if writing:
        session.say(f"[attached{taken_from([loser.who for loser in before]) if forced else ''}]")
    elif session.read_only:
        session.say("[spy]")
    elif not session.may_write:
        session.say("[spy -- you may only look at this console]")
    elif before:
        named = before[0]
        session.say(f"[no, {named.who} is attached, idle {idle(named, now)}{session.hints}]")
    if target.join and before and not writing and session.may_write:
        session.say("[no joining: one at a time writes to this console]")
    others = [viewer for viewer in console.viewers.all if viewer is not named and viewer is not session]
    if others:
        session.say(f"[-- {others_line(console, others)} --]")
