"""``events``: past events of consoles, from their event trails, and new ones as they happen.

The last events are found from the ends of the trails backwards. Bound: :data:`LOOK_BACK` bytes, because time marks fill
the trails. New events are found by a look at the files once a second; a rotated trail is read to its end first.
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
from vmproxy.log.reader import CHUNK, Segments, Source, open_segments
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import local_time
from vmproxy.operators import exit_status
from vmproxy.operators.commands.context import chosen_or_own, print_all, require_any_right, sleep
from vmproxy.operators.commands.declaration import GLOBS, JSON, SINCE, Arguments, Command, Flag, Option, Whole
from vmproxy.operators.commands.log_reading import on_disk
from vmproxy.operators.presentation import Fields, identity_fields
from vmproxy.operators.session import Session

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
FOLLOW_READ = 256 * 1024
CHOOSE_EVERY = 10
_TIME_MARK = b'"event":"time"}'

_MOST = Option(
    "-n",
    "N",
    Whole(0, EVENTS_LIMIT),
    f"the last N; default {EVENTS}, {EVENTS_SINCE} with --since; at most {EVENTS_LIMIT}",
)
_FOLLOW = Flag("-f", "follow: show events as they happen")


@dataclass(slots=True)
class _Position:
    """The position up to which a trail was read: the file, and the offset in it."""

    identity: tuple[int, int] | None
    offset: int


@dataclass(frozen=True, slots=True)
class _ConsoleEvent:
    at: float
    console: Console
    fields: Fields


async def _run(session: Session, args: Arguments) -> int:
    since = args[SINCE]
    most = args.get(_MOST, EVENTS if since is None else EVENTS_SINCE)
    as_json, follow = JSON in args, _FOLLOW in args
    consoles = await chosen_or_own(session, args[GLOBS], args.right)
    places: dict[Console, _Position] = {}
    newest = await _newest(session, consoles, most, since, places)
    await print_all(session, _shown(session, newest, as_json))
    turns = 0
    while follow and not session.over:
        if not await session.when_drained():
            break
        await sleep(session, FOLLOW_SECONDS)
        turns += 1
        require_any_right(session, consoles)
        if turns % CHOOSE_EVERY == 0:
            consoles = await chosen_or_own(session, args[GLOBS], args.right)
        await print_all(session, _shown(session, await _fresh(session, consoles, places), as_json))
    return exit_status.OK


async def _newest(
    session: Session, consoles: list[Console], most: int, since: float | None, places: dict[Console, _Position]
) -> list[_ConsoleEvent]:
    if not consoles:
        return []
    await consoles[0].log.settled()  # then everything that happened up to now is on the disk, for all of them
    look_back = LOOK_BACK if len(consoles) <= MANY else LOOK_BACK_MANY
    heap: list[tuple[float, int, _ConsoleEvent]] = []
    count = 0
    ordered = await _by_time(session, consoles, places)
    for start in range(0, len(ordered), CONSOLES_AT_ONCE):
        modified, _ = ordered[start]
        # A trail was last written to when its last event happened, or later.
        if (since is not None and modified < since) or (len(heap) == most and (not most or modified < heap[0][0])):
            break
        some = [console for _, console in ordered[start : start + CONSOLES_AT_ONCE]]
        found = await on_disk(
            session,
            lambda some=some: [(c, *_read(c.log.path, most, since, look_back)) for c in some],  # type: ignore[misc]
        )
        for console, place, read in found:
            places[console] = place
            for at, fields in read:
                count += 1
                item = (at, count, _ConsoleEvent(at, console, fields))
                if len(heap) < most:
                    heapq.heappush(heap, item)
                else:
                    heapq.heappushpop(heap, item)
    return [event for _, _, event in sorted(heap, key=lambda item: item[:2])]


async def _by_time(
    session: Session, consoles: list[Console], places: dict[Console, _Position]
) -> list[tuple[float, Console]]:
    """The times of the last writes to the trails, the newest first; and the ends of the trails."""
    ordered: list[tuple[float, Console]] = []
    for start in range(0, len(consoles), LOOKED_AT):
        some = consoles[start : start + LOOKED_AT]
        found = await on_disk(session, lambda some=some: [_looked_at(c.log.path) for c in some])  # type: ignore[misc]
        for console, (modified, place) in zip(some, found, strict=True):
            ordered.append((modified, console))
            places[console] = place
    return sorted(ordered, key=lambda item: -item[0])


def _looked_at(path: Path) -> tuple[float, _Position]:
    trail = path.with_name(path.name + ".events")
    try:
        status = trail.stat()
    except OSError:
        # It was just rotated, and there is no new one yet; or there never was one.
        return math.inf, _Position(None, 0)
    return status.st_mtime + MTIME_SLACK, _Position((status.st_dev, status.st_ino), status.st_size)


def _read(path: Path, most: int, since: float | None, look_back: int) -> tuple[_Position, list[tuple[float, Fields]]]:
    """The newest events of one console, oldest first, and the end of its trail. Waits for the disk."""
    with open_segments(path, since=since) as files:
        live = next((s.trail for s in reversed(files) if not s.number), None)
        place = _Position(None, 0) if live is None else _Position(live.identity, _whole(live))
        if since is not None:
            return place, list(deque(Timeline(files, since).events(), maxlen=most))
        return place, _last(files, most, look_back)


def _whole(trail: Source) -> int:
    # A line that is being written is read when it is complete.
    tail = trail.read(max(0, trail.size - LINE_LIMIT), LINE_LIMIT)
    cut = tail.rfind(b"\n")
    return trail.size - (len(tail) - cut - 1 if cut >= 0 else 0)


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


# New events.


async def _fresh(session: Session, consoles: list[Console], places: dict[Console, _Position]) -> list[_ConsoleEvent]:
    fresh: list[_ConsoleEvent] = []
    for start in range(0, len(consoles), LOOKED_AT):
        some = [(c, places.setdefault(c, _Position(None, 0))) for c in consoles[start : start + LOOKED_AT]]
        found = await on_disk(
            session,
            lambda some=some: [(c, _more(c.log.path, place)) for c, place in some],  # type: ignore[misc]
        )
        fresh += [_ConsoleEvent(at, console, fields) for console, read in found for at, fields in read]
    return sorted(fresh, key=lambda event: event.at)


def _more(path: Path, place: _Position) -> list[tuple[float, Fields]]:
    """The events of a trail behind a position, which is moved on. Waits for the disk."""
    trail = path.with_name(path.name + ".events")
    old = trail.with_name(trail.name + ".1")
    try:
        status = trail.stat()
        if (status.st_dev, status.st_ino) == place.identity and status.st_size == place.offset:
            return []
        live = Source(trail, False)
    except OSError:
        return _rest(old, place)  # it has been put aside, and there is no other yet
    found: list[tuple[float, Fields]] = []
    try:
        if live.identity != place.identity:
            found += _rest(old, place)
            place.identity, place.offset = live.identity, 0
        elif live.size < place.offset:
            place.offset = 0  # it was truncated
        found += _take(live, place)
    except OSError:
        return found  # the next time, perhaps
    finally:
        live.close()
    return found


def _rest(old: Path, place: _Position) -> list[tuple[float, Fields]]:
    if place.identity is None:
        return []
    try:
        source = Source(old, False)
    except OSError:
        return []  # compressed or removed already
    try:
        return _take(source, place) if source.identity == place.identity else []
    finally:
        source.close()


def _take(source: Source, place: _Position) -> list[tuple[float, Fields]]:
    data = source.read(place.offset, FOLLOW_READ)
    cut = data.rfind(b"\n") + 1
    place.offset += cut if cut or len(data) < FOLLOW_READ else len(data)
    return [event for line in data[:cut].split(b"\n") if (event := _parsed(line)) is not None]


# Output.


def _shown(session: Session, found: list[_ConsoleEvent], as_json: bool) -> Iterator[str]:
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
            yield f"{local_time(event.at)[:19]}  {console.title}  {kind}{'  ' if told else ''}{told}\n"


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
