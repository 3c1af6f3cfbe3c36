"""Sending: an answer becomes bytes on a connection, no faster than the client takes them."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from zope.interface import implementer

from vmproxy.errors import VMProxyError
from vmproxy.web.answer import Answer, Bytes, Empty, Socket, Stream
from vmproxy.web.headers import security
from vmproxy.web.server import WebRequest

_log = Logger()


@implementer(IPushProducer)
class Flow:
    """Whether the client takes more."""

    def __init__(self, paused: bool) -> None:
        self._paused = paused
        self._waiting: Deferred[None] | None = None

    async def ready(self) -> None:
        """Wait until the client takes more."""
        if self._paused:
            self._waiting = Deferred()
            await self._waiting

    def pauseProducing(self) -> None:
        """The client takes no more."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client takes more again."""
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is over; whoever waits is cancelled by the request."""


async def send(request: WebRequest, answer: Answer, now: float) -> int:
    """Send an answer, unless the client is away.

    :param now: seconds since the epoch.
    :returns: the status.
    """
    if isinstance(answer, Socket):
        if not request.is_gone:
            request.web_channel.upgrade(answer.protocol)
        return 101
    if request.is_gone:
        if isinstance(answer, Stream):
            await _close(answer)
        return 499
    if isinstance(answer, Bytes) and answer.etag is not None:
        answer = _conditional(request, answer)
    request.setResponseCode(answer.status)
    _put(request, (("Date", datetimeToString(now).decode("ascii")), *security(request.head.secure)))
    if not request.web_channel.persistent:
        _put(request, [("Connection", "close")])
    _put(request, [("Cache-Control", answer.cache if isinstance(answer, Bytes) else "no-store"), *answer.headers])
    if isinstance(answer, Stream):
        await _stream(request, answer)
        return answer.status
    if isinstance(answer, Bytes):
        _put(request, [("Content-Type", answer.media), ("Content-Length", str(len(answer.data)))])
        await _whole(request, answer.data)
        return answer.status
    if answer.status not in (204, 304):
        _put(request, [("Content-Length", "0")])
    request.finish()
    return answer.status


def _put(request: WebRequest, headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        if name.lower() in ("set-cookie", "link"):
            request.responseHeaders.addRawHeader(name.encode("ascii"), value.encode("utf-8"))
        else:
            request.responseHeaders.setRawHeaders(name.encode("ascii"), [value.encode("utf-8")])


def _conditional(request: WebRequest, answer: Bytes) -> Bytes | Empty:
    etag = f'"{answer.etag}"'
    known = [one.strip().removeprefix("W/") for one in request.head.headers.get("if-none-match", "").split(",")]
    headers = (*answer.headers, ("ETag", etag))
    if answer.status == 200 and request.head.method in ("GET", "HEAD") and (etag in known or "*" in known):
        return Empty(304, (*headers, ("Cache-Control", answer.cache)))
    return Bytes(answer.data, answer.media, answer.status, None, headers, answer.cache)


async def _whole(request: WebRequest, data: bytes) -> None:
    """Send a body, and have no other request looked at before the client takes it: answers would pile up."""
    flow = Flow(request.web_channel.full)
    request.registerProducer(flow, True)
    request.write(data)
    try:
        await flow.ready()
    except CancelledError:
        return  # the client is away
    request.unregisterProducer()
    request.finish()


async def _stream(request: WebRequest, answer: Stream) -> None:
    _put(request, [("Content-Type", answer.media)])
    if request.head.method == "HEAD":
        await _close(answer)
        request.finish()
        return
    flow = Flow(request.web_channel.full)
    request.registerProducer(flow, True)
    try:
        request.write(b"")  # the head, before the first piece is there
        async for chunk in answer.chunks:
            if chunk:
                request.write(chunk)
            await flow.ready()
    except VMProxyError as error:  # what cannot be read, or not any more: the client is told by the end
        _log.debug("an answer broke off: {error}", error=str(error))
    except Exception:
        if not request.is_gone:
            _log.failure("an answer broke off")
    else:
        if not request.is_gone:
            request.unregisterProducer()
            request.finish()
        return
    finally:
        await _close(answer)
    if not request.is_gone:
        request.web_channel.abort()  # what came is not all, and the client has to know


async def _close(answer: Stream) -> None:
    close = getattr(answer.chunks, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:
            _log.failure("the source of an answer could not be closed")
