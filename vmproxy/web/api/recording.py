"""``GET consoles/{id}/recording``: the past of a console for players, as an asciicast; whole, or window by window."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlencode

from vmproxy.log.cast_window import CastForm, Window, window
from vmproxy.log.place import PlaceGone
from vmproxy.log.timeline import Timeline
from vmproxy.operators.log_reading import OpenedLog, on_disk
from vmproxy.web.answer import Answer, Bytes, Stream
from vmproxy.web.api.reading import Body, offset_in, opened_log, read_out, still
from vmproxy.web.call import Call
from vmproxy.web.console_id import console_id
from vmproxy.web.cursor import BadCursor, cursor_of, place_of
from vmproxy.web.parameters import SINCE, UNTIL, seconds, whole, words
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import Needs, Reply, Route

MEDIA = "application/x-asciicast"
LARGEST_TERMINAL = 1000
LARGEST_WINDOW = 1024 * 1024


async def recording(call: Call) -> Answer:
    """The recording, or a window of it."""
    console, query = call.console, call.query
    assert console is not None, "the route has one"
    since, until = seconds(call, "since"), seconds(call, "until")
    size, place = query["window"], None
    if query["from"] is not None:
        if size is None or since is not None:
            raise bad_request([("from", "goes with window, and without since")])
        try:
            place = place_of(query["from"], console)
        except BadCursor as error:
            raise bad_request([("from", str(error))]) from None
    form = CastForm(console.title, query["width"], query["height"], console.options.encoding)
    opened = await opened_log(call, console, since=None if size is not None else since)
    name = f'attachment; filename="{call.operator.view.alias(console)}.cast"'
    if size is None:
        pieces = _whole(call, opened, form, since, until)
        return Stream(MEDIA, Body(call, opened, pieces), [("Content-Disposition", name)])
    with opened:
        start = await offset_in(call, opened, place)
        try:
            found = await on_disk(call, lambda: window(opened.files, form, size, since, until, start))
        except PlaceGone as error:
            raise Problem("gone", str(error)) from None
        if opened.files.problems:
            raise Problem("gone", "that part of the log cannot be read")
    still(call, console)
    return Bytes(found.data, MEDIA, headers=_links(call, found, until))


async def _whole(
    call: Call, opened: OpenedLog, form: CastForm, since: float | None, until: float | None
) -> AsyncGenerator[bytes, None]:
    items = Timeline(opened.files, since, until).items
    async with aclosing(read_out(call, opened, lambda: form.lines(items()), len)) as batches:
        async for batch in batches:
            yield b"".join(batch)


def _links(call: Call, found: Window, until: float | None) -> list[tuple[str, str]]:
    console = call.console
    assert console is not None
    if found.end is not None:
        begin = {"from": cursor_of(console, found.end)}
    elif found.more is not None:
        begin = {"since": f"@{found.more:.3f}"}
    else:
        return []
    rest = {name: call.query[name] for name in ("window", "width", "height")}
    ends = {} if until is None else {"until": f"@{until:.3f}"}
    query = urlencode({**begin, **rest, **ends})
    return [("Link", f'</api/v1/consoles/{console_id(console)}/recording?{query}>; rel="next"')]


ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{console}/recording",
        recording,
        "A recording for players: asciicast, version 2",
        needs=Needs.SPY,
        query=(
            SINCE,
            UNTIL,
            words("from", "a cursor: where a window begins"),
            whole("window", 1, LARGEST_WINDOW, "so many bytes of output at most; Link rel=next leads to the rest"),
            whole("width", 1, LARGEST_TERMINAL, "columns of the VM's terminal", 80),
            whole("height", 1, LARGEST_TERMINAL, "its lines", 24),
        ),
        answer=Reply(MEDIA),
        kind="stream",
        problems=("gone", "too-many"),
    ),
)
