"""``GET consoles``: the list of consoles, by name, state, and when they said something last.

There may be 16,000 of them. Their order is remembered, what is asked for is looked for in turns, and only the rows of
the page are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from vmproxy.base.turns import sort_steps
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.latest import Latest, last_output
from vmproxy.operators.commands.context import in_turns, selectors
from vmproxy.operators.console_filter import ConsoleFilter, finder
from vmproxy.operators.log_reading import on_disk
from vmproxy.operators.visible_order import OrderedConsole
from vmproxy.web.answer import Answer, Bytes, encoded
from vmproxy.web.api.rows import CONSOLE_SCHEMA, FIELDS, OF_LOGS, console_row, latest_of
from vmproxy.web.call import Call
from vmproxy.web.parameters import AFTER, LIMIT, ON, one_of, some_of, words
from vmproxy.web.problem import bad_request
from vmproxy.web.route import JSON_MEDIA, Needs, Reply, Route
from vmproxy.web.schemas import COUNT, page_of

STATES = ("up", "down", "migrating")
LOOKED_AT = 1000
FILTERED_AT_ONCE = 32


async def consoles(call: Call) -> Answer:
    """A page of the list."""
    query = call.query
    lists, name, limit = call.web.lists, call.operator.name, query["limit"]
    if query["after"] is not None:
        page = lists.page(name, "consoles", query["after"], limit)
        if page is None:
            raise bad_request([("after", "that list is not kept any more; begin with the first page")])
        items, following, total = page
    else:
        found = await _found(call)
        items, total = found[:limit], len(found)
        following = lists.first(name, "consoles", found, limit)
    rows = await _rows(call, items)
    about = encoded(following).strip(), total
    body = b'{"items":[%s],"next":%s,"total":%d}\n' % (b",".join(rows), *about)
    return Bytes(body, JSON_MEDIA, etag=blake2b(body, digest_size=12).hexdigest())


async def _found(call: Call) -> list[Console]:
    """All consoles that are asked for, in the order that is asked for."""
    query, view, services = call.query, call.operator.view, call.services
    # Whether they may still be seen is asked when rows are made of them.
    ordered = await services.orders.of(view, services.turns, call.operator.name)
    chosen = selectors(query["on"])
    named = {console for word in query["on"] if (console := _named(call, word)) is not None}
    states = query["state"]
    wanted = ConsoleFilter.read(query["q"] or "")
    has_name = finder(wanted.name.casefold()) if wanted.name else None

    def fits(one: OrderedConsole) -> bool:
        console = one.console
        return (
            (states is None or console.state in states)
            and (has_name is None or bool(has_name(one.key[0])))
            and (not chosen or console in named or any(selector.selects(console) for selector in chosen))
            and wanted.fits(view, console)
        )

    found: list[Console] = []
    for at in range(0, len(ordered), FILTERED_AT_ONCE):
        await call.turn()
        found += [one.console for one in ordered[at : at + FILTERED_AT_ONCE] if fits(one)]
    if query["sort"] != "name":
        key = await _newest_first(call, found, query["sort"])
        async for _ in in_turns(call, sort_steps(found, key)):
            pass
    return found


def _named(call: Call, word: str) -> Console | None:
    """The console that a word names which is no glob: by its UUID, or the beginning of its name."""
    try:
        return call.operator.view.find(word)
    except VMProxyError:
        return None


async def _newest_first(call: Call, found: Sequence[Console], sort: str) -> Callable[[Console], float]:
    if sort == "since":
        return lambda console: -console.since
    times: dict[Console, float] = {}
    for at in range(0, len(found), LOOKED_AT):
        some = found[at : at + LOOKED_AT]
        said = await on_disk(call, lambda some=some: [last_output(one.log.file.path) for one in some])  # type: ignore[misc]
        times.update(zip(some, (-(moment or 0.0) for moment in said), strict=True))
    return lambda console: times[console]


async def _rows(call: Call, items: Sequence[Console]) -> list[bytes]:
    """The rows of a page; what is hidden by now, or forgotten, has none."""
    view, wanted = call.operator.view, call.query["fields"]
    if wanted is None or OF_LOGS.intersection(wanted):
        said = await latest_of(call, items, wanted is None or "last_line" in wanted)
    else:
        said = [Latest()] * len(items)
    rows: list[bytes] = []
    async for console, latest in in_turns(call, zip(items, said, strict=True)):
        if console not in view:
            continue
        row: dict[str, Any] = console_row(call, console, latest)
        rows.append(
            encoded(row if wanted is None else {"id": row["id"], **{name: row[name] for name in wanted}}).strip()
        )
    return rows


ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles",
        consoles,
        "The consoles that you may see",
        query=(
            ON,
            words("q", "a part of the name, and words about columns: state:down host:esx03", 256),
            some_of("state", STATES, "only those in these states"),
            one_of("sort", ("name", "since", "last_output"), "times: the newest first", "name"),
            some_of("fields", FIELDS, "only these fields"),
            LIMIT,
            AFTER,
        ),
        needs=Needs.LOGIN,
        answer=Reply(schema=page_of(CONSOLE_SCHEMA, total=COUNT)),
    ),
)
