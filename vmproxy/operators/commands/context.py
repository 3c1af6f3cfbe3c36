"""What a command is, and what all commands share: reading options, finding the console that is meant, refusing.

A command is a coroutine that is handed the session and its words, prints to the session, and returns an exit status.
What it cannot do it says by raising :class:`CommandError`. It never ends the session: at the menu's prompt the session
goes on. It is cancelled when the operator presses ^C or leaves, so whatever it holds it lets go of in a ``finally``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from vmproxy.access.policy import BadRule, Right, Selector
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators import exit_status
from vmproxy.operators.resolve import locate
from vmproxy.operators.session import Session
from vmproxy.operators.target import BadTarget, Target, parse

CHUNK = 64 * 1024
GLOBS_LIMIT = 64
GLOB_LIMIT = 256  # characters: making a pattern of thousands takes as long as they are many, squared
SLICE = 200  # consoles that are looked at before others have their turn
NUMBER_LIMIT = 999_999_999


class CommandError(VMProxyError):
    """Something that cannot be done; the text says why.

    :ivar status: the exit status.
    """

    def __init__(self, text: str, status: int = exit_status.FAILED) -> None:
        super().__init__(text)
        self.status = status


class BadCommand(CommandError):
    """A command that cannot be understood; the text says why."""

    def __init__(self, text: str) -> None:
        super().__init__(text, exit_status.USAGE)


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    :ivar usage: what stands behind its name.
    :ivar summary: what it does, in a line.
    :ivar help: the rest, lines for people.
    :ivar hidden: another name for a command; not shown in lists of them.
    """

    name: str
    usage: str
    summary: str
    run: Callable[[Session, list[str]], Awaitable[int]]
    help: str = ""
    hidden: bool = False


# Words.


@dataclass(slots=True)
class Args:
    """What stood behind a command's name.

    :ivar flags: the options without a value that were given.
    :ivar values: those with one.
    :ivar rest: the words that are no options.
    """

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def number(self, option: str, least: int, most: int) -> int | None:
        """The value of an option as a whole number; None where it was not given.

        :raises BadCommand: if it is none within the bounds.
        """
        text = self.values.get(option)
        if text is None:
            return None
        if not (len(text) <= 9 and text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise BadCommand(f"{option} needs a number from {least} to {most}, not {visible(text)!r}")
        return int(text)

    def real(self, option: str, least: float, most: float) -> float | None:
        """The value of an option as a number; None where it was not given.

        :raises BadCommand: if it is none within the bounds.
        """
        text = self.values.get(option)
        if text is None:
            return None
        try:
            number = float(text if len(text) < 20 and text.isascii() else "")
        except ValueError:
            number = -1.0
        if not least <= number <= most:
            raise BadCommand(f"{option} needs a number from {least:g} to {most:g}, not {visible(text)!r}")
        return number


def read_args(words: Iterable[str], flags: Sequence[str] = (), values: Sequence[str] = ()) -> Args:
    """Read options: ``-f``, ``-if``, ``-n 5``, ``-n5``, ``--since 10m``, ``--since=10m``; ``--`` ends them.

    :param flags: the options without a value that there are; ``values``: those with one.
    :raises BadCommand: if there is no such option, or no value.
    """
    args = Args()
    words = iter(words)
    for word in words:
        if word == "--":
            args.rest.extend(words)
        elif not word.startswith("-") or word == "-":
            args.rest.append(word)
        else:
            _option(args, word, words, flags, values)
    return args


def _option(args: Args, word: str, words: Iterator[str], flags: Sequence[str], values: Sequence[str]) -> None:
    long, equals, value = word.partition("=")
    if word in flags:
        args.flags.add(word)
    elif word in values:
        following = next(words, None)
        if following is None:
            raise BadCommand(f"{word} needs a value")
        args.values[word] = following
    elif equals and long.startswith("--") and long in values:
        args.values[long] = value
    elif not word.startswith("--") and word[:2] in values:
        args.values[word[:2]] = word[2:]
    elif not word.startswith("--") and all(f"-{letter}" in flags for letter in word[1:]):
        args.flags.update(f"-{letter}" for letter in word[1:])
    else:
        known = ", ".join([*flags, *values]) or "none"
        raise BadCommand(f"{visible(word)}: no such option; there is {known}")


# Consoles.


def target_of(session: Session, words: Sequence[str]) -> Target:
    """The console that words mean, all of them its name; without any, that of the user name.

    :raises BadTarget: if it has options that mean nothing.
    :raises BadCommand: if no console is named.
    """
    if words:
        return parse(" ".join(words))
    target = session.operator.target
    if target is None:
        raise BadCommand("which console? give its name")
    return target


def target_and(session: Session, words: Sequence[str], what: str, optional: bool = False) -> tuple[Target, str]:
    """The console and one word more, ``what``; with a console in the user name one word may be only that.

    :param optional: whether the other word may be left out.
    :raises BadCommand: if there are too many words, or too few.
    """
    if len(words) == 2:
        return target_of(session, words[:1]), words[1]
    if len(words) > 2:
        raise BadCommand(f"too many words; put quotes around what has blanks: NAME {what}")
    if words and session.operator.target is not None:
        return target_of(session, ()), words[0]
    if not optional:
        raise BadCommand(f"give NAME {what}")
    return target_of(session, words), ""


def find(session: Session, target: Target, right: Right = Right.SEE, doing: str = "") -> Console:
    """The console that is meant.

    :param right: what the operator must be allowed to do with it; ``doing`` it, in words.
    :raises Refused: if there is none that he may see, or several.
    :raises CommandError: if he may not do that.
    """
    view = session.operator.view
    console = locate(session.operator.view, target)
    if not view.may(console, right):
        raise CommandError(f"{console.title}: you may not {doing}", exit_status.FORBIDDEN)
    return console


def must_be_exact(session: Session, target: Target, console: Console, doing: str) -> None:
    """What hits others needs a whole name.

    :raises BadCommand: if the target is only the beginning of one.
    """
    if not session.operator.view.is_exact(target.console, console):
        raise BadCommand(f"{visible(target.console)}: {doing} needs a whole name; did you mean {console.title}?")


def selectors(globs: Sequence[str]) -> tuple[Selector, ...]:
    """Read globs as the rules know them: ``web*``, ``uuid:564d*``, ``query:team=blue``.

    :raises BadCommand: if one selects nothing that can be, or there are too many.
    """
    if len(globs) > GLOBS_LIMIT:
        raise BadCommand(f"at most {GLOBS_LIMIT} patterns of names")
    if any(len(glob) > GLOB_LIMIT for glob in globs):
        raise BadCommand(f"a pattern of names has at most {GLOB_LIMIT} characters")
    try:
        return tuple(Selector(glob) for glob in globs)
    except BadRule as error:
        raise BadCommand(str(error)) from None


async def chosen(session: Session, globs: Sequence[str], right: Right = Right.SEE) -> list[Console]:
    """The consoles that globs select, all where there is none, in the order in which people look for them.

    :param globs: one that selects nothing may still be a UUID, an alias, or the beginning of a name.
    :param right: only those on which the operator may do this.
    :raises CommandError: if globs are given and nothing is found, or nothing on which he may.
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
        raise CommandError(f"{' '.join(map(visible, globs))}: you may not look at what they say", exit_status.FORBIDDEN)
    allowed.sort(key=lambda c: (c.title.casefold(), c.uuid, c.port))
    return allowed


async def chosen_or_own(session: Session, words: Sequence[str], right: Right) -> list[Console]:
    """The same; without words, the console of the user name where there is one."""
    if not words and (target := session.operator.target) is not None:
        return [find(session, target, right, "look at what it says")]
    return await chosen(session, words, right)


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


def tell(session: Session, text: str) -> None:
    """Print text to the operator's stderr, and go on."""
    text = text if text.endswith("\n") else text + "\n"
    session.send_err(
        (text.replace("\n", "\r\n") if session.has_pty else text).encode("utf-8", "backslashreplace"),
    )


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


__all__ = [
    "CHUNK",
    "NUMBER_LIMIT",
    "SLICE",
    "Args",
    "BadCommand",
    "BadTarget",
    "Command",
    "CommandError",
    "chosen",
    "chosen_or_own",
    "find",
    "must_be_exact",
    "now",
    "pause",
    "print_all",
    "read_args",
    "selectors",
    "sleep",
    "target_and",
    "target_of",
    "tell",
]
