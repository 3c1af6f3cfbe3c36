"""An operator's own tokens. No token makes or revokes one: else it would last for ever."""

from __future__ import annotations

from vmproxy.auth.tokens import GLOBS, NAME_LIMIT, SCOPES, Token, TokenError
from vmproxy.base import values
from vmproxy.base.schema import InvalidValue
from vmproxy.log.events import timestamp
from vmproxy.web.answer import JSON, Answer, Empty, Page
from vmproxy.web.call import Call
from vmproxy.web.parameters import AFTER, LIMIT
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import Body, Reply, Route
from vmproxy.web.schemas import TEXT, array_of, object_of, page_of


def _fields(token: Token) -> dict[str, object]:
    return {
        "id": token.token_id,
        "name": token.name,
        "scope": token.scope,
        "on": list(token.on),
        "created": timestamp(token.created),
        "expires": timestamp(token.expires),
    }


async def tokens(call: Call) -> Answer:
    """One's own tokens that have not expired, in the order in which they were made."""
    found = await call.web.tokens.of(call.operator.name)
    after, limit = call.query["after"], call.query["limit"]
    start = next((n for n, one in enumerate(found, 1) if one.token_id == after), len(found)) if after else 0
    page = found[start : start + limit]
    more = start + limit < len(found)
    return Page(map(_fields, page), page[-1].token_id if more else None)


async def create(call: Call) -> Answer:
    """Make a token. It is in this answer, and never again."""
    wanted = call.json
    try:
        seconds = values.span(wanted.get("expires", "30d"))
        token, shown = await call.web.tokens.create(
            call.operator.name, wanted["name"], wanted.get("scope", "read"), wanted.get("on") or ["*"], seconds
        )
    except InvalidValue as error:
        raise bad_request([("expires", str(error))]) from None
    except TokenError as error:
        name, _, reason = str(error).partition(": ")
        if reason and name not in ("name", "expires", "scope", "on"):
            raise Problem("unavailable", "there is no place for another token", [("Retry-After", "3600")]) from None
        raise bad_request([(name, reason)] if reason else [("name", name)]) from None
    except OSError as error:
        raise Problem("unavailable", f"it cannot be kept: {error.strerror}", [("Retry-After", "60")]) from None
    call.operator.audit("token-created", token=token.name, scope=token.scope, on=list(token.on))
    return JSON({**_fields(token), "token": shown}, 201)


async def revoke(call: Call) -> Answer:
    """Revoke a token; its websockets end."""
    try:
        token = await call.web.tokens.revoke(call.operator.name, call.path["token"])
    except OSError as error:
        raise Problem("unavailable", f"that cannot be written: {error.strerror}", [("Retry-After", "60")]) from None
    if token is None:
        raise Problem("not-found", "there is none")
    call.web.sockets.all.see_logins()
    call.operator.audit("token-revoked", token=token.name)
    return Empty()


_NAMES = ("id", "name", "scope", "created", "expires")
_TOKEN = dict.fromkeys(_NAMES, TEXT) | {"on": array_of(TEXT)}
_WANTED = object_of(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT},
        "expires": {"type": "string", "minLength": 1, "maxLength": 20, "example": "30d"},
        "scope": {"type": "string", "enum": list(SCOPES)},
        "on": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 200}, "maxItems": GLOBS},
    },
    ["name"],
    closed=True,
)

ROUTES = (
    Route(
        "GET",
        "/api/v1/tokens",
        tokens,
        "Your tokens",
        query=(LIMIT, AFTER),
        answer=Reply(schema=page_of(object_of(_TOKEN))),
    ),
    Route(
        "POST",
        "/api/v1/tokens",
        create,
        "Make a token",
        scope="",
        body=Body(schema=_WANTED),
        answer=Reply(schema=object_of({**_TOKEN, "token": TEXT}), status=201),
        kind="write",
        problems=("unavailable",),
    ),
    Route(
        "DELETE",
        "/api/v1/tokens/{token}",
        revoke,
        "Revoke a token",
        scope="",
        answer=Reply("", status=204),
        kind="write",
        problems=("not-found", "unavailable"),
    ),
)
