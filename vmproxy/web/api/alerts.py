"""``GET alerts`` and their acknowledgement: what watches have told, and that somebody knows of it."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.alerts.alert import NOTE_LIMIT
from vmproxy.operators.alert_choice import acknowledge, alert_of, alerts_of, key_of
from vmproxy.web.answer import JSON, Answer, Page
from vmproxy.web.api.reading import asked, consoles_of
from vmproxy.web.call import Call
from vmproxy.web.dispatch import NOT_FOUND
from vmproxy.web.parameters import ON, SINCE, flag, seconds, whole
from vmproxy.web.problem import Problem
from vmproxy.web.route import Body, Reply, Route

LIMIT, MOST = 200, 1000
NUMBERS = 999_999_999

_ALERT = {
    "type": "object",
    "properties": {
        "alert": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "watch": {"type": "string"},
        "severity": {"type": "string"},
        **{name: {"type": ["string", "null"]} for name in ("console", "uuid", "port", "host")},
        "line": {"type": "string"},
        "offset": {"type": ["integer", "null"]},
        "repeated": {"type": "integer"},
        "acknowledged": {"type": ["object", "null"]},
    },
}


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
            whole("limit", 1, MOST, "how many at most", LIMIT),
            whole("after", 1, NUMBERS, "the `next` of the page before"),
        ),
        answer=Reply(
            schema={
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": _ALERT},
                    "next": {"type": ["string", "null"]},
                },
            }
        ),
        problems=("forbidden", "ambiguous"),
    ),
    Route(
        "POST",
        "/api/v1/alerts/{alert}/acknowledge",
        acknowledged,
        "Acknowledge an alert",
        scope="write",
        body=Body(
            schema={
                "type": "object",
                "properties": {"note": {"type": "string", "maxLength": NOTE_LIMIT}},
                "additionalProperties": False,
            }
        ),
        answer=Reply(schema={"type": "object", "properties": {"acknowledged": {"type": "integer"}}}),
        kind="write",
        problems=("forbidden",),
    ),
)
