"""The login with a password, sessions and their ends, and requests that come from other sites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from tests.support.logins import SECRET, cheap_hash
from tests.support.web import OPERATORS, ORIGIN, Got, WebClient, WebWorld
from vmproxy.auth.limits import FIRST_DELAY
from vmproxy.web import sessions
from vmproxy.web.answer import Answer, Empty
from vmproxy.web.call import Call
from vmproxy.web.route import BYTES_MEDIA, Body, Route
from vmproxy.web.table import ROUTES

WHOAMI = "/api/v1/whoami"


async def _write(call: Call) -> Answer:
    return Empty()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WebWorld]:
    routes = (
        *ROUTES,
        Route("POST", "/api/v1/write", _write, "", scope="write"),
        Route("POST", "/api/v1/bytes", _write, "", scope="write", body=Body(BYTES_MEDIA)),
        Route("GET", "/api/v1/socket", _write, "", upgrade=True),
    )
    world = WebWorld(tmp_path, routes)
    yield world
    world.stop()


def try_password(client: WebClient, password: str, operator: str = "alice") -> None:
    client.say(client.request("POST", "/api/v1/login", json_body={"operator": operator, "password": password}))


def answer(client: WebClient) -> Got:
    client.world.settle()
    got = client.got()
    assert got is not None
    return got


def test_a_password_gives_a_session(world: WebWorld) -> None:
    got = world.post("/api/v1/login", {"operator": "alice", "password": SECRET})
    assert (got.status, got.body) == (204, b"")
    (cookie,) = got.cookies
    name, _, rest = cookie.partition("=")
    value, *attributes = rest.split("; ")
    assert (name, set(attributes)) == ("vmproxy", {"Path=/", "HttpOnly", "SameSite=Strict"})
    assert len(value) == 43
    who = world.get(WHOAMI, cookie=f"x=y; vmproxy={value}")
    assert (who.json["operator"], who.json["front"], who.json["token"]) == ("alice", "web", None)
    assert value not in str([session.digest for session in world.sessions])
    (event,) = world.audited("login")
    assert (event["who"], event["front"], event["method"], event["from"]) == ("alice", "web", "password", "10.1.2.9")
    assert [operator.who for operator, _ in world.services.presence] == ["alice@10.1.2.9"]


def test_under_tls_the_cookie_is_held_to_this_host(world: WebWorld) -> None:
    client = world.client(secure=True)
    try_password(client, SECRET)
    (cookie,) = answer(client).cookies
    assert cookie.startswith("__Host-vmproxy=")
    assert "; Secure" in cookie
    pair = cookie.partition(";")[0]
    assert world.client(secure=True).ask("GET", WHOAMI, cookie=pair).status == 200
    plain = "vmproxy=" + pair.partition("=")[2]
    assert world.client(secure=True).ask("GET", WHOAMI, cookie=plain).status == 401
    assert world.get(WHOAMI, cookie=pair).status == 401


@pytest.mark.parametrize(
    ("operator", "password"), [("alice", "wrong"), ("nobody", SECRET), ("alice", ""), ("a" * 200, "x")]
)
def test_a_wrong_password_is_answered_late_and_alike(world: WebWorld, operator: str, password: str) -> None:
    client = world.client()
    try_password(client, password, operator)
    assert client.got() is None
    world.tick(FIRST_DELAY)
    got = answer(client)
    assert (got.status, got.problem, got.cookies) == (401, "unauthenticated", [])
    assert got.json["detail"] == "wrong password, or no operator of that name who has one"
    (event,) = world.audited("login-failed")
    assert (event["front"], event["method"]) == ("web", "password")


def test_failures_of_all_fronts_add_up(world: WebWorld) -> None:
    for _ in range(3):
        world.accounts.failed("password", "alice", "10.1.2.9", "wrong")  # over SSH
    client = world.client()
    try_password(client, SECRET)
    world.tick(FIRST_DELAY * 4 - 0.1)
    assert client.got() is None
    world.tick(0.2)
    assert answer(client).status == 204
    client = world.client()
    try_password(client, "wrong", "bob")
    world.tick(FIRST_DELAY)
    assert answer(client).status == 401
    assert world.accounts.delays.present("10.1.2.9") == FIRST_DELAY


def test_a_try_counts_though_its_client_does_not_wait(world: WebWorld) -> None:
    client = world.client()
    try_password(client, "wrong")
    client.leave()
    assert world.accounts.delays.present("10.1.2.9") == FIRST_DELAY
    client = world.client()
    try_password(client, SECRET)  # waits for the delay of the one before
    client.leave()
    assert world.accounts.delays.present("10.1.2.9") == 2 * FIRST_DELAY
    assert len(world.sessions) == 0


def test_a_password_that_is_being_checked_when_its_client_leaves_counts(world: WebWorld) -> None:
    checked: list[Deferred[Any]] = []

    def later(call: Any) -> Deferred[Any]:
        if "verify" not in repr(call.__code__.co_names):
            return succeed(call())
        checked.append(Deferred())
        return checked[-1]

    world.hold_threads(later)
    client = world.client()
    try_password(client, "wrong")
    client.leave()
    assert world.accounts.delays.present("10.1.2.9") == 0
    checked[0].callback(False)
    assert world.accounts.delays.present("10.1.2.9") == FIRST_DELAY


def test_a_session_ends_by_logout_and_its_cookie_with_it(world: WebWorld) -> None:
    cookie = world.login()
    told: list[str] = []
    (session,) = world.sessions
    session.on_end(told.append)
    got = world.delete("/api/v1/session", cookie=cookie)
    assert got.status == 204
    assert got.cookies == ["vmproxy=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"]
    assert world.get(WHOAMI, cookie=cookie).status == 401
    assert told == ["logged out"]
    assert list(world.services.presence) == []
    assert world.audited("login-ended")[0]["reason"] == "logged out"


def test_a_new_login_ends_the_session_of_the_same_browser(world: WebWorld) -> None:
    before = world.login()
    got = world.post("/api/v1/login", {"operator": "alice", "password": SECRET}, cookie=before)
    after = got.cookies[0].partition(";")[0]
    assert after != before
    assert world.get(WHOAMI, cookie=before).status == 401
    assert world.get(WHOAMI, cookie=after).status == 200


def test_a_session_ends_when_nobody_is_at_the_keys(world: WebWorld) -> None:
    cookie = world.login()
    world.tick(7000)
    assert world.get(WHOAMI, cookie=cookie).status == 200  # a page that looks by itself is nobody at the keys
    assert world.put("/api/v1/session", cookie=cookie).status == 204
    world.tick(7000)
    assert world.get(WHOAMI, cookie=cookie).status == 200
    world.tick(201)
    assert world.get(WHOAMI, cookie=cookie).status == 401
    assert world.audited("login-ended")[0]["reason"] == "nobody was at the keys"


def test_a_session_ends_in_any_case(world: WebWorld) -> None:
    cookie = world.login()
    for _ in range(11):
        world.tick(3600)
        assert world.put("/api/v1/session", cookie=cookie).status == 204
    world.tick(3600)
    assert world.put("/api/v1/session", cookie=cookie).status == 401


def test_sessions_end_without_being_asked_for(world: WebWorld) -> None:
    told: list[str] = []
    world.login()
    (session,) = world.sessions
    session.on_end(told.append)
    withdraw = session.on_end(told.append)
    withdraw()
    for _ in range(2 * 3600 // 15 + 1):
        world.clock.advance(sessions.LOOK_SECONDS)
    assert told == ["nobody was at the keys"]
    assert not world.sessions


def test_settings_and_the_operators_file_say_how_long_sessions_last(world: WebWorld) -> None:
    never = world.login()
    world.front.reconfigure(replace(world.web.settings, session_idle=0))
    world.tick(11 * 3600)
    assert world.get(WHOAMI, cookie=never).status == 200
    world.use_operators(f"[operators.alice]\npassword = '{cheap_hash()}'\nsession-idle = '5m'\n")
    short = world.login()
    world.tick(299)
    assert world.get(WHOAMI, cookie=short).status == 200
    world.tick(1)
    assert world.get(WHOAMI, cookie=short).status == 401


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"[operators.bob]\npassword = '{cheap_hash()}'\n", "no longer an operator"),
        (OPERATORS.replace(cheap_hash(), cheap_hash("another")), "another password"),
    ],
)
def test_who_is_removed_or_has_another_password_is_out(world: WebWorld, text: str, why: str) -> None:
    cookie = world.login()
    world.tick(10)
    world.use_operators(text)
    assert world.get(WHOAMI, cookie=cookie).status == 401
    assert world.audited("login-ended")[0]["reason"] == why


def test_other_groups_count_at_once(world: WebWorld) -> None:
    world.rules(("@admins", "admin", "*"), ("*", "see", "*"))
    world.vm("web01")
    cookie = world.login()
    assert world.get(WHOAMI, cookie=cookie).json["consoles"]["admin"] == 1
    world.tick(10)
    world.use_operators(OPERATORS.replace('groups = ["admins"]', ""))
    assert world.get(WHOAMI, cookie=cookie).json["consoles"]["admin"] == 0
    assert [operator.groups for operator, _ in world.services.presence] == [()]


def test_an_operator_has_so_many_sessions(world: WebWorld) -> None:
    cookies = []
    for _ in range(sessions.EACH):
        cookies.append(world.login())
        world.tick(1)
    assert world.put("/api/v1/session", cookie=cookies[0]).status == 204
    other = world.login("bob", "battery staple")
    world.login()
    statuses = [world.get(WHOAMI, cookie=cookie).status for cookie in (cookies[0], cookies[1], cookies[2], other)]
    assert statuses == [200, 401, 200, 200]


SAME = [("Origin", ORIGIN), ("Sec-Fetch-Site", "same-origin")]


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        (SAME, True),
        ([("Origin", ORIGIN)], True),
        ([("Origin", "http://evil.example.org")], False),
        ([("Origin", "https://127.0.0.1:8080")], False),
        ([("Origin", "http://127.0.0.1:9000")], False),
        ([("Origin", "null")], False),
        ([("Origin", "")], False),
        ([("Origin", ORIGIN), ("Sec-Fetch-Site", "same-site")], False),
        ([("Origin", ORIGIN), ("Sec-Fetch-Site", "cross-site")], False),
        ([("Origin", ORIGIN), ("Sec-Fetch-Site", "none")], False),
    ],
)
def test_with_a_cookie_what_changes_something_comes_from_our_own_pages(
    world: WebWorld, headers: list[tuple[str, str]], good: bool
) -> None:
    cookie = world.login()
    got = world.post("/api/v1/write", cookie=cookie, headers=headers)
    assert (got.status, got.problem) == ((204, "") if good else (403, "cross-site"))
    upgrade = [*headers, ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    assert world.get("/api/v1/socket", cookie=cookie, headers=upgrade).status == (204 if good else 403)
    assert world.get(WHOAMI, cookie=cookie, headers=headers).status == 200


def test_without_an_origin_a_cookie_changes_nothing(world: WebWorld) -> None:
    client = world.client()
    request = client.request("POST", "/api/v1/write", cookie=world.login()).replace(
        f"Origin: {ORIGIN}\r\n".encode(), b""
    )
    client.say(request)
    assert answer(client).problem == "cross-site"


def test_a_form_of_another_site_changes_nothing(world: WebWorld) -> None:
    cookie = world.login()
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        got = world.ask("POST", "/api/v1/bytes", cookie=cookie, body=b"{}", headers=[("Content-Type", media)])
        assert got.status == 403
    got = world.ask("POST", "/api/v1/bytes", cookie=cookie, body=b"{}", headers=[("Content-Type", BYTES_MEDIA)])
    assert got.status == 204


def test_nobody_is_logged_in_by_another_site(world: WebWorld) -> None:
    body = {"operator": "alice", "password": SECRET}
    for headers in ([("Origin", "http://evil.example.org")], [("Sec-Fetch-Site", "cross-site")]):
        assert world.post("/api/v1/login", body, headers=headers).problem == "cross-site"


def test_a_token_needs_no_origin_and_has_no_session(world: WebWorld) -> None:
    token = world.token()
    assert world.post("/api/v1/write", token=token).status == 204
    assert world.delete("/api/v1/session", token=token).status == 403


def test_no_answer_lets_other_sites_read_it(world: WebWorld) -> None:
    got = world.get(WHOAMI, cookie=world.login(), headers=[("Origin", "http://evil.example.org")])
    assert not [name for name in got.headers if name.startswith("access-control")]
    assert world.ask("OPTIONS", WHOAMI, cookie=world.login()).status == 405


def test_nothing_secret_is_in_logs_and_trails(world: WebWorld, logged: Any) -> None:
    cookie = world.login()
    client = world.client()
    try_password(client, "s3cret-password")
    world.tick(FIRST_DELAY)
    world.get(WHOAMI, cookie=cookie)
    told = world.audit.path.read_text() + "\n".join(logged)
    assert SECRET not in told
    assert "s3cret" not in told
    assert cookie.partition("=")[2] not in told


UPGRADE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "vmproxy.v1"),
    ("Origin", ORIGIN),
]


def test_the_websockets_of_a_session_end_with_it(world: WebWorld) -> None:
    cookie = world.login()
    client = world.client()
    client.say(client.request("GET", "/api/v1/live", cookie=cookie, headers=UPGRADE))
    assert client.pipe.sent.startswith(b"HTTP/1.1 101 ")
    assert world.delete("/api/v1/session", cookie=cookie).status == 204
    assert (4401).to_bytes(2, "big") in client.pipe.sent


def test_the_websockets_of_a_token_end_with_its_operator(world: WebWorld) -> None:
    client = world.client()
    client.say(client.request("GET", "/api/v1/live", token=world.token("bob"), headers=UPGRADE))
    assert client.pipe.sent.startswith(b"HTTP/1.1 101 ")
    world.use_operators("[operators.alice]\n")
    assert world.get(WHOAMI, token=world.token("alice")).status == 200
    assert (4401).to_bytes(2, "big") in client.pipe.sent


@pytest.mark.parametrize("how", ["logout", "idle", "removed"])
def test_what_is_under_way_ends_with_the_login(world: WebWorld, how: str) -> None:
    world.vm("web01")
    world.rules(("alice bob", "admin", "*"))
    cookie = world.login("bob", "battery staple")
    client = world.client()
    wanted = {"pattern": "secret", "timeout": 300}
    client.say(client.request("POST", "/api/v1/consoles/web01/expect", cookie=cookie, json_body=wanted))
    assert client.got() is None
    if how == "logout":
        assert world.delete("/api/v1/session", cookie=cookie).status == 204
    elif how == "idle":
        world.front.reconfigure(replace(world.web.settings, session_idle=100))
        world.tick(120)
    else:
        world.use_operators("[operators.alice]\n")
        assert world.get(WHOAMI, token=world.token("alice")).status == 200
    world.console_of().feed(b"secret\r\n")
    world.tick(1)
    assert client.pipe.aborted
    assert client.pipe.sent == b""
