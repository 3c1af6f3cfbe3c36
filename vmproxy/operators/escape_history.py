"""The escape commands that show the history of the console, in a pager on the operator's terminal."""

from __future__ import annotations

from vmproxy.operators.console_session import ConsoleSession
from vmproxy.operators.history_reader import HistoryReader
from vmproxy.operators.terminal.pager import Pager
from vmproxy.operators.terminal.screen import usable


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
