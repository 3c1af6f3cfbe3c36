"""Single sign-on: to the provider, and back.

The cookie of a session is strict: it does not come along when the provider sends the browser here. So a session begins
with a page of ours that leads on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from typing import TypeVar

from vmproxy.auth.passwords import TooBusy, Unwanted
from vmproxy.base.sanitize import visible
from vmproxy.web.answer import JSON, Answer, Bytes, Headers
from vmproxy.web.api.account import begin_session
from vmproxy.web.call import Call
from vmproxy.web.head import cookie_of
from vmproxy.web.oidc import NotProven, Provider, ProviderError
from vmproxy.web.parameters import text_up_to
from vmproxy.web.problem import Problem
from vmproxy.web.route import Needs, Parameter, Reply, Route
from vmproxy.web.schemas import TEXT, object_of
from vmproxy.web.single_sign_on import BACK_SECONDS, DONE

PATH = "/login/oidc"
COOKIE = "vmproxy-oidc"
WAY_LIMIT = 2048
TEXT_LIMIT = 4096

T = TypeVar("T")

_WAY = object_of({"label": TEXT, "path": TEXT}, ["label", "path"])
_WAYS = object_of({"single_sign_on": {**_WAY, "type": ["object", "null"]}}, ["single_sign_on"])


def _way(text: str) -> str:
    if not text.startswith("/") or text[1:2] in ("/", "\\") or not text.isprintable() or len(text) > WAY_LIMIT:
        raise ValueError("is a path here, such as /c/web01")
    return text


_TO = Parameter("to", _way, {"type": "string", "maxLength": WAY_LIMIT}, "the page to come to", "/")
_STATE = text_up_to("state", TEXT_LIMIT, "what the provider was given")
_CODE = text_up_to("code", TEXT_LIMIT, "what stands for the login there")
_ERROR = text_up_to("error", TEXT_LIMIT, "what the provider says went wrong")
# What providers add beyond that.
_OTHERS = tuple(
    text_up_to(name, TEXT_LIMIT, "not used")
    for name in ("error_description", "error_uri", "iss", "session_state", "scope", "prompt", "authuser", "hd")
)


async def ways(call: Call) -> Answer:
    """How one may log in beside the password."""
    provider = call.web.single_sign_on.provider
    return JSON({"single_sign_on": None if provider is None else {"label": provider.settings.label, "path": PATH}})


async def begin(call: Call) -> Answer:
    """Off to the provider."""
    begun = call.web.single_sign_on.begin(_provider(call), call.origin, call.peer, call.query["to"], _wanted(call))
    address, kept = await _asked(call, begun)
    return Bytes(b"", "text/plain", 303, headers=[("Location", address), _cookie(call, kept)])


async def done(call: Call) -> Answer:
    """Back from the provider."""
    accounts, query = call.web.accounts, call.query
    try:
        if query["error"]:
            raise NotProven(f"the provider says: {visible(query['error'], 80)}")
        finished = call.web.single_sign_on.finish(
            _provider(call),
            call.origin,
            call.peer,
            cookie_of(call.headers, _name(call)),
            query["state"],
            query["code"],
            _wanted(call),
        )
        name, to = await _asked(call, finished)
        account = await accounts.account_of_oidc(name)
        if account is None:
            raise NotProven(f"{visible(name, 80)} is no operator")
    except NotProven as error:
        # Why, the log and the audit trail say: a stranger learns nothing.
        accounts.log_refusal("", call.peer, str(error))
        accounts.failed("oidc", "", call.peer, str(error), "web")
        return _page(call, "/login", "You have not been logged in", 403)
    accounts.entered(account, "oidc", name, call.peer, {}, "web")
    return _page(call, to, f"Welcome, {account.name}", 200, [begin_session(call, account, name)])


def _provider(call: Call) -> Provider:
    provider = call.web.single_sign_on.provider
    if provider is None:
        raise Problem("not-found", "there is no single sign-on here")
    return provider


def _wanted(call: Call) -> Callable[[], bool]:
    return lambda: not call.gone


async def _asked(call: Call, asked: Awaitable[T]) -> T:
    try:
        return await asked
    except (TooBusy, Unwanted):
        raise Problem("too-many", "logins wait for the provider", headers=[("Retry-After", "5")]) from None
    except ProviderError as error:
        call.web.accounts.complain(call.peer, f"single sign-on: {error}")
        text = "the provider of single sign-on does not answer"
        raise Problem("unavailable", text, headers=[("Retry-After", "30")]) from None


def _page(call: Call, to: str, text: str, status: int, cookies: Headers = ()) -> Bytes:
    """A page that says something and leads on: at once where all is well."""
    at_once = f'<meta http-equiv="refresh" content="0;url={escape(to)}">' if status == 200 else ""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{at_once}<title>{escape(text)}</title></head>'
        f'<body><main><h1>{escape(text)}</h1><p><a href="{escape(to)}">Go on</a></p></main></body></html>\n'
    )
    return Bytes(html.encode(), "text/html; charset=utf-8", status, headers=[*cookies, _cookie(call, "")])


def _name(call: Call) -> str:
    return f"__Host-{COOKIE}" if call.origin.startswith("https:") else COOKIE


def _cookie(call: Call, kept: str) -> tuple[str, str]:
    secure = "; Secure" if call.origin.startswith("https:") else ""
    age = BACK_SECONDS if kept else 0
    return "Set-Cookie", f"{_name(call)}={kept}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}"


ROUTES = (
    Route("GET", "/api/v1/login", ways, "How one may log in", needs=Needs.ANYONE, answer=Reply(schema=_WAYS)),
    Route("GET", PATH, begin, "To the provider", needs=Needs.ANYONE, query=(_TO,), hidden=True),
    Route(
        "GET",
        DONE,
        done,
        "Back from the provider",
        needs=Needs.ANYONE,
        query=(_STATE, _CODE, _ERROR, *_OTHERS),
        hidden=True,
    ),
)
