"""Helpers of commands: consoles, rights, output, time.

A command is a coroutine: it takes the session and the arguments, prints to the session, and returns an exit status, or
raises :class:`CommandError`. It never ends the session, which goes on in the menu. It is cancelled when the operator
presses ^C or leaves, so it releases what it holds in a ``finally``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vmproxy.access.policy import Right
from vmproxy.access.selector import KINDS, BadRule, Selector
from vmproxy.base.sanitize import visible
from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.operators import exit_status
from vmproxy.operators.client import Client
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.resolve import locate
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target, parse
from vmproxy.operators.terminal.width import fill

CHUNK = 64 * 1024
GLOBS_LIMIT = 64
GLOB_LIMIT = 256  # characters: compiling a pattern takes the square of its length

T = TypeVar("T")

_DOING = {Right.SPY: "read its output", Right.WRITE: "write to it", Right.ADMIN: "disconnect anybody"}


# Consoles.


def find(client: Client, target: Target, right: Right = Right.SEE) -> Console:
    """The console of a target.

    :param right: the right that the operator needs on it.
    :raises TargetError: if the operator may see no such console, or several.
    :raises CommandError: if the operator does not have the right.
    """
    view = client.operator.view
    console = locate(view, target)
    if not view.may(console, right):
        raise CommandError(f"{console.title}: you may not {_DOING[right]}", exit_status.FORBIDDEN)
    return console


def must_be_exact(client: Client, target: Target, console: Console, doing: str) -> None:
    """Require a whole name, for what affects other operators.

    :raises UsageError: if the target is only the beginning of a name.
    """
    view = client.operator.view
    if not view.is_exact(target.console, console):
        raise UsageError(f"{visible(target.console)}: {doing} needs a whole name; did you mean {view.typed(console)}?")


def selectors(globs: Sequence[str]) -> tuple[Selector, ...]:
    """Read globs as the rules know them: ``web*``, ``uuid:564d*``, ``tag:team=blue``.

    :raises UsageError: if a glob means nothing, is too long, or there are too many.
    """
    if len(globs) > GLOBS_LIMIT:
        raise UsageError(f"at most {GLOBS_LIMIT} patterns of names")
    if any(len(glob) > GLOB_LIMIT for glob in globs):
        raise UsageError(f"a pattern of names has at most {GLOB_LIMIT} characters")
    try:
        return tuple(Selector(glob) for glob in globs)
    except BadRule as error:
        raise UsageError(str(error)) from None


def is_pattern(word: str) -> bool:
    """Whether a word is a glob, and not only a name."""
    return any(char in word for char in "*?[") or (":" in word and word.partition(":")[0] in KINDS)


def pattern_in(client: Client, target: Target) -> str:
    """The glob that stands where the name of a console does; empty if it is a name."""
    name = target.console
    return name if is_pattern(name) and not client.operator.view.is_name(name) else ""


def are_consoles(client: Client, words: Sequence[str]) -> bool:
    """Whether words are globs and whole names, and no other text."""
    return all(is_pattern(word) or client.operator.view.is_name(word) for word in words)


async def chosen(client: Client, globs: Sequence[str], right: Right = Right.SEE) -> list[Console]:
    """The consoles that globs select, sorted by title; without globs, all of them.

    :param globs: a glob that selects nothing may still be a UUID, an alias, or the beginning of a name.
    :param right: the right that the operator needs on them; other consoles are left out.
    :raises TargetError: if a glob finds nothing.
    :raises CommandError: if there are globs, and the operator has the right on none of the consoles.
    """
    wanted = selectors(globs)
    found: dict[Console, None] = {}
    hit = [False] * len(wanted)
    rights = client.operator.view.rights
    # A console that may not be seen is not compared, so the time taken tells nothing of it.
    async for console in in_turns(client, client.operator.view):
        matching = [n for n, selector in enumerate(wanted) if selector.selects(console)]
        for n in matching:
            hit[n] = True
        if matching or not wanted:
            found[console] = None
    for glob, was_hit in zip(globs, hit, strict=True):
        if not was_hit:
            await turn(client)
            found[locate(client.operator.view, parse(glob))] = None
    allowed = [console async for console in in_turns(client, found) if right in rights(console)]
    if wanted and not allowed:
        raise CommandError(f"{' '.join(map(visible, globs))}: you may not read their output", exit_status.FORBIDDEN)
    async for _ in in_turns(client, sort_steps(allowed, lambda c: (c.title.casefold(), c.uuid.int, c.port))):
        pass
    return allowed


async def chosen_or_own(client: Client, words: Sequence[str], right: Right) -> list[Console]:
    """The same; without words, the console of the user name if there is one."""
    if not words and (target := client.operator.target) is not None:
        return [find(client, target, right)]
    return await chosen(client, words, right)


# Rights. A command may run for hours, and the rules may change: it checks again wherever it has waited.


def refusal(client: Client, console: Console, right: Right) -> CommandError | None:
    """The error for an operator without a right on a console; None if they have it."""
    view = client.operator.view
    if not view.may(console, Right.SEE):
        # Not by its name, which may be a new one that is none of the operator's business.
        return CommandError("no such console any more", exit_status.NO_SUCH_CONSOLE)
    if not view.may(console, right):
        return CommandError(
            f"{console.title}: the rules have changed, you may no longer do that", exit_status.FORBIDDEN
        )
    return None


def require_right(client: Client, console: Console, right: Right = Right.SPY) -> None:
    """Check a right again.

    :raises CommandError: if the operator has lost it.
    """
    if error := refusal(client, console, right):
        raise error


def require_any_right(client: Client, consoles: Sequence[Console]) -> None:
    """Check the right to read many consoles again; one console that may be read is enough.

    :raises CommandError: if there are consoles, and the operator may read none any more.
    """
    view = client.operator.view
    if consoles and not any(view.may(console, Right.SPY) for console in consoles):
        if len(consoles) == 1:
            require_right(client, consoles[0])
        raise CommandError("the rules have changed, you may no longer read any of these", exit_status.FORBIDDEN)


# Output and time.


async def print_all(session: Session, lines: Iterable[str]) -> bool:
    """Print lines as fast as the client takes them.

    :returns: False if the client is gone.
    """
    parts: list[str] = []
    length = 0
    async for line in in_turns(session, lines):
        parts.append(line)
        length += len(line)
        if length > CHUNK:
            session.print("".join(parts))
            parts.clear()
            length = 0
            if not await session.when_drained():
                return False
    session.print("".join(parts))
    return True


def table_row(texts: Sequence[str], widths: Sequence[int]) -> str:
    """A line of a table; the last text is not padded."""
    padded = (fill(text, width) for text, width in zip(texts[:-1], widths, strict=False))
    return "  ".join([*padded, texts[-1]]).rstrip() + "\n"


def sleep(client: Client, seconds: float) -> Deferred[None]:
    """Wait; may be cancelled."""
    return deferLater(client.services.clock, seconds)


async def turn(client: Client) -> None:
    """Wait for the next turn of the reactor if this one has been used up."""
    await client.operator.view.ready(client.services.turns, client.operator.name)


async def in_turns(client: Client, things: Iterable[T]) -> AsyncIterator[T]:
    """Things one by one, none of them in a turn of the reactor that has been used up."""
    turns, operator = client.services.turns, client.operator
    await operator.view.ready(turns, operator.name)
    turn = turns.number
    for thing in things:
        if not turns.open() or turns.number != turn:
            await operator.view.ready(turns, operator.name)
            turn = turns.number
        yield thing


def now(client: Client) -> float:
    """The time, in seconds since the epoch."""
    return client.services.wall()
