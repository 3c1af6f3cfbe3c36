"""What is done to consoles over the API: input, breaks, notes, waiting for output, and the rest."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.support.fakes import VM_A, VM_B, FakeLink, FakeViewer
from tests.support.web import Got, WebClient, WebWorld
from vmproxy.auth import tokens
from vmproxy.operators.commands.send import DELIVERY_SECONDS
from vmproxy.operators.who import session_id
from vmproxy.web.route import BYTES_MEDIA

WEB01 = "/api/v1/consoles/web01"
OCTETS = [("Content-Type", BYTES_MEDIA)]


@pytest.fixture
def link(web: WebWorld) -> FakeLink:
    return web.vm("web01", VM_A)


def type_at(web: WebWorld, data: bytes, query: str = "", **options: Any) -> Got:
    token = options.pop("token", "") or web.token()
    return web.ask("POST", f"{WEB01}/input{query}", body=data, headers=OCTETS, token=token, **options)


def answer(client: WebClient) -> Got:
    client.world.settle()
    got = client.got()
    assert got is not None
    return got


def writer(web: WebWorld, name: str = "web01") -> FakeViewer:
    viewer = FakeViewer("bob@10.9.9.9")
    web.console_of(name).viewers.attach(viewer, True)
    return viewer


def test_input_is_typed_as_it_is(web: WebWorld, link: FakeLink) -> None:
    data = bytes(range(256)) * 300
    got = type_at(web, data)
    assert (got.status, got.json) == (200, {"delivered": len(data)})
    assert link.written == data
    (event,) = web.audited("send")
    assert (event["who"], event["front"], event["bytes"]) == ("alice", "api", len(data))
    assert not web.console_of().watchers


def test_input_is_answered_when_the_host_has_taken_it(web: WebWorld, link: FakeLink) -> None:
    link.ready = False
    client = web.client()
    body = b"x" * 200_000
    client.say(client.request("POST", f"{WEB01}/input", body=body, headers=OCTETS, token=web.token()))
    web.tick(10)
    assert client.got() is None
    assert web.console_of().undelivered < len(body)  # no more is queued than a console may have
    link.ready = True
    for _ in range(50):
        web.console_of().link_ready()
        web.tick(DELIVERY_SECONDS)
    assert answer(client).json == {"delivered": len(body)}
    assert link.written == body


def test_a_line_that_goes_down_before_everything_is_delivered_is_told(web: WebWorld, link: FakeLink) -> None:
    link.ready = False
    client = web.client()
    client.say(client.request("POST", f"{WEB01}/input", body=b"x" * 100, headers=OCTETS, token=web.token()))
    web.lose(web.console_of())
    web.tick(DELIVERY_SECONDS)
    got = answer(client)
    assert (got.status, got.problem) == (409, "down")
    assert type_at(web, b"x").problem == "down"


def test_a_client_that_goes_away_leaves_the_console(web: WebWorld, link: FakeLink) -> None:
    link.ready = False
    client = web.client()
    client.say(client.request("POST", f"{WEB01}/input", body=b"x", headers=OCTETS, token=web.token()))
    assert web.console_of().watchers
    client.leave()
    assert not web.console_of().watchers


def test_somebody_who_writes_is_not_disturbed_but_by_force(web: WebWorld, link: FakeLink) -> None:
    bob = writer(web)
    got = type_at(web, b"x")
    assert (got.status, got.problem, got.json["writers"]) == (409, "in-use", ["bob@10.9.9.9"])
    assert type_at(web, b"x", "?join=1").problem == "in-use"
    assert type_at(web, b"x", "?force=1&join=1").problem == "bad-request"
    assert link.written == b""
    assert type_at(web, b"x", "?force=1&reason=fire").status == 200
    assert link.written == b"x"
    assert web.audited("force")[0]["reason"] == "fire"
    assert bob.held is False


def test_force_wants_a_whole_name_and_a_reason_where_it_is_so_set(web: WebWorld, link: FakeLink) -> None:
    writer(web)
    token = web.token()
    got = web.ask("POST", "/api/v1/consoles/we/input?force=1", body=b"x", headers=OCTETS, token=token)
    assert got.problem == "bad-request"
    web.use_policy(None, [{"on": "*", "force-reason": True}])
    got = type_at(web, b"x", "?force=1")
    assert (got.status, got.problem) == (409, "reason-needed")
    assert type_at(web, b"x", "?force=1&reason=%20").problem == "reason-needed"
    assert type_at(web, b"x", "?force=1&reason=fire").status == 200


def test_rights_decide_who_writes(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "write", "web*"), ("bob", "spy", "web*"))
    writer(web)
    assert type_at(web, b"x", "?force=1&reason=x").problem == "forbidden"
    assert type_at(web, b"x", token=web.token("bob")).problem == "forbidden"
    assert type_at(web, b"x", token=web.token(scope="read")).problem == "forbidden"
    web.vm("db01", VM_B)
    got = web.ask("POST", "/api/v1/consoles/db01/input", body=b"x", headers=OCTETS, token=web.token())
    assert got.status == 404


def test_a_break_and_sequences_are_sent(web: WebWorld, link: FakeLink) -> None:
    web.use_policy(None, [{"on": "*", "sequences": {"sync": "<break>s"}}])
    token = web.token()
    assert web.post(f"{WEB01}/break", token=token).status == 204
    assert link.breaks == 1
    assert web.post(f"{WEB01}/break", {"sequence": "sync"}, token=token).status == 204
    assert (link.breaks, link.written) == (2, b"s")
    assert web.post(f"{WEB01}/break", {"sequence": "none"}, token=token).problem == "bad-request"
    assert web.post(f"{WEB01}/break", {"colour": "red"}, token=token).problem == "bad-request"
    assert [event["event"] for event in web.audited("break", "sequence")] == ["break", "sequence"]


def test_expect_waits_for_a_line(web: WebWorld, link: FakeLink) -> None:
    client = web.client()
    wanted = {"pattern": "login:", "fixed": True, "send": "\r", "timeout": 5}
    client.say(client.request("POST", f"{WEB01}/expect", json_body=wanted, token=web.token()))
    assert link.written == b"\r"
    web.console_of().feed(b"web01 lo")
    assert client.got() is None
    web.console_of().feed(b"gin: ")
    assert answer(client).json == {"matched": True, "line": "web01 login: "}
    client.say(client.request("POST", f"{WEB01}/expect", json_body=wanted, token=web.token()))
    web.tick(5)
    assert answer(client).json == {"matched": False, "line": None}
    assert not web.console_of().watchers


def test_expect_needs_write_only_to_send(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "spy", "*"), ("bob", "write", "*"))
    wanted = {"pattern": "x", "fixed": True, "timeout": 0}
    assert web.post(f"{WEB01}/expect", {**wanted, "send": "x"}, token=web.token()).problem == "forbidden"
    read = web.token("bob", scope="read")
    assert web.post(f"{WEB01}/expect", {**wanted, "send": "x"}, token=read).problem == "forbidden"
    client = web.client()
    client.say(client.request("POST", f"{WEB01}/expect", json_body=wanted, token=web.token()))
    web.tick(0.1)
    assert answer(client).json["matched"] is False
    assert web.post(f"{WEB01}/expect", {"pattern": "x", "since": "soon"}, token=read).problem == "bad-request"
    assert web.post(f"{WEB01}/expect", {"pattern": "x", "timeout": 301}, token=read).problem == "bad-request"


def test_notes_go_into_the_trail_so_many_a_minute(web: WebWorld, link: FakeLink) -> None:
    token = web.token()
    statuses = [web.post(f"{WEB01}/notes", {"text": f"note {n}\x1b[2J"}, token=token).status for n in range(12)]
    assert statuses[0] == 204
    assert statuses[-1] == 429
    first = web.trail(web.console_of(), "note")[0]
    assert first["who"] == "alice@10.1.2.9"
    assert "\x1b" not in first["text"]
    assert web.post(f"{WEB01}/notes", {"text": " "}, token=web.token("bob")).problem == "bad-request"


def test_reopen_is_for_the_writer_or_an_administrator(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "admin", "*"), ("bob", "write", "*"))
    writer(web)
    assert web.post(f"{WEB01}/reopen", token=web.token("bob")).problem == "in-use"
    assert web.post(f"{WEB01}/reopen", token=web.token()).status == 204
    assert "close" in link.calls
    web.lose(web.console_of())
    assert web.post(f"{WEB01}/reopen", token=web.token()).problem == "down"


def test_logging_is_for_administrators(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "admin", "*"), ("bob", "write", "*"))
    assert web.put(f"{WEB01}/logging", {"on": False}, token=web.token("bob")).problem == "forbidden"
    for on in (False, False, True):
        assert web.put(f"{WEB01}/logging", {"on": on}, token=web.token()).status == 204
        assert web.console_of().logging is on
    assert [event["event"] for event in web.audited("logging-on", "logging-off")] == ["logging-off", "logging-on"]


def test_a_message_reaches_the_consoles_that_one_administers(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "admin", "web*"), ("alice", "spy", "*"), ("bob", "spy", "*"))
    writer(web)
    web.vm("db01", VM_B)
    writer(web, "db01")
    assert web.post("/api/v1/broadcast", {"text": "down at 6"}, token=web.token()).json == {"told": 1}
    assert web.post("/api/v1/broadcast", {"text": "x"}, token=web.token("bob")).problem == "forbidden"
    assert web.post("/api/v1/broadcast", {"text": ""}, token=web.token()).problem == "bad-request"


def test_administrators_disconnect_others(web: WebWorld, link: FakeLink) -> None:
    web.rules(("alice", "admin", "web*"), ("bob", "spy", "web*"))
    bob = writer(web)
    path = f"/api/v1/sessions/{session_id(bob)}"
    assert web.delete(path, token=web.token("bob")).problem == "forbidden"
    assert web.delete(f"{path}?reason=maintenance", token=web.token()).status == 204
    (event,) = web.audited("kick")
    assert (event["whom"], event["reason"]) == ("bob@10.9.9.9", "maintenance")
    assert web.delete(path, token=web.token()).status == 404
    web.vm("db01", VM_B)
    hidden = f"/api/v1/sessions/{session_id(writer(web, 'db01'))}"
    assert web.delete(hidden, token=web.token()).body == web.delete("/api/v1/sessions/none", token=web.token()).body


# Tokens.


def test_tokens_are_made_listed_and_revoked_in_a_session(web: WebWorld, link: FakeLink) -> None:
    cookie = web.login()
    wanted = {"name": "ci", "expires": "7d", "scope": "write", "on": ["web*"]}
    made = web.post("/api/v1/tokens", wanted, cookie=cookie)
    assert (made.status, made.json["name"], made.json["on"]) == (201, "ci", ["web*"])
    token = made.json["token"]
    assert token.startswith("vmp_")
    assert web.get(WEB01, token=token).status == 200
    assert token not in web.tokens.file.path.read_text()
    assert web.tokens.file.path.stat().st_mode & 0o777 == 0o600
    (shown,) = web.get("/api/v1/tokens", token=token).json["items"]
    assert (shown["id"], "token" in shown, "digest" in shown) == (made.json["id"], False, False)
    assert web.post("/api/v1/tokens", wanted, cookie=cookie).json["errors"][0]["parameter"] == "name"
    other = web.login("bob", "battery staple")
    assert web.get("/api/v1/tokens", cookie=other).json["items"] == []
    assert web.delete(f"/api/v1/tokens/{shown['id']}", cookie=other).status == 404
    assert web.delete(f"/api/v1/tokens/{shown['id']}", cookie=cookie).status == 204
    assert web.get(WEB01, token=token).status == 401
    assert [event["token"] for event in web.audited("token-created", "token-revoked")] == ["ci", "ci"]


def test_no_token_makes_another(web: WebWorld) -> None:
    token = web.token()
    assert web.post("/api/v1/tokens", {"name": "x"}, token=token).problem == "forbidden"
    assert web.delete("/api/v1/tokens/x", token=token).problem == "forbidden"


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": ""},
        {"name": "x", "expires": "2000d"},
        {"name": "x", "expires": "0"},
        {"name": "x", "expires": "soon"},
        {"name": "x", "scope": "admin"},
        {"name": "x\x1b"},
        {"name": "x", "on": [""]},
        {"name": "x", "on": ["*"] * 33},
        {},
    ],
)
def test_a_token_that_cannot_be_is_refused(web: WebWorld, wanted: dict[str, object]) -> None:
    assert web.post("/api/v1/tokens", wanted, cookie=web.login()).problem == "bad-request"


def test_where_there_is_no_place_for_a_token_no_file_is_named(web: WebWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "KEPT_FOR_REVOKING", tokens.FILE_LIMIT)
    got = web.post("/api/v1/tokens", {"name": "ci"}, cookie=web.login())
    assert (got.status, got.headers["retry-after"]) == (503, "3600")
    assert "jsonl" not in got.body.decode()


def test_tokens_come_in_pages(web: WebWorld) -> None:
    names = [web.token(on=[f"web{n}"]) for n in range(5)]
    found, after = [], ""
    for _ in range(3):
        page = web.get(f"/api/v1/tokens?limit=2{after}", token=names[0]).json
        found += [one["on"][0] for one in page["items"]]
        after = f"&after={page['next']}"
    assert (found, page["next"]) == ([f"web{n}" for n in range(5)], None)


def test_a_thread_that_is_late_serves_whoever_waits(web: WebWorld) -> None:
    jobs: list[tuple[Any, Deferred[Any]]] = []

    def later(call: Any) -> Deferred[Any]:
        jobs.append((call, Deferred()))
        return jobs[-1][1]

    token = web.token()
    web.hold_threads(later)
    first, second = web.client(), web.client()
    for client in (first, second):
        client.say(client.request("GET", "/api/v1/whoami", token=token))
    first.leave()
    while jobs:
        call, done = jobs.pop(0)
        done.callback(call())
    assert answer(second).status == 200
