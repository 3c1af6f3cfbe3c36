"""``GET sessions``: who is on which console."""

from __future__ import annotations

from vmproxy.operators.commands.context import in_turns, now
from vmproxy.operators.presentation import viewer_fields
from vmproxy.operators.who import present
from vmproxy.web.answer import Answer, Page
from vmproxy.web.api.reading import asked
from vmproxy.web.call import Call
from vmproxy.web.parameters import ON, whole, words
from vmproxy.web.problem import bad_request
from vmproxy.web.route import Reply, Route

LIMIT, MOST = 200, 1000


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

ROUTES = (
    Route(
        "GET",
        "/api/v1/sessions",
        sessions,
        "Who is on which console",
        query=(
            ON,
            whole("limit", 1, MOST, "how many at most", LIMIT),
            words("after", "the `next` of the page before"),
        ),
        answer=Reply(
            schema={
                "type": "object",
                "properties": {
                    "items": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "who": {"type": "string"},
                                "idle": {"type": ["integer", "null"]},
                                "skipped": {"type": ["integer", "null"]},
                                **{name: {"type": ["string", "null"]} for name in _NAMES},
                            },
                        },
                    },
                    "next": {"type": ["string", "null"]},
                },
            }
        ),
        problems=("ambiguous",),
    ),
)
