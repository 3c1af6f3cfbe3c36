"""The web front: all connections, and what each asks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from vmproxy.auth.limits import LOGINS_IN_ALL, ConnectionLimiter, Quota
from vmproxy.base.addresses import Network
from vmproxy.base.turns import Turns
from vmproxy.web.answer import Answer, Bytes, encoded
from vmproxy.web.call import WebServices
from vmproxy.web.credentials import Credentials
from vmproxy.web.dispatch import Admitted, Dispatcher
from vmproxy.web.problem import MEDIA, Problem
from vmproxy.web.route import Route
from vmproxy.web.sender import send
from vmproxy.web.server import Times, WebChannel, WebRequest
from vmproxy.web.settings import WebSettings
from vmproxy.web.table import ROUTES

PARTING_SECONDS = 1.0
FOR_METRICS = 50  # connections where nothing else is served, and that the gate does not count

_log = Logger()

Observer = Callable[[Route | None, int, float], object]
"""Told of each answer: its route, None for no route; the status; the seconds from the head to the end."""


class WebFrontend:
    """All connections.

    :ivar web: what all calls share.
    :ivar times: the deadlines.
    :ivar gate: the connections that have not logged in, of all fronts.
    :ivar channels: the connections.
    :ivar logins: the connections that have logged in, by operator.
    :ivar answers: by route and class of status.
    :ivar refused: connections that were turned away because there were too many.
    """

    def __init__(self, web: WebServices, routes: Sequence[Route] = ROUTES) -> None:
        self.web = web
        clock = web.services.clock
        self.times = Times(clock)
        self.gate: ConnectionLimiter = web.accounts.gate
        self.channels: set[WebChannel] = set()
        self.logins: Quota[WebChannel] = Quota(web.settings.connections_per_operator, LOGINS_IN_ALL)
        self.answers: Counter[tuple[str, str]] = Counter()
        self.refused = 0
        self.routes = routes
        self.credentials = Credentials(web)
        web.accounts.call_on_change(web.sessions.accounts_changed)
        web.accounts.call_on_change(lambda keyring: web.sockets.all.see_logins())
        web.accounts.call_on_change(lambda keyring: self._see_logins())
        web.sessions.call_on_end(self._see_logins)
        self._names: Iterable[str] = ()
        self._dispatcher = Dispatcher(web, routes, self.credentials.identify, lambda: self._names)
        self._observers: list[Observer] = []
        self._all_gone: Deferred[None] | None = None

    def reconfigure(self, settings: WebSettings, names: Iterable[str] = ()) -> None:
        """Use other settings; connections that exist stay, but for those by certificates.

        Those begin anew: the authority may not be trusted any more.

        :param names: those of our certificate.
        """
        self.web.use(settings)
        self.logins.use(settings.connections_per_operator)
        self._names = tuple(names)
        for channel in list(self.channels):
            if channel.by_certificate:
                channel.leave()

    def observe(self, observer: Observer) -> None:
        """Have somebody told of each answer from now on."""
        self._observers.append(observer)

    # For connections.

    @property
    def turns(self) -> Turns:
        """The time that there is for what clients send."""
        return self.web.services.turns

    @property
    def trusted(self) -> tuple[Network, ...]:
        """The networks of trusted proxies."""
        return self.web.settings.trusted_proxies

    @property
    def user_header(self) -> str | None:
        """The header in which a trusted proxy names the operator."""
        return self.web.settings.proxy_user_header

    def wall(self) -> float:
        """The time of day, in seconds since the epoch."""
        return self.web.services.wall()

    def not_trusted(self, peer: str) -> None:
        """Take note that somebody has named an operator who may not."""
        self.web.accounts.complain(peer, "named an operator by web.proxy-user-header, and is no trusted proxy")

    def arrived(self, channel: WebChannel) -> bool:
        """Count a connection; :returns: whether it may stay."""
        full = len(self.channels) >= self.web.settings.connections
        if channel.for_metrics:
            full = full or sum(one.for_metrics for one in self.channels) >= FOR_METRICS
        if self.web.services.stopping or full:
            self.refused += 1
            return False
        self.channels.add(channel)
        return True

    def departed(self, channel: WebChannel) -> None:
        """Count a connection no more."""
        self.channels.discard(channel)
        self.logins.give_back(channel)
        if self._all_gone is not None and not self.channels:
            self._all_gone.callback(None)

    async def admit(self, request: WebRequest) -> bool:
        """Decide about a request by its head; :returns: whether its body is wanted."""
        try:
            turns = self.web.services.turns
            while not turns.open():
                await turns.next("")
            admitted = await self._dispatcher.admit(request.head)
            if admitted.call.credential is not None:
                self._belongs(request.web_channel, admitted.call.credential.operator.name)
            request.decided(admitted, admitted.route.body.limit if admitted.route.body is not None else 0)
            return True
        except Problem as problem:
            request.decided(problem.with_traceback(None))  # its frames have the request, which would have them
        except Exception:
            if not request.is_gone:
                _log.failure("a request could not be decided")
            request.decided(Problem("failed"))
        return False

    def _belongs(self, channel: WebChannel, name: str) -> None:
        """Count a connection among those of an operator.

        :raises Problem: if there are too many.
        """
        if channel.operator == name:
            return
        self.logins.give_back(channel)
        channel.belongs_to("")
        if problem := self.logins.problem(name):
            raise Problem("too-many", f"connections: {problem}", headers=[("Retry-After", "5")])
        self.logins.take(channel, name)
        channel.belongs_to(name)
        self.gate.leave(channel)

    async def serve(self, request: WebRequest) -> None:
        """Answer a request."""
        clock = self.web.services.clock
        began = clock.seconds()
        if "websocket" in request.head.headers.get("upgrade", "").lower():
            request.web_channel.expect_upgrade()
        if request.admitted is None:
            await self.admit(request)
        admitted = request.admitted
        route = admitted.route if isinstance(admitted, Admitted) else None
        answer = await self._answer(request, admitted)
        if answer is None:
            return
        status = await send(request, answer, self.web.services.wall())
        self.answers[route.label if route is not None else "", f"{status // 100}xx"] += 1
        for observer in self._observers:
            observer(route, status, clock.seconds() - began)

    async def _answer(self, request: WebRequest, admitted: Admitted | Problem) -> Answer | None:
        if isinstance(admitted, Problem):
            return _told(admitted)
        try:
            if request.too_large:
                raise Problem("too-large", f"at most {request.limit} bytes")
            request.when_gone(admitted.call.client_gone)
            return await self._dispatcher.answer(admitted, bytes(request.body), request.head)
        except Problem as problem:
            return _told(problem)
        except Exception:
            if request.is_gone:
                return None
            _log.failure("{route} failed", route=admitted.route.label)
            return _told(Problem("failed"))

    def _see_logins(self) -> None:
        """End what is under way for those whose login has ended; not the answer to who has ended it."""
        self.web.services.clock.callLater(0, self._cut_ended)

    def _cut_ended(self) -> None:
        for channel in list(self.channels):
            admitted = channel.under_way.admitted if channel.under_way is not None else None
            credential = admitted.call.credential if isinstance(admitted, Admitted) else None
            if credential is not None and not credential.counts():
                channel.abort()

    def turn_off(self) -> None:
        """Give what is under way a moment, then close all connections; there may be others later."""
        self._close()
        self.web.services.clock.callLater(PARTING_SECONDS, self._cut, list(self.channels))

    def _cut(self, channels: Iterable[WebChannel]) -> None:
        for channel in channels:
            if channel in self.channels:
                channel.abort()

    def _close(self) -> None:
        for channel in list(self.channels):
            channel.leave()

    async def stop(self) -> None:
        """Give what is under way a moment, then close all connections."""
        self.web.services.shut_down()
        self._close()
        if self.channels:
            self._all_gone = Deferred()
            parting = self.web.services.clock.callLater(PARTING_SECONDS, self._all_gone.callback, None)
            await self._all_gone
            self._all_gone = None
            if parting.active():
                parting.cancel()
        self._cut(list(self.channels))
        self.times.stop()
        self.web.sessions.stop()


def _told(problem: Problem) -> Bytes:
    return Bytes(encoded(problem.json()), MEDIA, problem.status, headers=problem.headers)


class WebFactory(Factory[WebChannel]):
    """Makes the connections of some listeners."""

    noisy = False

    def __init__(self, front: WebFrontend, secure: bool = False, for_metrics: bool = False) -> None:
        """:param for_metrics: whether nothing but the metrics is served."""
        self._front = front
        self._secure = secure
        self._for_metrics = for_metrics

    def buildProtocol(self, addr: IAddress | None) -> WebChannel:
        """A connection."""
        return WebChannel(self._front, self._secure, self._for_metrics)
