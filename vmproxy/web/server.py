"""HTTP/1.1 by ``twisted.web``, with bounds: connections and their requests, up to where decisions begin.

What comes is looked at in turns of the reactor: heads are large, and may come on thousands of connections at once.
Bound: a head of 16 KiB in 100 lines within 20 s of its first byte, and a body within 60 s of its head; 60 s for nothing
at all, and for a client that does not read its answer. One request at a time on a connection: what comes behind it
waits, and is not read beyond 16 KiB. A body is not read before it is clear that it is wanted.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString
from twisted.web.http_headers import Headers

from vmproxy.auth.limits import ConnectionLimiter
from vmproxy.base.addresses import Network, within
from vmproxy.base.compat import BadRequests
from vmproxy.base.deadlines import Deadlines
from vmproxy.base.tasks import spawn
from vmproxy.base.turns import Turns
from vmproxy.web.answer import encoded
from vmproxy.web.client_names import client_names
from vmproxy.web.head import Head
from vmproxy.web.headers import head_bytes
from vmproxy.web.problem import MEDIA, Problem
from vmproxy.web.proxy import Behind, behind

HEAD_BYTES = 16 * 1024
HEAD_LINES = 100
EARLY_BYTES = 16 * 1024
HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
IDLE_SECONDS = 60.0
PARTING_SECONDS = 2.0
LOCAL = "local"  # in place of an address: a Unix socket, of which the file's mode says who may connect

_FOLDED = (b" ", b"\t")
_CONTROLS = bytes((*range(9), *range(10, 32), 127))


class Times:
    """The deadlines of all connections.

    :ivar idle: those from which nothing is wanted, or that do not read; ``heads`` and ``bodies``: of those that send
        one; ``parting``: those that are told to go.
    """

    def __init__(self, clock: Any) -> None:
        self.idle: Deadlines[WebChannel] = Deadlines(clock, IDLE_SECONDS, WebChannel.too_late)
        self.heads: Deadlines[WebChannel] = Deadlines(clock, HEAD_SECONDS, WebChannel.too_late)
        self.bodies: Deadlines[WebChannel] = Deadlines(clock, BODY_SECONDS, WebChannel.too_late)
        self.parting: Deadlines[WebChannel] = Deadlines(clock, PARTING_SECONDS, WebChannel.too_late)

    def discard(self, channel: WebChannel) -> None:
        """Forget a connection."""
        for one in (self.idle, self.heads, self.bodies, self.parting):
            one.discard(channel)

    def stop(self) -> None:
        """Let nothing be too late any more."""
        for one in (self.idle, self.heads, self.bodies, self.parting):
            one.stop()


class Server(Protocol):
    """What a connection needs of the front."""

    @property
    def times(self) -> Times:
        """The deadlines."""

    @property
    def turns(self) -> Turns:
        """The time that there is for what clients send."""

    @property
    def gate(self) -> ConnectionLimiter:
        """The connections that have not logged in."""

    @property
    def trusted(self) -> tuple[Network, ...]:
        """The networks of trusted proxies."""

    @property
    def user_header(self) -> str | None:
        """The header in which a trusted proxy names the operator."""

    def wall(self) -> float:
        """The time of day, in seconds since the epoch."""

    def not_trusted(self, peer: str) -> None:
        """Take note that somebody has named an operator who may not."""

    def arrived(self, channel: WebChannel) -> bool:
        """Count a connection; :returns: whether it may stay."""

    def departed(self, channel: WebChannel) -> None:
        """Count a connection no more."""

    def admit(self, request: WebRequest) -> Coroutine[Any, Any, bool]:
        """Decide about a request by its head; :returns: whether its body is wanted."""

    def serve(self, request: WebRequest) -> Coroutine[Any, Any, None]:
        """Answer a request."""


class WebRequest(Request):
    """One request.

    :ivar head: what the client said before the body.
    :ivar limit: how large the body may be.
    :ivar admitted: what the front has decided by the head; None before.
    """

    head: Head
    admitted: Any

    def __init__(self, channel: WebChannel, queued: object = False) -> None:
        super().__init__(channel, queued, False)
        self.web_channel = channel
        self.admitted = None
        self.limit = 0
        self.body = bytearray()
        self.too_large = False
        self._work: Deferred[None] | None = None
        self._gone: list[Any] = []
        self.is_gone = False

    def decided(self, admitted: Any, limit: int = 0) -> None:
        """Take note of what the front has decided by the head."""
        self.admitted, self.limit = admitted, limit

    def has_head(self, head: Head, version: str) -> None:
        """Take note of the head."""
        self.head = head
        self.method, self.clientproto = head.method.encode("latin-1"), version.encode("latin-1")

    def gotLength(self, length: int | None) -> None:
        """Take no file for the body."""

    def handleContentChunk(self, data: bytes) -> None:
        """Take some of the body."""
        if len(self.body) + len(data) > self.limit:
            self.web_channel.refuse_body()
        else:
            self.body += data

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Answer: all of the request is there."""
        self.start(self.web_channel.server.serve(self))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done, until the client is away."""
        self._work = spawn(work)
        self._work.addErrback(lambda failure: None)  # cancelled; all else is answered

    def when_gone(self, callback: Any) -> None:
        """Have something called if the client is away before it was answered."""
        self._gone.append(callback)

    def connectionLost(self, reason: Failure) -> None:
        """Give up: the client is away."""
        self.is_gone = True
        super().connectionLost(reason)
        for callback in self._gone:
            callback()
        self._gone.clear()
        if self._work is not None:
            self._work.cancel()


class WebChannel(BadRequests, HTTPChannel):
    """One connection.

    :ivar server: the front.
    :ivar secure: whether it is TLS.
    :ivar for_metrics: whether nothing but the metrics is served.
    :ivar operator: among whose connections it counts; empty before a login.
    :ivar full: whether the client does not read, and the socket takes nothing.
    """

    maxHeaders = HEAD_LINES
    totalHeadersSize = HEAD_BYTES
    MAX_LENGTH = HEAD_BYTES
    requestFactory = WebRequest  # type: ignore[assignment]  # made with the same arguments

    def __init__(self, server: Server, secure: bool = False, for_metrics: bool = False) -> None:
        super().__init__()
        self.server = server
        self.secure = secure
        self.for_metrics = for_metrics
        self.timeOut = None  # the deadlines here are one timer for all
        self.over = self.full = False
        self.operator = ""
        self.peer = ""
        self._lines = 0
        self._first = b""
        self._began = False
        self._busy = False
        self._dropping = False
        self._held: list[bytes] | None = None
        self._early: list[bytes] | None = None
        self._unread: list[bytes] | None = None  # waits for a turn
        self._socket: IProtocol | None = None
        self._names: tuple[str, ...] | None = None  # of the client's certificate, as soon as they are wanted
        self._names_until = 0.0

    @property
    def wire(self) -> Any:
        """The transport."""
        return self.transport

    # The life of the connection.

    def connectionMade(self) -> None:
        """Begin, if there is a place."""
        self.peer = str(getattr(self.wire.getPeer(), "host", None) or LOCAL)
        if not self.server.arrived(self):
            self.abort()
            return
        super().connectionMade()
        self.server.times.idle.start(self)
        trusted = self.for_metrics or self.peer == LOCAL or within(self.peer, self.server.trusted)
        if not trusted and not self.server.gate.enter(self, self.peer) and not self.over:
            self.wire.pauseProducing()

    def come_in(self) -> None:
        """A place is free."""
        if not self.over:
            self.wire.resumeProducing()

    def make_place(self) -> None:
        """No place was free in time, or another connection is to have this one's."""
        self.abort()

    @property
    def silent(self) -> bool:
        """Whether it has sent no request yet."""
        return not self._began

    @property
    def by_certificate(self) -> bool:
        """Whether the client has shown a certificate, and it mattered."""
        return bool(self._names)

    @property
    def under_way(self) -> WebRequest | None:
        """The request that is being answered; None if there is none, or it is a websocket by now."""
        return cast(WebRequest, self.requests[0]) if self.requests and self._socket is None else None

    def belongs_to(self, operator: str) -> None:
        """Take note among whose connections it counts."""
        self.operator = operator

    def leave(self) -> None:
        """Close when what is under way is answered: the process is being stopped."""
        self.persistent = False
        if self._socket is not None:
            leave = getattr(self._socket, "leave", None)
            if leave is not None:
                leave()
        elif not self._busy:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close, and look at nothing that comes until the other side agrees to that, as with TLS it has to."""
        self._dropping = True
        super().loseConnection()

    def too_late(self) -> None:
        """Close: something took too long."""
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self.over = True
        self.wire.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Clean up."""
        self.over = True
        self.server.times.discard(self)
        self.server.gate.leave(self)
        self.server.departed(self)
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.connectionLost(reason)
        super().connectionLost(reason)
        # What is in circles would stay: the collector is next to never called.
        self.wire.unregisterProducer()
        self.requests.clear()
        self._transferDecoder = None

    # What comes.

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: of a head, of a body, of a websocket."""
        if self._socket is not None:
            self._socket.dataReceived(data)
            return
        if self.over or self._dropping:
            return
        if not self._busy and not self._began_head:
            self.server.times.idle.discard(self)
            self.server.times.heads.start(self)
        if self._unread is not None:
            self._unread.append(data)
            self.wire.pauseProducing()
        elif self._busy or self.server.turns.open():
            super().dataReceived(data)
        else:
            self._unread = [data]
            self.wire.pauseProducing()
            self.server.turns.wait(self.operator, self._read_on, self.abort)

    def _read_on(self) -> None:
        unread, self._unread = self._unread or [], None
        if self.over:
            return
        if not self.full:
            self.wire.resumeProducing()
        if not self._dropping:
            super().dataReceived(b"".join(unread))

    @property
    def _began_head(self) -> bool:
        return self in self.server.times.heads or self in self.server.times.bodies

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head."""
        if self._dropping:
            return
        try:
            self._take_line(line)
        except ValueError:  # a length of thousands of digits
            self.bad_request()

    def _take_line(self, line: bytes) -> None:
        if line and not self._first:
            self._first = line
        self._lines += 1
        # So many are the request, and the empty line. What else is refused, proxies may read otherwise.
        too_many = self._lines > HEAD_LINES + 2
        bad = line.startswith(_FOLDED) or len(line.translate(None, _CONTROLS)) != len(line)
        if too_many or bad or not self._first.isascii():
            self.bad_request()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line without end."""
        self.bad_request()

    def bad_request(self) -> None:
        """Refuse what cannot be parsed."""
        if self._dropping:
            return
        body = encoded(Problem("bad-request", "that is no HTTP/1.1, or it is too large").json())
        told = [
            ("Date", datetimeToString(self.server.wall()).decode("ascii")),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            ("Content-Type", MEDIA),
            ("Content-Length", str(len(body))),
        ]
        self.wire.write(head_bytes("400 Bad Request", told, self.secure) + body)
        self.loseConnection()
        if not self.over:
            self.server.times.discard(self)
            self.server.times.parting.start(self)

    def allHeadersReceived(self) -> None:
        """The head is complete: decide whether a body is wanted before any of it is read."""
        request = cast(WebRequest, self.requests[-1])
        self._began = True
        hosts, coding = (request.requestHeaders.getRawHeaders(name) for name in (b"Host", b"Transfer-Encoding"))
        if (hosts is not None and len(hosts) > 1) or [one.lower() for one in coding or [b"chunked"]] != [b"chunked"]:
            self.bad_request()  # where others may take the other one, or another length
            return
        # Twisted would ask for the body before anything is decided.
        expects = request.requestHeaders.getRawHeaders(b"Expect", [b""])[0].lower() == b"100-continue"
        request.requestHeaders.removeHeader(b"Expect")
        super().allHeadersReceived()
        self._read_head(request)
        self.server.times.heads.discard(self)
        self.server.times.idle.discard(self)  # it may have come together with the request before
        self._lines, self._first = 0, b""
        if self.length == 0:
            return
        self.server.times.bodies.start(self)
        self._held = []
        self._busy = True
        request.start(self._decide(request, expects))

    def _read_head(self, request: WebRequest) -> None:
        method, _, rest = self._first.decode("latin-1").partition(" ")
        target, _, version = rest.rpartition(" ")
        headers = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
            if name != b"Upgrade" or version == "HTTP/1.1"  # before, there was none
        }
        local = self.wire.getHost()
        place = (local.host, local.port) if hasattr(local, "host") else None
        who = self._behind(request.requestHeaders)
        names = self._certificate_names() if self.secure else ()
        head = Head(
            method, target, headers, who.peer, place, who.secure, self.length, self.for_metrics, who.user, names
        )
        request.has_head(head, version)

    def _behind(self, headers: Headers) -> Behind:
        trusted, user_header = self.server.trusted, self.server.user_header
        here = Behind(self.peer, self.secure)

        def values(name: str) -> list[str]:
            return [value.decode("latin-1") for value in headers.getRawHeaders(name.encode("latin-1"), [])]

        if self.for_metrics or not trusted or not (self.peer == LOCAL or within(self.peer, trusted)):
            if user_header is not None and values(user_header):
                self.server.not_trusted(self.peer)
            return here
        return behind(values, self.peer, self.secure, trusted, user_header)

    def _certificate_names(self) -> tuple[str, ...]:
        if self._names is None:
            shown = self.wire.getPeerCertificate()
            certificate = shown.to_cryptography() if shown is not None else None
            self._names = client_names(certificate) if certificate is not None else ()
            self._names_until = certificate.not_valid_after_utc.timestamp() if certificate is not None else 0.0
        return self._names if self.server.wall() < self._names_until else ()

    async def _decide(self, request: WebRequest, expects: bool) -> None:
        wanted = await self.server.admit(request)
        held, self._held = self._held or [], None
        if not wanted:
            self.wire.resumeProducing()  # who cannot send the rest does not look for the answer
            self._dropping = True
            self.persistent = False
            await self.server.serve(request)
            return
        self._busy = False
        if expects:
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if held:
            self.wire.resumeProducing()
            super().rawDataReceived(b"".join(held))

    def rawDataReceived(self, data: bytes) -> None:
        """Take bytes of a body, or of what comes behind the request under way."""
        if self._socket is not None:
            self._socket.dataReceived(data)
        elif self._dropping:
            return
        elif self._held is not None:
            self._held.append(data)
            self.wire.pauseProducing()
        elif self._early is not None:
            self._early.append(data)
            if sum(map(len, self._early)) > EARLY_BYTES:
                self.abort()
        else:
            super().rawDataReceived(data)

    def refuse_body(self) -> None:
        """Refuse a body in chunks that is larger than it may be."""
        if not self._dropping:
            self._dropping = True
            self.persistent = False
            request = cast(WebRequest, self.requests[-1])
            request.too_large = True
            request.start(self.server.serve(request))

    def allContentReceived(self) -> None:
        """All of the request is there."""
        if self._dropping:
            return
        self.server.times.bodies.discard(self)
        self._busy = True
        super().allContentReceived()

    # What goes.

    def expect_upgrade(self) -> None:
        """Keep what comes from now on for the websocket that is about to be; if none is, the connection ends."""
        self._early = []
        self.persistent = False

    def upgrade(self, protocol: IProtocol) -> None:
        """Hand the connection over."""
        early, self._early = self._early or [], None
        self.server.times.idle.discard(self)
        self.wire.unregisterProducer()
        self._socket = protocol
        protocol.makeConnection(self.wire)
        if early and not self.over:
            protocol.dataReceived(b"".join(early))

    def pauseProducing(self) -> None:
        """The client does not read."""
        self.full = True
        self.server.times.idle.start(self)
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self.full = False
        if self._busy:
            self.server.times.idle.discard(self)
        super().resumeProducing()

    def requestDone(self, request: WebRequest) -> None:
        """Go on with the next request."""
        self._busy = False
        self._early = None
        if self._dropping:  # who is cut off while they still send may never see the answer
            self.requests.remove(request)
            self.server.times.discard(self)
            self.server.times.parting.start(self)
            return
        self.server.times.idle.start(self)
        super().requestDone(request)
