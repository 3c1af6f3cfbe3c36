"""The websockets of the API: ``attach`` and ``live``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmproxy.access.console_options import REPLAY_LIMIT
from vmproxy.console.console import Console
from vmproxy.operators.client import Client
from vmproxy.operators.presentation import Fields
from vmproxy.web.answer import Answer, Socket
from vmproxy.web.api.rows import console_row, latest_of
from vmproxy.web.attach import MODES, SUBPROTOCOL, Attaching, Wish
from vmproxy.web.call import Call
from vmproxy.web.live import LivePage
from vmproxy.web.problem import Problem
from vmproxy.web.route import Parameter, Reply, Route
from vmproxy.web.websocket import BadHandshake, Listener, WebSocket, accept


async def attach(call: Call) -> Answer:
    """Attach to a console. What is wrong with the wish is told behind the handshake, where a page can see it."""
    answer = _accepted(call)
    query = {name: value for name, value in call.query.items() if value is not None}
    wish: Wish | Problem
    try:
        wish = Wish.of(call.path["name"], query)
    except Problem as problem:
        wish = problem
    return _socket(call, Attaching(call.operator, call.services, call.web.sockets.fanouts, wish), answer)


async def live(call: Call) -> Answer:
    """Be told what changes of many consoles."""
    answer = _accepted(call)
    return _socket(call, LivePage(call.operator, call.web.sockets.pages, _rows), answer)


async def _rows(client: Client, consoles: Sequence[Console]) -> list[Fields]:
    view, turns = client.operator.view, client.services.turns
    said = await latest_of(client, consoles)
    rows: list[Fields] = []
    for console, latest in zip(consoles, said, strict=True):
        await view.ready(turns, client.operator.name)
        if console in view:
            rows.append(console_row(client, console, latest))
    return rows


def _accepted(call: Call) -> bytes:
    if call.method != "GET":
        raise Problem("upgrade-needed", "only a GET becomes a websocket")
    try:
        return accept(call.headers, SUBPROTOCOL, call.secure)
    except BadHandshake as error:
        if error.upgrade:
            told = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            raise Problem("upgrade-needed", str(error), headers=told) from None
        raise Problem("bad-request", str(error), errors=[]) from None


def _socket(call: Call, listener: Listener, answer: bytes) -> Socket:
    credential = call.credential

    def may_stay() -> bool:
        return credential is not None and credential.counts()

    return Socket(WebSocket(listener, call.web.sockets.all, call.who, answer, may_stay))


def _text(name: str, help_text: str, schema: Mapping[str, object] | None = None) -> Parameter:
    return Parameter(name, str, {"type": "string", **(schema or {})}, help_text)


_SWITCHES = Reply("", status=101, help="the connection is a websocket")

ROUTES = (
    Route(
        "GET",
        "/api/v1/consoles/{name}/attach",
        attach,
        f"Attach to a console: a websocket, {SUBPROTOCOL}",
        query=(
            _text("mode", "write if not said", {"enum": list(MODES)}),
            _text("replay", f"how many of the last lines come first, 0 to {REPLAY_LIMIT}"),
            _text("reason", "why write access is taken", {"maxLength": 1000}),
            _text("from", "a cursor: output goes on there"),
        ),
        answer=_SWITCHES,
        kind="stream",
        upgrade=True,
        problems=("upgrade-needed", "cross-site"),
    ),
    Route(
        "GET",
        "/api/v1/live",
        live,
        f"What changes of many consoles, for pages: a websocket, {SUBPROTOCOL}",
        answer=_SWITCHES,
        kind="stream",
        upgrade=True,
        problems=("upgrade-needed", "cross-site"),
    ),
)
