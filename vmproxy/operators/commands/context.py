"""What commands share: the consoles that are meant, the rights on them, output, time.

A command is a coroutine that is given the session and its arguments, prints to the session, and returns an exit status.
What it cannot do it says by raising :class:`CommandError`. It never ends the session: at the menu's prompt the session
goes on. It is cancelled when the operator presses ^C or leaves, so whatever it holds it lets go of in a ``finally``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred

from vmproxy.access.policy import BadRule, Right, Selector
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.resolve import locate
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target, parse
from vmproxy.operators.terminal.width import cells, pad

CHUNK = 64 * 1024
GLOBS_LIMIT = 64
GLOB_LIMIT = 256  # characters: making a pattern of thousands takes as long as they are many, squared
SLICE = 200  # consoles that are looked at before others have their turn
_DOING = {Right.SPY: "read its output", Right.WRITE: "write to it", Right.ADMIN: "disconnect anybody"}


# Consoles.


def find(session: Session, target: Target, right: Right = Right.SEE) -> Console:
    """The console that is meant.

    :param right: what the operator must be allowed to do with it.
    :raises Refused: if there is none that they may see, or several.
    :raises CommandError: if they may not do that.
    """
    view = session.operator.view
    console = locate(view, target)
    if not view.may(console, right):
        raise CommandError(f"{console.title}: you may not {_DOING[right]}", exit_status.FORBIDDEN)
    return console


def must_be_exact(session: Session, target: Target, console: Console, doing: str) -> None:
    """What hits others needs a whole name.

    :raises UsageError: if the target is only the beginning of one.
    """
    if not session.operator.view.is_exact(target.console, console):
        raise UsageError(f"{visible(target.console)}: {doing} needs a whole name; did you mean {console.title}?")


def selectors(globs: Sequence[str]) -> tuple[Selector, ...]:
    """Read globs as the rules know them: ``web*``, ``uuid:564d*``, ``query:team=blue``.

    :raises UsageError: if one selects nothing that can be, or there are too many.
    """
    if len(globs) > GLOBS_LIMIT:
        raise UsageError(f"at most {GLOBS_LIMIT} patterns of names")
    if any(len(glob) > GLOB_LIMIT for glob in globs):
        raise UsageError(f"a pattern of names has at most {GLOB_LIMIT} characters")
    try:
        return tuple(Selector(glob) for glob in globs)
    except BadRule as error:
        raise UsageError(str(error)) from None


async def chosen(session: Session, globs: Sequence[str], right: Right = Right.SEE) -> list[Console]:
    """The consoles that globs select, all where there is none, in the order in which people look for them.

    :param globs: one that selects nothing may still be a UUID, an alias, or the beginning of a name.
    :param right: only those on which the operator may do this.
    :raises CommandError: if globs are given and nothing is found, or nothing on which they may.
    """
    wanted = selectors(globs)
    found: dict[Console, None] = {}
    hit = [False] * len(wanted)
    rights = session.operator.view.rights
    for count, console in enumerate(list(session.services.registry), 1):
        # What may not be seen is not compared with anything: nobody learns of it by the time that takes.
        if Right.SEE in rights(console):
            matching = [n for n, selector in enumerate(wanted) if selector.selects(console)]
            for n in matching:
                hit[n] = True
            if matching or not wanted:
                found[console] = None
        if count % SLICE == 0:
            await pause(session)
    for glob, was_hit in zip(globs, hit, strict=True):
        if not was_hit:
            found[locate(session.operator.view, parse(glob))] = None
    allowed = [console for console in found if right in rights(console)]
    if wanted and not allowed:
        raise CommandError(f"{' '.join(map(visible, globs))}: you may not read their output", exit_status.FORBIDDEN)
    allowed.sort(key=lambda c: (c.title.casefold(), c.uuid, c.port))
    return allowed


async def chosen_or_own(session: Session, words: Sequence[str], right: Right) -> list[Console]:
    """The same; without words, the console of the user name where there is one."""
    if not words and (target := session.operator.target) is not None:
        return [find(session, target, right)]
    return await chosen(session, words, right)


# Rights. A command may run for hours, and the rules may change meanwhile: it asks again wherever it has waited.


def refusal(session: Session, console: Console, right: Right) -> CommandError | None:
    """The error for an operator who may not go on with a console; None if they may."""
    view = session.operator.view
    if not view.may(console, Right.SEE):
        return CommandError(f"{console.title}: no such console", exit_status.NO_SUCH_CONSOLE)
    if not view.may(console, right):
        return CommandError(
            f"{console.title}: the rules have changed, you may no longer do that", exit_status.FORBIDDEN
        )
    return None


def require_right(session: Session, console: Console, right: Right = Right.SPY) -> None:
    """Check a right again.

    :raises CommandError: if the operator does not have it any more.
    """
    if error := refusal(session, console, right):
        raise error


def require_any_right(session: Session, consoles: Sequence[Console]) -> None:
    """The same for a command that reads many consoles: it goes on with those that the operator may still read.

    :raises CommandError: if there were some, and the operator may read none any more.
    """
    view = session.operator.view
    if consoles and not any(view.may(console, Right.SPY) for console in consoles):
        if len(consoles) == 1:
            require_right(session, consoles[0])
        raise CommandError("the rules have changed, you may no longer read any of these", exit_status.FORBIDDEN)


# Output and time.


async def print_all(session: Session, lines: Iterable[str], size: int = CHUNK) -> bool:
    """Print lines as fast as the client takes them, and no faster.

    :param size: characters that are made at once.
    :returns: False if the client is gone.
    """
    parts: list[str] = []
    length = 0
    for count, line in enumerate(lines, 1):
        parts.append(line)
        length += len(line)
        if length > size:
            session.print("".join(parts))
            parts.clear()
            length = 0
            if not await session.when_drained():
                return False
        if count % SLICE == 0:
            await pause(session)
    session.print("".join(parts))
    return True


def table_row(texts: Sequence[str], widths: Sequence[int]) -> str:
    """A line of a table; the last text is as wide as it is."""
    padded = (pad(text, max(width, cells(text))) for text, width in zip(texts[:-1], widths, strict=False))
    return "  ".join([*padded, texts[-1]]).rstrip() + "\n"


def sleep(session: Session, seconds: float) -> Deferred[None]:
    """Fires after so many seconds; may be cancelled."""
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = session.services.clock.callLater(seconds, done.callback, None)
    return done


def pause(session: Session) -> Deferred[None]:
    """Let everything else have its turn."""
    return sleep(session, 0)


def now(session: Session) -> float:
    """The time, in seconds since the epoch."""
    return session.services.wall()
