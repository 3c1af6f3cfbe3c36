"""The reader of HTTP requests, and its twin: h11, which others have written, and which shares nothing with it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from vmproxy.base.addresses import Network, network, numeric_address
from vmproxy.web.headers import check_host
from vmproxy.web.problem import Problem
from vmproxy.web.proxy import UNKNOWN
from vmproxy.web.router import Router
from vmproxy.web.server import HEAD_BYTES, Times, WebChannel, WebRequest
from vmproxy.web.table import ROUTES

BODY_LIMIT = 300
PROXY = "192.0.2.7"
_ROUTER = Router(ROUTES)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it is understood."""

    method: str
    target: str
    body: bytes


class _Gate:
    def enter(self, connection: object, address: str) -> bool:
        return True

    def leave(self, connection: object) -> None: ...


class _Turns:
    def open(self) -> bool:
        return True


class _Transport:
    disconnecting = False

    def __init__(self) -> None:
        self.sent = bytearray()
        self.paused = False

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", PROXY, 40000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 80)

    def setTcpNoDelay(self, on: bool) -> None: ...

    def write(self, data: bytes) -> None:
        self.sent += data

    def writeSequence(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def loseConnection(self) -> None:
        self.disconnecting = True

    abortConnection = loseConnection


@dataclass
class _Server:
    """What a connection needs of the front; all bodies are wanted, and answered by nothing."""

    gate: Any = field(default_factory=_Gate)
    turns: Any = field(default_factory=_Turns)
    trusted: tuple[Network, ...] = (network("192.0.2.0/24"),)
    user_header: str | None = "x-user"
    seen: list[Seen] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        self.times = Times(Clock())

    def wall(self) -> float:
        return 1_750_000_000.0

    def not_trusted(self, peer: str) -> None: ...

    def arrived(self, channel: WebChannel) -> bool:
        return True

    def departed(self, channel: WebChannel) -> None: ...

    async def admit(self, request: WebRequest) -> bool:
        request.decided(request, BODY_LIMIT)
        return True

    async def serve(self, request: WebRequest) -> None:
        head = request.head
        assert len(head.target) + len(head.headers) < HEAD_BYTES
        assert len(request.body) <= BODY_LIMIT
        text = "".join((head.method, head.target, *head.headers, *head.headers.values()))
        assert not {"\r", "\n", "\0"} & set(text), text
        assert not {" ", "\t"} & set(head.method + head.target), head
        assert head.peer == UNKNOWN or numeric_address(head.peer) is not None
        assert len(head.user) <= 64
        assert all(isinstance(name, str) for pair in head.pairs for name in pair)
        for what in (lambda: check_host(head, "", ()), lambda: _ROUTER.find(head.path)):
            with suppress(Problem):
                what()
        self.over = self.over or "host" not in head.headers  # that is refused later, and by h11 at once
        if not (request.too_large or self.over):
            self.seen.append(Seen(head.method, head.target, bytes(request.body)))
        request.setResponseCode(413 if request.too_large else 204)
        request.finish()


def understood(pieces: list[bytes]) -> list[Seen]:
    """The requests that the front finds."""
    server, wire = _Server(), _Transport()
    channel = WebChannel(server)
    channel.makeConnection(wire)
    for piece in pieces:
        if not wire.disconnecting:
            channel.dataReceived(piece)
    assert wire.sent.count(b"HTTP/1.1 400 ") <= 1
    channel.connectionLost(Failure(ConnectionDone()))
    server.times.stop()
    return server.seen


def understood_by_h11(stream: bytes) -> tuple[list[Seen], bool]:
    """The requests that h11 finds, and whether there may be more: it takes no empty line in front of one, and what
    comes behind a body in chunks is not looked at here.
    """
    found: list[Seen] = []
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(stream)
    request: h11.Request | None = None
    body, begun = b"", False
    try:
        while True:
            if reader.states[h11.CLIENT] is h11.IDLE and reader.trailing_data[0][:1] in (b"\r", b"\n"):
                return found, True
            match reader.next_event():
                case h11.Request() as request:
                    body, begun = b"", True
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage() as end:
                    assert request is not None
                    begun = False
                    found.append(Seen(request.method.decode(), request.target.decode("latin-1"), body))
                    reader.send(h11.Response(status_code=204, headers=[]))
                    reader.send(h11.EndOfMessage())
                    if end.headers or reader.states[h11.CLIENT] is not h11.DONE:
                        return found, bool(end.headers)
                    reader.start_next_cycle()
                case _:
                    return found, False
    except h11.RemoteProtocolError:
        if request is not None and begun:
            found.append(Seen(request.method.decode(), request.target.decode("latin-1"), body))
        return found, begun


def http(given: list[bytes]) -> None:
    """Requests: however the stream is cut, the same; none but those that h11 finds, to the byte of the body."""
    stream = b"".join(given)
    wanted = understood([stream])
    assert understood(given) == wanted
    theirs, may_have_more = understood_by_h11(stream)
    compared = min(len(wanted), len(theirs)) if may_have_more else len(wanted)
    assert wanted[:compared] == theirs[:compared], f"{wanted} instead of {theirs}"
