"""``expect`` with a pattern of names: wait until one of many consoles prints something, or all of them."""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.log.file_state import LogFile
from vmproxy.log.pattern import Pattern
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen, in_turns, turn
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.line_choice import LineChoice, LineStyle
from vmproxy.operators.line_follower import LineFollower
from vmproxy.operators.session import Session, tell

NAMED = 20


async def expect_many(session: Session, globs: Sequence[str], pattern: Pattern, seconds: float, everyone: bool) -> int:
    """Wait for a line that matches, and print it with the name of its console.

    :param everyone: wait for one of each console; else, for the first of all.
    :returns: the exit status.
    """
    consoles = await chosen(session, globs, Right.SPY)
    session.operator.audit("tail", consoles=len(consoles))
    style = LineStyle(b"\r\n" if session.has_pty else b"\n")
    follower = LineFollower(session, LineChoice(pattern), style)
    waiting: dict[LogFile, Console] = {}
    lost: list[str] = []
    async for console in in_turns(session, consoles):
        follower.add(console)
        waiting[console.log.file] = console
    with follower:
        late = session.services.clock.callLater(seconds, follower.queue.wake)
        try:
            while waiting:
                await follower.changed()
                if await _seen(session, follower, waiting) and not everyone:
                    return exit_status.OK
                for file in [file for file, console in waiting.items() if console.forgotten]:
                    lost.append(waiting.pop(file).title)  # nothing will come of it
                if not late.active():
                    await _tell_missing(session, waiting, seconds)
                    return exit_status.TIMEOUT
        finally:
            if late.active():
                late.cancel()
    if lost:
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        text = f"forgotten before anything matched: {', '.join(lost[:NAMED])}{more}"
        raise CommandError(text, exit_status.NO_SUCH_CONSOLE)
    return exit_status.OK


async def _seen(session: Session, follower: LineFollower, waiting: dict[LogFile, Console]) -> bool:
    """Print the first line of each console that matches; :returns: whether there was any."""
    found, _, left_out = follower.queue.take()
    if left_out:
        tell(session, f"[-- {left_out:,} lines skipped: more than can be looked at --]")
    seen = False
    for file, lines in found:
        await turn(session)
        if file in waiting and follower.check(file):
            session.send(lines[: lines.index(b"\n") + 1])
            follower.remove(file)
            del waiting[file]
            seen = True
            if not waiting:
                break
    for text in follower.take_notices():
        tell(session, text)
    if not len(follower) and not all(console.forgotten for console in waiting.values()):
        raise CommandError("the rules have changed, you may no longer read any of these", exit_status.FORBIDDEN)
    return seen


async def _tell_missing(session: Session, waiting: dict[LogFile, Console], seconds: float) -> None:
    view, missing = session.operator.view, list(waiting.values())
    names = [console.title async for console in in_turns(session, missing) if console in view]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    tell(session, f"nothing matched within {seconds:g} s: {', '.join(names[:NAMED])}{more}")
