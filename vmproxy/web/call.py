"""A call: one request of somebody, as its handler knows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from vmproxy.access.policy import Right
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.tokens import TokenStore
from vmproxy.console.console import Console
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.web.assets import Assets
from vmproxy.web.credential import Credential
from vmproxy.web.kept_lists import KeptLists
from vmproxy.web.problem import Problem
from vmproxy.web.sessions import Sessions
from vmproxy.web.settings import WebSettings
from vmproxy.web.single_sign_on import SingleSignOn
from vmproxy.web.sockets import Sockets

_log = Logger()


async def _no_metrics(accept: str, consoles: bool) -> tuple[bytes, str]:
    return b"", "text/plain"


@dataclass(slots=True)
class WebServices:
    """What all calls share, beside the services of all fronts.

    :ivar accounts: who may log in.
    :ivar tokens: the tokens of scripts.
    :ivar sessions: the sessions of browsers.
    :ivar settings: as they are now.
    :ivar lists: the lists that are read page by page.
    :ivar not_ready: the reasons why the daemon is not ready, in words that name nothing.
    :ivar status: how the daemon is, for JSON.
    :ivar assets: the pages and their files.
    :ivar single_sign_on: logins at a provider.
    :ivar sockets: the websockets.
    :ivar scrape: the metrics, in a format of those that are accepted, and their type; those of single consoles too, or
        not.
    """

    services: Services
    accounts: Authenticator
    tokens: TokenStore
    sessions: Sessions
    single_sign_on: SingleSignOn
    settings: WebSettings = field(default_factory=WebSettings)
    not_ready: Callable[[], list[str]] = list
    status: Callable[[], dict[str, object]] = dict
    lists: KeptLists = field(default_factory=KeptLists)
    assets: Assets = field(default_factory=Assets)
    sockets: Sockets = field(init=False)
    scrape: Callable[[str, bool], Awaitable[tuple[bytes, str]]] = _no_metrics

    def __post_init__(self) -> None:
        self.sockets = Sockets(self.services)
        self.sessions.call_on_end(self.sockets.all.see_logins)

    def scrape_with(self, scrape: Callable[[str, bool], Awaitable[tuple[bytes, str]]]) -> None:
        """Have the metrics from there."""
        self.scrape = scrape

    def use(self, settings: WebSettings) -> None:
        """Take other settings."""
        self.settings = settings
        self.sessions.use(settings)


class Call:
    """One request.

    :ivar web: what all calls share.
    :ivar method: as the client said it.
    :ivar headers: the first of each name, in lower case.
    :ivar peer: the client's address.
    :ivar secure: whether it came over TLS, or the proxy says so.
    :ivar host: how the client calls us, checked; ``origin``: the same with its scheme.
    :ivar path: the values of the parts in braces, without ``console``.
    :ivar query: the values of the parameters.
    :ivar json: the body, where it is JSON; ``body``: its bytes.
    :ivar credential: the session or token; None before the login.
    :ivar console: that of the path, if it has one; ``named``: how the client named it.
    :ivar gone: whether the client is away.
    :ivar for_metrics: whether it came where nothing but the metrics is served.
    """

    __slots__ = (
        "_on_gone",
        "body",
        "console",
        "credential",
        "for_metrics",
        "gone",
        "headers",
        "host",
        "json",
        "method",
        "named",
        "origin",
        "path",
        "peer",
        "query",
        "secure",
        "web",
    )

    def __init__(self, web: WebServices, method: str, headers: Mapping[str, str], peer: str, secure: bool) -> None:
        self.web = web
        self.method = method
        self.headers = headers
        self.peer = peer
        self.secure = secure
        self.host = self.origin = self.named = ""
        self.path: dict[str, str] = {}
        self.query: dict[str, Any] = {}
        self.body = b""
        self.json: Any = None
        self.credential: Credential | None = None
        self.console: Console | None = None
        self.gone = self.for_metrics = False
        self._on_gone: list[Callable[[], object]] = []

    # What is found out on the way to the handler.

    def called(self, host: str, origin: str) -> None:
        """Take note how the client calls us."""
        self.host, self.origin = host, origin

    def came_for_metrics(self) -> None:
        """Take note that it came where nothing but the metrics is served."""
        self.for_metrics = True

    def identified(self, credential: Credential | None) -> None:
        """Take note whose it is."""
        self.credential = credential

    def filled(self, body: bytes, value: Any, query: dict[str, Any], path: dict[str, str]) -> None:
        """Take note of what the client has sent; ``value`` is the body as JSON."""
        self.body, self.json, self.query, self.path = body, value, query, path

    def concerns(self, console: Console, named: str) -> None:
        """Take note of the console of the path, and how the client named it."""
        self.console, self.named = console, named

    # For handlers.

    @property
    def services(self) -> Services:
        """What the sessions of all fronts share."""
        return self.web.services

    @property
    def operator(self) -> Operator:
        """Who has logged in. Only where the route needs that."""
        if self.credential is None:
            raise Problem("unauthenticated")
        return self.credential.operator

    @property
    def front(self) -> str:
        """``web`` for a browser's session, ``api`` for a token."""
        return self.credential.front if self.credential is not None else "web"

    @property
    def who(self) -> str:
        """Whose work this is, for the turns of the reactor; empty before the login."""
        return self.credential.operator.name if self.credential is not None else ""

    def may(self, right: Right) -> bool:
        """Whether the operator has a right on the console, as the rules and the login are now."""
        if self.console is None or self.credential is None or not self.credential.counts():
            return False
        return self.operator.view.may(self.console, right)

    async def turn(self) -> None:
        """Wait for the operator's share of the reactor, and until it is worked out what they see."""
        turns = self.services.turns
        if self.credential is not None:
            await self.operator.view.ready(turns, self.who)
            return
        while not turns.open():
            await turns.next(self.who)

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Have something called when the client is away before it was answered; at once if it is."""
        if self.gone:
            callback()
        else:
            self._on_gone.append(callback)

    def client_gone(self) -> None:
        """Take note that the client is away; called by the server."""
        self.gone = True
        callbacks, self._on_gone = self._on_gone, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.failure("what was to be done when a client was away failed")
