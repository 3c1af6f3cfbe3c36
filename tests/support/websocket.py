"""A websocket in memory: the client's frames, what came of them, and a listener that writes down what it is told."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from vmproxy.base.turns import Turns
from vmproxy.web.websocket import Listener, WebSocket, WebSockets
from vmproxy.web.websocket_frames import text_frame


class SocketTransport(StringTransport):
    """A connection whose other end may stop reading.

    :ivar aborted: whether it was ended at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def loseWriteConnection(self) -> None: ...

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


class Heard:
    """A listener."""

    kind = "test"
    beat = text_frame('"beat"')

    def __init__(self) -> None:
        self.said: list[object] = []
        self.drains = 0
        self.over: tuple[int, str] | None = None

    def opened(self, socket: WebSocket) -> None:
        self.socket = socket

    def text(self, text: str) -> None:
        self.said.append(text)

    def binary(self, data: bytes) -> None:
        self.said.append(data)

    def drained(self) -> None:
        self.drains += 1

    def closed(self, code: int, reason: str) -> None:
        assert self.over is None, "told twice"
        self.over = code, reason


class Client:
    """The other end of a websocket.

    :ivar got: what came, in order: bytes, JSON objects, other events of wsproto.
    """

    def __init__(self, listener: Listener, sockets: WebSockets, early: bytes = b"") -> None:
        self.wire = Connection(ConnectionType.CLIENT)
        self.transport = SocketTransport()
        self.socket = WebSocket(listener, sockets, "alice")
        self.socket.makeConnection(self.transport)
        self._got: list[Any] = []
        self._data = b""
        self._text = ""
        self.answers = True
        self.raw(early)

    @property
    def got(self) -> list[Any]:
        self.read()
        return self._got

    def read(self) -> None:
        """Read what was written."""
        data = self.transport.value()
        self.transport.clear()
        if not data:
            return
        self.wire.receive_data(data)
        for event in list(self.wire.events()):
            self._heard(event)

    def _heard(self, event: Event) -> None:
        if isinstance(event, BytesMessage):
            self._data += bytes(event.data)
            if event.message_finished:
                self._got.append(self._data)
                self._data = b""
        elif isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                self._got.append(json.loads(self._text))
                self._text = ""
        else:
            self._got.append(event)
            if isinstance(event, Ping) and self.answers:
                self.raw(self.wire.send(Pong(event.payload)))

    @property
    def close(self) -> tuple[int, str | None] | None:
        """The server's close."""
        return next(((e.code, e.reason) for e in self.got if isinstance(e, CloseConnection)), None)

    def take(self) -> list[Any]:
        """What came since this was last asked."""
        got, self._got = self.got, []
        return got

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        if data:
            self.socket.dataReceived(data)

    def keys(self, data: bytes) -> None:
        self.raw(self.wire.send(BytesMessage(data)))

    def say(self, **message: object) -> None:
        self.raw(self.wire.send(TextMessage(json.dumps(message))))

    def leave(self, code: int = 1000) -> None:
        self.raw(self.wire.send(CloseConnection(code)))

    def full(self, on: bool = True) -> None:
        """The socket takes nothing, or takes more."""
        (self.socket.pauseProducing if on else self.socket.resumeProducing)()


def sockets(clock: Clock) -> WebSockets:
    return WebSockets(clock, Turns(clock))
