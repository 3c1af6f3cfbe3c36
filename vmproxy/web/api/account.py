"""The login with a password, its end, and who has logged in."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from vmproxy.access.policy import Right
from vmproxy.auth.accounts_file import Account
from vmproxy.auth.authenticator import LoginBusy, LoginRefused
from vmproxy.base.tasks import spawn
from vmproxy.log.events import timestamp
from vmproxy.operators.presentation import operator_fields
from vmproxy.web.answer import JSON, Answer, Empty
from vmproxy.web.call import Call
from vmproxy.web.credentials import cookie
from vmproxy.web.problem import Problem
from vmproxy.web.route import Body, Needs, Reply, Route
from vmproxy.web.schemas import object_of
from vmproxy.web.sessions import Session

_WHOAMI = {
    "type": "object",
    "properties": {
        "operator": {"type": "string"},
        "groups": {"type": "array", "items": {"type": "string"}},
        "from": {"type": "string"},
        "user": {"type": "string"},
        "consoles": {"type": "object", "additionalProperties": {"type": "integer"}},
        "front": {"type": "string", "enum": ["web", "api"]},
        "ends": {"type": "string", "format": "date-time"},
        "token": {"type": ["string", "null"]},
        "scope": {"type": "string", "enum": ["read", "write", "metrics"]},
    },
    "required": ["operator", "groups", "from", "consoles", "front", "ends"],
}


_LOGIN = object_of(
    {
        "operator": {"type": "string", "minLength": 1, "maxLength": 256},
        "password": {"type": "string", "maxLength": 1024},
    },
    ["operator", "password"],
    closed=True,
)
_WRONG = "wrong password, or no operator of that name who has one"


async def login(call: Call) -> Answer:
    """A session for who knows an operator's password, after the delays that SSH has too.

    A try counts as soon as it is known to have failed, whether or not its client waits for the answer.
    """
    answer: Deferred[Answer] = Deferred()
    spawn(_log_in(call)).addBoth(lambda outcome: None if answer.called else answer.callback(outcome))
    return await answer


async def _log_in(call: Call) -> Answer:
    accounts, user = call.web.accounts, str(call.json["operator"])
    waited = accounts.delays.present(call.peer)
    await _pause(call, waited)
    try:
        if call.gone:
            raise LoginRefused("the connection was closed before the password was checked")
        secret = str(call.json["password"]).encode("utf-8", "surrogatepass")
        account = await accounts.password(user, secret, call.peer, lambda: not call.gone, "web")
    except LoginBusy as busy:
        accounts.log_refusal(user, call.peer, str(busy))
        accounts.put_off("password", user, call.peer, str(busy), "web")
        raise Problem("unavailable", "too many logins wait", headers=[("Retry-After", "5")]) from None
    except LoginRefused as refused:
        accounts.log_refusal(user, call.peer, str(refused))
        delay = accounts.failed("password", user, call.peer, str(refused), "web")
        await _pause(call, delay - waited)
        raise Problem("unauthenticated", _WRONG) from None
    if call.gone:
        raise Problem("unavailable")
    begun = begin_session(call, account, user)
    accounts.entered(account, "password", user, call.peer, {}, "web")
    return Empty(headers=[begun])


def begin_session(call: Call, account: Account, user: str) -> tuple[str, str]:
    """Begin a session in place of the one that the browser has.

    :returns: the header that tells the browser.
    """
    before = call.credential.session if call.credential is not None else None
    if before is not None:
        call.web.sessions.end(before, "another login")
    _, shown = call.web.sessions.begin(account, user, call.peer)
    return cookie(call.origin, shown)


async def _pause(call: Call, seconds: float) -> None:
    """Wait, as long as the client does."""
    if seconds <= 0 or call.gone:
        return
    pause: Deferred[None] = Deferred()
    timer = call.services.clock.callLater(seconds, pause.callback, None)

    def gone() -> None:
        if timer.active():
            timer.cancel()
            pause.callback(None)

    call.on_gone(gone)
    await pause


async def logout(call: Call) -> Answer:
    """The session ends, and its sockets."""
    session = _session(call)
    call.web.sessions.end(session, "logged out")
    return Empty(headers=[cookie(call.origin, "")])


async def touch(call: Call) -> Answer:
    """Somebody was at the keys: the session goes on."""
    _session(call).touch(call.services.wall())
    return Empty()


def _session(call: Call) -> Session:
    session = call.credential.session if call.credential is not None else None
    if session is None:
        raise Problem("forbidden", "a token has no session")
    return session


async def whoami(call: Call) -> Answer:
    """The operator, their rights in numbers, and when the session or token ends."""
    operator = call.operator
    counts = dict.fromkeys(Right, 0)
    await call.turn()
    for console in list(operator.view):
        if not call.services.turns.open():
            await call.turn()
        rights = operator.view.rights(console)
        for right in counts:
            counts[right] += right in rights
    credential = call.credential
    assert credential is not None, "the route needs a login"
    return JSON(
        {
            **operator_fields(operator, {right.words[0]: number for right, number in counts.items()}),
            "front": credential.front,
            "ends": timestamp(credential.ends),
            "token": credential.token.name if credential.token is not None else None,
            "scope": credential.token.scope if credential.token is not None else "write",
        }
    )


ROUTES = (
    Route(
        "POST",
        "/api/v1/login",
        login,
        "Log in with a password",
        needs=Needs.ANYONE,
        body=Body(schema=_LOGIN),
        answer=Reply("", status=204, help="The cookie of the session"),
        kind="write",
        problems=("unauthenticated", "unavailable"),
    ),
    Route(
        "DELETE",
        "/api/v1/session",
        logout,
        "Log out",
        scope="",
        answer=Reply("", status=204),
        kind="write",
    ),
    Route(
        "PUT",
        "/api/v1/session",
        touch,
        "Say that somebody is at the keys, so that the session goes on; once a minute is enough",
        scope="",
        answer=Reply("", status=204),
        kind="write",
    ),
    Route("GET", "/api/v1/whoami", whoami, "Who you are, and what you may do", answer=Reply(schema=_WHOAMI)),
)
