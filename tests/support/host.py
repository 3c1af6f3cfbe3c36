"""A host's end of a connection, in plain sockets and with a parser of its own.

It shares nothing with vmproxy's, so that both sides cannot be wrong in the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
import threading
import uuid
from collections.abc import Callable
from typing import ClassVar

PATIENCE = 30.0

WILL, WONT, DO, DONT, SB, SE, IAC, BRK = 251, 252, 253, 254, 250, 240, 255, 243
BINARY, ECHO, SGA, AUTH, COM_PORT, VMWARE = 0, 1, 3, 37, 44, 232
KNOWN = bytes((0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83))


def spelled(identity: uuid.UUID) -> bytes:
    """A UUID as hosts write it."""
    return f"{identity.bytes[:8].hex(' ')}-{identity.bytes[8:].hex(' ')}".encode()


class HostConnection:
    """One connection.

    :ivar data: the serial data that has arrived.
    :ivar subs: the suboptions of option 232 that have arrived, code first.
    """

    opened: ClassVar[set[HostConnection]] = set()
    """What nobody has closed yet, so that a test that fails leaves nothing behind that makes the next one fail."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._socket = self._connect(address, port)
        self.opened.add(self)
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self.data = bytearray()
        self.subs: list[bytes] = []
        self.breaks = 0
        self.closed = False
        self.on_data: Callable[[bytes], None] | None = None
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _connect(self, address: str, port: int) -> socket.socket:
        connected = socket.create_connection((address, port), timeout=PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(None)
        return connected

    # Receiving.

    def _loop(self) -> None:
        pending = b""
        while True:
            try:
                chunk = self._socket.recv(65536)
                pending = self._parse(pending + chunk)
            except OSError:  # closed by the other side, also while something was answered
                break
            if not chunk:
                break
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _parse(self, stream: bytes) -> bytes:
        # Returns what is incomplete: it is parsed again with what follows.
        while stream:
            at = stream.find(IAC)
            if at:
                self._got(stream if at < 0 else stream[:at])
                stream = b"" if at < 0 else stream[at:]
                continue
            if len(stream) < 2 or (stream[1] in (WILL, WONT, DO, DONT) and len(stream) < 3):
                return stream
            if stream[1] == IAC:
                self._got(b"\xff")
                stream = stream[2:]
            elif stream[1] == SB:
                end = stream.replace(b"\xff\xff", b"..").find(bytes((IAC, SE)))
                if end < 0:
                    return stream
                self._subnegotiation(stream[2:end].replace(b"\xff\xff", b"\xff"))
                stream = stream[end + 2 :]
            elif stream[1] in (WILL, WONT, DO, DONT):
                self._answer(stream[1], stream[2])
                stream = stream[3:]
            else:
                if stream[1] == BRK:
                    with self._changed:
                        self.breaks += 1
                        self._changed.notify_all()
                stream = stream[2:]
        return b""

    def _got(self, data: bytes) -> None:
        with self._changed:
            self.data += data
            self._changed.notify_all()
        if self.on_data is not None:
            self.on_data(data)

    def _answer(self, verb: int, option: int) -> None:
        yes = option in (BINARY, SGA, ECHO, VMWARE)
        if verb == DO:
            self.raw(bytes((IAC, WILL if yes and option != ECHO else WONT, option)))
        elif verb == WILL:
            self.raw(bytes((IAC, DO if yes else DONT, option)))

    def _subnegotiation(self, payload: bytes) -> None:
        if payload and payload[0] == VMWARE:
            with self._changed:
                self.subs.append(payload[1:])
                self._changed.notify_all()

    def wait_sub(self, code: int, start: int = 0) -> bytes:
        """Wait for a suboption; :returns: its parameters."""

        def found() -> list[bytes]:
            return [sub[1:] for sub in self.subs[start:] if sub[0] == code]

        with self._changed:
            assert self._changed.wait_for(found, PATIENCE), f"no suboption {code} came, only {self.subs}"
            return found()[0]

    def wait_data(self, wanted: bytes) -> None:
        """Wait until the serial data contains something."""
        with self._changed:
            ok = self._changed.wait_for(lambda: wanted in self.data, PATIENCE)
            assert ok, f"{wanted!r} never came; there is {bytes(self.data)[-500:]!r}"

    def wait_size(self, size: int) -> None:
        """Wait until so many bytes of serial data have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.data) >= size, PATIENCE), f"{len(self.data)} of {size} came"

    def wait_break(self) -> None:
        """Wait for a break."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.breaks, PATIENCE)

    def wait_closed(self) -> None:
        """Wait until the concentrator closes the connection."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.closed, PATIENCE)

    # Sending.

    def raw(self, data: bytes) -> None:
        """Send bytes as they are.

        :raises OSError: the concentrator has closed the connection.
        """
        with self._sending:
            self._socket.sendall(data)

    def say(self, data: bytes) -> None:
        """Send serial data."""
        self.raw(data.replace(b"\xff", b"\xff\xff"))

    def fill(self, data: bytes) -> int:
        """Send as much as the two systems' buffers take while nobody reads; :returns: the bytes sent."""
        sent = 0
        with self._sending:
            while select.select((), (self._socket,), (), 0.2)[1]:
                with contextlib.suppress(BlockingIOError):
                    sent += self._socket.send(data[sent : sent + 65536], socket.MSG_DONTWAIT)
        return sent

    def sub(self, code: int, parameters: bytes = b"") -> None:
        """Send a suboption of option 232; a concentrator that has closed meanwhile does not hear it.

        One that refuses a host closes as soon as it has heard enough, while the host still tells the rest.
        """
        payload = bytes((code,)) + parameters
        with contextlib.suppress(OSError):
            self.raw(bytes((IAC, SB, VMWARE)) + payload.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE)))

    def unacknowledged(self) -> int:
        """How many bytes the other side's system has not acknowledged yet (SIOCOUTQ)."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        (count,) = struct.unpack("i", answer)
        return int(count)

    # The usual course of things.

    def negotiate(self) -> None:
        """Everything up to the lists of suboptions."""
        self.raw(bytes((IAC, WILL, AUTH)))
        self.wait_sub(1)
        self.sub(0, KNOWN)

    def identify(
        self,
        identity: uuid.UUID,
        name: str,
        uri: str = "vmproxy",
        direction: bytes = b"S",
        bios: uuid.UUID | None = None,
    ) -> None:
        """Negotiate, ask for the proxy, and say who this is."""
        self.negotiate()
        self.sub(70, direction + uri.encode())
        self.sub(80, spelled(identity))
        if bios is not None:
            self.sub(84, spelled(bios))
        self.sub(82, name.encode("utf-8", "surrogateescape"))
        self.wait_sub(71)

    def end(self) -> None:
        """Say nothing any more, in order."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection as a host does that knows nothing of it any more."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join(PATIENCE)
        self._socket.close()
        self.opened.discard(self)

    def close(self) -> None:
        """Close the connection in order."""
        with contextlib.suppress(OSError):  # the other side may be faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._socket.close()
        self.opened.discard(self)


class FakeVM:
    """A VM with one serial port, and whatever connection carries it."""

    def __init__(
        self,
        port: int,
        name: str,
        uri: str = "vmproxy",
        direction: bytes = b"S",
        address: str = "127.0.0.1",
    ) -> None:
        self.port = port
        self.direction = direction
        self.address = address
        self.name = name
        self.uri = uri
        self.uuid = uuid.uuid5(uuid.NAMESPACE_DNS, f"{name!a}.test")
        self.bios: uuid.UUID | None = None
        self.line: HostConnection | None = None

    def open(self) -> HostConnection:
        """A new connection from a host."""
        return HostConnection(self.port, self.address)

    @property
    def connected(self) -> HostConnection:
        assert self.line is not None
        return self.line

    def connect(self) -> FakeVM:
        """Connect and identify."""
        self.line = self.open()
        self.line.identify(self.uuid, self.name, self.uri, self.direction, self.bios)
        return self

    def migrate(self, sequence: bytes, close_first: bool = True) -> HostConnection:
        """Move to another connection, as hosts do: the source closes just before COMPLETE.

        :returns: the old connection, closed.
        """
        source = self.connected
        seen = len(source.subs)
        source.sub(40, sequence)
        answer = source.wait_sub(41, seen)
        assert answer.startswith(sequence)
        destination = self.open()
        destination.negotiate()
        destination.sub(44, answer)
        assert destination.wait_sub(45) == sequence
        if close_first:
            source.close()
        destination.sub(46, sequence)
        self.line = destination
        if not close_first:
            source.close()
        return source

    def close(self) -> None:
        """Power off."""
        if self.line is not None:
            self.line.close()
            self.line = None
