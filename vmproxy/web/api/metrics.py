"""The metrics of Prometheus."""

from __future__ import annotations

from vmproxy.base.addresses import within
from vmproxy.web.answer import Answer, Bytes
from vmproxy.web.call import Call
from vmproxy.web.problem import Problem
from vmproxy.web.route import Needs, Reply, Route

MEDIA = "text/plain"


async def metrics(call: Call) -> Answer:
    """All figures, for who comes from where they are told, or shows a token for them.

    Those of single consoles are left out for a token whose operator may not see all consoles.
    """
    consoles = True
    if not call.for_metrics and not within(call.peer, call.web.settings.metrics_from):
        credential = call.credential
        if credential is None:
            raise Problem(
                "unauthenticated",
                "send Authorization: Bearer with a token of scope metrics",
                headers=[("WWW-Authenticate", "Bearer")],
            )
        if credential.token is None or not credential.allows("metrics"):
            raise Problem("forbidden", "for this a token needs the scope metrics")
        consoles = credential.operator.view.all_seen
    text, media = await call.web.scrape(call.headers.get("accept", ""), consoles)
    return Bytes(text, media)


ROUTES = (
    Route(
        "GET",
        "/metrics",
        metrics,
        "All figures, as Prometheus or OpenMetrics reads them",
        needs=Needs.ANYONE,
        scope="metrics",
        answer=Reply(MEDIA, help="also application/openmetrics-text, by Accept"),
        problems=("unauthenticated", "forbidden"),
    ),
)
