"""What administrators do to others: messages to all, and the end of sessions on consoles."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.operators.commands.broadcast import TEXT_LIMIT, broadcast
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.commands.kick import REASON_LIMIT
from vmproxy.operators.who import session_id
from vmproxy.web.answer import JSON, Answer, Empty
from vmproxy.web.api.reading import asked
from vmproxy.web.call import Call
from vmproxy.web.parameters import words
from vmproxy.web.problem import Problem
from vmproxy.web.route import Body, Reply, Route
from vmproxy.web.schemas import COUNT, object_of


async def tell_all(call: Call) -> Answer:
    """A message to all operators on the consoles that one administers."""
    return JSON({"told": await asked(broadcast(call, visible(call.json["text"], TEXT_LIMIT)))})


async def end_session(call: Call) -> Answer:
    """Disconnect somebody from a console that one administers."""
    wanted, reason = call.path["session"], call.query["reason"] or ""
    view, operator = call.operator.view, call.operator
    async for console in in_turns(call, view):
        for viewer in list(console.watchers):
            if session_id(viewer) != wanted or console not in view:
                continue
            if not view.may(console, Right.ADMIN):
                raise Problem("forbidden", "only an administrator of the console may do that")
            fields = {"console": console.title, "uuid": str(console.uuid), "whom": viewer.who}
            operator.audit("kick", **fields, reason=visible(reason, REASON_LIMIT))
            console.viewers.kick(viewer, operator.who, visible(reason, REASON_LIMIT))
            return Empty()
    raise Problem("not-found", "there is none, or none that you may see")


ROUTES = (
    Route(
        "POST",
        "/api/v1/broadcast",
        tell_all,
        "Send a message to all operators on the consoles that you administer",
        scope="write",
        body=Body(
            schema=object_of(
                {"text": {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT}}, ["text"], closed=True
            )
        ),
        answer=Reply(schema=object_of({"told": COUNT}, ["told"])),
        kind="write",
        problems=("forbidden",),
    ),
    Route(
        "DELETE",
        "/api/v1/sessions/{session}",
        end_session,
        "Disconnect somebody from a console",
        scope="write",
        query=(words("reason", "shown to them", REASON_LIMIT),),
        answer=Reply("", status=204),
        kind="write",
        problems=("forbidden", "not-found"),
    ),
)
