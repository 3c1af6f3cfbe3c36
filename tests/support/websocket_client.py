"""A client of ``vmproxy.v1`` on a real socket, as a program would have one: it acknowledges, and resumes at cursors."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tests.support.daemon import PATIENCE


class WebConsole:
    """A console, over any number of connections.

    :ivar out: the output; a byte that comes again behind a cursor stands here once.
    :ivar skipped: bytes that were skipped. :ivar messages: the JSON objects of this connection.
    :ivar acknowledges: whether it acknowledges.
    :ivar closed: the close of the server.
    """

    def __init__(self, port: int, token: str, name: str = "web01", **query: str) -> None:
        self.port = port
        self.token = token
        self.name = name
        self.query = query
        self.out = bytearray()
        self.skipped = 0
        self.acknowledges = True
        self._cursor: tuple[str, int] | None = None
        self.socket: socket.socket = None  # type: ignore[assignment]  # until it is open
        self.open()

    def open(self, **query: str) -> None:
        """Connect; where there was a connection before, output goes on at its last cursor."""
        query = {**self.query, **query}
        if self._cursor is not None:
            cursor, place = self._cursor
            del self.out[place:]
            query["from"] = cursor
        self.messages: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.ended = False
        self._text, self._unacknowledged, self._asked = "", 0, 0
        self.close()
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.settimeout(PATIENCE)
        lines = (
            f"GET /api/v1/consoles/{self.name}/attach?{urlencode(query)} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.token}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Protocol: vmproxy.v1",
        )
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(65536)
            assert data, head
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.wire = Connection(ConnectionType.CLIENT, trailing_data=rest)
        self._take()
        self.until(lambda: self.told("hello") or self.closed, "a hello")

    def read(self) -> bool:
        """Read once; :returns: whether something came."""
        data = self.socket.recv(262144)
        if data:
            self.wire.receive_data(data)
            self._take()
        else:
            self.ended = True
        return bool(data)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Read until a condition holds; fail if nothing comes for a while, or if it takes far too long."""
        deadline = time.monotonic() + 10 * PATIENCE
        while not condition():
            try:
                more = not self.ended and time.monotonic() < deadline and self.read()
            except TimeoutError:
                more = False
            assert more or condition(), f"{what}: {len(self.out)} bytes, {self.messages[-5:]}, {self.closed}"

    def until_said(self, size: int) -> None:
        """Read until so many bytes of output have come or were skipped."""
        self.until(lambda: len(self.out) + self.skipped >= size, f"{size} bytes")

    def until_heard(self, end: bytes) -> None:
        """Read until the output ends so."""
        self.until(lambda: self.out.endswith(end), f"{end!r}")

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type."""
        return [message for message in self.messages if message["type"] == kind]

    def _take(self) -> None:
        for event in self.wire.events():
            if isinstance(event, BytesMessage):
                self.out += event.data
                self._unacknowledged += len(event.data)
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    self._told(json.loads(self._text))
                    self._text = ""
            elif isinstance(event, Ping):
                self.socket.sendall(self.wire.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.closed = event.code, event.reason or ""
                with contextlib.suppress(OSError):
                    self.socket.sendall(self.wire.send(event.response()))
        if self.acknowledges:
            self.acknowledge()

    def _told(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["type"] == "cursor":
            self._cursor = message["cursor"], len(self.out)
        elif message["type"] == "skipped":
            self.skipped += message["bytes"]

    def acknowledge(self) -> None:
        """Acknowledge all that came."""
        if self._unacknowledged and self.wire.state is ConnectionState.OPEN:
            size, self._unacknowledged = self._unacknowledged, 0
            self.say("ack", bytes=size)

    def say(self, kind: str, **fields: object) -> None:
        """Send a message."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(self.wire.send(TextMessage(json.dumps({"type": kind, **fields}))))

    def ask(self, kind: str, **fields: object) -> dict[str, Any]:
        """Make a request; :returns: the answer."""
        self._asked += 1
        self.say(kind, id=self._asked, **fields)

        def answers() -> list[dict[str, Any]]:
            return [one for one in self.told("done") + self.told("reject") if one["id"] == self._asked]

        self.until(answers, f"the answer to {kind}")
        return answers()[0]

    def type(self, data: bytes) -> None:
        """Type."""
        self.socket.sendall(self.wire.send(BytesMessage(data)))

    def close(self) -> None:
        """Go away."""
        if self.socket is not None:
            self.socket.close()

    def cut(self) -> None:
        """Lose the connection, with what is under way on it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
