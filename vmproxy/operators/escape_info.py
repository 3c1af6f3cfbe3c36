"""The escape commands that show something: viewers, this console and its history, all consoles."""

from __future__ import annotations

import heapq

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, human_span
from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.history_reader import HistoryReader
from vmproxy.operators.messages import idle, mode, state_line
from vmproxy.operators.presentation import describe
from vmproxy.operators.reach import ways
from vmproxy.operators.terminal.pager import Pager
from vmproxy.operators.terminal.screen import usable
from vmproxy.operators.terminal.width import fill

VIEWERS_SHOWN = 50


def who(session: ConsoleSession) -> None:
    """Show the viewers of the console."""
    now = session.wall()
    session.say("[who]")
    viewers, access = session.console.viewers.all, session.console.write_access
    for viewer in viewers[:VIEWERS_SHOWN]:
        me = "* " if viewer is session else "  "
        skipped = f", {human_bytes(viewer.skipped)} skipped" if viewer.skipped else ""
        session.say(
            f"{me}{fill(viewer.who, 28)} {mode(access.writes(viewer), access.waits(viewer)):<11}"
            f" idle {idle(viewer, now):<6} here for {human_span(now - viewer.since)}{skipped}"
        )
    if len(viewers) > VIEWERS_SHOWN:
        session.say(f"  ... and {len(viewers) - VIEWERS_SHOWN} more")


def info(session: ConsoleSession) -> None:
    """Show all that is known about the console, with the size of its log."""

    def told(size: int) -> None:
        session.say("[info]")
        for line in describe(session.console, session.operator.view, session.wall(), size):
            session.say(f" {line}")

    session.with_log_size(told)


def how(session: ConsoleSession) -> None:
    """Show how somebody else reaches this console."""
    for line in ways(session.session, session.console):
        session.say(f"[{line}]")
    if session.may(Right.ADMIN) and session.session.services.guests is not None:
        name = session.operator.view.alias(session.console)
        session.say(f"[for somebody without an account: the command `guest {name} --for 1h']")


def others(session: ConsoleSession) -> None:
    """Show the consoles that the operator may see, as many as the screen holds."""
    if not session.may_overview():
        return
    wall = session.wall()
    room = max(5, session.session.size[1] - 3)
    consoles = list(session.operator.view)
    shown = heapq.nsmallest(room, consoles, key=lambda c: (c.title.casefold(), c.uuid, c.port))
    session.say(f"[{len(consoles)} console{'s' if len(consoles) != 1 else ''}]")
    for console in shown:
        here = "*" if console is session.console else " "
        who = f", {console.writers[0].who} writes" if console.writers else ""
        session.say(f"{here} {fill(console.title, 24)} {state_line(console, wall)}{who}")
    if len(consoles) > room:
        session.say(f"  ... and {len(consoles) - room} more; the command `list' shows them all")


def has_screen(session: ConsoleSession) -> bool:
    """Whether the operator's terminal can show a pager."""
    return usable(session.session.term)


def scroll(session: ConsoleSession) -> None:
    """Show the history, from its end back."""
    _page(session, search=False)


def search(session: ConsoleSession) -> None:
    """Ask for what to look for in the history, and show it."""
    _page(session, search=True)


def _page(session: ConsoleSession, search: bool) -> None:
    if not has_screen(session):
        session.say("[this terminal cannot show it; the command `log' does]")
    elif session.display.busy:
        session.say("[not now: output is still on its way to you]")
    else:
        session.audit("log-read")
        reader = HistoryReader(session.session, session.console)
        pager = Pager(
            session.session,
            session.console.title,
            reader,
            session.touched,
            session.end_pager,
            session.farewell,
            session.send_break,
        )
        session.page(pager)
        pager.start(search)
