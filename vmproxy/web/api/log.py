"""``GET consoles/{id}/log``: the log of a console, all of it or a part, and what follows.

It comes as bytes, or as events for ``EventSource``. Each place in it has a cursor, with which another request goes on.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from vmproxy.console.console import Console
from vmproxy.console.notices import Notice
from vmproxy.log.events import timestamp
from vmproxy.log.passage import Passage, Piece
from vmproxy.log.place import Place, PlaceGone
from vmproxy.log.plaintext import PlainLines
from vmproxy.log.stream import NotInLog
from vmproxy.log.timing import Stamper
from vmproxy.operators.commands.context import now, require_right
from vmproxy.operators.log_follower import LogFollower, Missing, Output
from vmproxy.operators.log_reading import OpenedLog, on_disk
from vmproxy.web.answer import Answer, Stream
from vmproxy.web.api.reading import Body, offset_in, opened_log, read_out, require_login, still
from vmproxy.web.call import Call
from vmproxy.web.cursor import BadCursor, cursor_of, place_of
from vmproxy.web.notice_fields import notice_fields
from vmproxy.web.parameters import SINCE, UNTIL, flag, one_of, seconds, too_many, whole, words
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import BYTES_MEDIA, Needs, Reply, Route

EVENTS_MEDIA = "text/event-stream"
CURSOR_HEADER = "Vmproxy-Cursor"
LINES_LIMIT = 999_999_999
BEAT_SECONDS = 25.0
PORTION = 4096
REST_SECONDS = 1.0
"""How long text that is followed waits for the end of a line."""

FORMATS = ("raw", "timed", "text")


class Form:
    """What is made of the bytes of a log: the same, with times in front of its lines, or text.

    :ivar waits: whether there is the beginning of a line of text that has not come out yet.
    """

    def __init__(self, form: str, encoding: str) -> None:
        self._stamper = Stamper(timestamp) if form == "timed" else None
        self._text = PlainLines(encoding, lambda at: b"") if form == "text" else None

    @property
    def waits(self) -> bool:
        return self._text is not None and self._text.pending_since is not None

    def feed(self, at: float, data: bytes) -> bytes:
        """Take what came at a time, seconds since the epoch."""
        if self._text is not None:
            return b"".join(self._text.feed(data, at))
        return data if self._stamper is None else self._stamper.feed(data, at)

    def rest(self) -> bytes:
        """Wait no longer for the end of a line."""
        return b"".join(self._text.flush()) if self._text is not None else b""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    :ivar start: the place to begin at; None where it is to begin elsewhere.
    """

    since: float | None
    until: float | None
    lines: int | None
    start: Place | None
    form: str
    follow: bool
    as_events: bool

    @property
    def timed(self) -> bool:
        """Whether it matters when bytes came."""
        return self.form == "timed"


def _wish(call: Call, console: Console) -> Wish:
    query = call.query
    since, until, lines, cursor = seconds(call, "since"), seconds(call, "until"), query["lines"], query["from"]
    as_events = EVENTS_MEDIA in call.headers.get("accept", "")
    last = call.headers.get("last-event-id", "") if as_events else ""
    if last:
        since, lines, cursor = None, None, last
    begins = [name for name, value in (("since", since), ("lines", lines), ("from", cursor)) if value is not None]
    if len(begins) > 1:
        raise bad_request([(begins[1], f"goes without {begins[0]}")])
    if until is not None and (query["follow"] or lines is not None):
        raise bad_request([("until", f"goes without {'follow' if query['follow'] else 'lines'}")])
    if as_events and query["format"] != "raw":
        raise bad_request([("format", "events are raw")])
    try:
        start = None if cursor is None else place_of(cursor, console)
    except BadCursor as error:
        raise bad_request([("Last-Event-ID" if last else "from", str(error))]) from None
    return Wish(since, until, lines, start, query["format"], query["follow"], as_events)


async def log(call: Call) -> Answer:
    """The log, or a part of it."""
    console = call.console
    assert console is not None, "the route has one"
    wish = _wish(call, console)
    opened = await opened_log(call, console, since=wish.since)
    follower = None
    try:
        start = await offset_in(call, opened, wish.start)
        passage = Passage(opened.files, wish.since, wish.until, wish.lines, start)
        end = opened.end if opened.end >= 0 else None
        if wish.until is not None:
            reached = await on_disk(call, passage.end)
            end = end if reached is None else reached
        await on_disk(call, passage.check)
        if wish.follow:
            if end is None:
                raise Problem("unavailable", "the log cannot be read now", [("Retry-After", "5")])
            follower = LogFollower(call, console, end)
            if not call.services.sessions.take(follower, call.operator.name):
                raise too_many(call.services.sessions.problem(call.operator.name))
            await follower.look()
        still(call, console)
    except BaseException as error:
        opened.close()
        _give_up(call, follower)
        if isinstance(error, PlaceGone):
            raise Problem("gone", str(error)) from None
        if isinstance(error, NotInLog):
            raise Problem("unavailable", str(error), [("Retry-After", "5")]) from None
        raise
    headers = [] if end is None else [(CURSOR_HEADER, cursor_of(console, end))]
    made = _events if wish.as_events else _bytes
    pieces = made(call, opened, passage, follower, wish)
    media = EVENTS_MEDIA if wish.as_events else BYTES_MEDIA
    return Stream(media, Body(call, opened, pieces, lambda: _give_up(call, follower)), headers)


def _give_up(call: Call, follower: LogFollower | None) -> None:
    if follower is not None:  # it has files open since it has looked, though it may never follow
        call.services.sessions.give_back(follower)
        follower.close()


async def _bytes(
    call: Call, opened: OpenedLog, passage: Passage, follower: LogFollower | None, wish: Wish
) -> AsyncGenerator[bytes, None]:
    form = Form(wish.form, opened.console.options.encoding)

    def made() -> Iterator[bytes]:
        for piece in passage.pieces(wish.timed):
            yield form.feed(piece.at, piece.data)
        if follower is None:
            yield form.rest()

    async with aclosing(read_out(call, opened, made, len)) as batches:
        async for batch in batches:
            yield b"".join(batch)
    if follower is None:
        return
    opened.close()  # what follows takes no place of those who read
    with follower:
        while not follower.over:
            item = await follower.next(REST_SECONDS if form.waits else BEAT_SECONDS)
            require_login(call)
            require_right(call, opened.console)
            if isinstance(item, Output):
                # What paints takes long to look at.
                size = PORTION if wish.form == "text" else len(item.data)
                for start in range(0, len(item.data), size):
                    await call.turn()
                    require_right(call, opened.console)
                    yield form.feed(now(call), item.data[start : start + size])
            elif item is None and (rest := form.rest()):
                yield rest


async def _events(
    call: Call, opened: OpenedLog, passage: Passage, follower: LogFollower | None, wish: Wish
) -> AsyncGenerator[bytes, None]:
    console = opened.console
    place: int | None = None
    async with aclosing(read_out(call, opened, passage.pieces, _size)) as batches:
        async for batch in batches:
            made: list[bytes] = []
            for piece in batch:
                begin = None if piece.end is None else piece.end - len(piece.data)
                if place is not None and begin is not None and begin > place:
                    made.append(_missing(console, begin - place, begin))
                made.append(_output(console, piece.data, piece.end))
                place = piece.end
            yield b"".join(made)
    if follower is None:
        return
    opened.close()
    with follower:
        while not follower.over:
            item = await follower.next(BEAT_SECONDS)
            require_right(call, console)
            match item:
                case Output(data, end):
                    yield _output(console, data, end)
                case Missing(size, end):
                    yield _missing(console, size, end)
                case Notice():
                    yield event("notice", notice_fields(item, console.title))
                case _:
                    yield b":\n\n"  # so that both sides see whether the other is there


def _size(piece: Piece) -> int:
    return len(piece.data)


def _output(console: Console, data: bytes, end: int | None) -> bytes:
    place = b"" if end is None else b"id: %s\n" % cursor_of(console, end).encode("ascii")
    return b"%sevent: output\ndata: %s\n\n" % (place, b64encode(data))


def _missing(console: Console, size: int, end: int) -> bytes:
    text = f"{size} bytes of the output were not recorded"
    told = {"event": "missing", "bytes": size, "essential": True, "text": text}
    return b"id: %s\n%s" % (cursor_of(console, end).encode("ascii"), event("notice", told))


def event(kind: str, told: object) -> bytes:
    """An event of a stream for ``EventSource``."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode("ascii"), json.dumps(told).encode("ascii"))


FOLLOW = flag("follow", "go on with what comes")
FROM = words("from", "a cursor: begin there")

ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{console}/log",
        log,
        "The log of a console, or a part of it",
        needs=Needs.SPY,
        query=(
            SINCE,
            UNTIL,
            whole("lines", 0, LINES_LIMIT, "the last lines only"),
            FROM,
            one_of(
                "format", FORMATS, "the VM's bytes; with UTC times in front of lines; as a terminal shows it", "raw"
            ),
            FOLLOW,
        ),
        answer=Reply(BYTES_MEDIA, help=f"Bytes, or {EVENTS_MEDIA}. {CURSOR_HEADER}: the place at which it ended."),
        kind="stream",
        problems=("gone", "too-many", "unavailable"),
    ),
)
