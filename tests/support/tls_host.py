"""Hosts that speak TLS, with Python's own ``ssl``: another OpenSSL than the concentrator's.

The TLS lives on memory and not on the socket, because a thread reads while another writes.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from typing import cast

from tests.support.host import AUTH, DO, IAC, PATIENCE, SB, SE, WILL, FakeVM, HostConnection

START = bytes((IAC, SB, AUTH, 0, 7, 0, 1, IAC, SE))


def trusting(*files: object) -> ssl.SSLContext:
    """A context that trusts these certificates and no others, and checks the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for file in files:
        context.load_verify_locations(str(file))
    return context


class TLSLine:
    """A socket under TLS; as much of a socket as a HostConnection needs."""

    def __init__(self, below: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._lock = threading.Lock()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                below.sendall(self._outgoing.read())
                self._incoming.write(self._received())
        below.sendall(self._outgoing.read())

    def _received(self) -> bytes:
        data = self._below.recv(65536)
        if not data:
            raise ConnectionError("closed in the middle of the handshake")
        return data

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self.tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    return b""
            data = self._below.recv(65536)
            if not data:
                return b""
            with self._lock:
                self._incoming.write(data)

    def sendall(self, data: bytes) -> None:
        self.send_records([data])

    def send_records(self, pieces: Iterable[bytes]) -> None:
        """Send pieces at once, each in a record."""
        # Whoever sends is alone with it: HostConnection sees to that.
        with self._lock:
            for piece in pieces:
                self.tls.write(piece)
            out = self._outgoing.read()
        self._below.sendall(out)

    def __getattr__(self, name: str) -> object:
        return getattr(self._below, name)


class TLSHostConnection(HostConnection):
    """``telnets://``."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "localhost") -> None:
        self._context = context
        self._name = name
        super().__init__(port)

    def _connect(self, address: str, port: int) -> socket.socket:
        below = super()._connect(address, port)
        try:
            return cast(socket.socket, TLSLine(below, self._context, self._name))
        except BaseException:
            below.close()
            raise

    def records(self, pieces: Iterable[bytes]) -> None:
        """Send pieces at once, each in a record of TLS."""
        assert isinstance(self._socket, TLSLine)
        with self._sending:
            self._socket.send_records(pieces)

    @property
    def tls(self) -> ssl.SSLObject:
        assert isinstance(self._socket, TLSLine)
        return self._socket.tls


class SwitchingHostConnection(TLSHostConnection):
    """``telnet://``, with the switch to TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "localhost", behind_start: bytes = b"") -> None:
        self._switched = threading.Event()
        self._behind_start = behind_start
        super().__init__(port, context, name)

    def _connect(self, address: str, port: int) -> socket.socket:
        return HostConnection._connect(self, address, port)

    def _answer(self, verb: int, option: int) -> None:
        if (verb, option) != (DO, AUTH):  # it has said WILL
            super()._answer(verb, option)

    def _subnegotiation(self, payload: bytes) -> None:
        if payload == bytes((AUTH, 1, 7, 0)):
            self.raw(START + self._behind_start)
        elif payload == bytes((AUTH, 2, 7, 0, 2)):
            with self._sending:
                self._socket = cast(socket.socket, TLSLine(self._socket, self._context, self._name))
            self._switched.set()
        else:
            super()._subnegotiation(payload)

    def negotiate(self) -> None:
        self.raw(bytes((IAC, WILL, AUTH)))
        assert self._switched.wait(PATIENCE), "the concentrator did not switch"
        self.wait_sub(1)
        self.sub(0, b"\0\1\2\3\x28\x29\x2b\x2c\x2d\x2e\x30\x46\x47\x49\x50\x51\x52\x53")


class TLSVM(FakeVM):
    """A VM whose hosts speak TLS, from the start or by switching."""

    def __init__(self, port: int, name: str, context: ssl.SSLContext, switching: bool = False) -> None:
        super().__init__(port, name)
        self._context = context
        self._kind = SwitchingHostConnection if switching else TLSHostConnection

    def open(self) -> HostConnection:
        return self._kind(self.port, self._context)
