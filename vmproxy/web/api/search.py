"""``GET search``: a pattern in the logs of all consoles, the newest lines first."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.pattern import Pattern
from vmproxy.log.search import Limits
from vmproxy.operators.log_reading import named_problems
from vmproxy.operators.log_search import HITS, HITS_LIMIT, PATTERN_LIMIT, LogSearch
from vmproxy.web.answer import Answer, Stream
from vmproxy.web.api.reading import Body, consoles_of
from vmproxy.web.call import Call
from vmproxy.web.parameters import ON, SINCE, UNTIL, flag, seconds, whole, words
from vmproxy.web.problem import bad_request
from vmproxy.web.route import Reply, Route

NDJSON = "application/x-ndjson"


async def search(call: Call) -> Answer:
    """Lines as they are found; the last object says whether that is all."""
    query = call.query
    try:
        pattern = Pattern(query["q"], ignore_case=query["ignore_case"], fixed=query["fixed"])
    except VMProxyError as error:
        raise bad_request([("q", str(error))]) from None
    since, until = seconds(call, "since"), seconds(call, "until")
    consoles = await consoles_of(call, Right.SPY)
    limits = Limits(
        hits=query["limit"],
        since=-math.inf if since is None else since,
        until=math.inf if until is None else until,
    )
    if consoles:
        call.operator.audit("search", consoles=len(consoles))
        await consoles[0].log.settled()  # what has been said up to now is on the disk then, of all of them
    work = LogSearch(call, consoles, pattern, limits)
    return Stream(NDJSON, Body(call, None, _lines(call, consoles, work), work.close))


async def _lines(call: Call, consoles: Sequence[Console], work: LogSearch) -> AsyncGenerator[bytes, None]:
    while (batch := await work.batch()) is not None:
        yield "".join(line for lines in batch for line in lines).encode()
    end = {
        "cut": bool(work.stopped),
        "reason": work.stopped or None,
        "found": work.shown,
        "problems": list(named_problems(call, consoles, work.problems)),
    }
    yield json.dumps(end).encode() + b"\n"


ROUTES = (
    Route(
        "GET",
        "/api/v1/search",
        search,
        "Lines of all logs that match a pattern, the newest first",
        query=(
            replace(words("q", "a regular expression (RE2), looked for line by line", PATTERN_LIMIT), required=True),
            ON,
            SINCE,
            UNTIL,
            flag("ignore_case", "capitals do not matter"),
            flag("fixed", "q is plain text"),
            whole("limit", 1, HITS_LIMIT, "how many lines at most", HITS),
        ),
        answer=Reply(NDJSON, help="an object a line, as `search --json`; the last has cut, reason, found and problems"),
        kind="stream",
        problems=("forbidden", "ambiguous"),
    ),
)
