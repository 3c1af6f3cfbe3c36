"""``search``: a pattern in all logs that an operator may read, the newest lines first.

The time is linear in the bytes that are read, whatever the pattern. A search runs in slices on threads, so it can be
cancelled. Bound: a few searches run at once, of one operator one; others wait for their turn.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.log.pattern import EXPRESSIONS, PLAIN_ONLY, Pattern
from vmproxy.log.search import Hit, Limits, Search
from vmproxy.log.shown import ShownText
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen_or_own, in_turns, print_all, require_any_right
from vmproxy.operators.commands.declaration import (
    GLOBS,
    JSON,
    SINCE,
    UNTIL,
    Argument,
    Arguments,
    Command,
    Flag,
    Option,
    Takes,
    Whole,
)
from vmproxy.operators.commands.errors import UsageError
from vmproxy.operators.commands.log_reading import taken, tell_problems
from vmproxy.operators.log_reading import BatchReader, SearchSlot
from vmproxy.operators.log_search import HITS, HITS_LIMIT, PATTERN_LIMIT, LogSearch, json_line, text_of
from vmproxy.operators.messages import local_time
from vmproxy.operators.presentation import identity_fields
from vmproxy.operators.resolve import TargetError
from vmproxy.operators.session import Session, tell
from vmproxy.operators.terminal.colour import emphasized, has_colours

LINE_SHOWN = 600
CONTEXT_LIMIT = 20
AROUND_LIMIT = 40_000  # lines before and behind hits that are kept

_MISSING = f"give a pattern of 1 to {PATTERN_LIMIT} characters"
_WHAT = "a regular expression (RE2: no backward references)" if EXPRESSIONS else f"plain text ({PLAIN_ONLY})"
PATTERN: Argument[str] = Argument("PATTERN", Takes.WORD, f"{_WHAT}, looked for line by line", _MISSING)
IGNORE_CASE = Flag("-i", "capitals do not matter")
FIXED = Flag("-F", "PATTERN is plain text")
RAW = Flag("--raw", "search the bytes as the VM sent them, not the text as it is shown")
_CONTEXT = Option("-C", "N", Whole(0, CONTEXT_LIMIT), "also N lines before and after each")
_COUNT = Flag("-c", "only how many lines there are of each console")
_MOST = Option("-n", "MAX", Whole(1, HITS_LIMIT), f"at most so many lines, default {HITS}")


def pattern_of(args: Arguments) -> str:
    """The pattern of a command.

    :raises UsageError: if it is empty or too long.
    """
    pattern = args[PATTERN]
    if not pattern or len(pattern) > PATTERN_LIMIT:
        raise UsageError(_MISSING)
    return pattern


async def _run(session: Session, args: Arguments) -> int:
    pattern = Pattern(pattern_of(args), ignore_case=IGNORE_CASE in args, fixed=FIXED in args)
    try:
        consoles = await chosen_or_own(session, args[GLOBS], args.right)
    except TargetError as error:
        if error.status != exit_status.NO_SUCH_CONSOLE:
            raise
        # Most likely the shell of the client has taken the quotes of a pattern away.
        text = str(error).splitlines()[0]
        raise TargetError(
            f"{text}\n(quote a PATTERN with blanks twice: 'search \"call trace\"')", error.status
        ) from None
    if not consoles:
        tell(session, "nothing found")
        return exit_status.FAILED
    session.operator.audit("search", consoles=len(consoles))
    await consoles[0].log.settled()  # what has been said up to now is on the disk then, of all of them
    shown_as: Callable[[Hashable], ShownText | None] = (lambda _: None) if RAW in args else text_of
    context = args.get(_CONTEXT, 0)
    most = args.get(_MOST, HITS)
    limits = Limits(
        hits=min(most, AROUND_LIMIT // (2 * context)) if context else most,
        since=args.get(SINCE, -math.inf),
        until=args.get(UNTIL, math.inf),
        context=context,
    )
    if _COUNT in args:
        return await _count(session, consoles, pattern, limits, shown_as, JSON in args)
    return await _search(session, consoles, pattern, limits, shown_as, JSON in args)


async def _count(
    session: Session,
    consoles: list[Console],
    pattern: Pattern,
    limits: Limits,
    shown_as: Callable[[Hashable], ShownText | None],
    as_json: bool,
) -> int:
    counts: Counter[Hashable] = Counter()
    logs = ((console, console.log.path) for console in consoles)
    work = Search(logs, pattern, replace(limits, context=0), shown_as, counts)
    reading = BatchReader(session, lambda: iter(work), work.close, len)
    slot = SearchSlot(session)
    try:
        while await slot.batch(reading):
            require_any_right(session, consoles)
            if session.over:
                return exit_status.FAILED
    finally:
        reading.end()
    tell_problems(session, consoles, work.problems)
    if work.stopped:
        tell(session, f"[-- {work.stopped} --]")
    may = session.operator.view.may
    found = [c async for c in in_turns(session, consoles) if counts[c] and may(c, Right.SPY)]
    async for _ in in_turns(session, sort_steps(found, lambda console: -counts[console])):
        pass
    lines = (
        json.dumps({**identity_fields(console), "count": counts[console]}) + "\n"
        if as_json
        else f"{counts[console]:>8}  {console.title}\n"
        for console in found
    )
    await print_all(session, lines)
    if not found:
        tell(session, "nothing found")
    return exit_status.OK if found else exit_status.FAILED


async def _search(
    session: Session,
    consoles: list[Console],
    pattern: Pattern,
    limits: Limits,
    shown_as: Callable[[Hashable], ShownText | None],
    as_json: bool,
) -> int:
    marked = pattern if has_colours(session) else None
    with LogSearch(
        session, consoles, pattern, limits, lambda hit, console: _line(hit, console, as_json, marked), shown_as
    ) as search:
        while (batch := await search.batch()) is not None:
            for lines in batch:
                session.print("".join(lines))
            if not await taken(session):
                return exit_status.FAILED
    tell_problems(session, consoles, search.problems)
    if search.stopped:
        tell(session, f"[-- {search.stopped} --]")
    if not search.shown:
        tell(session, "nothing found")
    return exit_status.OK if search.shown else exit_status.FAILED


def _line(hit: Hit, console: Console, as_json: bool, marked: Pattern | None) -> str:
    if as_json:
        return json_line(hit, console)
    line = _text(hit.text)
    if marked is not None:
        data = line.encode()
        line = emphasized(data, marked.spans(data)).decode("utf-8", "replace")
    head = f"{local_time(hit.at)}  {console.title}"
    before, after = ("".join(f"{head}- {_text(row)}\n" for row in rows) for rows in (hit.before, hit.after))
    return f"{before}{head}: {line}\n{after}" + ("--\n" if before or after else "")


def _text(row: bytes) -> str:
    return visible(row.decode("utf-8", "backslashreplace").rstrip(), LINE_SHOWN)


COMMANDS = (
    Command(
        "search",
        "search all logs for a pattern",
        _run,
        (PATTERN, GLOBS, IGNORE_CASE, FIXED, RAW, _CONTEXT, _COUNT, _MOST, SINCE, UNTIL, JSON),
        Right.SPY,
        notes="The newest lines come first, whichever console they are of. Reads 1 GB at most.\n"
        "Status 1 if nothing is found.\n",
    ),
)
