"""How the daemon is: for administrators from whom no console is hidden."""

from __future__ import annotations

from vmproxy.web.answer import JSON, Answer
from vmproxy.web.call import Call
from vmproxy.web.route import Needs, Reply, Route
from vmproxy.web.schemas import FLAG, TEXT, TIME, array_of, object_of


async def status(call: Call) -> Answer:
    """Version, uptime, the last reload, counters, listeners and certificates."""
    return JSON(call.web.status())


_TEXTS = array_of(TEXT)
_SCHEMA = {
    "type": "object",
    "properties": {
        "version": {"type": "string"},
        "started": {"type": "string", "format": "date-time"},
        "uptime": {"type": "integer", "description": "seconds"},
        "reload": {
            "type": ["object", "null"],
            "properties": {"at": TIME, "ok": FLAG, **dict.fromkeys(("changed", "waiting", "problems"), _TEXTS)},
        },
        "gauges": {"type": "object"},
        "counters": {"type": "object", "additionalProperties": {"type": "integer"}},
        "listeners": {"type": "object", "additionalProperties": _TEXTS},
        "certificates": array_of(object_of({"use": TEXT, "names": _TEXTS, "thumbprint": TEXT, "expires": TIME})),
    },
    "required": ["version", "started", "uptime", "reload", "counters", "listeners", "certificates"],
}

ROUTES = (
    Route("GET", "/api/v1/status", status, "How the daemon is", needs=Needs.ADMIN_ALL, answer=Reply(schema=_SCHEMA)),
)
