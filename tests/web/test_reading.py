"""Reading through the API: the same as over SSH, with the same rights, bounded, and nothing of what is hidden."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.fakes import VM_A, VM_B, VM_C
from tests.support.web import WebWorld
from tests.support.web_reading import ndjson, raise_alerts, said, ssh, writer_busy
from vmproxy.access.policy import Grants, Right
from vmproxy.access.selector import Subject
from vmproxy.base.turns import Turns
from vmproxy.log.latest import Latest, latest
from vmproxy.log.shown import ShownText
from vmproxy.web.api.rows import FIELDS
from vmproxy.web.kept_lists import EACH
from vmproxy.web.route import Needs
from vmproxy.web.table import ROUTES


@pytest.fixture
def token(web: WebWorld) -> str:
    web.vm("web01", VM_A)
    web.vm("db01", VM_B)
    web.rules(("alice", "admin", "*"), ("bob", "spy", "web*"), ("bob", "see", "db*"))
    return web.token("alice")


# The same as over SSH.


def test_lists_and_states_are_those_of_ssh(web: WebWorld, token: str) -> None:
    said(web, b"hello\r\nlogin: ")
    for user in ("alice", "bob"):
        key = web.token(user)
        rows = web.get("/api/v1/consoles", token=key).json["items"]
        kept = [{k: v for k, v in row.items() if k not in ("id", "last_output", "last_line")} for row in rows]
        assert kept == json.loads(ssh(web, "list --json", user)[0])
        for row in rows:
            one = web.get(f"/api/v1/consoles/{row['name']}", token=key).json
            for name in ("id", "last_output", "last_line", "cursor"):
                del one[name]
            assert one == json.loads(ssh(web, f"status --json {row['name']}", user)[0])


def test_events_are_those_of_ssh(web: WebWorld, token: str) -> None:
    said(web, b"x")
    web.console_of().log.event("note", text="one", who="alice")
    web.store.flush()
    for query, words in (("", ""), ("?on=web*", " web*"), ("?limit=1", " -n 1"), ("?since=10m", " --since 10m")):
        lines, _ = ssh(web, f"events --json{words}")
        assert web.get(f"/api/v1/events{query}", token=token).body == lines
        assert lines


def test_hits_are_those_of_ssh(web: WebWorld, token: str) -> None:
    for number in range(5):
        said(web, b"error %d\r\n" % number)
    lines, _ = ssh(web, "search --json 'error [1-9]'")
    *hits, end = ndjson(web.get("/api/v1/search?q=error+%5B1-9%5D", token=token))
    assert hits == [json.loads(line) for line in lines.splitlines()]
    assert len(hits) == 4
    assert end == {"cut": False, "reason": None, "found": 4, "problems": []}
    *hits, end = ndjson(web.get("/api/v1/search?q=error&limit=2", token=token))
    assert (len(hits), end["cut"]) == (2, True)
    assert ndjson(web.get("/api/v1/search?q=ERROR&fixed=1&ignore_case=1", token=token))[-1]["found"] == 5
    assert ndjson(web.get("/api/v1/search?q=nothing", token=token)) == [
        {"cut": False, "reason": None, "found": 0, "problems": []}
    ]


def test_who_is_there_is_as_ssh_says_it(web: WebWorld, token: str) -> None:
    client = web.client()
    client.say(client.request("GET", "/api/v1/consoles/web01/log?follow=1", token=token))
    client.got()
    rows = web.get("/api/v1/sessions", token=token).json["items"]
    mine = [row for row in rows if row["console"]]
    assert [(row["who"], row["front"], row["console"]) for row in mine] == [("alice@10.1.2.9", "api", "web01")]
    assert len(mine[0]["id"]) == 18
    told = json.loads(ssh(web, "who --json web01")[0])
    assert told == [{k: v for k, v in row.items() if k not in ("front", "id")} for row in mine]
    client.leave()
    assert [row for row in web.get("/api/v1/sessions", token=token).json["items"] if row["console"]] == []


def test_alerts_are_acknowledged_as_over_ssh(web: WebWorld, token: str) -> None:
    center = web.alerts
    assert web.get("/api/v1/alerts", token=token).json == {"items": [], "next": None}
    assert json.loads(ssh(web, "alerts --json")[0]) == []
    raise_alerts(web, 3)
    assert len(center.book) == 3
    found = web.get("/api/v1/alerts", token=token).json["items"]
    assert found[::-1] == json.loads(ssh(web, "alerts --json")[0])
    page = web.get("/api/v1/alerts?limit=2", token=token).json
    rest = web.get(f"/api/v1/alerts?limit=2&after={page['next']}", token=token).json
    assert (page["items"] + rest["items"], rest["next"]) == (found, None)
    number = found[0]["alert"]
    bob = web.token("bob")
    assert web.post(f"/api/v1/alerts/{number}/acknowledge", {}, token=bob).problem == "forbidden"
    path = f"/api/v1/alerts/{number}/acknowledge"
    assert web.post(path, {"note": "known"}, token=token).json == {"acknowledged": 1}
    assert web.post(path, {}, token=token).json == {"acknowledged": 0}
    assert [entry["front"] for entry in web.audited("ack")] == ["api"]
    assert len(web.get("/api/v1/alerts", token=token).json["items"]) == 2
    everything = web.get("/api/v1/alerts?all=1", token=token).json["items"]
    assert [one["acknowledged"] and one["acknowledged"]["note"] for one in everything] == ["known", None, None]
    assert web.post("/api/v1/alerts/999/acknowledge", {}, token=token).status == 404


# The list.


def test_the_fields_of_a_console_are_those_that_are_named(web: WebWorld, token: str) -> None:
    said(web, b"first\r\nlast line\r\n")
    row = web.get("/api/v1/consoles?on=web01", token=token).json["items"][0]
    assert tuple(row) == FIELDS
    assert (row["id"], row["last_line"]) == (str(VM_A), "last line")
    few = web.get("/api/v1/consoles?on=web01&fields=state,name", token=token).json["items"]
    assert few == [{"id": str(VM_A), "state": "up", "name": "web01"}]
    assert web.get("/api/v1/consoles?fields=nothing", token=token).json["errors"][0]["parameter"] == "fields"
    said(web, b"secret\r\n", "db01")
    (row,) = web.get("/api/v1/consoles?on=db01", token=web.token("bob")).json["items"]
    assert row["last_line"] is None
    assert row["last_output"] is not None


def names(web: WebWorld, token: str, query: str = "") -> list[str]:
    return [row["name"] for row in web.get(f"/api/v1/consoles?{query}", token=token).json["items"]]


def test_what_is_asked_for_is_found(web: WebWorld, token: str) -> None:
    web.vm("Web02", VM_C)
    web.lose(web.console_of("db01"))
    for query, found in {
        "q=WEB": ["web01", "Web02"],
        "q=state:down": ["db01"],
        "on=web*": ["web01", "Web02"],
        "on=web01,db*": ["db01", "web01"],
        f"on={VM_C}": ["Web02"],
        "on=nobody": [],
        "on=nobody*": [],
        "state=down": ["db01"],
        "state=up,down&q=0": ["db01", "web01", "Web02"],
        "sort=since": ["db01", "Web02", "web01"],
    }.items():
        web.tick(0)
        assert sorted(names(web, token, query)) == sorted(found), query
    assert names(web, token) == ["db01", "web01", "Web02"]
    said(web, b"x", "Web02", 5)
    said(web, b"x", "web01", 5)
    assert web.get("/api/v1/consoles?state=off", token=token).problem == "bad-request"
    assert web.get("/api/v1/consoles?on=" + "x" * 300, token=token).problem == "bad-request"


def test_pages_leave_out_and_repeat_nothing_that_was_there_all_the_time(web: WebWorld, token: str) -> None:
    for number in range(20):
        web.vm(f"vm{number:02}", UUID(int=number + 1))
    for sort in ("name", "since", "last_output"):
        seen: list[str] = []
        after = ""
        number = 0
        while True:
            page = web.get(f"/api/v1/consoles?limit=3&sort={sort}{after}", token=token).json
            seen += [row["id"] for row in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
            number += 1
            web.directory.rename(web.directory.names.find(str(UUID(int=number))), f"zz{number}{sort}")
            web.lose(web.directory.names.find(str(UUID(int=21 - number))))
            web.vm(f"vm{21 - number}", UUID(int=21 - number))
            web.vm(f"aa{number}{sort}", UUID(int=1000 * len(sort) + number))
        assert len(seen) == len(set(seen))
        assert {str(UUID(int=number + 1)) for number in range(20)} <= set(seen)


def test_a_list_that_is_read_is_one_s_own_and_is_not_kept_for_ever(web: WebWorld, token: str) -> None:
    first = web.get("/api/v1/consoles?limit=1", token=token).json
    assert first["total"] == 2
    path = f"/api/v1/consoles?limit=1&after={first['next']}"
    assert web.get(path, token=web.token("bob")).problem == "bad-request"
    assert len(web.get(path, token=token).json["items"]) == 1
    for _ in range(EACH):
        web.get("/api/v1/consoles?limit=1", token=token)
    assert web.get(path, token=token).problem == "bad-request"
    kept = web.get("/api/v1/consoles?limit=1", token=token).json["next"]
    assert web.get(f"/api/v1/sessions?after={kept}", token=token).problem == "bad-request"
    for wrong in ("x", ".", "a.b", "9.9"):
        assert web.get(f"/api/v1/consoles?after={wrong}", token=token).problem == "bad-request"


def test_the_last_line_is_looked_at_once_however_many_ask(
    web: WebWorld, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def noted(path: Path, text: ShownText | None) -> Latest:
        looked.append(path)
        return latest(path, text)

    monkeypatch.setattr("vmproxy.log.latest.latest", noted)

    def shown(who: str) -> list[str | None]:
        items = web.get("/api/v1/consoles?fields=last_line", token=web.token(who)).json["items"]
        return [item["last_line"] for item in items]

    said(web, b"one\r\n")
    said(web, b"two\r\n", "db01")
    assert [shown("alice"), shown("alice")] == [["two", "one"]] * 2
    assert len(looked) == 2
    said(web, b"three\r\n")
    assert shown("alice") == ["two", "three"]
    assert len(looked) == 3
    assert shown("bob") == [None, "three"]


def test_rules_are_asked_in_turns(web: WebWorld, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        web.vm(f"vm{number}", UUID(int=number + 1))
    asked = most = 0
    rights, is_open = Grants.rights, Turns.open

    def counted(grants: Grants, console: Subject) -> Right:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        return rights(grants, console)

    def anew(turns: Turns) -> bool:
        nonlocal asked
        asked = 0
        return is_open(turns)

    bob = web.token("bob")
    web.rules(("bob", "spy", "*"))
    monkeypatch.setattr(Grants, "rights", counted)
    monkeypatch.setattr(Turns, "open", anew)
    assert len(web.get("/api/v1/consoles?limit=1000", token=bob).json["items"]) == 202
    assert len(ndjson(web.get("/api/v1/events?limit=1000", token=bob))) >= 200
    assert most <= 64


def test_what_is_hidden_between_two_pages_is_not_shown(web: WebWorld, token: str) -> None:
    bob = web.token("bob")
    first = web.get("/api/v1/consoles?limit=1", token=bob).json
    web.rules(("bob", "see", "db*"))
    assert web.get(f"/api/v1/consoles?limit=1&after={first['next']}", token=bob).json["items"] == []


@pytest.mark.parametrize(
    "path", ["", "/log", "/log?follow=1", "/segments", "/segments/0", "/timeline", "/recording?window=9"]
)
def test_what_is_hidden_while_it_is_looked_at_is_not_shown(web: WebWorld, token: str, path: str) -> None:
    said(web, b"output")
    absent = web.get(f"/api/v1/consoles/{VM_C}", token=web.token("bob"))
    client = web.client()
    with writer_busy(web) as jobs:
        client.say(client.request("GET", f"/api/v1/consoles/{VM_A}{path}", token=web.token("bob")))
        assert jobs
        web.rules(("bob", "see", "db*"))
    got = client.got()
    assert got is not None
    assert (got.status, got.body) == (absent.status, absent.body)


def test_what_has_not_changed_is_not_sent_again(web: WebWorld, token: str) -> None:
    for path in ("/api/v1/consoles", "/api/v1/consoles/web01"):
        got = web.get(path, token=token)
        again = web.get(path, token=token, headers=[("If-None-Match", got.headers["etag"])])
        assert (again.status, again.body) == (304, b"")
        said(web, b"more")
        assert web.get(path, token=token, headers=[("If-None-Match", got.headers["etag"])]).status == 200


# Rights.


OF_CONSOLES = [route for route in ROUTES if route.method == "GET" and "{console}" in route.path and not route.upgrade]


@pytest.mark.parametrize("path", [route.path for route in OF_CONSOLES])
def test_what_is_hidden_is_as_what_is_not_there_byte_for_byte(web: WebWorld, token: str, path: str) -> None:
    web.rules(("alice", "admin", "*"), ("bob", "spy", "web*"))
    bob = web.token("bob")
    rest = path.partition("{console}")[2].replace("{segment}", "0")
    answers = []
    for name in ("db01", "db02", str(VM_B), str(VM_C), f"{VM_B}.1", "db"):
        got = web.get(f"/api/v1/consoles/{name}{rest}", token=bob)
        answers.append((got.status, got.headers, got.body))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 404


@pytest.mark.parametrize("path", ["search?q=x&on=", "events?on=", "alerts?on=", "sessions?on="])
def test_names_of_what_is_hidden_find_as_little_as_names_of_nothing(web: WebWorld, token: str, path: str) -> None:
    web.rules(("alice", "admin", "*"), ("bob", "spy", "web*"))
    bob = web.token("bob")
    hidden, absent = (web.get(f"/api/v1/{path}{name}", token=bob) for name in ("db01", "db02"))
    assert (hidden.status, hidden.headers, hidden.body) == (absent.status, absent.headers, absent.body)
    assert hidden.status == 404


@pytest.mark.parametrize("path", [route.path for route in OF_CONSOLES if route.needs is Needs.SPY])
def test_who_may_only_see_reads_nothing(web: WebWorld, token: str, path: str) -> None:
    said(web, b"secret", "db01")
    rest = path.partition("{console}")[2].replace("{segment}", "0")
    got = web.get(f"/api/v1/consoles/db01{rest}", token=web.token("bob"))
    assert (got.status, got.problem) == (403, "forbidden")
    assert b"secret" not in got.body
