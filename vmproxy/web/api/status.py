"""How the daemon is: for administrators from whom no console is hidden."""

from __future__ import annotations

from vmproxy.web.answer import JSON, Answer
from vmproxy.web.call import Call
from vmproxy.web.route import Needs, Reply, Route


async def status(call: Call) -> Answer:
    """Version, uptime, the last reload, counters, listeners and certificates."""
    return JSON(call.web.status())


_TEXTS = {"type": "array", "items": {"type": "string"}}
_SCHEMA = {
    "type": "object",
    "properties": {
        "version": {"type": "string"},
        "started": {"type": "string", "format": "date-time"},
        "uptime": {"type": "integer", "description": "seconds"},
        "reload": {
            "type": ["object", "null"],
            "properties": {
                "at": {"type": "string", "format": "date-time"},
                "ok": {"type": "boolean"},
                "changed": _TEXTS,
                "waiting": _TEXTS,
                "problems": _TEXTS,
            },
        },
        "gauges": {"type": "object"},
        "counters": {"type": "object", "additionalProperties": {"type": "integer"}},
        "listeners": {"type": "object", "additionalProperties": _TEXTS},
        "certificates": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "use": {"type": "string"},
                    "names": _TEXTS,
                    "thumbprint": {"type": "string"},
                    "expires": {"type": "string", "format": "date-time"},
                },
            },
        },
    },
    "required": ["version", "started", "uptime", "reload", "counters", "listeners", "certificates"],
}

ROUTES = (
    Route("GET", "/api/v1/status", status, "How the daemon is", needs=Needs.ADMIN_ALL, answer=Reply(schema=_SCHEMA)),
)
