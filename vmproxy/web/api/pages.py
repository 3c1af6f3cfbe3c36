"""The pages and their files. They need no login, what they show does: a link to a console works from anywhere."""

from __future__ import annotations

import secrets
from functools import partial

from vmproxy.web.answer import Answer, Bytes
from vmproxy.web.assets import PAGES, PREFIX, Page
from vmproxy.web.call import Call
from vmproxy.web.headers import CSP
from vmproxy.web.problem import Problem
from vmproxy.web.route import Needs, Reply, Route

FOR_EVER = "public, max-age=31536000, immutable"
_HTML = "text/html; charset=utf-8"


async def show(page: Page, call: Call) -> Answer:
    """A page. Its nonce is for the style elements that the terminal makes."""
    if not call.web.assets.version:
        raise Problem("not-found", "there are no pages")
    nonce = secrets.token_urlsafe(16)
    csp = CSP.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'")
    return Bytes(call.web.assets.page(page, nonce), _HTML, headers=[("Content-Security-Policy", csp)])


async def asset(call: Call) -> Answer:
    """A file of the pages."""
    found = call.web.assets.get(call.path["version"], call.path["file"])
    if found is None:
        raise Problem("not-found", "there is no such file")
    if "gzip" in call.headers.get("accept-encoding", ""):
        headers = [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return Bytes(found.packed, found.media, headers=headers, cache=FOR_EVER)
    return Bytes(found.plain(), found.media, headers=[("Vary", "Accept-Encoding")], cache=FOR_EVER)


def _route(page: Page) -> Route:
    answer = Reply(_HTML)
    return Route(
        "GET", page.path, partial(show, page), page.title, needs=Needs.ANYONE, answer=answer, kind="asset", hidden=True
    )


ROUTES = (
    *(_route(page) for page in PAGES),
    Route(
        "GET",
        f"{PREFIX}{{version}}/{{file*}}",
        asset,
        "A file of the pages",
        needs=Needs.ANYONE,
        answer=Reply("text/css"),
        kind="asset",
        hidden=True,
    ),
)
