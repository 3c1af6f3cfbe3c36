"""Health: whether the process lives, and whether it is ready. Nothing here tells a name."""

from __future__ import annotations

from vmproxy.web.answer import JSON, Answer
from vmproxy.web.call import Call
from vmproxy.web.route import Needs, Reply, Route

_OK = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}


async def healthz(call: Call) -> Answer:
    """The reactor answers."""
    return JSON({"status": "ok"})


async def readyz(call: Call) -> Answer:
    """Whether it is started, listening and not stopping."""
    if reasons := call.web.not_ready():
        return JSON({"status": "not ready", "reasons": reasons}, 503, headers=[("Retry-After", "5")])
    return JSON({"status": "ok"})


ROUTES = (
    Route("GET", "/healthz", healthz, "Whether the process answers", needs=Needs.ANYONE, answer=Reply(schema=_OK)),
    Route("GET", "/readyz", readyz, "Whether it is ready", needs=Needs.ANYONE, answer=Reply(schema=_OK)),
)
