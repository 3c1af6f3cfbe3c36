"""Who may ask for what: tokens, scopes, rights, hosts; what is hidden answers like what there is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.cases import each
from tests.support.fakes import VM_A, VM_B
from tests.support.web import Got, WebWorld
from vmproxy.access.policy import Right
from vmproxy.web.answer import JSON, Answer
from vmproxy.web.api import account, health
from vmproxy.web.call import Call
from vmproxy.web.console_id import console_id
from vmproxy.web.json_schema import errors
from vmproxy.web.route import Body, Needs, Parameter, Route


async def _console(call: Call) -> Answer:
    assert call.console is not None
    return JSON({"id": console_id(call.console), "query": call.query, "path": call.path, "spy": call.may(Right.SPY)})


async def _body(call: Call) -> Answer:
    return JSON(call.json)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is a number")
    return int(text)


LINES = Parameter("lines", _number, {"type": "integer"}, "how many", 20)
SCHEMA = {
    "type": "object",
    "properties": {"on": {"type": "boolean"}},
    "required": ["on"],
    "additionalProperties": False,
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WebWorld]:
    routes = (
        *account.ROUTES,
        *health.ROUTES,
        Route("GET", "/api/v1/consoles/{console}", _console, "", needs=Needs.SEE),
        Route("GET", "/api/v1/consoles/{console}/log", _console, "", needs=Needs.SPY, query=(LINES,)),
        Route("GET", "/api/v1/consoles/{console}/segments/{n}", _console, "", needs=Needs.SPY),
        Route("POST", "/api/v1/consoles/{console}/break", _console, "", needs=Needs.WRITE, scope="write"),
        Route(
            "PUT",
            "/api/v1/consoles/{console}/logging",
            _body,
            "",
            needs=Needs.ADMIN,
            scope="write",
            body=Body(schema=SCHEMA),
        ),
        Route("GET", "/api/v1/status", _body, "", needs=Needs.ADMIN_ALL),
        Route("GET", "/api/v1/tokens", _body, "", scope=""),
        Route("GET", "/metrics", _body, "", scope="metrics"),
    )
    world = WebWorld(tmp_path, routes)
    world.vm("web01", VM_A)
    world.vm("db01", VM_B)
    yield world
    world.stop()


def same(one: Got, other: Got) -> bool:
    return (one.status, one.headers, one.body) == (other.status, other.headers, other.body)


def test_without_a_login_nothing_of_the_api_is_told_apart(world: WebWorld) -> None:
    there = world.get("/api/v1/consoles/web01")
    assert (there.status, there.problem) == (401, "unauthenticated")
    assert there.headers["www-authenticate"] == "Bearer"
    for method, path in (
        ("GET", "/api/v1/consoles/nothing"),
        ("GET", "/api/v1/no/such/route"),
        ("DELETE", "/api/v1/consoles/web01"),
        ("GET", "/api/v1/consoles/web01/log?lines=x"),
    ):
        assert same(world.ask(method, path), there)
    assert same(world.get("/api/v1/consoles/web01", token="vmp_" + "x" * 51), there)


@pytest.mark.parametrize("path", ["", "/log", "/log?lines=5", "/segments/1"])
@pytest.mark.parametrize("name", ["db01", "db0", str(VM_B), str(VM_B) + ".1"])
def test_hidden_answers_like_absent(world: WebWorld, path: str, name: str) -> None:
    world.rules(("alice", "see spy write", "web*"))
    token = world.token()
    hidden = world.get(f"/api/v1/consoles/{name}{path}", token=token)
    absent = world.get(f"/api/v1/consoles/{UUID(int=7)}{path}", token=token)
    assert hidden.status == 404
    assert same(hidden, absent)


def test_rights_on_the_console_of_the_path(world: WebWorld) -> None:
    world.rules(("alice", "see", "web*"))
    token = world.token()
    assert world.get("/api/v1/consoles/web01", token=token).json["spy"] is False
    got = world.get("/api/v1/consoles/web01/log", token=token)
    assert (got.status, got.problem) == (403, "forbidden")
    world.rules(("alice", "spy", "web*"))
    assert world.get("/api/v1/consoles/web01/log", token=token).json["query"] == {"lines": 20}
    assert world.post("/api/v1/consoles/web01/break", token=token).status == 403
    assert world.ask("PUT", "/api/v1/consoles/web01/logging", token=token, json_body={"on": True}).status == 403
    assert world.get("/api/v1/status", token=token).status == 403
    world.rules(("alice", "admin", "*"))
    assert world.post("/api/v1/consoles/web01/break", token=token).status == 200
    assert world.get("/api/v1/status", token=token).status == 200


def test_a_path_takes_names_and_answers_ids(world: WebWorld) -> None:
    world.vm("web01", VM_A, port="2")
    token = world.token()
    ids = {
        name: world.get(f"/api/v1/consoles/{name}", token=token).json["id"]
        for name in ("web01", "WEB01.2", f"{VM_A}.2")
    }
    assert ids == {"web01": str(VM_A), "WEB01.2": f"{VM_A}.2", f"{VM_A}.2": f"{VM_A}.2"}
    world.vm("a/b c", UUID(int=9))
    assert world.get("/api/v1/consoles/a%2Fb%20c", token=token).json["id"] == str(UUID(int=9))
    got = world.get("/api/v1/consoles/web01/segments/3", token=token)
    assert got.json["path"] == {"n": "3"}


def test_several_consoles_are_listed_as_candidates(world: WebWorld) -> None:
    world.vm("web02", UUID(int=9))
    got = world.get("/api/v1/consoles/web", token=world.token())
    assert (got.status, got.problem) == (409, "ambiguous")
    assert {one["name"] for one in got.json["candidates"]} == {"web01", "web02"}


def test_all_that_is_wrong_with_a_query_is_told_at_once(world: WebWorld) -> None:
    got = world.get("/api/v1/consoles/web01/log?lines=x&colour=red&lines=5", token=world.token())
    assert (got.status, got.problem) == (400, "bad-request")
    assert got.json["errors"] == [
        {"parameter": "lines", "reason": "is a number"},
        {"parameter": "colour", "reason": "there is no such parameter"},
        {"parameter": "lines", "reason": "is given twice"},
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"{}", b'{"on": 1}', b'{"on": true, "off": 1}', b"[" * 60000, b"NaN"]
)
def test_a_body_that_does_not_fit_is_refused(world: WebWorld, body: bytes) -> None:
    json_type = [("Content-Type", "application/json")]
    path = "/api/v1/consoles/web01/logging"
    got = world.ask("PUT", path, token=world.token(), body=body, headers=json_type)
    assert (got.status, got.problem) == (400, "bad-request")
    assert world.ask("PUT", path, token=world.token(), body=b'{"on": false}', headers=json_type).json == {"on": False}


def test_the_scope_and_globs_of_a_token_take_away_rights(world: WebWorld) -> None:
    read = world.token(scope="read", on=["web*"])
    assert world.get("/api/v1/consoles/web01/log", token=read).status == 200
    assert world.post("/api/v1/consoles/web01/break", token=read).status == 403
    assert world.get("/api/v1/metrics", token=read).status == 404
    assert world.get("/metrics", token=read).status == 403
    hidden = world.get("/api/v1/consoles/db01", token=read)
    assert same(hidden, world.get("/api/v1/consoles/nothing", token=read))
    assert (
        world.get("/api/v1/whoami", token=read).json["consoles"] | {"see": 1, "spy": 1, "write": 0, "admin": 0}
        == (world.get("/api/v1/whoami", token=read).json["consoles"])
    )
    metrics = world.token(scope="metrics")
    assert world.get("/metrics", token=metrics).status == 200
    assert world.get("/api/v1/whoami", token=metrics).status == 403
    assert world.get("/api/v1/tokens", token=world.token()).status == 403  # no token is enough for those


def test_a_token_gives_no_right_that_its_operator_has_not(world: WebWorld) -> None:
    world.rules(("bob", "see", "web*"), ("alice", "admin", "*"))
    token = world.token("bob", scope="write", on=["*"])
    assert world.get("/api/v1/consoles/web01/log", token=token).status == 403
    assert world.get("/api/v1/consoles/db01", token=token).status == 404
    assert world.get("/api/v1/status", token=token).status == 403


def test_a_token_ends_with_its_time_its_operator_and_when_it_is_revoked(world: WebWorld) -> None:
    token, other = world.token("bob"), world.token("bob", days=2)
    assert world.get("/api/v1/whoami", token=token).json["operator"] == "bob"
    (first, second) = world.tokens.file.read().values()
    world.tokens.file.revoke(lambda one: one.token_id == first.token_id)
    world.clock.advance(2)
    assert world.get("/api/v1/whoami", token=token).status == 401
    assert world.get("/api/v1/whoami", token=other).status == 200
    world.clock.advance(2 * 86400)
    assert world.get("/api/v1/whoami", token=other).status == 401
    third = world.token("bob")
    assert world.get("/api/v1/whoami", token=third).status == 200
    world.use_operators("[operators.alice]\n")
    assert world.get("/api/v1/whoami", token=third).status == 401
    assert second.name not in str(world.audited("token-used")[0])


def test_a_token_in_a_url_is_refused_and_not_repeated(world: WebWorld) -> None:
    token = world.token()
    paths = [
        f"/api/v1/{how}" for how in ("whoami?a={}", "consoles/{}", "whoami?{}", "whoami;{}", "whoami#{}", "x?a=b+{}")
    ]
    for path in (one.format(shown) for one in paths for shown in (token, token.replace("v", "%76", 1))):
        got = world.get(path, token=token)
        assert (got.status, got.problem) == (400, "bad-request")
        assert token.encode() not in got.body


def test_the_use_of_a_token_is_recorded_by_name_and_not_each_time(world: WebWorld) -> None:
    token = world.token()
    for _ in range(3):
        world.get("/api/v1/whoami", token=token)
    (event,) = world.audited("token-used")
    assert (event["who"], event["from"], event["token"]) == ("alice", "10.1.2.9", "t0")
    assert token not in world.audit.path.read_text()
    world.clock.advance(3601)
    world.get("/api/v1/whoami", token=token)
    assert len(world.audited("token-used")) == 2


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:8080", True),
        ("localhost:9000", True),
        ("[::1]:8080", True),
        ("consoles.example.org", True),
        ("consoles.example.org:443", True),
        ("evil.example.org", False),
        ("consoles.example.org.evil.org", False),
        ("localhost.evil.org:8080", False),
        ("127.0.0.1@evil.org", False),
        ("10.1.1.1:8080", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_the_host_is_one_of_ours(world: WebWorld, host: str, good: bool) -> None:
    world.front.reconfigure(type(world.web.settings)(public_url="https://consoles.example.org"))
    got = world.get("/healthz", host=host)
    assert got.status == (200 if good else 421)


def test_a_second_host_is_refused_and_so_are_blanks_in_one(world: WebWorld) -> None:
    assert world.get("/healthz", headers=[("Host", "127.0.0.1:8080")]).status == 400
    assert world.get("/healthz", host="127.0.0.1\t:8080").status == 421


def test_under_tls_the_names_of_the_certificate_are_ours(world: WebWorld) -> None:
    world.front.reconfigure(world.web.settings, ["Consoles.example.org", "*.lab.example.org"])
    statuses = [
        world.client(secure=True).ask("GET", "/healthz", host=host).status
        for host in ("consoles.example.org", "x.lab.example.org:8443", "x.y.lab.example.org", "lab.example.org")
    ]
    assert statuses == [200, 200, 421, 421]
    got = world.client(secure=True).ask("GET", "/healthz")
    assert got.headers["strict-transport-security"].startswith("max-age=")


@each(
    ("schema", "value", "count"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 3}, 4, 1),
        ({"type": "integer"}, True, 1),
        ({"type": "integer"}, 1.0, 0),
        ({"type": ["string", "null"], "maxLength": 2}, None, 0),
        ({"type": "string", "minLength": 1}, "", 1),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 2}, ["a", 1], 1),
        ({"type": "string", "enum": ["a", "b"]}, "c", 1),
        ({"type": "number", "exclusiveMinimum": 0}, 0, 1),
    ],
)
def test_values_fit_their_schema(schema: dict[str, object], value: object, count: int) -> None:
    assert len(list(errors(value, schema))) == count
