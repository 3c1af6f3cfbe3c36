"""``tail``, which ``log -f`` with several consoles is too: the lines of many consoles, as they come, in one stream.

Lines are made, chosen and formatted on another thread; here they are sent, some times a second, as fast as the client
takes them. What waits is bounded, and what does not fit is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_span
from vmproxy.console.console import Console
from vmproxy.log.pattern import PATTERN_LIMIT, Pattern
from vmproxy.operators import exit_status
from vmproxy.operators.commands.attach import go
from vmproxy.operators.commands.context import chosen_or_own, in_turns, selectors, sleep
from vmproxy.operators.commands.declaration import (
    GLOBS,
    JSON,
    SINCE,
    Arguments,
    Command,
    Flag,
    Option,
    Text,
    Whole,
)
from vmproxy.operators.commands.errors import CommandError, UsageError
from vmproxy.operators.commands.question import asked_for_console
from vmproxy.operators.commands.search import IGNORE_CASE
from vmproxy.operators.commands.tail_past import PAST, PAST_LIMIT, show_past
from vmproxy.operators.input_router import InputOnly, RunsCommand
from vmproxy.operators.line_choice import LineChoice, LineStyle
from vmproxy.operators.line_follower import SLOW, LineFollower
from vmproxy.operators.resolve import TargetError
from vmproxy.operators.session import Session, tell
from vmproxy.operators.target import BadTarget, parse
from vmproxy.operators.terminal.colour import has_colours
from vmproxy.operators.terminal.line_selection import LineSelection
from vmproxy.operators.terminal.screen import usable

CONTEXT_LIMIT = 100
TOGETHER_SECONDS = 0.05  # between two portions of lines
IDLE_LOOK_SECONDS = 5.0
LOOK_SECONDS = 1.0  # how often it is seen whether the rules have changed

MATCH = Option("--match", "RE", Text(PATTERN_LIMIT), "only lines that match, a regular expression as with `search'")
NOT = Option("--not", "RE", Text(PATTERN_LIMIT), "no lines that match")
CONTEXT = Option("-C", "N", Whole(0, CONTEXT_LIMIT), "also N lines before and after each match")
_UP = (b"\x1b[A", b"\x1bOA", b"k", b"\x10")
STAMPS = Flag("-t", "the time in front of each line")
_MOST = Option("-n", "N", Whole(0, PAST_LIMIT), f"begin with the newest N lines of the past; with --since {PAST}")
_FOLLOW = Flag("-f", "follow, which `tail' always does", hidden=True)


def choice_of(args: Arguments) -> LineChoice:
    """The lines that options choose.

    :raises BadPattern: if a pattern cannot be used.
    :raises UsageError: if there is to be context of nothing.
    """
    match, but = (
        None if (text := args[option]) is None else Pattern(text, ignore_case=IGNORE_CASE in args)
        for option in (MATCH, NOT)
    )
    if match is None and CONTEXT in args:
        raise UsageError(f"{CONTEXT} goes with {MATCH}")
    return LineChoice(match, but, args.get(CONTEXT, 0))


def style_of(session: Session, args: Arguments | None = None) -> LineStyle:
    """How lines are shown to a session."""
    stamps, as_json = (False, False) if args is None else (STAMPS in args, JSON in args)
    return LineStyle(b"\r\n" if session.has_pty else b"\n", stamps, has_colours(session), as_json)


async def _run(session: Session, args: Arguments) -> int:
    return await tail(session, args, args[GLOBS])


async def tail(session: Session, args: Arguments, globs: Sequence[str], lines: int | None = None) -> int:
    """Show the lines of the consoles that globs select, and of those that come later, as options say.

    :param lines: of the past, where an option of another command says so.
    """
    since = args[SINCE]
    most = args.get(_MOST, 0 if since is None else PAST) if lines is None else min(lines, PAST_LIMIT)
    choice, wanted = choice_of(args), selectors(globs)

    async def choose() -> Sequence[Console]:
        return await chosen_or_own(session, globs, args.right)

    async def choose_again() -> Sequence[Console]:
        try:
            return await choose()
        except TargetError:
            return ()  # one that was named is there no more: the others stay

    def fits(console: Console) -> bool:
        return not wanted or any(selector.selects(console) for selector in wanted)

    by_rule = globs or session.operator.target is None
    follower = LineFollower(session, choice, style_of(session, args), fits if by_rule else None)
    if most:
        follower.queue.wait_for_start()
    with follower:
        return await watch(session, follower, await choose(), choose_again, most, since)


async def watch(
    session: Session,
    follower: LineFollower,
    consoles: Sequence[Console],
    choose: Callable[[], Awaitable[Sequence[Console]]] | None = None,
    most: int = 0,
    since: float | None = None,
) -> int:
    """Show the lines of consoles as they come, until the command is cancelled or the client has gone.

    :param follower: follows already, so that no console is missed that comes meanwhile.
    :param consoles: which the operator may read.
    :param choose: chooses them anew when the rules have changed; None: they stay the same, as far as they may be read.
    :param most: how many lines of the past are shown first.
    :returns: the exit status.
    :raises CommandError: if the rules have changed, and nothing may be read any more.
    """
    session.operator.audit("tail", consoles=len(consoles))
    async for console in in_turns(session, consoles):
        follower.add(console)
    follower.take_notices()  # who came meanwhile is one of these
    tell(session, f"[-- {len(follower):,} console{'' if len(follower) == 1 else 's'} --]")
    if most:
        await show_past(session, follower, consoles, most, since)
    return await _follow(session, follower, consoles, choose)


class _Keys(InputOnly):
    """What is typed beside the lines: Up begins a selection among them, Enter asks for a console to go to, ``q`` and ^C
    end. The rest means nothing.

    :ivar go: whether Enter was pressed; ``pick``: whether Up was; ``quit``: whether ``q`` was.
    """

    def __init__(self, session: Session, follower: LineFollower) -> None:
        self._router = session.router
        self._below = session.router.activity
        self._follower = follower
        self.go = self.pick = self.quit = False
        self._clock = follower.clock
        self.last_typed = follower.clock.seconds()
        if (notice := getattr(self._below, "notice", None)) is not None:
            self.notice = notice  # the menu tells of messages, and of the end of the server

    def typed(self, data: bytes) -> None:
        self.last_typed = self._clock.seconds()
        if b"\x03" in data:
            if isinstance(self._below, RunsCommand):
                self._below.interrupt()
        elif data[:1] in (b"\r", b"\n"):
            if rest := data[1:]:
                self._router.keep(rest)  # for the question
            self.go = True
            self._follower.queue.wake()
        elif up := next((key for key in _UP if data.startswith(key)), b""):
            if rest := data[len(up) :]:
                self._router.keep(rest)  # for the selection
            self.pick = True
            self._follower.queue.wake()
        elif data == b"q":
            self.quit = True
            self._follower.queue.wake()

    def stop(self) -> None:
        """The command is stopped, too."""


async def _go(session: Session, follower: LineFollower) -> None:
    """Go to the console of the last line, or to another, and come back."""
    view, last = session.operator.view, follower.last
    name = view.typed(last) if last is not None and view.may(last, Right.SEE) else ""
    if answer := await asked_for_console(session, name):
        await _visit(session, follower, answer)


async def _pick(session: Session, follower: LineFollower) -> str:
    """Have a line selected, go to its console, and come back; :returns: why lines may have been left out."""
    view = session.operator.view
    lines = follower.recent.lines(lambda console: console in follower and view.may(console, Right.SPY))
    if not lines or not usable(session.term):
        return SLOW
    selection = LineSelection(session, lines)
    session.router.push(selection, selection.start)
    try:
        console = await selection.chosen
    finally:
        selection.stop()
        session.send(selection.farewell())
        session.router.pop(selection)
    if console is not None and view.may(console, Right.SEE):
        await _visit(session, follower, view.typed(console))
    return "a line was being chosen"


async def _visit(session: Session, follower: LineFollower, name: str) -> None:
    """Go to a console, and come back."""
    try:
        await go(session, parse(name))
    except BadTarget as error:
        tell(session, str(error))
    follower.queue.take()
    tell(session, "[-- back; what came meanwhile is left out --]")


async def _follow(
    session: Session,
    follower: LineFollower,
    consoles: Sequence[Console],
    choose: Callable[[], Awaitable[Sequence[Console]]] | None,
) -> int:
    keys = _Keys(session, follower)
    if session.has_pty:
        session.router.push(keys)
    try:
        await _stream(session, follower, consoles, choose, keys)
    finally:
        session.router.pop(keys)
    return exit_status.OK


async def _stream(
    session: Session,
    follower: LineFollower,
    consoles: Sequence[Console],
    choose: Callable[[], Awaitable[Sequence[Console]]] | None,
    keys: _Keys,
) -> None:
    registry = session.services.registry
    policy, looked = registry.policy, session.services.clock.seconds()
    while not session.over and not keys.quit:
        busy = SLOW
        if keys.go:
            keys.go = False
            await _go(session, follower)
            keys.typed(b"")  # they have been typing elsewhere
        elif keys.pick:
            keys.pick = False
            busy = await _pick(session, follower)
            keys.typed(b"")
        await follower.changed(LOOK_SECONDS)
        if policy is not registry.policy:
            policy = registry.policy
            await _choose_again(session, follower, consoles if choose is None else await choose())
        if policy.has_idle_limits and session.services.clock.seconds() >= looked + IDLE_LOOK_SECONDS:
            looked = session.services.clock.seconds()
            await _leave_idle(session, follower, looked - keys.last_typed)
        shown, notices = follower.take(busy)
        session.send(shown)
        for text in notices:
            tell(session, text)
        if not await session.when_drained():
            raise CommandError("the client is gone")
        if shown:
            await sleep(session, TOGETHER_SECONDS)


async def _leave_idle(session: Session, follower: LineFollower, idle: float) -> None:
    """Look no more at consoles where whoever types nothing for so long is disconnected."""
    view, before, longest = session.operator.view, len(follower), 0.0
    async for file in in_turns(session, follower.files):
        console = follower.queue.consoles.get(file)
        if console is None:
            continue
        limit = view.idle_times(console).shorter(console.options.idle).idle_disconnect
        if limit and idle >= limit:
            longest = max(longest, limit)
            follower.leave(file, f"nothing typed for {human_span(limit)}")
    if before and not len(follower):
        raise CommandError(f"disconnected: nothing typed for {human_span(longest)}", exit_status.KICKED)


async def _choose_again(session: Session, follower: LineFollower, consoles: Sequence[Console]) -> None:
    before = len(follower)
    async for file in in_turns(session, follower.files):
        follower.check(file)
    async for console in in_turns(session, consoles):
        if console not in follower and session.operator.view.may(console, Right.SPY):
            follower.add(console)
    if before and not len(follower):
        raise CommandError("the rules have changed, you may no longer read any of these", exit_status.FORBIDDEN)


COMMANDS = (
    Command(
        "tail",
        "show the lines of many consoles as they come",
        _run,
        (GLOBS, MATCH, NOT, IGNORE_CASE, CONTEXT, STAMPS, SINCE, _MOST, JSON, _FOLLOW),
        Right.SPY,
        notes="Without GLOBs: all consoles that you may read. Consoles that come later join.\n",
    ),
)
