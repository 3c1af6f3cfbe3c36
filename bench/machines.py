"""Virtual machines on plain non-blocking sockets, thousands of them in one process.

A :class:`Machine` prints, over whichever :class:`Connection` carries it. The handshake is a table of what to wait for
and what to send then (see :mod:`bench.canned`); :data:`CAPTURED` is that of captured hosts, :data:`TOLERANT` one that
any concentrator can answer in its own order. A machine keeps count of what it has said on which connection, so that
what must stand in each log is known at the end: vmproxy keeps a log per machine, the reference one per connection.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bench import canned
from bench.loop import READ, WRITE, Loop
from bench.text import LINE, LINES, PLAIN, Expected, Text

IP_BIND_ADDRESS_NO_PORT = 24
_FIRST_UUID = 0x564D0000_0000_4000_8000_000000000000

Steps = tuple[tuple[re.Pattern[bytes], bytes | None], ...]


@dataclass(frozen=True)
class Handshake:
    """What a machine waits for, and what it sends then; None is what it says of itself.

    :ivar joining: of a machine that connects.
    :ivar arriving: of the destination of a vMotion, which sends no DO-PROXY, ever.
    :ivar first: what it sends at once.
    """

    joining: Steps
    arriving: Steps
    first: bytes = b""


def _any(*texts: bytes) -> bytes:
    return b"(?:" + b"|".join(re.escape(text) for text in texts) + b")"


def _steps(*steps: tuple[bytes, bytes | None]) -> Steps:
    return tuple((re.compile(pattern, re.DOTALL), answer) for pattern, answer in steps)


def _ahead(*patterns: bytes) -> bytes:
    # All of them, in any order; nothing of it is used up.
    return b"".join(b"(?=.*" + pattern + b")" for pattern in patterns)


CAPTURED = Handshake(
    _steps(
        (_any(canned.SEEN_OPENING), canned.AGREED),
        (_any(canned.SEEN_LIST), canned.KNOWN + canned.DO_PROXY),
        (_any(canned.SEEN_WILL_PROXY), None),
        (_any(canned.DO_COM_PORT), b""),
    ),
    _steps(
        (_any(canned.SEEN_OPENING), canned.AGREED),
        (_any(canned.SEEN_LIST), canned.KNOWN),
        (_any(canned.SEEN_LAST_QUESTION), None),
        (_any(canned.DO_COM_PORT), b""),
    ),
)
_COM_PORT_SETTLED = _any(canned.DO_COM_PORT, canned.DONT_COM_PORT)
# The concentrator may wait for the machine's first word; the list and WILL-PROXY may come before or after what the
# machine says of itself; and COM-PORT may be refused.
TOLERANT = Handshake(
    _steps(
        (_any(canned.SEEN_OPENING), canned.AGREED + canned.KNOWN + canned.DO_PROXY),
        (_ahead(_any(canned.SEEN_FIRST_QUESTION, canned.SEEN_WILL_PROXY)), None),
        (_ahead(_any(canned.SEEN_WILL_PROXY), _COM_PORT_SETTLED), b""),
    ),
    _steps(
        (_any(canned.SEEN_OPENING), canned.AGREED + canned.KNOWN),
        (_ahead(_any(canned.SEEN_LIST)), None),
        (_ahead(_COM_PORT_SETTLED), b""),
    ),
    canned.WILL_VMWARE,
)


class Connection:
    """One connection of a machine.

    :ivar name: its own address, different for each connection: the reference names its files after it.
    :ivar ready: called when the handshake is over; ``heard`` with what comes after it; ``lost`` when it is closed.
    :ivar writable: called when the socket takes data again, where something waits for that.
    :ivar first: the number of the machine's first line that this connection carries.
    """

    __slots__ = (
        "_events",
        "_received",
        "_stage",
        "_steps",
        "_unsent",
        "fd",
        "first",
        "heard",
        "loop",
        "lost",
        "machine",
        "name",
        "ready",
        "send",
        "sock",
        "writable",
    )

    def __init__(self, loop: Loop, machine: Machine, steps: Steps, number: int, first: bytes = b"") -> None:
        """
        :param number: of the connection, over all, which makes its address.
        :param first: to be sent at once.
        """
        self.loop = loop
        self.machine = machine
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.name = f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
        self.sock.bind((self.name, 0))
        self.fd = self.sock.fileno()
        self.send: Callable[[bytes | memoryview], int] = self.sock.send
        self.first = 0
        self.ready: Callable[[Connection], None] = _nothing
        self.heard: Callable[[Connection, bytes], None] | None = None
        self.lost: Callable[[Connection], None] = _nothing
        self.writable: Callable[[Connection], None] | None = None
        self._steps = steps
        self._stage = 0
        self._received = b""
        self._unsent = first
        self._events = READ

    def connect(self, port: int) -> None:
        """Dial, and go through the handshake."""
        self.sock.connect_ex(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._events |= WRITE if self._unsent else 0
        self.loop.watch(self.fd, self._happened, self._events)

    def _happened(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if not events & ~WRITE:
            return
        try:
            data = self._read()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self.lost(self)
        elif self._stage < len(self._steps):
            self._shake(data)
        elif self.heard is not None:
            self.heard(self, data)

    def _read(self) -> bytes:
        return self.sock.recv(65536)

    def _shake(self, data: bytes) -> None:
        self._received += data
        while self._stage < len(self._steps):
            wanted, answer = self._steps[self._stage]
            found = wanted.search(self._received)
            if found is None:
                return
            self._received = self._received[found.end() :]
            self._stage += 1
            if answer is None:
                self.send(self.machine.identity)
            elif answer:
                self.send(answer)
        self._received = b""
        self.ready(self)

    # Sending what may be too much.

    @property
    def behind(self) -> bool:
        """Whether something waits for the socket."""
        return bool(self._unsent) or self.writable is not None

    def say(self, data: bytes) -> None:
        """Send, now or when the socket takes it."""
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # what reads will find that it is closed
        if sent < len(data):
            self._unsent = data[sent:]
            self._wait()

    def _flush(self) -> None:
        if self._unsent:
            data, self._unsent = self._unsent, b""
            self.say(data)
        if not self._unsent and self.writable is not None:
            self.writable(self)
        self._wait()

    def _wait(self) -> None:
        events = READ | WRITE if self.behind else READ
        if events != self._events and self.sock.fileno() >= 0:
            self._events = events
            self.loop.change(self.fd, events)

    def wait_writable(self, handler: Callable[[Connection], None] | None) -> None:
        """Have something called whenever the socket takes data; None for no longer."""
        self.writable = handler
        self._wait()

    # Ends.

    def finish(self) -> None:
        """Say that nothing more comes; closed when the other side closes."""
        self.lost = _nothing
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close it."""
        if self.sock.fileno() >= 0:
            self.loop.forget(self.fd)
            self.sock.close()

    def abort(self) -> None:
        """Close it and leave nothing behind, no TIME-WAIT either."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()


MakeConnection = Callable[[Loop, "Machine", Steps, int, bytes], Connection]


class Machine:
    """A virtual machine with one serial port.

    :ivar connection: what carries it now.
    :ivar at: which of the 997 lines is next; ``said`` how many it has printed.
    :ivar frozen: whether its guest is stunned: it prints nothing.
    :ivar start: what it has said before its lines.
    """

    __slots__ = ("at", "connection", "frozen", "identity", "name", "past", "phase", "said", "start", "text", "uuid")

    def __init__(self, number: int) -> None:
        self.uuid = UUID(int=_FIRST_UUID + number)
        self.name = f"bench-{number:05d}"
        self.identity = canned.identity(self.uuid, self.name) + canned.WILL_COM_PORT
        self.text = PLAIN
        self.phase = self.at = number * 37 % LINES
        self.said = 0
        self.start = b""
        self.frozen = False
        self.connection: Connection | None = None
        self.past: list[tuple[str, int]] = []  # connections that carried it, each with its first line

    def hello(self) -> None:
        """Print a line with its name."""
        self.speak(f"I am {self.name}\r\n".encode())

    def speak(self, data: bytes) -> None:
        """Print something that is none of the lines; only before them."""
        self.start += data
        assert self.connection is not None
        self.connection.say(data)

    def print_line(self) -> None:
        """Print the next line."""
        connection = self.connection
        assert connection is not None
        connection.say(self.text.lines[self.at])
        self.said += 1
        self.at = self.at + 1 if self.at + 1 < LINES else 0

    def carried_by(self, connection: Connection) -> None:
        """From now on, it is carried by this connection."""
        connection.first = self.said
        self.past.append((connection.name, self.said))
        self.connection = connection

    def log(self, path: Path) -> Expected:
        """What must stand in a log of everything that it has said."""
        return Expected(self.name, path, self.start, self.text.log, self.phase * LINE, self.said * LINE)

    def logs_by_connection(self, folder: Path) -> list[Expected]:
        """What must stand in the files of the connections that it had, as it travelled."""
        period, width = bytes(self.text.wire[: len(self.text.wire) // 2]), self.text.width
        ends = [first for _, first in self.past[1:]] + [self.said]
        return [
            Expected(
                f"{self.name} over {name}",
                folder / name,
                self.start if n == 0 else b"",
                period,
                (self.phase + first) % LINES * width,
                (end - first) * width,
            )
            for n, ((name, first), end) in enumerate(zip(self.past, ends, strict=True))
        ]


class Fleet:
    """Machines and their connections.

    :ivar machines: all there are.
    :ivar handshake: how they connect.
    :ivar lost: connections that were closed though nobody meant it.
    """

    def __init__(
        self,
        loop: Loop,
        port: int,
        count: int,
        text: Text = PLAIN,
        first: int = 0,
        handshake: Handshake = CAPTURED,
        make: MakeConnection | None = None,
    ) -> None:
        """
        :param port: where they dial.
        :param first: the number of the first machine.
        :param make: makes their connections.
        """
        self._make = make or Connection
        self.handshake = handshake
        self.loop = loop
        self.port = port
        self.machines = [Machine(number) for number in range(first, first + count)]
        for machine in self.machines:
            machine.text = text
        self.lost = 0
        self._made = first
        self._connections: set[Connection] = set()

    def connection(self, machine: Machine, steps: Steps) -> Connection:
        """Another connection of a machine, not connected yet."""
        made = self._make(self.loop, machine, steps, self._made, self.handshake.first)
        self._made += 1
        self._connections.add(made)
        made.lost = self.dropped
        return made

    def dropped(self, connection: Connection) -> None:
        """A connection was closed by the server."""
        self.lost += 1
        self._connections.discard(connection)

    def gone(self, connection: Connection) -> None:
        """A connection has had its day."""
        self._connections.discard(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.abort()
        self._connections.clear()


def storm(fleet: Fleet, machines: Sequence[Machine], in_flight: int, patience: float) -> tuple[float, int]:
    """Connect machines, so many at a time.

    :returns: the seconds that it took, and how many are connected and identified.
    """
    loop, port = fleet.loop, fleet.port
    waiting = [fleet.connection(machine, fleet.handshake.joining) for machine in reversed(machines)]
    total, up, ended = len(waiting), 0, 0

    def ready(connection: Connection) -> None:
        nonlocal up
        up += 1
        connection.machine.carried_by(connection)
        connection.lost = fleet.dropped
        following()

    def lost(connection: Connection) -> None:
        fleet.dropped(connection)
        following()

    def following() -> None:
        nonlocal ended
        ended += 1
        if waiting:
            dial()

    def dial() -> None:
        connection = waiting.pop()
        connection.ready = ready
        connection.lost = lost
        connection.connect(port)

    began = time.perf_counter()
    for _ in range(min(in_flight, total)):
        dial()
    loop.run(lambda: ended >= total, patience)
    return time.perf_counter() - began, up


def _nothing(_connection: Connection) -> None:
    """Nobody wants to know."""
