"""``send`` with a pattern of names: a text is typed at many consoles.

Who will get it is shown first, and asked for at a terminal. Each console is written to as ``send`` does it: where
another operator writes, it is left out. Bound: :data:`CONSOLES_LIMIT` consoles, and some seconds for those that take
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from textwrap import wrap

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen, in_turns, refusal, sleep
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.question import confirmed
from vmproxy.operators.commands.watcher import Watcher
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import Target

CONSOLES_LIMIT = 1000
NAMED = 100
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 10.0


async def send_many(session: Session, globs: Sequence[str], target: Target, data: bytes, yes: bool) -> int:
    """Type a text at the consoles that globs select.

    :param target: the wish to write, for each of them.
    :param yes: do not ask.
    :returns: the exit status.
    """
    view = session.operator.view
    found = await chosen(session, globs)
    shown = " ".join(map(visible, globs))
    consoles = [console async for console in in_turns(session, found) if view.may(console, Right.MANY)]
    if not consoles:
        raise CommandError(f"{shown}: you may not type at many consoles at once", exit_status.FORBIDDEN)
    if len(consoles) > CONSOLES_LIMIT:
        raise UsageError(f"{shown}: these are {len(consoles):,} consoles, and {CONSOLES_LIMIT:,} are the most")
    up = [console for console in consoles if console.state != "down"]
    _tell_who(session, up, len(data))
    if len(up) < len(consoles):
        tell(session, f"[-- {len(consoles) - len(up)} more are down --]")
    if len(consoles) < len(found):
        tell(session, f"[-- at {len(found) - len(consoles)} more you may not --]")
    if not yes:
        if not session.has_pty:
            raise UsageError("give --yes, or a terminal to ask at (ssh -t)")
        if not await confirmed(session, f"Type it at {_consoles(len(up))}?"):
            tell(session, "nothing was typed")
            return exit_status.FAILED
    return await _type(session, up, target, data)


def _tell_who(session: Session, consoles: Sequence[Console], size: int) -> None:
    names = [console.title for console in consoles[:NAMED]]
    if len(consoles) > NAMED:
        names.append(f"and {len(consoles) - NAMED:,} more")
    tell(session, f"[-- {size} bytes for {_consoles(len(consoles))}: --]")
    for line in wrap(", ".join(names), max(1, session.size[0] - 1), break_on_hyphens=False):
        tell(session, line)


async def _type(session: Session, consoles: Sequence[Console], target: Target, data: bytes) -> int:
    operator = session.operator
    operator.audit("send-many", consoles=len(consoles), bytes=len(data))
    problems: list[str] = []
    watchers: list[Watcher] = []
    with ExitStack() as stack:
        async for console in in_turns(session, consoles):
            try:
                if not operator.view.may(console, Right.MANY):  # the rules may have changed meanwhile
                    raise refusal(session, console, Right.SEE) or CommandError(
                        f"{console.title}: you may not type at many consoles", exit_status.FORBIDDEN
                    )
                watcher = stack.enter_context(Watcher(session, console, target))
            except CommandError as error:
                problems.append(str(error))
                continue
            operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=len(data))
            watcher.send(data)
            watchers.append(watcher)
        clock = session.services.clock
        until = clock.seconds() + PATIENCE_SECONDS
        waiting = watchers
        while waiting:
            pending, waiting = waiting, []
            async for one in in_turns(session, pending):
                if one.error is None and not one.delivered:
                    waiting.append(one)
                else:
                    one.detach()  # others may write there now, whoever else is slow
            if not waiting or clock.seconds() >= until:
                break
            await sleep(session, LOOK_SECONDS)
    problems += [str(one.error) for one in watchers if one.error is not None]
    problems += [
        f"{one.console.title}: not taken within {PATIENCE_SECONDS:g} s; it may be taken later" for one in waiting
    ]
    for problem in problems[:NAMED]:
        tell(session, problem)
    tell(session, f"[-- typed at {len(consoles) - len(problems)} of {_consoles(len(consoles))} --]")
    return exit_status.FAILED if problems or not consoles else exit_status.OK


def _consoles(count: int) -> str:
    return f"{count:,} console{'' if count == 1 else 's'}"
