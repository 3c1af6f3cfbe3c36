"""A concentrator without sockets, and hosts that speak to it byte for byte.

:class:`World` holds the real parts (front, directory, migrations, consoles, logs on the disk) on a clock that stands
still until a test moves it. :class:`Host` is the far end of one connection: what it feeds arrives cut as the test wants
it, and what the concentrator says is taken apart by a parser of its own, so that a fault of the scanner that is tested
cannot hide itself. The numbers of the protocol are written out here again for the same reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support.consoles import World
from tests.support.fakes import VM_A, VM_B
from vmproxy.console.console import Console
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.frontend import VMFrontend
from vmproxy.vm.settings import VMSettings
from vmproxy.vm.telnet import HostTelnet, VMFactory
from vmproxy.wire.vmware import new_secret

IAC, DONT, DO, WONT, WILL, SB, BRK, SE = 255, 254, 253, 252, 251, 250, 243, 240
BINARY, ECHO, SGA, AUTHENTICATION, COM_PORT, EXT = 0, 1, 3, 37, 44, 232

KNOWN_1, KNOWN_2, UNKNOWN_1, UNKNOWN_2 = 0, 1, 2, 3
BEGIN, GOAHEAD, NOTNOW, PEER, PEER_OK, COMPLETE, ABORT = 40, 41, 43, 44, 45, 46, 48
DO_PROXY, WILL_PROXY, WONT_PROXY = 70, 71, 73
VC_UUID, GET_VC_UUID, NAME, GET_NAME, BIOS, GET_BIOS, LOCATION, GET_LOCATION = 80, 81, 82, 83, 84, 85, 86, 87
CAPTURED_LIST = bytes([0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83])

SPELLED_A = b"01 23 45 67 89 ab cd ef-fe dc ba 98 00 00 00 00"
SPELLED_B = b"50 28 a5 bc 11 11 22 22-33 33 44 44 55 55 66 66"
SPELLED = {VM_A: SPELLED_A, VM_B: SPELLED_B}

MIGRATION_TIMEOUT = 60.0
IDENTIFY_TIMEOUT = 30.0

Token = tuple[object, ...]


def verb(code: int, option: int) -> bytes:
    return bytes((IAC, code, option))


def doubled(data: bytes) -> bytes:
    return data.replace(b"\xff", b"\xff\xff")


def sub(code: int, parameters: bytes = b"") -> bytes:
    """A suboption of option 232 as it travels."""
    return bytes((IAC, SB, EXT)) + doubled(bytes((code,)) + parameters) + bytes((IAC, SE))


def com(command: int, value: bytes = b"") -> bytes:
    """A COM-PORT command as it travels."""
    return bytes((IAC, SB, COM_PORT)) + doubled(bytes((command,)) + value) + bytes((IAC, SE))


# What a host answers to our opening.
NEGOTIATION = verb(DO, BINARY) + verb(DO, SGA) + verb(DO, ECHO) + verb(WILL, BINARY) + verb(WILL, SGA) + verb(WILL, EXT)


def session(spelled: bytes = SPELLED_A, uri: bytes = b"vmproxy", name: bytes = b"web") -> bytes:
    """Everything that a host says up to the point where it is served, in the order of the captures."""
    return (
        verb(WILL, AUTHENTICATION)
        + NEGOTIATION
        + sub(KNOWN_1, CAPTURED_LIST)
        + sub(DO_PROXY, b"S" + uri)
        + sub(VC_UUID, spelled)
        + sub(NAME, name)
    )


def parse(stream: bytes) -> list[Token]:
    """Take apart what the concentrator sent, one byte after the other; adjacent data is one token."""
    tokens: list[Token] = []
    data = bytearray()
    payload: bytearray | None = None
    it = iter(stream)

    def flush() -> None:
        if data:
            tokens.append(("data", bytes(data)))
            data.clear()

    for byte in it:
        into = data if payload is None else payload
        if byte != IAC:
            into.append(byte)
            continue
        code = next(it)
        if code == IAC:
            into.append(IAC)
        elif code == SE:
            assert payload is not None, "SE without SB"
            tokens.append(("sub", payload[0], bytes(payload[1:])))
            payload = None
        else:
            assert payload is None, f"IAC {code} inside a subnegotiation"
            flush()
            if code == SB:
                payload = bytearray()
            elif code in (WILL, WONT, DO, DONT):
                tokens.append(({WILL: "will", WONT: "wont", DO: "do", DONT: "dont"}[code], next(it)))
            else:
                tokens.append(("command", code))
    assert payload is None, "an unfinished subnegotiation"
    flush()
    return tokens


class HostTransport(StringTransport):
    """What a TCP connection does when it is closed: connectionLost comes in the next turn of the reactor."""

    protocol: HostTelnet
    bufferSize = 65536  # how much is read at a time

    def __init__(self, clock: Clock, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000), lenient=True)
        self._clock = clock
        self.lost = False

    def abortConnection(self) -> None:
        if not self.disconnected:
            super().abortConnection()
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            if not self.disconnected:
                self._clock.callLater(0, self.lose, ConnectionDone())

    def lose(self, why: Exception) -> None:
        if not self.lost:
            self.lost = self.disconnected = self.disconnecting = True
            protocol = self.protocol
            del self.protocol  # as Twisted's does
            protocol.connectionLost(Failure(why))
            self.producer = None


class Host:
    """The far end of one connection."""

    def __init__(self, world: VMWorld, address: str) -> None:
        self.world = world
        self.address = address
        self.transport = HostTransport(world.clock, address)
        protocol = world.factory.buildProtocol(self.transport.peerAddr)
        assert protocol is not None
        self.protocol = self.transport.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def feed(self, data: bytes, cuts: Iterable[int] | None = None, after: Callable[[Host], None] | None = None) -> Host:
        """Have bytes arrive, in one read or cut at the given places; nothing arrives on a closed connection."""
        at = 0
        for cut in sorted({len(data), *(c for c in cuts or () if 0 < c < len(data))}):
            if self.closed:
                break
            self.protocol.dataReceived(data[at:cut])
            self.world.turn()
            if after is not None:
                after(self)
            at = cut
        return self

    def bytewise(self, data: bytes) -> Host:
        return self.feed(data, range(len(data)))

    @property
    def closed(self) -> bool:
        """Whether the concentrator closed the connection, or lost it."""
        return self.transport.disconnecting

    @property
    def paused(self) -> bool:
        return self.transport.producerState == "paused"

    def sent(self) -> bytes:
        """What the concentrator sent since the last time somebody asked."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def tokens(self) -> list[Token]:
        return parse(self.sent())

    def subs(self, option: int = EXT) -> list[bytes]:
        """The subnegotiations of one option among what was sent."""
        return [t[2] for t in self.tokens() if t[0] == "sub" and t[1] == option]

    def data(self) -> bytes:
        """The serial data among what was sent."""
        return b"".join(t[1] for t in self.tokens() if t[0] == "data")

    def begin(self, sequence: bytes = b"\x01\x02\x03\x04") -> bytes:
        """BEGIN, and see GOAHEAD: the pair that the destination has to show."""
        self.sent()
        self.feed(sub(BEGIN, sequence))
        (answer,) = self.subs()
        assert answer[0] == GOAHEAD
        assert answer[1:].startswith(sequence)
        return answer[1:]

    def lose(self, why: Exception | None = None) -> None:
        """The connection is lost, by default because the host closed it."""
        self.transport.lose(why or ConnectionDone())
        self.world.turn()

    def die(self) -> None:
        """The connection breaks."""
        self.lose(ConnectionLost())


class VMWorld(World):
    """The concentrator."""

    def __init__(
        self,
        folder: Path,
        uris: Sequence[str] = ("vmproxy", "vSPC.py", "vmware-vspc"),
        com_port: bool = True,
        needs_name: bool = False,
        secrets: Iterator[bytes] | None = None,
    ) -> None:
        # Without a source of secrets that the test knows, the real one.
        secret = new_secret if secrets is None else lambda: next(secrets)
        super().__init__(folder, "{name}.log" if needs_name else "{uuid}.log", secret=secret)
        settings = VMSettings(
            service_uri=tuple(uris),
            com_port=com_port,
            keep_idle=0,
            identify_timeout=IDENTIFY_TIMEOUT,
            limits=AdmissionLimits(per_second=0),
        )
        self.front = VMFrontend(self.clock, settings, self.directory, self.migrations, b"vmproxy", needs_name)
        self.factory = VMFactory(self.front)

    def connect(self, address: str = "10.0.0.1") -> Host:
        return Host(self, address)

    def connect_if_admitted(self, address: str) -> Host | None:
        """A host connects, and may be refused."""
        refused = self.front.admission.refusals.counts.total()
        try:
            return Host(self, address)
        except AssertionError:
            assert self.front.admission.refusals.counts.total() == refused + 1
            return None

    def vm(
        self, uuid: UUID = VM_A, address: str = "10.0.0.1", uri: bytes = b"vmproxy", name: bytes = b"web"
    ) -> tuple[Host, Console]:
        """A host whose VM is served."""
        host = self.connect(address).feed(session(SPELLED[uuid], uri, name))
        console = next(c for c in self.directory if c.link is host.protocol)
        host.sent()
        return host, console

    def destination(self, pair: bytes, address: str = "10.0.0.2") -> Host:
        """A destination host that has shown its pair and got PEER-OK."""
        host = self.connect(address).feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(PEER, pair))
        assert PEER_OK in [s[0] for s in host.subs()]
        return host

    def turn(self) -> None:
        """One turn of the reactor: what was left for it gets done, no time passes."""
        self.clock.advance(0)

    def logged(self, console: Console) -> bytes:
        """What the console's log has on the disk now."""
        self.store.flush()
        return console.log.path.read_bytes() if console.log.path.exists() else b""

    def restarted(self, template: str = "{uuid}.log") -> VMWorld:
        """What a new process finds in the same folder."""
        self.store.flush()
        self.stop()
        return VMWorld(self.folder)

    def delayed(self) -> list[float]:
        """What is still to be called, in seconds from now, once the logs are written and the news is told."""
        self.store.flush()
        self.directory.process_log.sum_up()
        return [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]


@contextmanager
def world(**options: Any) -> Iterator[VMWorld]:
    """A world of its own, for tests that need many."""
    with tempfile.TemporaryDirectory() as folder:
        world = VMWorld(Path(folder), **options)
        try:
            yield world
        finally:
            world.stop()
