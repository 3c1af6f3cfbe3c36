"""The past of many consoles, in front of their lines as they come: the newest lines of all their logs, by time.

The seam is exact: lines are taken from an offset of each console on, and of the log what ends before that is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vmproxy.console.console import Console
from vmproxy.log.file_state import LogFile
from vmproxy.log.pattern import EveryLine
from vmproxy.log.search import Hit, Limits, Search
from vmproxy.log.writer import begun
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.commands.log_reading import taken, tell_problems
from vmproxy.operators.line_follower import LineFollower
from vmproxy.operators.log_reading import BatchReader, SearchSlot, on_disk
from vmproxy.operators.log_search import text_of
from vmproxy.operators.session import Session, tell

PAST = 1000
PAST_LIMIT = 10_000
PAST_BYTES = 8 * 1024 * 1024
LINE_SHOWN = 4096


async def show_past(
    session: Session, follower: LineFollower, consoles: Sequence[Console], most: int, since: float | None
) -> None:
    """Show the newest lines of the past, the oldest of them first.

    :param most: how many, at most.
    :param since: none that came before, seconds since the epoch.
    """
    queue, files = follower.queue, [console.log.file for console in consoles]
    if not files:
        queue.begin_at(())
        return
    # Behind everything that was appended before: what comes later is put in as lines.
    await consoles[0].log.on_writer(lambda _path: queue.begin_at((file, file.offset) for file in files))
    begun_at = dict(queue.starts or {})
    starts = await on_disk(session, lambda: {file: _line_starts(file, offset) for file, offset in begun_at.items()})
    choice = queue.choice
    longest = min(LINE_SHOWN, PAST_BYTES // most)  # the search keeps as many as are wanted
    limits = Limits(hits=most, line=longest, since=-math.inf if since is None else since)
    pattern = choice.match or EveryLine()
    work = Search(((console, console.log.path) for console in consoles), pattern, limits, text_of)

    def chosen() -> Iterator[tuple[Console, bytes] | None]:
        for hits in work:
            yield None
            for hit in hits:
                assert isinstance(hit.key, Console)
                if _is_past(hit, starts.get(hit.key.log.file, (0, 0))) and not (
                    choice.but and any(choice.but.lines(hit.text))
                ):
                    yield hit.key, queue.past_line(hit.key, hit.at, hit.text)

    reading = BatchReader(session, chosen, work.close, lambda item: 0 if item is None else len(item[1]))
    slot = SearchSlot(session)
    found: list[tuple[Console, bytes]] = []
    size = 0
    try:
        while size < PAST_BYTES and (batch := await slot.batch(reading)):
            found += filter(None, batch)
            size += sum(len(item[1]) for item in batch if item is not None)
    finally:
        reading.end()
    tell_problems(session, consoles, work.problems)
    if work.stopped or size >= PAST_BYTES:
        tell(session, "[-- there may be more: only the newest lines are shown --]")
    async for console, line in in_turns(session, reversed(found)):
        if follower.check(console.log.file):
            session.send(line)
            follower.shown(console, line)
            if session.queued > LINE_SHOWN and not await taken(session):
                return
    shown, notices = follower.take("the past was shown meanwhile")
    session.send(shown)
    for text in notices:
        tell(session, text)


def _line_starts(file: LogFile, offset: int) -> tuple[int, int]:
    """Where the line begins in which an offset is, and by how much that is more than the place in the file."""
    shift = file.shift
    return offset - len(begun(file, offset)), shift


def _is_past(hit: Hit, start: tuple[int, int]) -> bool:
    return hit.segment > 0 or hit.offset + start[1] < start[0]
