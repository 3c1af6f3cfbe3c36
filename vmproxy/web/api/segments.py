"""``GET consoles/{id}/segments``: the files of a log, and each of them, unpacked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from vmproxy.log.events import timestamp
from vmproxy.log.passage import Places
from vmproxy.log.reader import Segment, Segments
from vmproxy.log.recovery import packed_size
from vmproxy.log.time_index import time_index_of
from vmproxy.operators.log_reading import OpenedLog, on_disk
from vmproxy.web.answer import Answer, Empty, Page, Stream
from vmproxy.web.api.reading import Body, opened_log, read_out, still
from vmproxy.web.byte_range import byte_range
from vmproxy.web.call import Call
from vmproxy.web.cursor import cursor_of
from vmproxy.web.dispatch import NOT_FOUND
from vmproxy.web.problem import Problem
from vmproxy.web.route import BYTES_MEDIA, Needs, Reply, Route
from vmproxy.web.schemas import COUNT, FLAG, TEXT_OR_NULL, TIME_OR_NULL, object_of, page_of

_SEGMENT = object_of(
    {
        "segment": COUNT,
        "size": COUNT,
        "compressed": FLAG,
        "from": TIME_OR_NULL,
        "to": TIME_OR_NULL,
        "cursor": TEXT_OR_NULL,
    }
)


async def segments(call: Call) -> Answer:
    """The files, the newest first."""
    console = call.console
    assert console is not None, "the route has one"
    with await opened_log(call, console) as opened:
        found = await on_disk(call, lambda: _listed(opened.files))
    still(call, console)
    return Page(({**fields, "cursor": None if at is None else cursor_of(console, at)} for fields, at in found), None)


def _listed(files: Segments) -> list[tuple[dict[str, object], int | None]]:
    places = Places(files)
    return [(_fields(segment), places.offset(segment, 0)) for segment in reversed(files) if segment.log is not None]


def _fields(segment: Segment) -> dict[str, object]:
    log, trail = segment.log, time_index_of(segment)
    assert log is not None
    first = next(trail.entries(), None) if trail is not None else None
    return {
        "segment": segment.number,
        "size": size_of(segment),
        "compressed": log.compressed,
        "from": timestamp(first.at) if first is not None else None,
        "to": timestamp(log.modified) if log.size else None,
    }


def size_of(segment: Segment) -> int:
    """The bytes of a file, unpacked."""
    log = segment.log
    assert log is not None
    return packed_size(log.fileno()) if log.compressed else log.size


async def segment(call: Call) -> Answer:
    """One of the files, or a part of it."""
    console, number = call.console, call.path["segment"]
    assert console is not None, "the route has one"
    if not (number.isascii() and number.isdecimal() and len(number) <= 3):
        raise Problem("not-found", NOT_FOUND)
    opened = await opened_log(call, console, number=int(number))
    try:
        found = next(iter(opened.files), None)
        if found is None or found.log is None:
            raise Problem("not-found", NOT_FOUND)
        size = await on_disk(call, lambda: size_of(found))
        still(call, console)
        # The same before and after it is compressed, and under whatever number.
        etag = f'"{int(found.log.modified * 1000):x}-{size:x}"'
        about = [("ETag", etag), ("Accept-Ranges", "bytes")]
        if etag in call.headers.get("if-none-match", ""):
            opened.close()
            return Empty(304, about)
        whole = call.headers.get("if-range", etag) != etag
        part = None if whole else byte_range(call.headers.get("range", ""), size)
    except BaseException:
        opened.close()
        raise
    start, end = part or (0, size)
    if part is not None:
        about.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    name = f"{call.operator.view.alias(console)}.log" + (f".{number}" if int(number) else "")
    about += [("Content-Length", str(end - start)), ("Content-Disposition", f'attachment; filename="{name}"')]
    return Stream(BYTES_MEDIA, Body(call, opened, _read(call, opened, found, start, end)), about, 206 if part else 200)


async def _read(call: Call, opened: OpenedLog, found: Segment, start: int, end: int) -> AsyncGenerator[bytes, None]:
    log = found.log
    assert log is not None
    if start == end:
        return
    async with aclosing(read_out(call, opened, lambda: log.blocks(start, end), len)) as batches:
        async for batch in batches:
            yield b"".join(batch)


ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{console}/segments",
        segments,
        "The files of a log, the newest first",
        needs=Needs.SPY,
        answer=Reply(schema=page_of(_SEGMENT, {"type": "null"})),
        problems=("too-many",),
    ),
    Route(
        "GET",
        "/api/v1/consoles/{console}/segments/{segment}",
        segment,
        "One of the files of a log, unpacked; Range gives a part of it",
        needs=Needs.SPY,
        answer=Reply(BYTES_MEDIA, help="206 with Range"),
        kind="stream",
        problems=("bad-range", "too-many"),
    ),
)
