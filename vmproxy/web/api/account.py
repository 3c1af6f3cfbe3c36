"""Who has logged in: whoami."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.log.events import timestamp
from vmproxy.operators.presentation import operator_fields
from vmproxy.web.answer import JSON, Answer
from vmproxy.web.call import Call
from vmproxy.web.route import Reply, Route

_WHOAMI = {
    "type": "object",
    "properties": {
        "operator": {"type": "string"},
        "groups": {"type": "array", "items": {"type": "string"}},
        "from": {"type": "string"},
        "user": {"type": "string"},
        "consoles": {"type": "object", "additionalProperties": {"type": "integer"}},
        "front": {"type": "string", "enum": ["web", "api"]},
        "ends": {"type": "string", "format": "date-time"},
        "token": {"type": ["string", "null"]},
        "scope": {"type": "string", "enum": ["read", "write", "metrics"]},
    },
    "required": ["operator", "groups", "from", "consoles", "front", "ends"],
}


async def whoami(call: Call) -> Answer:
    """The operator, their rights in numbers, and when the session or token ends."""
    operator = call.operator
    counts = dict.fromkeys(Right, 0)
    await call.turn()
    for console in list(operator.view):
        if not call.services.turns.open():
            await call.turn()
        rights = operator.view.rights(console)
        for right in counts:
            counts[right] += right in rights
    credential = call.credential
    assert credential is not None, "the route needs a login"
    return JSON(
        {
            **operator_fields(operator, {right.words[0]: number for right, number in counts.items()}),
            "front": credential.front,
            "ends": timestamp(credential.ends),
            "token": credential.name if credential.token is not None else None,
            "scope": credential.token.scope if credential.token is not None else "write",
        }
    )


ROUTES = (Route("GET", "/api/v1/whoami", whoami, "Who you are, and what you may do", answer=Reply(schema=_WHOAMI)),)
