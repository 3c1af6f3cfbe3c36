"""``GET alerts`` and their acknowledgement: what watches have told, and that somebody knows of it."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.alerts.alert import NOTE_LIMIT
from vmproxy.operators.alert_choice import acknowledge, alert_of, alerts_of, key_of
from vmproxy.web.answer import JSON, Answer, Page
from vmproxy.web.api.reading import asked, consoles_of
from vmproxy.web.call import Call
from vmproxy.web.dispatch import NOT_FOUND
from vmproxy.web.parameters import LIMIT, ON, SINCE, flag, seconds, whole
from vmproxy.web.problem import Problem
from vmproxy.web.route import Body, Reply, Route
from vmproxy.web.schemas import COUNT, TEXT, TEXT_OR_NULL, TIME, object_of, page_of

NUMBERS = 999_999_999

_ALERT = object_of(
    {
        "alert": COUNT,
        "at": TIME,
        "repeated": COUNT,
        **dict.fromkeys(("watch", "severity", "line"), TEXT),
        **dict.fromkeys(("console", "uuid", "port", "host"), TEXT_OR_NULL),
        "offset": {"type": ["integer", "null"]},
        "acknowledged": {"type": ["object", "null"]},
    }
)


async def alerts(call: Call) -> Answer:
    """The alerts that nobody has acknowledged, the newest first; with ``all``, the others too."""
    query = call.query
    since, after, limit = seconds(call, "since"), query["after"], query["limit"]
    keys = {key_of(console) for console in await consoles_of(call, Right.SPY)} if query["on"] else None
    found = await alerts_of(call, keys, query["all"] or since is not None, since)
    found = [alert for alert in reversed(found) if after is None or alert.number < after]
    items = found[:limit]
    return Page((alert.fields() for alert in items), str(items[-1].number) if len(found) > limit else None)


async def acknowledged(call: Call) -> Answer:
    """Say of an alert that somebody knows of it."""
    text = call.path["alert"]
    alert = alert_of(call, int(text)) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
    if alert is None:
        raise Problem("not-found", NOT_FOUND)
    done = await asked(acknowledge(call, [alert], (call.json or {}).get("note") or ""))
    return JSON({"acknowledged": done})


ROUTES = (
    Route(
        "GET",
        "/api/v1/alerts",
        alerts,
        "What watches have told, the newest first",
        query=(
            ON,
            SINCE,
            flag("all", "those too that somebody has acknowledged"),
            LIMIT,
            whole("after", 1, NUMBERS, "the `next` of the page before"),
        ),
        answer=Reply(schema=page_of(_ALERT)),
        problems=("forbidden", "ambiguous"),
    ),
    Route(
        "POST",
        "/api/v1/alerts/{alert}/acknowledge",
        acknowledged,
        "Acknowledge an alert",
        scope="write",
        body=Body(schema=object_of({"note": {"type": "string", "maxLength": NOTE_LIMIT}}, closed=True)),
        answer=Reply(schema=object_of({"acknowledged": COUNT})),
        kind="write",
        problems=("forbidden",),
    ),
)
