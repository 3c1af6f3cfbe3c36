"""The shell: what a session does from its beginning on, decided by the command line that its client gave."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.tasks import spawn
from vmproxy.console.notices import ShuttingDown
from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status
from vmproxy.operators.attachment import attach
from vmproxy.operators.commands.context import chosen, print_all
from vmproxy.operators.commands.job import Job
from vmproxy.operators.commands.list import no_consoles, print_table
from vmproxy.operators.commands.parser import split
from vmproxy.operators.commands.registry import COMMANDS, execute, help_text, no_command
from vmproxy.operators.messages import notice_text
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import BadTarget, parse
from vmproxy.operators.terminal.menu import Menu

_log = Logger()


def start(session: Session, line: str) -> None:
    """Run a command line and end the session with its status. What is no command is the name of a console.

    Without a line: the console in the user name, the menu at a terminal, or an overview.
    """
    spawn(_run(session, line)).addErrback(_failed, session)


def shut_down(session: Session) -> None:
    """Tell a session that the server stops. Operators on a console were told there, and are leaving already."""
    if session.over:
        return
    notice = getattr(session.router.activity, "notice", None)
    if notice is not None:
        notice(ShuttingDown())
    else:
        tell(session, notice_text(ShuttingDown(), ""))
        session.finish(exit_status.SHUTTING_DOWN)


def _failed(failure: Failure, session: Session) -> None:
    if failure.check(VMProxyError):
        tell(session, failure.getErrorMessage())
        session.finish(exit_status.USAGE if failure.check(BadTarget) else exit_status.FAILED)
        return
    _log.failure("a command of {who} failed", failure=failure, who=session.operator.who)
    tell(session, "internal error; the daemon's log says more")
    session.finish(exit_status.FAILED)


async def _run(session: Session, line: str) -> None:
    words = split(line)
    if not words:
        target = session.operator.target
        if target is not None:
            name = session.operator.name
            attach(session, target, unknown=f"You are logged in as {name}; ssh {name}@... shows the menu.")
            return
        if session.has_pty:
            Menu(session).start()
            return
    elif words[0] not in COMMANDS:
        attach(session, parse(line.strip()), unknown=no_command(words[0]))
        return
    job = Job(session)
    session.router.push(job)
    try:
        status = await job.start(execute(session, words) if words else _overview(session))
    except CancelledError as cancelled:
        cancelled.__traceback__ = None  # its frames would keep it, and it them
        status = exit_status.INTERRUPTED
    session.finish(status)


async def _overview(session: Session) -> int:
    session.print(f"You are {session.operator.name}. These consoles are known:\n\n")
    consoles = await chosen(session, ())
    if consoles:
        await print_table(session, consoles)
    else:
        session.print(no_consoles(session))
    await print_all(session, ["\n", help_text(session)])
    return exit_status.OK
