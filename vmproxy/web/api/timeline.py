"""``GET consoles/{id}/timeline``: how much a console has said when, and what happened to it."""

from __future__ import annotations

from vmproxy.log.density import Density, measure, span_of
from vmproxy.log.events import timestamp
from vmproxy.operators.log_reading import on_disk
from vmproxy.web.answer import JSON, Answer
from vmproxy.web.api.reading import opened_log, still
from vmproxy.web.call import Call
from vmproxy.web.parameters import SINCE, UNTIL, seconds, whole
from vmproxy.web.problem import bad_request
from vmproxy.web.route import Needs, Reply, Route
from vmproxy.web.schemas import COUNT, TEXT, TIME_OR_NULL, array_of, object_of

BUCKETS, MOST = 200, 1000
_TIMELINE = object_of(
    {
        **dict.fromkeys(("since", "until", "first", "last"), TIME_OR_NULL),
        "buckets": array_of(COUNT),
        "bytes": COUNT,
        "markers": array_of(object_of(dict.fromkeys(("at", "event", "label"), TEXT))),
        "markers_left_out": COUNT,
    }
)


async def timeline(call: Call) -> Answer:
    """Bytes by time, and markers."""
    console = call.console
    assert console is not None, "the route has one"
    since, until = seconds(call, "since"), seconds(call, "until")
    with await opened_log(call, console, since=since) as opened:
        span = await on_disk(call, lambda: span_of(opened.files))
        begin = since if since is not None else span[0] if span is not None else 0.0
        end = until if until is not None else span[1] if span is not None else begin
        if end < begin:
            if since is not None and until is not None:
                raise bad_request([("until", "is before since")])
            end = begin
        found = Density(begin, end, [0] * call.query["buckets"])
        reading = opened.reading(lambda: measure(opened.files, found), lambda _: 65536)
        while await reading.batch():
            still(call, console)
    still(call, console)
    shown = span is not None or since is not None
    return JSON(
        {
            "since": timestamp(begin) if shown else None,
            "until": timestamp(end) if shown else None,
            "buckets": found.buckets,
            "bytes": sum(found.buckets),
            "first": timestamp(found.first) if found.first is not None else None,
            "last": timestamp(found.last) if found.last is not None else None,
            "markers": [{"at": timestamp(at), "event": kind, "label": label} for at, kind, label in found.markers],
            "markers_left_out": found.more,
        }
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{console}/timeline",
        timeline,
        "How much a console has said when, and what happened to it",
        needs=Needs.SPY,
        query=(SINCE, UNTIL, whole("buckets", 1, MOST, "into how many parts the time is divided", BUCKETS)),
        answer=Reply(schema=_TIMELINE),
        problems=("too-many",),
    ),
)
