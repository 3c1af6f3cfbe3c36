"""``GET sessions``: who is on which console."""

from __future__ import annotations

from vmproxy.operators.commands.context import in_turns, now
from vmproxy.operators.presentation import viewer_fields
from vmproxy.operators.who import present
from vmproxy.web.answer import Answer, Page
from vmproxy.web.api.reading import asked
from vmproxy.web.call import Call
from vmproxy.web.parameters import AFTER, LIMIT, ON
from vmproxy.web.problem import bad_request
from vmproxy.web.route import Reply, Route
from vmproxy.web.schemas import TEXT, TEXT_OR_NULL, object_of, page_of


async def sessions(call: Call) -> Answer:
    """Who is on which console; without ``on``, also who is on none."""
    query, lists, name = call.query, call.web.lists, call.operator.name
    if query["after"] is not None:
        page = lists.page(name, "sessions", query["after"], query["limit"])
        if page is None:
            raise bad_request([("after", "that list is not kept any more; begin with the first page")])
        items, following, _ = page
    else:
        found = await asked(present(call, query["on"]))
        items = found[: query["limit"]]
        following = lists.first(name, "sessions", found, query["limit"])
    view, at = call.operator.view, now(call)
    shown = [
        {**viewer_fields(one.who, one.console, one.viewer, at), "front": one.front or None, "id": one.session or None}
        async for one in in_turns(call, items)
        if one.console is None or one.console in view
    ]
    return Page(shown, following)


_NAMES = ("console", "uuid", "port", "mode", "since", "front", "id")
_COUNT = {"type": ["integer", "null"]}
_SESSION = object_of({"who": TEXT, "idle": _COUNT, "skipped": _COUNT, **dict.fromkeys(_NAMES, TEXT_OR_NULL)})

ROUTES = (
    Route(
        "GET",
        "/api/v1/sessions",
        sessions,
        "Who is on which console",
        query=(ON, LIMIT, AFTER),
        answer=Reply(schema=page_of(_SESSION)),
        problems=("ambiguous",),
    ),
)
