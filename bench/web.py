"""Websocket viewers: as little as there can be of ``vmproxy.v1``, over TLS, in the load's loop."""

from __future__ import annotations

import base64
import os
import socket
import ssl

from bench.loop import READ, Loop
from bench.servers import BenchError

_BINARY, _CLOSE, _PING = 2, 8, 9
ACK_BYTES = 32 * 1024


def attach_path(name: str, query: str = "mode=spy&replay=0") -> str:
    """Where a console is."""
    return f"/api/v1/consoles/{name}/attach?{query}"


class WebViewer:
    """A websocket: a viewer of one console, or a page.

    :ivar received: the output. ``closed``: whether it is over.
    """

    def __init__(
        self, loop: Loop, context: ssl.SSLContext, port: int, token: str, path: str, first: bytes = b'"type":"hello"'
    ) -> None:
        """Connect, and wait for the answer to the handshake and the first message.

        :param first: what is in that.
        """
        self.received = bytearray()
        self.closed = False
        self._loop = loop
        self._unacknowledged = 0
        self._data = bytearray()
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                f"Authorization: Bearer {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                "Sec-WebSocket-Protocol: vmproxy.v1\r\n\r\n"
            ).encode()
        )
        while first not in self._data:
            data = self.socket.recv(65536)
            if not data:
                raise BenchError(f"no websocket: {bytes(self._data)[:300]!r}")
            self._data += data
        del self._data[: self._data.index(b"\r\n\r\n") + 4]
        self.socket.setblocking(False)
        loop.watch(self.socket.fileno(), self._readable, READ)
        self._frames()

    def _readable(self, _events: int) -> None:
        while True:
            try:
                data = self.socket.recv(65536)
            except (ssl.SSLWantReadError, BlockingIOError):
                break
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._data += data
        self._frames()

    def _frames(self) -> None:
        data, at = self._data, 0
        while len(data) - at >= 2:
            opcode, size, start = data[at] & 15, data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < start + size:
                break
            if opcode == _BINARY:
                self.received += data[start : start + size]
                self._unacknowledged += size
            elif opcode == _PING:
                self._send(0x8A, bytes(data[start : start + size]))
            at = start + size
        del data[:at]
        if self._unacknowledged >= ACK_BYTES:
            self._send(0x81, b'{"type":"ack","bytes":%d}' % self._unacknowledged)
            self._unacknowledged = 0

    def _send(self, first: int, payload: bytes) -> None:
        self.socket.send(bytes((first, 0x80 | len(payload))) + bytes(4) + payload)

    def type(self, keys: bytes) -> None:
        """Type."""
        self._send(0x82, keys)

    def halt(self) -> None:
        """Stop reading."""
        self._loop.forget(self.socket.fileno())

    def close(self) -> None:
        """Leave."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self.socket.fileno())
        self.socket.close()
