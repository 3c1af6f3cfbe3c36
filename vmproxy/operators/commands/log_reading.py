"""Printing of logs by commands: as fast as the client takes them.

A client that reads nothing for a minute loses its place if places are scarce.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import CancelledError
from twisted.internet.task import LoopingCall

from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import require_right
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.log_reading import BatchReader, OpenedLog, named_problems
from vmproxy.operators.readings import UNREAD_SECONDS
from vmproxy.operators.session import Session, tell


def tell_problems(session: Session, consoles: Iterable[Console], problems: Iterable[str]) -> None:
    """Tell the operator which parts of logs could not be read; see :func:`named_problems`."""
    for text in named_problems(session, consoles, problems):
        tell(session, text)


def finished(session: Session, opened: OpenedLog) -> int:
    """Tell the operator which parts of a log could not be read.

    :returns: the exit status.
    """
    tell_problems(session, [opened.console], opened.files.problems)
    return exit_status.FAILED if opened.files.problems else exit_status.OK


async def print_pieces(session: Session, console: Console, reading: BatchReader[bytes]) -> bool:
    """Print bytes of a console's log as fast as the client takes them.

    :returns: False if the client is gone.
    :raises CommandError: if the operator may not read it any more, or does not.
    """
    while batch := await reading.batch():
        require_right(session, console)
        session.send(b"".join(batch))
        if not await taken(session):
            return False
    return True


async def taken(session: Session) -> bool:
    """Wait until the client has taken all output.

    :returns: False if it is gone.
    :raises CommandError: if it takes nothing for a minute and places are scarce. If they are not, it may wait: people
        read pages with ``less``.
    """
    done = session.when_drained()
    if done.called:
        return await done
    readings, name = session.services.readings, session.operator.name
    unread = False
    before = session.queued

    def look() -> None:
        nonlocal before, unread
        unread = readings.scarce_for(name) and session.queued >= before
        before = session.queued
        if unread:
            done.cancel()

    timer = LoopingCall(look)
    timer.clock = session.services.clock
    timer.start(UNREAD_SECONDS, now=False)
    try:
        return await done
    except CancelledError:
        if not unread:
            raise
        text = f"ended: the client has read nothing for {UNREAD_SECONDS:g} s"
        raise CommandError(text, exit_status.FAILED) from None
    finally:
        timer.stop()
