"""``events``: past events of consoles, from their event trails, and new ones as they happen.

The last events are found from the ends of the trails backwards. Bound: :data:`LOOK_BACK` bytes, because time marks fill
the trails. The log writer tells new events as it writes them; they are shown once a second. A follower who reads too
slowly skips some, and is told how many.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.console.console import Console
from vmproxy.log.events import FORMAT_MARK
from vmproxy.log.file_state import LogFile
from vmproxy.log.files import trail_of
from vmproxy.log.reader import CHUNK, Segments, open_segments
from vmproxy.log.store import ConsoleLog
from vmproxy.log.timeline import Timeline
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen_or_own, in_turns, print_all, require_any_right, sleep
from vmproxy.operators.commands.declaration import GLOBS, JSON, SINCE, Arguments, Command, Flag, Option, Whole
from vmproxy.operators.log_reading import on_disk
from vmproxy.operators.messages import local_time
from vmproxy.operators.presentation import Fields, identity_fields
from vmproxy.operators.session import Session, tell
from vmproxy.operators.visible import VisibleConsoles

EVENTS = 20
EVENTS_SINCE = 1000
EVENTS_LIMIT = 10_000
LOOK_BACK = 8 * 1024 * 1024  # bytes of one console's trails
LOOK_BACK_MANY = 512 * 1024
MANY = 32
CONSOLES_AT_ONCE = 16
LOOKED_AT = 1000
MTIME_SLACK = 1.0  # seconds: an event may say a time a little later than the file system
LINE_LIMIT = 64 * 1024
FOLLOW_SECONDS = 1.0
QUEUE_LIMIT = 4 * 1024 * 1024  # bytes of events that wait for one follower
CHOOSE_EVERY = 10
_TIME_MARK = b'"event":"time"}'

_MOST = Option(
    "-n",
    "N",
    Whole(0, EVENTS_LIMIT),
    f"the last N; default {EVENTS}, {EVENTS_SINCE} with --since; at most {EVENTS_LIMIT}",
)
_FOLLOW = Flag("-f", "follow: show events as they happen")


@dataclass(frozen=True, slots=True)
class _ConsoleEvent:
    at: float
    fields: Fields
    console: Console


class _Follower:
    """Events that happen, until they are shown.

    Invariant: events of a console that the operator may not read take no room here, and are not counted.

    :ivar lines: the lines of trails, each with its console.
    :ivar unwanted: consoles that the operator has not asked for.
    """

    def __init__(self, view: VisibleConsoles) -> None:
        self._view = view
        self.lines: deque[tuple[Console, bytes]] = deque()
        self.unwanted: set[Console] = set()
        self._size = 0
        self._skipped = 0

    def told(self, file: LogFile, lines: bytes) -> None:
        """Lines were written to a trail."""
        log = file.reporter
        console = log.listener if isinstance(log, ConsoleLog) else None
        if not isinstance(console, Console) or console in self.unwanted or not self._view.may(console, Right.SPY):
            return
        for line in lines.splitlines():
            if line.endswith(_TIME_MARK) or FORMAT_MARK in line:
                continue
            if self._size + len(line) > QUEUE_LIMIT:
                self._skipped += 1
            else:
                self.lines.append((console, line))
                self._size += len(line)

    def take(self) -> tuple[deque[tuple[Console, bytes]], int]:
        """The lines, and how many more did not fit."""
        lines, skipped = self.lines, self._skipped
        self.lines, self._size, self._skipped = deque(), 0, 0
        return lines, skipped


async def _run(session: Session, args: Arguments) -> int:
    since = args[SINCE]
    most = args.get(_MOST, EVENTS if since is None else EVENTS_SINCE)
    if _FOLLOW not in args:
        consoles = await chosen_or_own(session, args[GLOBS], args.right)
        await print_all(session, _shown(session, await _newest(session, consoles, most, since), JSON in args))
        return exit_status.OK
    follower = _Follower(session.operator.view)
    followers = session.services.registry.event_followers
    followers.add(follower.told)
    try:
        return await _follow(session, args, follower, most, since)
    finally:
        followers.discard(follower.told)


async def _follow(session: Session, args: Arguments, follower: _Follower, most: int, since: float | None) -> int:
    as_json = JSON in args
    consoles = await chosen_or_own(session, args[GLOBS], args.right)
    newest = await _newest(session, consoles, most, since)
    come: set[tuple[Console, str]] = set()
    async for console, line in in_turns(session, list(follower.lines)):
        if parsed := _parsed(line):
            come.add((console, json.dumps(parsed[1])))
    past = (event for event in newest if (event.console, json.dumps(event.fields)) not in come)
    await print_all(session, _shown(session, past, as_json))
    turns = 0
    wanted = set(consoles)
    while not session.over:
        if not await session.when_drained():
            break
        await sleep(session, FOLLOW_SECONDS)
        turns += 1
        require_any_right(session, consoles)
        lines, skipped = follower.take()
        unknown = {console for console, _ in lines} - wanted
        if turns % CHOOSE_EVERY == 0 or unknown - follower.unwanted:
            consoles = await chosen_or_own(session, args[GLOBS], args.right)
            wanted = set(consoles)
            follower.unwanted = (follower.unwanted | unknown) - wanted
        fresh = (
            _ConsoleEvent(*parsed, console)
            for console, line in lines
            if console in wanted and (parsed := _parsed(line))
        )
        await print_all(session, _shown(session, fresh, as_json))
        if skipped:
            tell(session, f"[-- {skipped} events skipped: your connection is too slow --]")
    return exit_status.OK


async def _newest(session: Session, consoles: list[Console], most: int, since: float | None) -> list[_ConsoleEvent]:
    if not consoles:
        return []
    await consoles[0].log.settled()  # then everything that happened up to now is on the disk, for all of them
    look_back = LOOK_BACK if len(consoles) <= MANY else LOOK_BACK_MANY
    heap: list[tuple[float, int, _ConsoleEvent]] = []
    count = 0
    ordered = await _by_time(session, consoles)
    for start in range(0, len(ordered), CONSOLES_AT_ONCE):
        modified, _ = ordered[start]
        # A trail was last written to when its last event happened, or later.
        if (since is not None and modified < since) or (len(heap) == most and (not most or modified < heap[0][0])):
            break
        some = [console for _, console in ordered[start : start + CONSOLES_AT_ONCE]]
        found = await on_disk(
            session,
            lambda some=some: [(c, _read(c.log.path, most, since, look_back)) for c in some],  # type: ignore[misc]
        )
        for console, read in found:
            async for at, fields in in_turns(session, read):
                count += 1
                item = (at, count, _ConsoleEvent(at, fields, console))
                if len(heap) < most:
                    heapq.heappush(heap, item)
                else:
                    heapq.heappushpop(heap, item)
    return [event for _, _, event in sorted(heap, key=lambda item: item[:2])]


async def _by_time(session: Session, consoles: list[Console]) -> list[tuple[float, Console]]:
    """When each trail was last written to, the newest first."""
    ordered: list[tuple[float, Console]] = []
    for start in range(0, len(consoles), LOOKED_AT):
        some = consoles[start : start + LOOKED_AT]
        found = await on_disk(session, lambda some=some: [_modified(c.log.path) for c in some])  # type: ignore[misc]
        ordered += zip(found, some, strict=True)
    return sorted(ordered, key=lambda item: -item[0])


def _modified(path: Path) -> float:
    try:
        return trail_of(path).stat().st_mtime + MTIME_SLACK
    except OSError:
        return math.inf  # just put aside, and no other yet; or there has never been one, which is soon seen


def _read(path: Path, most: int, since: float | None, look_back: int) -> list[tuple[float, Fields]]:
    """The newest events of one console, oldest first. Waits for the disk."""
    with open_segments(path, since=since) as files:
        if since is not None:
            return list(deque(Timeline(files, since).events(), maxlen=most))
        return _last(files, most, look_back)


def _last(files: Segments, most: int, look_back: int) -> list[tuple[float, Fields]]:
    found: list[tuple[float, Fields]] = []
    for segment in reversed(files):
        if segment.trail is None:
            continue
        if len(found) >= most or look_back <= 0:
            break
        wanted = most - len(found)
        if segment.trail.compressed:
            kept: deque[tuple[float, Fields]] = deque(maxlen=wanted)
            for line in _lines(segment.trail.blocks(0, look_back)):
                if (event := _parsed(line)) is not None:
                    kept.append(event)
            found.extend(reversed(kept))
            look_back -= segment.trail.size
        else:
            end, rest = segment.trail.size, b""
            while end > 0 and len(found) < most and look_back > 0:
                start = max(0, end - CHUNK)
                lines = (segment.trail.read(start, end - start) + rest).split(b"\n")
                rest = lines.pop(0) if start else b""
                rest = rest if len(rest) < LINE_LIMIT else b""
                parsed = (_parsed(line) for line in reversed(lines))
                found.extend(event for event in parsed if event is not None)
                look_back -= end - start
                end = start
            del found[most:]
    return found[::-1]


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        rest = rest if len(rest) < LINE_LIMIT else b""


def _parsed(line: bytes) -> tuple[float, Fields] | None:
    """An event of a line of a trail; None for time marks and format lines, and for what is none."""
    if line.endswith(_TIME_MARK) or FORMAT_MARK in line or not line:
        return None
    try:
        fields = json.loads(line)
        at = parse_when(fields["at"], 0.0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadTime):
        return None
    return (at, fields) if isinstance(fields.get("event"), str) else None


# For people and for scripts.


def _shown(session: Session, found: Iterable[_ConsoleEvent], as_json: bool) -> Iterator[str]:
    view = session.operator.view
    for event in found:
        console = event.console
        if not view.may(console, Right.SPY):
            continue  # the rules have changed
        if as_json:
            yield json.dumps({**event.fields, **identity_fields(console)}) + "\n"
        else:
            fields = {k: v for k, v in event.fields.items() if k not in ("at", "offset", "event")}
            told = "  ".join(f"{visible(str(k))}={visible(_text(v), 200)}" for k, v in fields.items())
            kind = visible(str(event.fields["event"]))
            yield f"{local_time(event.at)}  {console.title}  {kind}{'  ' if told else ''}{told}\n"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


COMMANDS = (
    Command(
        "events",
        "show what happened to consoles, and follow it",
        _run,
        (GLOBS, _MOST, SINCE, _FOLLOW, JSON),
        Right.SPY,
        notes="Events: up, down, vMotion, attach, ...\n",
    ),
)
