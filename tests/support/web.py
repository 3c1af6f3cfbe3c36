"""The web front without sockets: real HTTP bytes over a transport in memory, on a clock that stands still.

``world.get("/api/v1/whoami", token=world.token())`` says a request on a connection of its own and returns what was
answered; nothing is waited for. :class:`WebClient` is one connection, for what takes several requests, or pieces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.alerts import alert_center
from tests.support.consoles import World
from tests.support.fakes import VM_A, FakeLink
from tests.support.logins import SECRET, cheap_hash
from vmproxy.access.policy_file import parse_policy
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.tokens import TokenStore, make
from vmproxy.console.console import Console
from vmproxy.log.audit import Audit
from vmproxy.operators.operator import OperatorSettings
from vmproxy.operators.services import Services
from vmproxy.web.call import WebServices
from vmproxy.web.frontend import WebFrontend
from vmproxy.web.route import Route
from vmproxy.web.server import WebChannel
from vmproxy.web.sessions import Sessions
from vmproxy.web.settings import WebSettings
from vmproxy.web.single_sign_on import SingleSignOn
from vmproxy.web.table import ROUTES

HOST = "127.0.0.1:8080"
ORIGIN = f"http://{HOST}"
HANDSHAKE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "vmproxy.v1"),
)
OPERATORS = f"""
[operators.alice]
password = '{cheap_hash()}'
groups = ["admins"]

[operators.bob]
password = '{cheap_hash("battery staple")}'
"""


@implementer(ITCPTransport, IPushProducer)
class WebPipe:
    """The server's end of a connection.

    :ivar sent: what the client would have read.
    :ivar slow: whether the client reads nothing: what is written fills the socket, and pauses the producer.
    :ivar certificate: what the client has shown, as OpenSSL has it.
    :ivar lingers: whether it ends only when it is cut, as with TLS and a client that does not agree to the end.
    """

    disconnecting = False

    def __init__(self, channel: WebChannel, peer: str) -> None:
        self._channel: WebChannel | None = channel
        self.sent = bytearray()
        self.closed = self.aborted = self.reading_paused = self.slow = self.lingers = False
        self.certificate: Any = None
        self._producer: Any = None
        self._peer = peer

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self._peer, 50000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def getPeerCertificate(self) -> Any:
        return self.certificate

    def setTcpNoDelay(self, on: bool) -> None: ...

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.sent += data
            if self.slow and self._producer is not None:
                self._producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def drain(self) -> None:
        """The client has read everything."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reading_paused = True

    def resumeProducing(self) -> None:
        self.reading_paused = False

    def stopProducing(self) -> None: ...

    def loseConnection(self) -> None:
        self.disconnecting = True
        if self.lingers:
            return
        self._close(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        self.aborted = True
        self._close(Failure(ConnectionAborted()))

    def _close(self, reason: Failure) -> None:
        if not self.closed:
            self.closed = self.disconnecting = True
            channel, self._channel, self._producer = self._channel, None, None
            assert channel is not None
            channel.connectionLost(reason)


class Got:
    """An answer.

    :ivar headers: by name in lower case; of several of a name the last. ``cookies``: all of ``Set-Cookie``.
    """

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, whole: bool) -> None:
        self.status = status
        self.headers = dict(headers)
        self.cookies = [value for name, value in headers if name == "set-cookie"]
        self.body = body
        self.whole = whole

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The name of the problem; empty if it is none."""
        kind = self.headers.get("content-type") == "application/problem+json"
        return str(self.json["type"]).rpartition("/")[2] if kind else ""

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"


def parse(data: bytes, head: bool = False) -> tuple[Got | None, bytes]:
    """The first answer in what came, and the rest; None if not even its head is complete."""
    top, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None, data
    first, *lines = top.decode("latin-1").split("\r\n")
    status = int(first.split()[1])
    split = (line.partition(": ") for line in lines)
    headers = [(name.lower(), value) for name, _, value in split]
    values = dict(headers)
    if status in (100, 101, 204, 304) or head:
        return Got(status, headers, b"", True), rest
    if values.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, found, after = rest.partition(b"\r\n")
            if not found or len(after) < int(size, 16) + 2:
                return Got(status, headers, body, False), rest
            body, rest = body + after[: int(size, 16)], after[int(size, 16) + 2 :]
            if size == b"0":
                return Got(status, headers, body, True), rest
    length = int(values.get("content-length", "-1"))
    if length < 0:
        return Got(status, headers, rest, False), b""
    return Got(status, headers, rest[:length], len(rest) >= length), rest[length:]


class WebClient:
    """One connection.

    :ivar channel: the server's side of it.
    """

    def __init__(
        self, world: WebWorld, peer: str = "10.1.2.9", secure: bool = False, for_metrics: bool = False
    ) -> None:
        self.world = world
        self.channel = WebChannel(world.front, secure, for_metrics)
        self.pipe = WebPipe(self.channel, peer)
        self.channel.makeConnection(self.pipe)
        self._read = 0

    def say(self, data: bytes) -> None:
        """Send bytes, and have done what is due."""
        if not self.pipe.closed:
            self.channel.dataReceived(data)
        self.world.settle()

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        cookie: str = "",
        body: bytes | None = None,
        json_body: Any = None,
        headers: Sequence[tuple[str, str]] = (),
        host: str = HOST,
    ) -> bytes:
        """The bytes of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if cookie:
            lines.append(f"Cookie: {cookie}")
            if method != "GET" and not any(name.lower() == "origin" for name, _ in headers):
                lines.append(f"Origin: http://{host}")
        if json_body is not None:
            body = json.dumps(json_body).encode()
            lines.append("Content-Type: application/json")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

    def ask(self, method: str, path: str, **options: Any) -> Got:
        """Say a request, and return what is answered."""
        self.say(self.request(method, path, **options))
        got = self.got(method == "HEAD")
        assert got is not None, f"no answer: {bytes(self.pipe.sent[self._read :])!r}"
        return got

    def got(self, head: bool = False) -> Got | None:
        """The next answer, as far as it has come; None if it has not begun."""
        data = bytes(self.pipe.sent[self._read :])
        got, rest = parse(data, head)
        if got is not None and got.whole:
            self._read += len(data) - len(rest)
        return got

    def leave(self) -> None:
        """The client closes the connection."""
        self.pipe.loseConnection()
        self.world.settle()


class WebWorld(World):
    """The front and what is behind it; the operators are alice, of the group admins, and bob."""

    def __init__(self, folder: Path, routes: Sequence[Route] = ROUTES, **settings: Any) -> None:
        super().__init__(folder, secret=lambda: b"12345678")
        self._threads: Callable[[Any], Deferred[Any]] = execute
        self.audit = Audit(folder / "audit.jsonl", self.runner.submit, self.clock)
        self.alerts = alert_center(self)
        self.services = Services(
            self.clock, self.directory, self.audit, self.alerts, self._in_thread, OperatorSettings()
        )
        self.operators = folder / "operators.toml"
        self.use_operators(OPERATORS)
        self.accounts = Authenticator(
            AccountSettings(self.operators), "nobody", self._in_thread, self.clock, self.audit.record
        )
        self.accounts.call_on_change(lambda keyring: self.services.accounts_changed(keyring.account))
        self.accounts.load()
        self.tokens = TokenStore(folder / "tokens.jsonl", self._in_thread, self.services.wall)
        self.not_ready: list[str] = []
        found = WebSettings(listen=("tcp:8080:interface=127.0.0.1",), **settings)
        self.sessions = Sessions(self.services, found, self.accounts.password_mark)
        sign_on = SingleSignOn(self._in_thread, self.services.wall)
        self.web = WebServices(
            self.services, self.accounts, self.tokens, self.sessions, sign_on, found, not_ready=lambda: self.not_ready
        )
        self.front = WebFrontend(self.web, routes)
        self.front.reconfigure(found)

    def _in_thread(self, call: Any) -> Deferred[Any]:
        return self._threads(call)

    def hold_threads(self, threads: Callable[[Any], Deferred[Any]]) -> None:
        """Have what is done on threads done by something else."""
        self._threads = threads

    def stop(self) -> None:
        for channel in list(self.front.channels):
            channel.abort()
        self.sessions.stop()
        self.accounts.stop()
        super().stop()

    def settle(self) -> None:
        """Have done what is due now."""
        for _ in range(20):
            self.clock.advance(0)

    def use_operators(self, text: str) -> None:
        """Write the operators file."""
        self.operators.write_text(text)
        self.operators.chmod(0o600)

    def rules(self, *rules: tuple[str, str, str]) -> None:
        """Take these rules: who (operators, ``@groups``), may (rights), on (selectors), with blanks between."""
        self.use_policy([{"who": who.split(), "may": may.split(), "on": on.split()} for who, may, on in rules], None)

    def use_policy(self, rules: object, consoles: object) -> None:
        """Take rules and console sections as TOML gives them."""
        policy, problems = parse_policy(rules, consoles)
        assert problems == []
        self.directory.use(policy)

    def vm(self, name: str = "web01", uuid: Any = VM_A, port: str = "1", peer: str = "10.1.2.3") -> FakeLink:
        """A VM connects."""
        link = FakeLink(peer)
        self.claim(name, uuid, port, link=link)
        return link

    def console_of(self, name: str = "web01") -> Console:
        return self.directory.names.find(name)

    def token(self, operator: str = "alice", scope: str = "write", on: Iterable[str] = ("*",), days: float = 1) -> str:
        """A token of an operator."""
        count = len(self.tokens.file.read())
        now = self.services.wall()
        _, shown = self.tokens.file.add(
            lambda others: make(operator, f"t{count}", scope, on, days * 86400, now, others), now
        )
        return shown

    def login(self, operator: str = "alice", password: str = SECRET) -> str:
        """The cookie of a new session."""
        got = self.post("/api/v1/login", {"operator": operator, "password": password})
        assert got.status == 204, got
        return got.cookies[0].partition(";")[0]

    def audited(self, *kinds: str) -> list[dict[str, Any]]:
        """The audit trail, or what of it is of these kinds."""
        lines = self.audit.path.read_bytes().splitlines() if self.audit.path.exists() else []
        return [event for event in map(json.loads, lines) if not kinds or event["event"] in kinds]

    # Clients.

    def client(self, peer: str = "10.1.2.9", secure: bool = False) -> WebClient:
        """A connection."""
        return WebClient(self, peer, secure)

    def ask(self, method: str, path: str, **options: Any) -> Got:
        """What is answered to a request on a connection of its own."""
        client = self.client()
        got = client.ask(method, path, **options)
        client.leave()
        return got

    def get(self, path: str, **options: Any) -> Got:
        return self.ask("GET", path, **options)

    def post(self, path: str, json_body: Any = None, **options: Any) -> Got:
        return self.ask("POST", path, json_body=json_body, **options)

    def put(self, path: str, json_body: Any = None, **options: Any) -> Got:
        return self.ask("PUT", path, json_body=json_body, **options)

    def delete(self, path: str, **options: Any) -> Got:
        return self.ask("DELETE", path, **options)
