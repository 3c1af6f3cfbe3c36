"""Operators without sockets: the real front on a clock that stands still, and clients that say each packet.

:class:`World` holds the real consoles, logs on the disk, front and factory. :class:`Pipe` stands for a TCP connection
and has a kernel socket's manners where they matter: what the far end does not read piles up, a producer is paused above
a mark, and a connection that is being closed stays until its buffer is read. :class:`Client` is conch's own client
transport for the key exchange; everything above it a test says by hand, so that it can be said wrongly.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHCiphers, SSHTransportBase
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.alerts import alert_center
from tests.support.ciphers import AnyCipher
from tests.support.consoles import World
from tests.support.fakes import VM_A, FakeLink
from vmproxy.access.policy_file import parse_policy
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.guests import FILE, GuestList
from vmproxy.auth.keyring import AccountSettings
from vmproxy.console.console import Console
from vmproxy.log.audit import Audit
from vmproxy.operators.actions import Actions, Outcome
from vmproxy.operators.operator import Operator, OperatorSettings
from vmproxy.operators.services import Services
from vmproxy.operators.target import Target
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.direct_tcpip import RawChannel
from vmproxy.ssh.frontend import OperatorFactory, SSHFrontend
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.settings import SSHSettings
from vmproxy.ssh.transport import OperatorTransport

LOGIN_TIMEOUT = 60.0

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 3, 4, 5, 6, 7
KEXINIT, NEWKEYS, KEX_INIT, KEX_REPLY, GEX_REPLY = 20, 21, 30, 31, 33
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, BANNER, PK_OK = 50, 51, 52, 53, 60
GLOBAL_REQUEST, REQUEST_FAILURE = 80, 82
OPEN, OPENED, OPEN_FAILURE, WINDOW_ADJUST, DATA, EXT_DATA, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(90, 101)

HYBRID = b"mlkem768x25519-sha256"
MAC = b"hmac-sha2-256"
SOCKET_MARK = 64 * 1024  # where Twisted pauses a producer


@cache
def ed25519_key(number: int = 0) -> Key:
    """An operator's key; the same number gives the same key."""
    return Key(Ed25519PrivateKey.from_private_bytes(bytes([number + 1] * 32)))


@cache
def rsa_key(number: int = 0) -> Key:
    return Key(generate_private_key(65537, 2048))


def authorized_line(key: Key) -> bytes:
    return bytes(key.public().toString("openssh"))


class FakePrograms:
    """Programs of actions that end when the test says so.

    :ivar ran: words, standard input, environment, seconds, and what ends it.
    """

    def __init__(self) -> None:
        self.ran: list[tuple[Sequence[str], bytes, Mapping[str, str], float, Deferred[Outcome]]] = []

    def run(
        self, words: Sequence[str], data: bytes, environment: Mapping[str, str], timeout: float
    ) -> Deferred[Outcome]:
        self.ran.append((words, data, environment, timeout, Deferred()))
        return self.ran[-1][-1]

    def end(self, problem: str = "", output: bytes = b"", number: int = -1) -> None:
        self.ran[number][-1].callback(Outcome(problem, output))


class SSHWorld(World):
    """The front and what is behind it."""

    def __init__(self, folder: Path, operator: str = "alice") -> None:
        super().__init__(folder, secret=lambda: b"12345678")
        self.threads_held = False
        self._thread_jobs: list[tuple[Callable[[], object], Deferred[object]]] = []
        self.audit = Audit(folder / "audit.jsonl", self.runner.submit, self.clock)
        self.alerts = alert_center(self)
        self.programs = FakePrograms()
        self.guests = GuestList(folder / FILE, self._in_thread, self.clock)
        self.services = Services(
            self.clock,
            self.directory,
            self.audit,
            self.alerts,
            self._in_thread,
            OperatorSettings(),
            actions=Actions(self.programs.run),
            guests=self.guests,
        )
        self.front = SSHFrontend(self.services, SSHSettings(login_timeout=LOGIN_TIMEOUT))
        self.keys_file = folder / "authorized_keys"
        self.keys_file.write_bytes(authorized_line(ed25519_key()) + b"\n")
        self.operator = operator
        keys = (str(self.keys_file),)
        self.accounts = Authenticator(
            AccountSettings(None, keys), operator, self._in_thread, self.clock, self.audit.record, guests=self.guests
        )
        self.factory = OperatorFactory(self.front, self.accounts, SSHSettings().algorithms)
        self.factory.use_host_keys([ed25519_key(100), rsa_key(100)])

    def _in_thread(self, call: Callable[[], object]) -> Deferred[object]:
        if not self.threads_held:
            return execute(call)
        done: Deferred[object] = Deferred()
        self._thread_jobs.append((call, done))
        return done

    @property
    def waiting_for_threads(self) -> int:
        return len(self._thread_jobs)

    def release_threads(self) -> None:
        while self._thread_jobs:
            self.release_thread()

    def release_thread(self) -> None:
        """Have one job done of those that wait."""
        if self._thread_jobs:
            call, done = self._thread_jobs.pop(0)
            succeed(None).addCallback(lambda _, call=call: call()).chainDeferred(done)  # type: ignore[call-overload]  # any callable

    def audited(self, *kinds: str) -> list[dict[str, object]]:
        """The audit trail, or what of it is of these kinds."""
        lines = self.audit.path.read_bytes().splitlines() if self.audit.path.exists() else []
        return [e for e in map(json.loads, lines) if not kinds or e["event"] in kinds]

    def rules(self, *rules: tuple[str, str, str]) -> None:
        """Take these rules: who (operators, ``@groups``), may (rights), on (selectors), with blanks between."""
        tables = [{"who": who.split(), "may": may.split(), "on": on.split()} for who, may, on in rules]
        self.use_policy(tables, None)

    def use_policy(self, rules: object, consoles: object, groups: object = None) -> None:
        """Take rules, console sections and groups as TOML gives them."""
        policy, problems = parse_policy(rules, consoles, groups)
        assert problems == []
        self.directory.use(policy)

    def vm(self, name: str = "web01", uuid: UUID = VM_A, port: str = "1", peer: str = "10.1.2.3") -> FakeLink:
        """A VM connects."""
        link = FakeLink(peer)
        self.claim(name, uuid, port, link=link)
        return link

    def reconnect(self, name: str, uri: str) -> FakeLink:
        """The VM connects anew, with another service URI."""
        link = FakeLink()
        self.claim(name, port="1", uri=uri, link=link)
        return link

    def console(self, name: str = "web01") -> Console:  # type: ignore[override]  # of its own kind
        return self.directory.names.find(name)

    def settle(self) -> None:
        """Have done what is due now, and everything written."""
        self.clock.advance(0)
        self.store.flush()

    def events(self, name: str = "web01") -> list[dict[str, object]]:
        """The console's trail, without the time marks."""
        return [event for event in self.trail(self.console(name)) if event["event"] != "time"]

    # Clients.

    def connect(
        self, *, strict: bool = True, key_exchange: bool = True, cipher: bytes = b"aes128-ctr", mac: bytes = MAC
    ) -> Client:
        """A client connects and, unless told otherwise, finishes the key exchange."""
        client = Client(self, strict).use(cipher, mac)
        if key_exchange:
            client.begin()
            client.pump()
            assert client.secure, "the key exchange has failed"
        return client

    def login(self, user: str | bytes = "alice", **options: Any) -> Client:
        """A client connects and logs in."""
        client = self.connect(**options)
        client.log_in(user)
        return client


class Pipe:
    """The server's end of a TCP connection.

    :ivar reads: whether the far end reads. While it does not, what is written stays here.
    """

    def __init__(self, clock: Clock, peer: str = "10.1.2.9") -> None:
        self._clock = clock
        self._peer = IPv4Address("TCP", peer, 40000)
        self.buffer = bytearray()
        self.reads = True
        self.connected = True
        self.disconnecting = False
        self._closing = False  # doWrite is to run although there may be nothing to write
        self.aborted = False
        self.reading = True
        self.producer: Any = None
        self.producer_paused = False
        self.protocol: OperatorTransport | None = None
        self.most = 0

    def write(self, data: bytes) -> None:
        if self.connected:
            self.buffer += data
            self.most = max(self.most, len(self.buffer))
            if self.producer is not None and len(self.buffer) > SOCKET_MARK and not self.producer_paused:
                self.producer_paused = True
                self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = self._closing = True
        self.reading = False

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True
        self.reading = False
        self._clock.callLater(0, self.closed)

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = not self.disconnecting

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None
        self._closing = self.disconnecting

    def setTcpNoDelay(self, on: bool) -> None: ...

    def setTcpKeepAlive(self, on: bool) -> None: ...

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "10.1.2.1", 2222)

    def logPrefix(self) -> str:
        return "-"

    def drain(self) -> bytes:
        """What the far end reads now; afterwards what Twisted's doWrite does when its buffer is empty."""
        if not self.reads or not self.connected:
            return b""
        data = bytes(self.buffer)
        self.buffer.clear()
        if not data and not self._closing:
            return b""
        self._closing = False
        if self.producer is not None and self.producer_paused:
            self.producer_paused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self.closed()
        return data

    def closed(self) -> None:
        if self.connected:
            self.connected = False
            self.buffer.clear()
            self.producer = None
            protocol, self.protocol = self.protocol, None  # as Twisted's does
            assert protocol is not None
            protocol.connectionLost(Failure(ConnectionDone()))


class ClientPipe:
    """The client's end: just collects what is written."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.disconnecting = False

    def write(self, data: bytes) -> None:
        self.buffer += data

    def loseConnection(self) -> None:
        self.disconnecting = True

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "10.1.2.1", 2222)

    def logPrefix(self) -> str:
        return "-"


class Client(AnyCipher):
    """An SSH client: the key exchange is conch's, the rest is said by the test.

    :ivar got: the packets that came, as ``(number, payload)``; without those of the key exchange.
    :ivar secure: whether the key exchange is done.
    """

    _log = QuietLogger()  # Twisted would keep what conch says until somebody begins to log

    def __init__(self, world: SSHWorld, strict: bool = True) -> None:
        self.world = world
        self.got: list[tuple[int, bytes]] = []
        self.secure = False
        self.server_kexinit = b""
        self.answer_kex = True
        self.answer_close = True
        self.answer_requests = True
        self._open: dict[bytes, bytes] = {}
        self._strict = strict
        self.supportedKeyExchanges = [b"curve25519-sha256"] + ([b"kex-strict-c-v00@openssh.com"] if strict else [])
        self.use(b"aes128-ctr")
        self.supportedPublicKeys = [b"ssh-ed25519"]
        self.supportedCompressions = [b"none"]
        self.out = ClientPipe()
        self.tcp = Pipe(world.clock)
        self.transport = self.out  # type: ignore[assignment]  # what conch uses of a transport
        server = world.factory.buildProtocol(self.tcp.getPeer())
        assert server is not None
        self.server: OperatorTransport = server
        self.tcp.protocol = server
        server.makeConnection(self.tcp)
        self._next_channel = 0

    # The transport.

    def begin(self) -> None:
        """Send the version and KEXINIT."""
        self.connectionMade()

    def plain(self) -> None:
        """Send the version, and nothing of conch's: packets follow by :meth:`sendPacket`, in the clear."""
        self.out.write(self.ourVersionString + b"\r\n")
        self.currentEncryptions = SSHCiphers(b"none", b"none", b"none", b"none")
        self.currentEncryptions.setKeys(b"", b"", b"", b"", b"", b"")
        self.answer_kex = False

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        return succeed(True)

    def connectionSecure(self) -> None:
        self.secure = True

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if messageNum == KEXINIT:
            self.server_kexinit = payload
        if messageNum in (KEXINIT, NEWKEYS, KEX_REPLY, GEX_REPLY) and self.answer_kex:
            if messageNum == NEWKEYS and self._strict:
                self.incomingPacketSequence = 0
            if messageNum == KEX_REPLY and self.kexAlg == HYBRID:
                self._hybrid_reply(payload)
            else:
                super().dispatchMessage(messageNum, payload)
        else:
            self.got.append((messageNum, payload))
            if messageNum == OPENED:
                theirs, ours = payload[:4], payload[4:8]
                self._open[theirs] = ours
            elif messageNum == REQUEST and self.answer_requests:
                _, rest = getNS(payload[4:])
                if rest[0]:  # OpenSSH knows none that a server might make
                    self.sendPacket(FAILURE, self._open[payload[:4]])
            elif messageNum == CLOSE and payload in self._open and self.answer_close:
                self.sendPacket(CLOSE, self._open.pop(payload))

    def ssh_KEXINIT(self, packet: bytes) -> None:
        # conch's client cannot do the hybrid key exchange that conch's server offers.
        if self.supportedKeyExchanges[0] != HYBRID:
            super().ssh_KEXINIT(packet)
        elif SSHTransportBase.ssh_KEXINIT(self, packet):
            self._mlkem, self._x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
            self._c_init = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
            self.sendPacket(KEX_INIT, NS(self._c_init))

    def _hybrid_reply(self, packet: bytes) -> None:
        host_key, reply, signature, _ = getNS(packet, 3)
        ours = self._mlkem.decapsulate(reply[:-32])
        ours += self._x25519.exchange(X25519PublicKey.from_public_bytes(reply[-32:]))
        secret = NS(sha256(ours).digest())
        said = [self.ourVersionString, self.otherVersionString, self.ourKexInitPayload, self.otherKexInitPayload]
        digest = sha256(b"".join(map(NS, [*said, host_key, self._c_init, reply])) + secret).digest()
        assert Key.fromString(host_key).verify(signature, digest)
        self._keySetup(secret, digest)

    def use(self, cipher: bytes, mac: bytes = MAC) -> Client:
        """Offer one cipher and one MAC."""
        self.supportedCiphers, self.supportedMACs = [cipher], [mac]
        return self

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        super().sendPacket(messageType, payload)
        if messageType == NEWKEYS and self._strict:
            self.outgoingPacketSequence = 0

    def pump(self) -> None:
        """Carry what was written to the other end, both ways, until nothing moves any more."""
        for _ in range(10_000):
            up = bytes(self.out.buffer) if self.tcp.reading and self.tcp.connected else b""
            if up:
                self.out.buffer.clear()
            for at in range(0, len(up), SOCKET_MARK):
                if self.tcp.reading and self.tcp.connected:
                    self.server.dataReceived(up[at : at + SOCKET_MARK])
            down = self.tcp.drain()
            if down:
                self.dataReceived(down)
            self.world.clock.advance(0)
            if not up and not down:
                return
        raise AssertionError("it never comes to rest")

    def send(self, number: int, payload: bytes = b"") -> None:
        """Send a packet and let both sides work."""
        self.sendPacket(number, payload)
        self.pump()

    def start_rekey(self) -> None:
        """Begin a key exchange and leave it at that."""
        self.answer_kex = False
        self.sendKexInit()
        self.pump()

    def finish_rekey(self) -> None:
        """Go on with it."""
        self.answer_kex = True
        super().dispatchMessage(KEXINIT, self.server_kexinit)
        self.pump()

    @property
    def operator(self) -> Operator:
        """Who is logged in, as the server has it."""
        operator = self.server.avatar
        assert isinstance(operator, Operator)
        return operator

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, or will as soon as we have read everything."""
        return self.tcp.disconnecting or not self.tcp.connected

    def taken(self, *numbers: int) -> list[bytes]:
        """The payloads of the packets that came under some numbers; they are forgotten."""
        found = [payload for number, payload in self.got if number in numbers]
        self.got = [(number, payload) for number, payload in self.got if number not in numbers]
        return found

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.got]

    # The login.

    def ask_for_login(self) -> None:
        self.send(SERVICE_REQUEST, NS(b"ssh-userauth"))

    def auth_packet(
        self,
        user: bytes,
        key: Key,
        *,
        signed: bool = True,
        algorithm: bytes | None = None,
        signature: bytes | None = None,
        service: bytes = b"ssh-connection",
    ) -> bytes:
        """A request to log in with a key."""
        algorithm = algorithm or key.sshType()
        body = NS(user) + NS(service) + NS(b"publickey") + bytes([signed]) + NS(algorithm) + NS(key.public().blob())
        if signed:
            if signature is None:
                assert self.sessionID is not None
                signature = key.sign(NS(self.sessionID) + bytes([USERAUTH_REQUEST]) + body, algorithm)
            body += NS(signature)
        return body

    def log_in(self, user: str | bytes = "alice", key: Key | None = None) -> None:
        name = user.encode() if isinstance(user, str) else user
        self.ask_for_login()
        assert self.taken(SERVICE_ACCEPT)
        self.send(USERAUTH_REQUEST, self.auth_packet(name, key or ed25519_key()))
        assert self.taken(USERAUTH_SUCCESS), f"not logged in: {self.got}"

    # Channels.

    def open(
        self, kind: bytes = b"session", extra: bytes = b"", window: int = 1 << 21, packet: int = 1 << 15
    ) -> RemoteChannel:
        """Open a channel; see whether it is by its ``id``."""
        number, self._next_channel = self._next_channel, self._next_channel + 1
        self.send(OPEN, NS(kind) + struct.pack(">3L", number, window, packet) + extra)
        return RemoteChannel(self, number)

    def raw(self, host: str, port: int = 1, **options: Any) -> RemoteChannel:
        return self.open(
            b"direct-tcpip",
            NS(host.encode()) + struct.pack(">L", port) + NS(b"127.0.0.1") + struct.pack(">L", 1),
            **options,
        )

    def attach(self, name: str = "", *, pty: bool = True, **options: Any) -> RemoteChannel:
        """A session on a console: that of the user name, or one by name."""
        channel = self.open(**options)
        if pty:
            channel.pty()
        if name:
            channel.exec(name)
        else:
            channel.shell()
        return channel

    def run(self, command: str, **options: Any) -> RemoteChannel:
        """Run a command without a terminal."""
        channel = self.open(**options)
        channel.exec(command)
        return channel


class RemoteChannel:
    """A channel as the client sees it.

    :ivar id: the server's number for it; None if it was refused.
    """

    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.number = number
        mine = struct.pack(">L", number)
        opened = [p for p in client.taken(OPENED) if p.startswith(mine)]
        self.id: int | None = struct.unpack(">L", opened[0][4:8])[0] if opened else None

    def send(self, number: int, payload: bytes = b"") -> None:
        self.client.send(number, struct.pack(">L", self.id) + payload)

    def queue(self, number: int, payload: bytes = b"") -> None:
        """Send, but do not let the other side work yet."""
        self.client.sendPacket(number, struct.pack(">L", self.id) + payload)

    def request(self, kind: bytes, data: bytes = b"", reply: bool = True) -> None:
        self.send(REQUEST, NS(kind) + bytes([reply]) + data)

    def pty(self, width: int = 80, height: int = 24) -> None:
        self.request(b"pty-req", NS(b"xterm") + struct.pack(">4L", width, height, 0, 0) + NS(b""), reply=False)

    def shell(self) -> None:
        self.request(b"shell", reply=False)

    def exec(self, command: str | bytes) -> None:
        self.request(b"exec", NS(command), reply=False)

    def type(self, data: bytes) -> None:
        self.send(DATA, NS(data))

    def adjust(self, size: int) -> None:
        self.send(WINDOW_ADJUST, struct.pack(">L", size))

    def close(self) -> None:
        self.client._open.pop(struct.pack(">L", self.number), None)
        self.send(CLOSE)

    def _mine(self, number: int) -> list[bytes]:
        mine = struct.pack(">L", self.number)
        return [p[4:] for n, p in self.client.got if n == number and p.startswith(mine)]

    @property
    def out(self) -> bytes:
        return b"".join(getNS(p)[0] for p in self._mine(DATA))

    @property
    def err(self) -> bytes:
        return b"".join(getNS(p[4:])[0] for p in self._mine(EXT_DATA))

    @property
    def screen(self) -> bytes:
        """Both streams as a terminal shows them."""
        mine = struct.pack(">L", self.number)
        seen = b""
        for n, p in self.client.got:
            if p.startswith(mine) and n == DATA:
                seen += getNS(p[4:])[0]
            elif p.startswith(mine) and n == EXT_DATA:
                seen += getNS(p[8:])[0]
        return seen

    @property
    def status(self) -> int | None:
        for p in self._mine(REQUEST):
            kind, rest = getNS(p)
            if kind == b"exit-status":
                return int.from_bytes(rest[1:5], "big")
        return None

    @property
    def ended(self) -> bool:
        return bool(self._mine(CLOSE))

    @property
    def replies(self) -> list[int]:
        mine = struct.pack(">L", self.number)
        return [n for n, p in self.client.got if n in (SUCCESS, FAILURE) and p.startswith(mine)]

    @property
    def refusal(self) -> str | None:
        mine = struct.pack(">L", self.number)
        for n, p in self.client.got:
            if n == OPEN_FAILURE and p.startswith(mine):
                return getNS(p[8:])[0].decode()
        return None

    def clear(self) -> None:
        """Forget what came so far."""
        mine = struct.pack(">L", self.number)
        self.client.got = [(n, p) for n, p in self.client.got if not p.startswith(mine)]

    @property
    def session(self) -> SessionChannel:
        """The server's end of a session."""
        channel = self.client.server.service.channels[self.id]
        assert isinstance(channel, SessionChannel)
        return channel

    @property
    def stream(self) -> RawChannel:
        """The server's end of a raw stream."""
        channel = self.client.server.service.channels[self.id]
        assert isinstance(channel, RawChannel)
        return channel


def target(**options: Any) -> Target:
    return Target("web01", **options)
