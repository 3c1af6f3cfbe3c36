"""``GET consoles/{id}``: all that is known of a console."""

from __future__ import annotations

from hashlib import blake2b

from vmproxy.access.policy import Right
from vmproxy.web.answer import JSON, Answer, encoded
from vmproxy.web.api.reading import still
from vmproxy.web.api.rows import CONSOLE_SCHEMA, console_row, latest_of
from vmproxy.web.call import Call
from vmproxy.web.cursor import cursor_of
from vmproxy.web.route import Needs, Reply, Route

_MORE = {"log_size": {"type": "integer"}, "cursor": {"type": ["string", "null"]}}
SCHEMA = {**CONSOLE_SCHEMA, "properties": {**CONSOLE_SCHEMA["properties"], **_MORE}}  # type: ignore[dict-item]


async def status(call: Call) -> Answer:
    """The console, the size of its log, and the place at which its output ends."""
    console = call.console
    assert console is not None, "the route has one"
    size = await console.log.settled()
    (said,) = await latest_of(call, [console])
    still(call, console, Right.SEE)
    offset = console.log.offset
    shown = {
        **console_row(call, console, said),
        "log_size": size,
        "cursor": cursor_of(console, offset) if offset is not None and call.may(Right.SPY) else None,
    }
    return JSON(shown, etag=blake2b(encoded(shown), digest_size=12).hexdigest())


ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{console}",
        status,
        "All that is known of a console",
        needs=Needs.SEE,
        answer=Reply(schema=SCHEMA),
    ),
)
