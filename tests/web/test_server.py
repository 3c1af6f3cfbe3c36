"""Connections: heads, bodies, deadlines, one request at a time, streams that wait for their client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from tests.support.fakes import Logged
from tests.support.web import HANDSHAKE, WebClient, WebWorld
from vmproxy.auth.limits import LoginLimits
from vmproxy.web import frontend, server
from vmproxy.web.answer import JSON, Answer, Empty, Socket, Stream
from vmproxy.web.call import Call
from vmproxy.web.headers import security
from vmproxy.web.problem import Problem
from vmproxy.web.route import BYTES_MEDIA, Body, Needs, Route
from vmproxy.web.table import ROUTES


class Handlers:
    """Handlers for tests, and what they were given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.gate: Deferred[None] = Deferred()
        self.closed = 0
        self.given = 0
        self.gone = 0
        self.socket = Echo()

    async def take(self, call: Call) -> Answer:
        self.bodies.append(call.body)
        return Empty()

    async def wait(self, call: Call) -> Answer:
        call.on_gone(self.client_gone)
        await self.gate
        return JSON({"waited": True})

    def client_gone(self) -> None:
        self.gone += 1

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            for n in range(5):
                self.given += 1
                yield b"%d" % n * 10
        finally:
            self.closed += 1

    async def stream(self, call: Call) -> Answer:
        return Stream("text/plain", self.pieces())

    async def breaks(self, call: Call) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"some"
            raise OSError("the disk")

        return Stream("text/plain", pieces())

    async def fails(self, call: Call) -> Answer:
        raise RuntimeError("a fault of ours: s3cret")

    async def refuses(self, call: Call) -> Answer:
        raise Problem("down", "since yesterday", since="yesterday")

    async def upgrade(self, call: Call) -> Answer:
        return Socket(self.socket)


class Echo(Protocol):
    """What takes over a connection."""

    def __init__(self) -> None:
        self.came = b""
        self.lost = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.came += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def world(tmp_path: Path, handlers: Handlers) -> Iterator[WebWorld]:
    routes = (
        *ROUTES,
        Route("POST", "/take", handlers.take, "", needs=Needs.ANYONE, body=Body(BYTES_MEDIA, 1000)),
        Route("GET", "/wait", handlers.wait, "", needs=Needs.ANYONE),
        Route("GET", "/stream", handlers.stream, "", needs=Needs.ANYONE),
        Route("GET", "/breaks", handlers.breaks, "", needs=Needs.ANYONE),
        Route("GET", "/fails", handlers.fails, "", needs=Needs.ANYONE),
        Route("GET", "/refuses", handlers.refuses, "", needs=Needs.ANYONE),
        Route("GET", "/socket", handlers.upgrade, "", needs=Needs.ANYONE, upgrade=True),
    )
    world = WebWorld(tmp_path, routes)
    yield world
    world.stop()


OCTETS = [("Content-Type", BYTES_MEDIA)]


def test_health_needs_no_login_and_tells_no_name(world: WebWorld) -> None:
    world.vm("web01")
    assert world.get("/healthz").json == {"status": "ok"}
    assert world.get("/readyz").status == 200
    world.not_ready.append("stopping")
    got = world.get("/readyz")
    assert (got.status, got.json["reasons"]) == (503, ["stopping"])
    assert "server" not in got.headers
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
    assert got.headers["cache-control"] == "no-store"


def test_requests_on_a_connection_are_answered_one_after_the_other(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(client.request("GET", "/wait") + client.request("GET", "/healthz"))
    assert client.got() is None
    handlers.gate.callback(None)
    world.settle()
    first, second = client.got(), client.got()
    assert first is not None
    assert second is not None
    assert first.json == {"waited": True}
    assert second.json == {"status": "ok"}


def test_what_comes_behind_a_request_under_way_is_not_read_without_end(world: WebWorld) -> None:
    client = world.client()
    client.say(client.request("GET", "/wait"))
    client.say(client.request("GET", "/healthz") * 1000)
    assert client.pipe.reading_paused


def test_who_does_not_read_one_answer_is_not_given_the_next(world: WebWorld) -> None:
    client = world.client()
    client.pipe.slow = True
    client.say(client.request("GET", "/healthz") * 100)
    assert client.pipe.sent.count(b"HTTP/1.1 200") == 1
    for number in range(2, 5):
        client.pipe.drain()
        world.settle()
        assert client.pipe.sent.count(b"HTTP/1.1 200") == number
    world.tick(server.IDLE_SECONDS)
    assert client.pipe.aborted


def test_what_comes_behind_a_bad_request_is_dropped_though_the_connection_lingers(
    world: WebWorld, handlers: Handlers
) -> None:
    # As with TLS, where the other side has to agree to the end.
    head = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/octet-stream\r\n"
    for bad in (
        b"nonsense\r\n",
        head + b"Bad Header: x\r\nX: y\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz",
    ):
        client = world.client()
        client.pipe.lingers = True
        client.say(bad)
        assert client.pipe.sent.startswith(b"HTTP/1.1 400 ")
        for _ in range(10):
            client.say(b"Content-Length: 1\r\n\r\n" + b"x" * 10_000)
        sizes = [len(value) for value in vars(client.channel).values() if isinstance(value, bytes | bytearray)]
        assert max(sizes, default=0) < 20_000
        decoder = client.channel._transferDecoder
        assert decoder is None or len(decoder._buffer) < 20_000
        assert handlers.bodies == []
        world.tick(server.BODY_SECONDS)
        assert client.pipe.aborted


def test_large_heads_on_many_connections_are_looked_at_in_turns(
    world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = 0
    take = server.WebChannel.lineReceived

    def slow(channel: server.WebChannel, line: bytes) -> None:
        nonlocal lines
        lines += 1
        world.clock.rightNow += 0.0001  # each takes so long
        take(channel, line)

    monkeypatch.setattr(server.WebChannel, "lineReceived", slow)
    clients = [world.client(f"10.1.3.{number}") for number in range(40)]
    head = clients[0].request("GET", "/healthz", headers=[(f"X-{number}", "x" * 100) for number in range(80)])
    for client in clients:
        client.channel.dataReceived(head[:-2])
    assert lines < 300  # of 3,000
    assert sum(client.pipe.reading_paused for client in clients) > 30
    for client in clients:
        client.channel.dataReceived(head[-2:])  # nothing is lost of what comes meanwhile
    clients[-1].leave()
    for _ in range(10):
        world.settle()
    answers = [client.got() for client in clients]
    assert [got.status for got in answers if got is not None] == [200] * 39
    assert not any(client.pipe.reading_paused for client in clients[:-1])


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_request_may_come_in_pieces(world: WebWorld, handlers: Handlers, cut: int) -> None:
    client = world.client()
    data = client.request("POST", "/take", body=b"x" * 1000, headers=OCTETS)
    for at in range(0, len(data), cut):
        client.say(data[at : at + cut])
    got = client.got()
    assert got is not None
    assert got.status == 204
    assert handlers.bodies == [b"x" * 1000]


def test_a_body_in_chunks_is_taken_as_far_as_it_may_be_large(world: WebWorld, handlers: Handlers) -> None:
    head = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/octet-stream\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    client = world.client()
    client.say(head + b"3\r\nabc\r\n0\r\n\r\n")
    got = client.got()
    assert got is not None
    assert (got.status, handlers.bodies) == (204, [b"abc"])
    client = world.client()
    client.say(head + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n")
    got = client.got()
    assert got is not None
    assert (got.problem, got.headers["connection"]) == ("too-large", "close")
    assert handlers.bodies == [b"abc"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(
        client.request("POST", "/take", headers=[*OCTETS, ("Content-Length", "1001"), ("Expect", "100-continue")])
    )
    got = client.got()
    assert got is not None
    assert (got.status, got.problem, got.headers["connection"]) == (413, "too-large", "close")
    client.say(b"x" * 1001 + client.request("GET", "/healthz"))  # who still sends sees the answer, and no other
    assert client.got() is None
    assert not client.pipe.closed
    world.clock.advance(server.PARTING_SECONDS)
    assert client.pipe.closed
    assert handlers.bodies == []


def test_who_still_sends_a_body_that_is_refused_may_send_it(world: WebWorld) -> None:
    token, waiting = world.token(), list[tuple[Callable[[], Any], Deferred[Any]]]()

    def in_thread(call: Callable[[], Any]) -> Deferred[Any]:
        waiting.append((call, Deferred()))
        return waiting[-1][1]

    world.hold_threads(in_thread)
    client = world.client()
    client.say(client.request("POST", "/take", token=token, body=b"x" * 5000, headers=OCTETS))
    assert client.pipe.reading_paused
    while waiting:
        call, done = waiting.pop(0)
        done.callback(call())
        world.settle()
    got = client.got()
    assert got is not None
    assert got.status == 413
    assert not client.pipe.reading_paused


def test_a_body_is_asked_for_when_it_is_wanted(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(client.request("POST", "/take", headers=[*OCTETS, ("Content-Length", "3"), ("Expect", "100-continue")]))
    got = client.got()
    assert got is not None
    assert got.status == 100
    client.say(b"abc")
    got = client.got()
    assert got is not None
    assert (got.status, handlers.bodies) == (204, [b"abc"])


def test_a_body_where_there_is_none_or_of_another_type_is_refused(world: WebWorld) -> None:
    assert world.ask("GET", "/healthz", body=b"x").problem == "too-large"
    got = world.ask("POST", "/take", body=b"x", headers=[("Content-Type", "text/plain")])
    assert got.json["errors"] == [{"parameter": "Content-Type", "reason": "has to be application/octet-stream"}]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\n" + b" y\r\n" * 101 + b"\r\n",
        b"GET /" + b"x" * 17000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 17000,
        b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 4000 + b"\r\n") * 5,
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX y\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\x16\x03\x01" + bytes(500) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX: y\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: 127.0.0.1:8080\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nHost: 127.0.0.1:8080\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX: a\x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX: a\x1b[2J\r\n\r\n",
        b"GET /w\xc3\xa9b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
        b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nTransfer-Encoding: identity\r\n\r\n",
    ],
)
def test_a_head_without_bounds_or_sense_ends_the_connection(world: WebWorld, head: bytes) -> None:
    client = world.client()
    client.say(head)
    world.clock.advance(server.PARTING_SECONDS)
    got = client.got()
    assert got is not None
    assert (got.status, got.problem, got.headers["connection"]) == (400, "bad-request", "close")
    assert client.got() is None
    assert client.pipe.closed
    assert not world.front.channels


@pytest.mark.parametrize("secure", [False, True])
def test_all_answers_have_the_headers_of_safety(world: WebWorld, handlers: Handlers, secure: bool) -> None:
    world.vm()
    handlers.gate.callback(None)
    bearer = ("Authorization", f"Bearer {world.token(scope='read')}")
    alone: list[tuple[str, str, dict[str, Any], int]] = [
        ("GET", "/healthz", {}, 200),
        ("HEAD", "/healthz", {}, 200),
        ("GET", "/stream", {}, 200),
        ("POST", "/take", {"body": b"x", "headers": OCTETS}, 204),
        ("GET", "/api/v1/consoles/web01", {"headers": [bearer, ("If-None-Match", "*")]}, 304),
        ("GET", "/api/v1/consoles/web01/log?lines=x", {"headers": [bearer]}, 400),
        ("GET", "/healthz?vmp_" + "x" * 50, {}, 400),
        ("GET", "/api/v1/whoami", {}, 401),
        ("POST", "/api/v1/broadcast", {"json_body": {"text": "x"}, "headers": [bearer]}, 403),
        ("GET", "/nowhere", {"headers": [bearer]}, 404),
        ("POST", "/healthz", {}, 405),
        ("POST", "/take", {"body": b"x" * 1001, "headers": OCTETS}, 413),
        ("GET", "/healthz", {"host": "elsewhere.example"}, 421),
        ("GET", "/api/v1/live", {"headers": [bearer]}, 426),
        ("GET", "/fails", {}, 500),
        ("GET", "/readyz", {}, 503),
        ("GET", "/api/v1/live", {"headers": [bearer, *HANDSHAKE]}, 101),
        ("nonsense", "", {}, 400),
        ("POST", "/take", {"headers": [*OCTETS, ("Transfer-Encoding", "chunked")]}, 400),
    ]
    world.not_ready.append("x")
    for method, path, options, status in alone:
        client = world.client(secure=secure)
        asked = client.request(method, path, **options) if path else b"nonsense\r\n\r\n"
        client.say(asked + b"no chunk\r\n")
        got = client.got(method == "HEAD")
        assert got is not None, path
        assert got.status == status, (path, got)
        missing = [name for name, value in security(secure) if got.headers.get(name.lower()) != value]
        assert not missing, (path, status)
    world.front.logins.use(0)
    got = world.client(secure=secure).ask("GET", "/api/v1/whoami", headers=[bearer])
    assert got.status == 429
    assert not [name for name, value in security(secure) if got.headers.get(name.lower()) != value]


def test_a_head_has_twenty_seconds_from_its_first_byte(world: WebWorld) -> None:
    client = world.client()
    world.tick(server.IDLE_SECONDS - 1)
    for byte in b"GET / HTTP/1.1\r\nX":
        client.say(bytes([byte]))
        world.tick(1)
    assert not client.pipe.closed
    for byte in b"-Slow: ":
        client.say(bytes([byte]))
        world.tick(1)
    assert client.pipe.aborted


def test_a_body_has_a_minute(world: WebWorld) -> None:
    client = world.client()
    client.say(client.request("POST", "/take", headers=[*OCTETS, ("Content-Length", "1000")]))
    for _ in range(int(server.BODY_SECONDS) - 1):
        client.say(b"x")
        world.tick(1)
    assert not client.pipe.closed
    world.tick(1)
    assert client.pipe.aborted


def test_a_connection_on_which_nothing_happens_ends(world: WebWorld) -> None:
    client = world.client()
    assert client.ask("GET", "/healthz").status == 200
    world.tick(server.IDLE_SECONDS - 1)
    assert client.ask("GET", "/healthz").status == 200
    world.tick(server.IDLE_SECONDS - 1)
    assert not client.pipe.closed
    world.tick(1)
    assert client.pipe.closed


def test_an_answer_may_take_its_time(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(client.request("GET", "/wait"))
    world.tick(1000)
    handlers.gate.callback(None)
    got = client.got()
    assert got is not None
    assert got.status == 200


def test_an_answer_may_take_its_time_also_behind_another(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(client.request("GET", "/healthz") + client.request("GET", "/wait"))
    world.tick(server.IDLE_SECONDS + 1)
    handlers.gate.callback(None)
    world.settle()
    assert [got and got.status for got in (client.got(), client.got())] == [200, 200]


def test_a_client_that_goes_away_cancels_its_work(world: WebWorld, handlers: Handlers, logged: Logged) -> None:
    client = world.client()
    client.say(client.request("GET", "/wait"))
    client.leave()
    assert handlers.gate.called
    assert handlers.gone == 1
    assert logged.tracebacks == []


def test_a_stream_waits_for_its_client(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.pipe.slow = True
    client.say(client.request("GET", "/stream"))
    for n in range(1, 5):
        client.pipe.drain()
        world.settle()
        assert handlers.given <= n + 1
    client.pipe.slow = False
    client.pipe.drain()
    world.settle()
    got = client.got()
    assert got is not None
    assert (got.whole, got.body) == (True, b"".join(b"%d" % n * 10 for n in range(5)))
    assert handlers.closed == 1
    assert client.ask("GET", "/healthz").status == 200


def test_a_stream_ends_with_its_client(world: WebWorld, handlers: Handlers, logged: Logged) -> None:
    client = world.client()
    client.pipe.slow = True
    client.say(client.request("GET", "/stream"))
    assert handlers.closed == 0
    client.leave()
    assert handlers.closed == 1
    assert logged.tracebacks == []


def test_a_client_that_does_not_read_its_answer_is_cut_off(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.pipe.slow = True
    client.say(client.request("GET", "/stream"))
    world.tick(server.IDLE_SECONDS)
    assert client.pipe.aborted
    assert handlers.closed == 1


def test_a_stream_that_fails_breaks_off(world: WebWorld, logged: Logged) -> None:
    client = world.client()
    client.say(client.request("GET", "/breaks"))
    got = client.got()
    assert got is not None
    assert (got.body, got.whole) == (b"some", False)
    assert client.pipe.aborted
    assert len(logged.tracebacks) == 1


def test_a_handler_that_fails_tells_the_log_and_not_the_client(world: WebWorld, logged: Logged) -> None:
    client = world.client()
    got = client.ask("GET", "/fails")
    assert (got.status, got.problem) == (500, "failed")
    assert b"s3cret" not in got.body
    assert len(logged.tracebacks) == 1
    assert client.ask("GET", "/healthz").status == 200


def test_a_problem_is_an_answer(world: WebWorld) -> None:
    got = world.get("/refuses")
    assert got.headers["content-type"] == "application/problem+json"
    assert got.json == {
        "type": "/problems/down",
        "title": "The console is down",
        "status": 409,
        "detail": "since yesterday",
        "since": "yesterday",
    }


def test_a_head_has_the_headers_of_its_get_and_no_body(world: WebWorld) -> None:
    client = world.client()
    got = client.ask("HEAD", "/healthz")
    assert (got.status, got.headers["content-length"]) == (200, str(len(world.get("/healthz").body)))
    assert client.ask("GET", "/healthz").status == 200


def test_another_method_is_refused_with_those_that_there_are(world: WebWorld) -> None:
    got = world.ask("PUT", "/healthz")
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


def test_a_connection_becomes_a_websocket_with_the_bytes_behind_its_head(world: WebWorld, handlers: Handlers) -> None:
    client = world.client()
    client.say(client.request("GET", "/socket", headers=[("Upgrade", "websocket")]) + b"early")
    client.say(b"late")
    assert client.pipe.sent == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert handlers.socket.came == b"earlylate"
    world.tick(1000)
    assert not client.pipe.closed
    client.leave()
    assert handlers.socket.lost


def test_a_thousand_requests_in_one_piece_have_their_turns(world: WebWorld) -> None:
    client = world.client()
    world.services.turns.open()
    client.say(client.request("GET", "/api/v1/whoami") * 50)
    count = 0
    while (got := client.got()) is not None:
        assert got.status == 401
        count += 1
    assert count == 50


def test_strangers_are_counted_by_the_gate_of_all_fronts(world: WebWorld) -> None:
    world.accounts.gate.reconfigure(LoginLimits(in_all=40, per_address=2))
    clients = [world.client() for _ in range(3)]
    assert [client.pipe.reading_paused for client in clients] == [False, False, True]
    world.tick(30)
    assert [client.pipe.closed for client in clients] == [False, False, True]
    got = clients[0].ask("GET", "/api/v1/whoami", token=world.token())
    assert got.status == 200
    assert len(world.accounts.gate) == 1  # who has logged in is no stranger
    assert not world.client().pipe.reading_paused


def test_connections_are_bounded_in_all_and_for_each_operator(world: WebWorld) -> None:
    world.front.reconfigure(type(world.web.settings)(connections=3, connections_per_operator=2))
    token = world.token()
    clients = [world.client() for _ in range(3)]
    assert world.client().pipe.aborted
    assert world.front.refused == 1
    statuses = [client.ask("GET", "/api/v1/whoami", token=token).status for client in clients]
    assert statuses == [200, 200, 429]
    assert clients[2].ask("GET", "/api/v1/whoami", token=world.token("bob")).status == 200


def test_who_asks_for_metrics_leaves_places_to_others(world: WebWorld) -> None:
    clients = [WebClient(world, for_metrics=True) for _ in range(frontend.FOR_METRICS + 1)]
    assert [client.pipe.aborted for client in clients] == [False] * frontend.FOR_METRICS + [True]
    assert world.get("/healthz").status == 200
    clients[0].leave()
    assert not WebClient(world, for_metrics=True).pipe.aborted


def test_answers_are_counted_by_route(world: WebWorld) -> None:
    told: list[tuple[str, int]] = []
    world.front.observe(lambda route, status, seconds: told.append((route.label if route else "", status)))
    world.get("/healthz")
    world.get("/nothing/secret")
    assert world.front.answers == {("GET /healthz", "2xx"): 1, ("", "4xx"): 1}
    assert told == [("GET /healthz", 200), ("", 404)]


def test_turned_off_it_ends_what_would_go_on_for_ever(world: WebWorld, handlers: Handlers) -> None:
    idle, busy = world.client(), world.client()
    busy.say(busy.request("GET", "/wait"))
    world.front.turn_off()
    assert idle.pipe.closed
    assert not busy.pipe.closed
    world.tick(frontend.PARTING_SECONDS)
    assert busy.pipe.aborted
    assert not world.front.channels
    assert world.get("/healthz").status == 200


def test_the_front_stops_with_everybody_told(world: WebWorld, handlers: Handlers) -> None:
    idle, busy = world.client(), world.client()
    busy.say(busy.request("GET", "/wait"))
    stopped = Deferred.fromCoroutine(world.front.stop())
    assert idle.pipe.closed
    assert not busy.pipe.closed
    handlers.gate.callback(None)
    world.settle()
    got = busy.got()
    assert got is not None
    assert (got.status, got.headers["connection"]) == (200, "close")
    assert stopped.called
    assert world.client().pipe.aborted
