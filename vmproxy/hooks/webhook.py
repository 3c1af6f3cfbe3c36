"""Sends JSON to an address by HTTP, with a time limit, and again where that may help."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTime,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, FileBodyProducer, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from vmproxy.base.compat import quieten
from vmproxy.base.failures import explain

ANSWER_SECONDS = 10.0
PAUSES = (1.0, 5.0, 30.0)
_AGAIN = {408, 429}


@implementer(IReactorPluggableNameResolver)
class _Network:
    """The reactor, with another resolver: a name server that does not answer must not keep operators waiting."""

    def __init__(self, reactor: PosixReactorBase, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class Webhooks:
    """Sends requests; each over a connection of its own. The certificate of an ``https`` address is verified."""

    def __init__(self, reactor: PosixReactorBase, resolver: IHostnameResolver, agent_name: str) -> None:
        self._clock: IReactorTime = reactor
        pool = HTTPConnectionPool(reactor, persistent=False)
        quieten(pool)
        self._agent = Agent(
            _Network(reactor, resolver),
            BrowserLikePolicyForHTTPS(),
            connectTimeout=ANSWER_SECONDS,
            pool=pool,
        )
        self._headers = Headers({"Content-Type": ["application/json"], "User-Agent": [agent_name]})
        self._pauses: set[IDelayedCall] = set()
        self._stopped = False

    async def send(self, url: str, data: bytes) -> str:
        """Send a request, and again if there is no answer, or one that says to come again.

        :returns: what went wrong, for people; empty if nothing did.
        """
        problem = ""
        for pause in (0.0, *PAUSES):
            if pause:
                await self._wait(pause)
            if self._stopped:
                break
            problem, again = await self._once(url, data)
            if not again:
                break
        return f"{urlsplit(url).hostname}: {problem}" if problem else ""

    async def _once(self, url: str, data: bytes) -> tuple[str, bool]:
        body = FileBodyProducer(BytesIO(data))
        asked: Deferred[IResponse] = self._agent.request(b"POST", url.encode(), self._headers, body)
        asked.addTimeout(ANSWER_SECONDS, self._clock)
        try:
            response = await asked
        except defer.TimeoutError:
            return "no answer", True
        except ResponseFailed as error:
            return _reason(error), True
        except Exception as error:  # whatever a connection may fail with
            return explain(error), True
        response.deliverBody(_Nothing())
        code: int = response.code
        if 200 <= code < 300:
            return "", False
        return f"status {code}", code in _AGAIN or code >= 500

    def _wait(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def over() -> None:
            self._pauses.discard(call)
            done.callback(None)

        call = self._clock.callLater(seconds, over)
        self._pauses.add(call)
        return done

    def stop(self) -> None:
        """Send nothing again."""
        self._stopped = True
        for call in list(self._pauses):
            call.reset(0)


class _Nothing(Protocol):
    """Takes no body: the connection is closed as soon as there is an answer."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]  # it is connected


def _reason(error: ResponseFailed) -> str:
    causes = [cause.value if isinstance(cause, Failure) else cause for cause in error.reasons]
    return explain(causes[0]) if causes else "no answer"
