"""Dispatch: from a request to its handler, and what has to be right on the way.

The order is part of the promise: how the client calls us, the login, the path, the rights of the credential, other
sites, the body, the parameters, the console and the rights on it. Invariant: a console that the operator may not see
takes the same way as one that there is not, to the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.web.answer import Answer
from vmproxy.web.call import Call, WebServices
from vmproxy.web.console_id import console_id
from vmproxy.web.credential import Credential
from vmproxy.web.head import Head
from vmproxy.web.headers import check_host
from vmproxy.web.json_schema import errors
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import BYTES_MEDIA, JSON_MEDIA, Needs, Route
from vmproxy.web.router import Router

PREFIX = "/api/v1/"
FOR_METRICS = ("/metrics", "/healthz", "/readyz")
NOT_FOUND = "there is none, or none that you may see"

_log = Logger()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may have a body.

    :ivar raw: the values of the names in the path.
    """

    call: Call
    route: Route
    raw: dict[str, str]


class Dispatcher:
    """Finds handlers."""

    def __init__(
        self,
        web: WebServices,
        routes: Iterable[Route],
        identify: Callable[[Head, str], Awaitable[Credential | None]],
        names: Callable[[], Iterable[str]],
    ) -> None:
        """
        :param identify: finds the credential of a request; None if it shows none, or none that counts.
        :param names: the names of our certificate.
        """
        self._web = web
        self._router = Router(routes)
        self._identify = identify
        self._names = names

    async def admit(self, head: Head) -> Admitted:
        """Decide about a request by its head.

        :raises Problem: if it is refused.
        """
        call = Call(self._web, head.method, head.headers, head.peer, head.secure)
        if head.for_metrics:
            if head.path not in FOR_METRICS:
                raise Problem("not-found", NOT_FOUND)
            call.came_for_metrics()
        else:
            call.called(*check_host(head, self._web.settings.public_url, self._names()))
        if head.has_token_in_url:
            raise Problem("bad-request", "a token in a URL is known to too many: it goes into Authorization: Bearer")
        match = self._router.find(head.path) if head.path.count("/") < 32 else None
        of_api = head.path.startswith(PREFIX)
        anyone = match is not None and any(route.needs is Needs.ANYONE for route in match.routes.values())
        call.identified(await self._identify(head, call.origin))
        if call.credential is None and not anyone and (of_api or match is not None):
            raise Problem(
                "unauthenticated", "log in, or send Authorization: Bearer", headers=[("WWW-Authenticate", "Bearer")]
            )
        if match is None:
            raise Problem("not-found", NOT_FOUND)
        route, raw = match.of(head.method)
        if call.credential is not None:
            _check_credential(call, route, head)
        elif head.unsafe and ("origin" in head.headers or "sec-fetch-site" in head.headers):
            _check_site(call, head)  # a browser is not to be logged in by another site
        _check_body(route, head)
        return Admitted(call, route, raw)

    async def answer(self, admitted: Admitted, body: bytes, head: Head) -> Answer:
        """Have a request answered.

        :raises Problem: if something is wrong with it.
        """
        call, route = admitted.call, admitted.route
        await call.turn()
        wrong: list[tuple[str, str]] = []
        value = None
        if route.body is not None and route.body.media == JSON_MEDIA:
            value = {} if route.body.optional and not body else _json(body, route, wrong)
        # What stands in the address of a page is for its module.
        query = _query(route, head, wrong) if route.kind != "asset" else {}
        if wrong:
            raise bad_request(wrong)
        raw = dict(admitted.raw)
        target = raw.pop("console", None)
        call.filled(body, value, query, raw)
        if target is not None:
            call.concerns(_console(call, target, route.needs.right), target)
        if route.needs is Needs.ADMIN_ALL and not (call.operator.view.administers and call.operator.view.all_seen):
            raise Problem("forbidden", "this is for administrators from whom no console is hidden")
        return await route.handler(call)


def _check_credential(call: Call, route: Route, head: Head) -> None:
    credential = call.credential
    assert credential is not None
    if not credential.allows(route.scope) and route.needs is not Needs.ANYONE:
        what = f"a token needs the scope {route.scope}" if route.scope else "no token is enough, log in"
        raise Problem("forbidden", f"for this {what}")
    if credential.token is None and head.unsafe:
        _check_site(call, head)


def _check_site(call: Call, head: Head) -> None:
    """A cookie comes along whoever makes the browser send a request; an unsafe one has to come from our own pages."""
    if head.headers.get("origin", "" if call.credential is not None else call.origin) != call.origin:
        raise Problem("cross-site", "Origin has to be that of this server")
    if head.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem("cross-site", "Sec-Fetch-Site has to be same-origin")
    if head.length != 0 and _media(head) not in (JSON_MEDIA, BYTES_MEDIA):
        raise Problem("cross-site", f"Content-Type has to be {JSON_MEDIA} or {BYTES_MEDIA}")


def _media(head: Head) -> str:
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_body(route: Route, head: Head) -> None:
    if head.length == 0:
        return
    if route.body is None:
        raise Problem("too-large", "there is no body here")
    if head.length is not None and head.length > route.body.limit:
        raise Problem("too-large", f"at most {route.body.limit} bytes")
    if _media(head) != route.body.media:
        raise bad_request([("Content-Type", f"has to be {route.body.media}")])


def _json(body: bytes, route: Route, wrong: list[tuple[str, str]]) -> Any:
    assert route.body is not None
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        wrong.append(("the body", "is not JSON in UTF-8"))
        return None
    wrong += errors(value, route.body.schema)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _query(route: Route, head: Head, wrong: list[tuple[str, str]]) -> dict[str, Any]:
    known = {one.name: one for one in route.query}
    values = {one.name: one.default for one in route.query}
    seen: set[str] = set()
    for name, text in head.pairs:
        parameter = known.get(name)
        if parameter is None:
            wrong.append((visible(name, 40), "there is no such parameter"))
        elif name in seen:
            wrong.append((name, "is given twice"))
        else:
            seen.add(name)
            try:
                values[name] = parameter.parse(text)
            except ValueError as error:
                wrong.append((name, str(error)))
        if len(wrong) >= 20:
            break
    wrong += [(one.name, "is missing") for one in route.query if one.required and one.name not in seen]
    return values


def _console(call: Call, target: str, needed: Right) -> Console:
    view = call.operator.view
    try:
        console = view.find(target)
    except NoSuchConsole:
        raise Problem("not-found", NOT_FOUND) from None
    except AmbiguousConsole as error:
        candidates = [{"id": console_id(one), "name": one.title} for one in error.choices]
        raise Problem("ambiguous", "give the id", candidates=candidates, more=error.more or None) from None
    rights = view.rights(console)
    if Right.SEE not in rights:
        raise Problem("not-found", NOT_FOUND)
    if needed not in rights:
        raise Problem("forbidden", f"you may not {needed.name.lower() if needed.name else 'do that'} here")
    return console
