"""``trace``: what hosts and the concentrator say to each other, as it is said.

Serial data and the secrets of vMotions are not in it. A host says things of all its VMs, so it may be traced by those
who see all consoles.
"""

from __future__ import annotations

from collections import deque

from vmproxy.access.policy import Right
from vmproxy.base.addresses import numeric_address
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import find, print_all, require_right, sleep
from vmproxy.operators.commands.declaration import Argument, Arguments, Command, Option, Real, Takes, Whole
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.messages import local_time
from vmproxy.operators.resolve import TargetError
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import parse

LINES = 1000
LINES_LIMIT = 100_000
SECONDS = 3600.0
SECONDS_LIMIT = 86400.0
WAITING_LIMIT = 5000  # lines that wait for the client
LOOK_SECONDS = 0.2

_WHAT: Argument[str] = Argument(
    "HOST|NAME", Takes.TEXT, "a host's address or name, or a console", "give a host or a console", "console"
)
_COUNT = Option("-n", "N", Whole(1, LINES_LIMIT), f"end after N lines; default {LINES}", "--count")
_FOR = Option("--for", "S", Real(0.1, SECONDS_LIMIT), f"end after so many seconds; default {SECONDS:g}")


class _Lines:
    """Lines until they are printed."""

    def __init__(self, session: Session) -> None:
        self._wall = session.services.wall
        self._lines: deque[str] = deque()
        self._skipped = 0

    def told(self, line: str) -> None:
        if len(self._lines) < WAITING_LIMIT:
            at = self._wall()
            self._lines.append(f"{local_time(at)[11:19]}.{int(at * 1000) % 1000:03} {line}\n")
        else:
            self._skipped += 1

    def take(self, most: int) -> tuple[list[str], int]:
        """The lines, and how many more there were no room for."""
        lines = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
        skipped, self._skipped = self._skipped, 0
        return lines, skipped


async def _trace(session: Session, args: Arguments) -> int:
    clock, wanted = session.services.clock, _wanted(session, args[_WHAT].strip(), args.right)
    name = wanted.title if isinstance(wanted, Console) else visible(wanted)
    lines = _Lines(session)
    try:
        end = await session.services.trace(wanted, lines.told)
    except VMProxyError as error:
        raise CommandError(str(error)) from None
    try:
        session.operator.audit("trace", of=name)
        tell(session, f"[-- tracing {name} from {local_time(session.services.wall())}; ^C ends it --]")
        left, until = args.get(_COUNT, LINES), clock.seconds() + args.get(_FOR, SECONDS)
        while left and not session.over:
            rest = until - clock.seconds()
            if rest <= 0 or not await session.when_drained():
                break
            await sleep(session, min(LOOK_SECONDS, rest))
            _check(session, wanted)
            shown, skipped = lines.take(left)
            left -= len(shown)
            await print_all(session, shown)
            if skipped:
                tell(session, f"[-- {skipped} lines skipped: your connection is too slow --]")
        tell(session, f"[-- the trace of {name} ends --]")
    finally:
        end()
    return exit_status.OK


def _wanted(session: Session, text: str, right: Right) -> Console | str:
    # What names a console is one, whatever hosts are called: they have addresses.
    wanted: Console | str = text
    if numeric_address(text) is None:
        try:
            wanted = find(session, parse(text))
        except TargetError as error:
            if error.status != exit_status.NO_SUCH_CONSOLE or not _sees_hosts(session):
                raise
    if isinstance(wanted, Console) and not session.operator.view.may(wanted, right):
        raise CommandError(f"{wanted.title}: you may not trace it", exit_status.FORBIDDEN)
    _check(session, wanted)
    return wanted


def _check(session: Session, wanted: Console | str) -> None:
    if isinstance(wanted, Console):
        require_right(session, wanted, Right.ADMIN)
    elif not _sees_hosts(session):
        raise CommandError("hosts are for administrators from whom no console is hidden", exit_status.FORBIDDEN)


def _sees_hosts(session: Session) -> bool:
    view = session.operator.view
    return view.administers and view.all_seen


COMMANDS = (
    Command(
        "trace",
        "show what a host, or the host of a VM, negotiates",
        _trace,
        (_WHAT, _COUNT, _FOR),
        Right.ADMIN,
        notes="Suboptions in words and in hex, with times; no serial data, no secrets.\n"
        "A HOST needs an administrator from whom no console is hidden.\n",
    ),
)
