"""What happened to consoles: past events, from their event trails, and new ones as they happen.

The last events are found from the ends of the trails backwards. Bound: :data:`LOOK_BACK` bytes, because time marks fill
the trails. The log writer tells new events as it writes them. A follower who is too slow skips some, and is told how
many.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from vmproxy.access.policy import Right
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.console.console import Console
from vmproxy.log.events import FORMAT_MARK
from vmproxy.log.file_state import LogFile
from vmproxy.log.files import trail_of
from vmproxy.log.reader import CHUNK, Segments, open_segments
from vmproxy.log.store import ConsoleLog
from vmproxy.log.time_index import lines_of
from vmproxy.log.timeline import Timeline
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import in_turns, require_any_right
from vmproxy.operators.log_reading import on_disk
from vmproxy.operators.presentation import Fields, identity_fields
from vmproxy.operators.visible import VisibleConsoles

EVENTS = 20
EVENTS_SINCE = 1000
EVENTS_LIMIT = 10_000
FOLLOW_SECONDS = 1.0
CHOOSE_EVERY = 10
LOOK_BACK = 8 * 1024 * 1024  # bytes of one console's trails
LOOK_BACK_MANY = 512 * 1024
MANY = 32
CONSOLES_AT_ONCE = 16
LOOKED_AT = 1000
MTIME_SLACK = 1.0  # seconds: an event may say a time a little later than the file system
LINE_LIMIT = 64 * 1024
QUEUE_LIMIT = 4 * 1024 * 1024  # bytes of events that wait for one follower
_TIME_MARK = b'"event":"time"}'


@dataclass(frozen=True, slots=True)
class ConsoleEvent:
    """An event of a console, as its trail has it, at a time in seconds since the epoch."""

    at: float
    fields: Fields
    console: Console

    @property
    def json(self) -> str:
        """It as a line, for scripts."""
        return json.dumps({**self.fields, **identity_fields(self.console)}) + "\n"


class EventFollower:
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


class EventStream:
    """Events from a moment on, past and new, none of them twice; a context manager."""

    def __init__(self, client: Client, choose: Callable[[], Awaitable[list[Console]]]) -> None:
        """:param choose: finds the consoles whose events are wanted; now and again, for others may come."""
        self._client = client
        self._choose = choose
        self._follower = EventFollower(client.operator.view)
        self._consoles: list[Console] = []
        self._wanted: set[Console] = set()
        self._turns = 0

    def __enter__(self) -> EventStream:
        self._client.services.registry.event_followers.add(self._follower.told)
        return self

    def __exit__(self, *args: object) -> None:
        self._client.services.registry.event_followers.discard(self._follower.told)

    async def past(self, most: int, since: float | None) -> list[ConsoleEvent]:
        """The newest events of before: to be asked for first."""
        await self._choose_now()
        found = await newest(self._client, self._consoles, most, since)
        come: set[tuple[Console, str]] = set()
        async for console, line in in_turns(self._client, list(self._follower.lines)):
            if parsed := parsed_event(line):
                come.add((console, json.dumps(parsed[1])))
        return [event for event in found if (event.console, json.dumps(event.fields)) not in come]

    async def fresh(self) -> tuple[list[ConsoleEvent], int]:
        """The events since the last call, and the number of those that did not fit.

        :raises CommandError: if the operator may read none of the consoles any more.
        """
        self._turns += 1
        require_any_right(self._client, self._consoles)
        lines, skipped = self._follower.take()
        unknown = {console for console, _ in lines} - self._wanted
        if self._turns % CHOOSE_EVERY == 0 or unknown - self._follower.unwanted:
            await self._choose_now()
            self._follower.unwanted = (self._follower.unwanted | unknown) - self._wanted
        fresh: list[ConsoleEvent] = []
        async for console, line in in_turns(self._client, lines):
            if console in self._wanted and (parsed := parsed_event(line)):
                fresh.append(ConsoleEvent(*parsed, console))
        return fresh, skipped

    async def _choose_now(self) -> None:
        self._consoles = await self._choose()
        self._wanted = set(self._consoles)


async def newest(client: Client, consoles: list[Console], most: int, since: float | None) -> list[ConsoleEvent]:
    """The newest events of some consoles, the oldest first.

    :param most: how many, at most.
    :param since: none that happened before, seconds since the epoch.
    """
    if not consoles:
        return []
    await consoles[0].log.settled()  # then everything that happened up to now is on the disk, for all of them
    look_back = LOOK_BACK if len(consoles) <= MANY else LOOK_BACK_MANY
    heap: list[tuple[float, int, ConsoleEvent]] = []
    count = 0
    ordered = await _by_time(client, consoles)
    for start in range(0, len(ordered), CONSOLES_AT_ONCE):
        modified, _ = ordered[start]
        # A trail was last written to when its last event happened, or later.
        if (since is not None and modified < since) or (len(heap) == most and (not most or modified < heap[0][0])):
            break
        some = [console for _, console in ordered[start : start + CONSOLES_AT_ONCE]]
        found = await on_disk(
            client,
            lambda some=some: [(c, _read(c.log.path, most, since, look_back)) for c in some],  # type: ignore[misc]
        )
        for console, read in found:
            async for at, fields in in_turns(client, read):
                count += 1
                item = (at, count, ConsoleEvent(at, fields, console))
                if len(heap) < most:
                    heapq.heappush(heap, item)
                else:
                    heapq.heappushpop(heap, item)
    return [event for _, _, event in sorted(heap, key=lambda item: item[:2])]


async def _by_time(client: Client, consoles: list[Console]) -> list[tuple[float, Console]]:
    """When each trail was last written to, the newest first."""
    ordered: list[tuple[float, Console]] = []
    for start in range(0, len(consoles), LOOKED_AT):
        some = consoles[start : start + LOOKED_AT]
        found = await on_disk(client, lambda some=some: [_modified(c.log.path) for c in some])  # type: ignore[misc]
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
            for line in lines_of(segment.trail.blocks(0, look_back)):
                if (event := parsed_event(line.removesuffix(b"\n"))) is not None:
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
                parsed = (parsed_event(line) for line in reversed(lines))
                found.extend(event for event in parsed if event is not None)
                look_back -= end - start
                end = start
            del found[most:]
    return found[::-1]


def parsed_event(line: bytes) -> tuple[float, Fields] | None:
    """An event of a line of a trail; None for time marks and format lines, and for what is none."""
    if line.endswith(_TIME_MARK) or FORMAT_MARK in line or not line:
        return None
    try:
        fields = json.loads(line)
        at = parse_when(fields["at"], 0.0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadTime):
        return None
    return (at, fields) if isinstance(fields.get("event"), str) else None
