"""Logs through the API: every byte that was asked for, places that stay good, and places among the readings."""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_network
from typing import Any

import pytest

from tests.support.commands import rotate_log
from tests.support.fakes import VM_A, VM_B
from tests.support.web import HANDSHAKE, WebClient, WebWorld
from tests.support.web_reading import said, ssh, stream_events, writer_busy
from vmproxy.console.notices import LineDown, Message
from vmproxy.log.asciicast import MARKERS
from vmproxy.log.plaintext import PlainLines
from vmproxy.operators.readings import READINGS_IN_ALL, READINGS_PER_OPERATOR, READINGS_SCARCE, UNREAD_SECONDS
from vmproxy.web.settings import WebSettings

LOG = "/api/v1/consoles/web01/log"


@pytest.fixture
def token(web: WebWorld) -> str:
    web.vm("web01", VM_A)
    web.rules(("alice bob", "admin", "*"))
    return web.token("alice")


def open_files(web: WebWorld) -> int:
    return web.services.readings.of_operator.total()


def followed(web: WebWorld, token: str, query: str = "", path: str = LOG, **options: Any) -> WebClient:
    client = web.client()
    client.say(client.request("GET", f"{path}?follow=1{query}", token=token, **options))
    return client


def body_of(client: WebClient) -> bytes:
    got = client.got()
    assert got is not None
    return got.body


AS_EVENTS = [("Accept", "text/event-stream")]


# The log.


def test_a_log_is_its_bytes_and_says_where_it_ended(web: WebWorld, token: str) -> None:
    data = bytes(range(256)) * 1000
    said(web, data)
    got = web.get(LOG, token=token)
    assert (got.body, got.headers["content-type"], got.whole) == (data, "application/octet-stream", True)
    said(web, b"more")
    rotate_log(web, web.console_of().log.path, compress=True)
    said(web, b" and more")
    rest = web.get(f"{LOG}?from={got.headers['vmproxy-cursor']}", token=token)
    assert rest.body == b"more and more"
    assert web.get(f"{LOG}?from={rest.headers['vmproxy-cursor']}", token=token).body == b""
    assert [entry["front"] for entry in web.audited("log-read")] == ["api"] * 3
    assert open_files(web) == 0


def test_parts_of_a_log(web: WebWorld, token: str) -> None:
    for number in range(10):
        said(web, b"line %d\r\n" % number, wait=60)
    now = web.clock.seconds()
    assert web.get(f"{LOG}?lines=2", token=token).body == b"line 8\r\nline 9\r\n"
    assert web.get(f"{LOG}?since=3m", token=token).body == b"line 7\r\nline 8\r\nline 9\r\n"
    part = web.get(f"{LOG}?since=@{now - 300:.0f}&until=@{now - 180:.0f}", token=token)
    assert part.body == b"line 5\r\nline 6\r\n"
    rest = web.get(f"{LOG}?from={part.headers['vmproxy-cursor']}", token=token)
    assert rest.body == b"line 7\r\nline 8\r\nline 9\r\n"
    none = web.get(f"{LOG}?until=1h", token=token)
    assert none.body == b""
    assert web.get(f"{LOG}?from={none.headers['vmproxy-cursor']}", token=token).body[:8] == b"line 0\r\n"
    timed = web.get(f"{LOG}?lines=2&format=timed", token=token).body
    assert re.fullmatch(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z line \d\r\n){2}", timed)
    assert timed[-8:] == b"line 9\r\n"
    said(web, b"\x1b[1mbold\x1b[0m\r\nabc\rX\r\nlast")
    assert web.get(f"{LOG}?lines=3&format=text", token=token).body == b"bold\nXbc\nlast\n"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=x", "from"),
        ("since=5m&lines=3", "lines"),
        ("follow=1&until=5m", "until"),
        ("format=other", "format"),
        ("lines=-1", "lines"),
        ("since=whenever", "since"),
    ],
)
def test_what_means_nothing_is_told(web: WebWorld, token: str, query: str, parameter: str) -> None:
    got = web.get(f"{LOG}?{query}", token=token)
    assert (got.problem, [error["parameter"] for error in got.json["errors"]]) == ("bad-request", [parameter])
    assert open_files(web) == 0


def test_a_place_of_another_console_and_one_that_is_gone_are_told(web: WebWorld, token: str) -> None:
    web.vm("db01", VM_B)
    said(web, b"one")
    cursor = web.get(LOG, token=token).headers["vmproxy-cursor"]
    assert web.get(f"/api/v1/consoles/db01/log?from={cursor}", token=token).problem == "bad-request"
    rotate_log(web, web.console_of().log.path)
    said(web, b"two")
    assert web.get(f"{LOG}?from={cursor}", token=token).body == b"two"
    first = web.get(f"{LOG}?lines=0", token=token).headers["vmproxy-cursor"]
    rotate_log(web, web.console_of().log.path)
    said(web, b"three")
    for old in web.console_of().log.path.parent.glob("*.[12]"):
        old.unlink()
    assert web.get(f"{LOG}?from={cursor}", token=token).problem == "gone"
    assert web.get(f"{LOG}?from={first}", token=token).body == b"three"
    assert open_files(web) == 0


def test_a_log_that_cannot_be_read_to_its_end_breaks_off(web: WebWorld, token: str) -> None:
    said(web, b"x" * 300_000)
    rotate_log(web, web.console_of().log.path, compress=True)
    (packed,) = web.console_of().log.path.parent.glob("*.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-30])
    client = web.client()
    client.say(client.request("GET", LOG, token=token))
    got = client.got()
    assert got is not None
    assert not got.whole
    assert client.pipe.aborted
    assert open_files(web) == 0


# What follows.


def test_a_log_is_followed_across_rotation_byte_for_byte(web: WebWorld, token: str) -> None:
    said(web, b"before ")
    client = followed(web, token)
    events = followed(web, token, headers=AS_EVENTS)
    everything = b"before "
    for number in range(30):
        data = b"%d," % number
        said(web, data, wait=0.1)
        everything += data
        if number % 8 == 7:
            rotate_log(web, web.console_of().log.path, compress=number % 16 == 7)
    assert body_of(client) == everything
    told = stream_events(body_of(events))
    assert b"".join(data for _, kind, data in told if kind == "output") == everything
    middle = told[len(told) // 2]
    index = told.index(middle)
    events.leave()
    client.leave()
    again = followed(web, token, headers=[*AS_EVENTS, ("Last-Event-ID", middle[0])])
    said(web, b"at last", wait=0.1)
    rest = b"".join(data for _, kind, data in stream_events(body_of(again)) if kind == "output")
    assert rest == b"".join(data for _, kind, data in told[index + 1 :] if kind == "output") + b"at last"
    again.leave()
    assert web.console_of().watchers == ()
    assert len(web.services.sessions) == 0
    assert open_files(web) == 0


def test_a_place_in_a_log_that_was_removed_is_gone_though_another_has_begun(web: WebWorld, token: str) -> None:
    said(web, b"secrets of before")
    cursor = web.get(LOG, token=token).headers["vmproxy-cursor"]
    console = web.console_of()
    web.lose(console)
    web.directory.forget(console, "alice", remove_log=True)
    web.tick(10)
    web.vm("web01", VM_A)
    said(web, b"and what is said by whoever is here now")
    assert web.get(f"{LOG}?from={cursor}", token=token).problem == "gone"
    assert web.get(f"{LOG.replace('log', 'recording')}?window=10&from={cursor}", token=token).problem == "gone"
    client = web.client()
    attach = f"{LOG.replace('log', 'attach')}?from={cursor}"
    client.say(client.request("GET", attach, token=token, headers=HANDSHAKE))
    assert b'"resumed":false' in client.pipe.sent


def test_who_comes_back_for_more_events_than_there_is_room_for_is_told(web: WebWorld, token: str) -> None:
    log, path = web.console_of().log, "/api/v1/events"

    def noted(first: int, behind: int) -> None:
        for number in range(first, behind):
            log.event("note", n=number)
            web.clock.advance(0.01)
        web.store.flush()

    def numbers(told: list[tuple[str, str, Any]]) -> list[int]:
        return [fields["n"] for _, kind, fields in told if kind == "event" and fields["event"] == "note"]

    def again(query: str = "") -> list[tuple[str, str, Any]]:
        headers = [*AS_EVENTS, ("Last-Event-ID", last)]
        return stream_events(web.get(path + query, token=token, headers=headers).body)

    noted(0, 5)
    told = stream_events(web.get(f"{path}?limit=2", token=token, headers=AS_EVENTS).body)
    assert numbers(told) == [3, 4]
    last = told[-1][0]
    noted(5, 1004)
    for query in ("", "?limit=2"):
        assert numbers(again(query)) == [*range(5, 1004)]
    noted(1004, 1006)
    told = again()
    assert told[0][1:] == ("skipped", {"events": None})
    assert numbers(told) == [*range(6, 1006)]


@pytest.mark.parametrize("how", ["logout", "idle", "revoked", "revoked elsewhere", "removed"])
@pytest.mark.parametrize("path", [LOG, "/api/v1/events"])
def test_what_is_followed_ends_with_the_login(web: WebWorld, token: str, how: str, path: str) -> None:
    other = web.token("bob")
    cookie = web.login() if how in ("logout", "idle") else ""
    client = followed(web, "" if cookie else token, path=path, cookie=cookie)
    said(web, b"before")
    web.console_of().log.event("note", who="bob", text="before")
    web.store.flush()
    web.tick(3)
    before = body_of(client)
    assert b"before" in before
    if how == "logout":
        assert web.delete("/api/v1/session", cookie=cookie).status == 204
    elif how == "idle":
        web.tick(web.web.settings.session_idle)
    elif how == "removed":
        web.use_operators("[operators.bob]\n")
        assert web.get("/api/v1/whoami", token=other).status == 200
    else:
        web.tokens.file.revoke(lambda one: one.operator == "alice")
        web.tick(60)
        if how == "revoked":
            assert web.get("/api/v1/whoami", token=token).status == 401
    said(web, b"secret")
    web.console_of().log.event("note", who="bob", text="secret")
    web.store.flush()
    web.tick(30)
    assert client.pipe.aborted
    assert b"secret" not in bytes(client.pipe.sent)
    assert len(web.services.sessions) == 0
    assert open_files(web) == 0


def test_text_that_is_followed_does_not_wait_for_ever_for_the_end_of_a_line(web: WebWorld, token: str) -> None:
    client = followed(web, token, "&format=text")
    said(web, b"login: ", wait=0.1)
    assert body_of(client) == b""
    web.tick(2)
    web.tick(2)
    assert body_of(client) == b"login: \n"


def test_text_that_is_followed_is_painted_in_portions(
    web: WebWorld, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    feed = PlainLines.feed

    def noted(lines: PlainLines, data: bytes, at: float) -> list[bytes]:
        sizes.append(len(data))
        return list(feed(lines, data, at))

    client = followed(web, token, "&format=text")
    monkeypatch.setattr(PlainLines, "feed", noted)
    said(web, b"\x1b[2;3Hab\x1b[5Ac\n" * 4000, wait=0.1)
    web.tick(0.1)
    assert sum(sizes) == 4000 * 14
    assert max(sizes) <= 4096
    assert body_of(client).count(b"c") == 4000


def test_notices_and_what_was_not_recorded_are_events(web: WebWorld, token: str) -> None:
    client = followed(web, token, headers=AS_EVENTS)
    said(web, b"one", wait=0.1)
    web.console_of().log.gap(1000, "test")
    said(web, b"two", wait=0.1)
    web.console_of().viewers.tell(LineDown("cable", web.clock.seconds()))
    web.console_of().viewers.tell(Message("bob@10.1.2.8", "hello"))
    web.tick(0.1)
    told = stream_events(body_of(client))
    assert [(kind, data if kind == "output" else data["event"]) for _, kind, data in told] == [
        ("output", b"one"),
        ("notice", "missing"),
        ("output", b"two"),
        ("notice", "line-down"),
        ("notice", "message"),
    ]
    assert told[4][2]["message"] == "hello"
    assert told[1][2]["bytes"] == 1000
    assert told[3][2]["reason"] == "cable"
    assert "cable" in told[3][2]["text"]
    web.tick(30)
    assert body_of(client).endswith(b":\n\n")
    again = web.get(LOG, token=token, headers=AS_EVENTS)
    past = stream_events(again.body)
    assert [(kind, data if kind == "output" else data["bytes"]) for _, kind, data in past][-2:] == [
        ("notice", 1000),
        ("output", b"two"),
    ]


def test_who_may_not_read_any_more_gets_nothing_more(web: WebWorld, token: str) -> None:
    client = followed(web, token)
    said(web, b"one", wait=0.1)
    web.rules(("alice", "see", "*"))
    said(web, b"secret", wait=0.1)
    web.tick(1)
    assert b"secret" not in bytes(client.pipe.sent)
    assert client.pipe.aborted
    assert web.console_of().watchers == ()


def test_who_is_disconnected_is_told_and_the_answer_ends(web: WebWorld, token: str) -> None:
    client = followed(web, token, headers=AS_EVENTS)
    viewer = web.console_of().watchers[0]
    web.console_of().viewers.kick(viewer, "bob@10.1.2.8", "lunch")
    web.tick(0.1)
    got = client.got()
    assert got is not None
    assert got.whole
    assert stream_events(got.body)[-1][2]["event"] == "kicked"


@pytest.mark.parametrize("leaves", ["after the head", "in the past", "before the log is opened", "while it looks"])
def test_who_leaves_before_anything_follows_leaves_no_file_open(web: WebWorld, token: str, leaves: str) -> None:
    said(web, b"z" * 1_000_000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        client = web.client()
        client.pipe.slow = True
        request = client.request("HEAD" if "head" in leaves else "GET", f"{LOG}?follow=1", token=token)
        if leaves in ("after the head", "in the past"):
            client.say(request)
            client.leave()
            continue
        with writer_busy(web) as jobs:
            client.say(request)
            if leaves == "while it looks":
                jobs.pop(0)()  # opens the log
                web.settle()
            assert jobs
            client.leave()
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(web.services.sessions) == open_files(web) == 0


def test_a_client_that_reads_nothing_holds_one_block(web: WebWorld, token: str) -> None:
    client = followed(web, token)
    client.pipe.slow = True
    for _ in range(20):
        said(web, b"y" * 100_000, wait=0.1)
    held = len(client.pipe.sent)
    assert held < 300_000
    client.pipe.slow = False
    for _ in range(100):
        client.pipe.drain()
        web.tick(0.1)
    assert len(body_of(client)) == 2_000_000


# Places.


def test_readings_take_their_places_with_those_of_ssh(web: WebWorld, token: str) -> None:
    said(web, b"z" * 1_000_000)
    clients = []
    for _ in range(READINGS_PER_OPERATOR):
        client = web.client()
        client.pipe.slow = True
        client.say(client.request("GET", LOG, token=token))
        clients.append(client)
    assert open_files(web) == READINGS_PER_OPERATOR
    refused = web.get(LOG, token=token)
    assert (refused.problem, refused.headers["retry-after"]) == ("too-many", "5")
    for path in ("segments", "segments/0", "timeline", "recording", "recording?window=100"):
        assert web.get(f"/api/v1/consoles/web01/{path}", token=token).problem == "too-many"
    out, status = ssh(web, "log web01")
    assert (b"too many logs" in out, status) == (True, 9)
    clients.pop().leave()
    assert web.get(f"{LOG}?lines=1", token=token).status == 200
    # Nobody reads for a minute, and places are scarce.
    web.services.readings.of_operator["bob"] += READINGS_SCARCE
    web.tick(UNREAD_SECONDS + 1)
    web.services.readings.of_operator["bob"] -= READINGS_SCARCE
    assert open_files(web) == 0
    for client in clients:
        client.pipe.drain()
        web.settle()
        assert client.pipe.aborted
    assert READINGS_IN_ALL > READINGS_SCARCE


# Files.


def test_the_files_of_a_log_and_parts_of_them(web: WebWorld, token: str) -> None:
    said(web, b"first " * 1000)
    rotate_log(web, web.console_of().log.path, compress=True)
    said(web, b"second")
    items = web.get("/api/v1/consoles/web01/segments", token=token).json["items"]
    assert [(item["segment"], item["size"], item["compressed"]) for item in items] == [(0, 6, False), (1, 6000, True)]
    assert items[1]["from"] < items[1]["to"] <= items[0]["from"]
    path = "/api/v1/consoles/web01/segments"
    assert web.get(f"{LOG}?from={items[0]['cursor']}", token=token).body == b"second"
    got = web.get(f"{path}/1", token=token)
    assert (got.body, got.headers["content-length"]) == (b"first " * 1000, "6000")
    assert got.headers["content-disposition"] == 'attachment; filename="web01.log.1"'
    for wanted, part, shown in (
        ("bytes=0-4", b"first", "0-4"),
        ("bytes=5994-", b"first ", "5994-5999"),
        ("bytes=-3", b"st ", "5997-5999"),
        ("bytes=5999-99999", b" ", "5999-5999"),
    ):
        one = web.get(f"{path}/1", token=token, headers=[("Range", wanted)])
        assert (one.status, one.body, one.headers["content-range"]) == (206, part, f"bytes {shown}/6000")
    for wanted in ("bytes=6000-", "bytes=-0"):
        one = web.get(f"{path}/1", token=token, headers=[("Range", wanted)])
        assert (one.status, one.problem, one.headers["content-range"]) == (416, "bad-range", "bytes */6000")
    for wanted in ("bytes=5-4", "lines=1-2", "bytes=0-1,3-4", "bytes=-"):
        assert web.get(f"{path}/1", token=token, headers=[("Range", wanted)]).status == 200
    etag = got.headers["etag"]
    assert web.get(f"{path}/1", token=token, headers=[("If-None-Match", etag)]).status == 304
    other = web.get(f"{path}/1", token=token, headers=[("Range", "bytes=0-1"), ("If-Range", '"other"')])
    assert (other.status, len(other.body)) == (200, 6000)
    for number in ("2", "-1", "x", "9999"):
        assert web.get(f"{path}/{number}", token=token).problem == "not-found"
    assert web.get(f"{path}/0", token=token).body == b"second"
    assert open_files(web) == 0


# By time.


def test_a_timeline_has_every_byte_once(web: WebWorld, token: str) -> None:
    link = web.console_of().link
    for number in range(50):
        said(web, b"x" * (number + 1), wait=10)
        if number == 20:
            rotate_log(web, web.console_of().log.path, compress=True)
    assert link is not None
    web.lose(web.console_of())
    web.tick(10)
    path = "/api/v1/consoles/web01/timeline"
    now = web.clock.seconds()
    got = web.get(f"{path}?buckets=10&until=@{now:.0f}", token=token).json
    assert (len(got["buckets"]), sum(got["buckets"]), got["bytes"]) == (10, 1275, 1275)
    assert got["since"] <= got["first"] < got["last"] <= got["until"]
    assert got["buckets"] == sorted(got["buckets"][:-1]) + got["buckets"][-1:]
    assert got["buckets"][0]
    whole = web.get(f"{path}?since=1h&until=@{now:.0f}", token=token).json
    assert [(one["event"], one["label"]) for one in whole["markers"]] == [(k, MARKERS[k]) for k in ("up", "down")]
    later = web.get(f"{path}?since=@{now - 110:.0f}&until=@{now:.0f}", token=token).json
    assert sum(later["buckets"]) == sum(range(41, 51))
    assert web.get(f"{path}?since=5m&until=6m", token=token).problem == "bad-request"
    web.vm("db01", VM_B)
    empty = web.get("/api/v1/consoles/db01/timeline", token=token).json
    assert (empty["bytes"], empty["first"], empty["last"]) == (0, None, None)


def cast(body: bytes) -> tuple[dict[str, Any], list[Any]]:
    header, *lines = map(json.loads, body.splitlines())
    return header, lines


def test_a_recording_is_that_of_ssh(web: WebWorld, token: str) -> None:
    for number in range(5):
        said(web, b"line %d\r\n" % number, wait=10)
    for query, words in (
        ("", ""),
        ("?width=100&height=30", " --width 100 --height 30"),
        ("?since=20s", " --since 20s"),
    ):
        got = web.get(f"/api/v1/consoles/web01/recording{query}", token=token)
        assert got.body == ssh(web, f"record web01{words}")[0]


def test_a_window_has_so_many_pieces(web: WebWorld, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmproxy.log.cast_window.PIECES", 5)
    for number in range(3):
        for _ in range(10):
            web.lose(web.console_of())
            web.vm()
        for letter in b"abcdefg":
            said(web, bytes((letter + number,)), wait=1)
    path, text, sizes = "/api/v1/consoles/web01/recording?window=50", "", []
    while path:
        got = web.get(path, token=token)
        lines = cast(got.body)[1]
        sizes.append(len(lines))
        text += "".join(line[2] for line in lines[bool(text) :] if line[1] == "o")
        path = got.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert text == "abcdefgbcdefghcdefghi"
    assert max(sizes) <= 5 + 1


def test_windows_of_a_recording_are_the_whole_of_it(web: WebWorld, token: str) -> None:
    for number in range(40):
        said(web, b"line %02d\r\n" % number, wait=1)
        if number == 15:
            web.lose(web.console_of())
            web.vm()
        if number == 20:
            rotate_log(web, web.console_of().log.path, compress=True)
    first, whole = cast(web.get("/api/v1/consoles/web01/recording", token=token).body)
    said_before, marks, number = "", 0, 0
    times: list[list[float]] = []
    path = "/api/v1/consoles/web01/recording?window=50"
    while path:
        got = web.get(path, token=token)
        header, lines = cast(got.body)
        assert header["version"] == 2
        times.append([header["vmproxy"]["start"] + line[0] for line in lines if line[1] == "o"])
        assert header["vmproxy"]["lead"] == bool(number)
        if number:
            times[-1].pop(0)
            lead = lines.pop(0)
            assert lead[:2] == [0.0, "o"]
            assert said_before.endswith(lead[2])
        text = "".join(line[2] for line in lines if line[1] == "o")
        marks += sum(line[1] == "m" for line in lines)
        assert 0 < len(text) <= 50
        said_before += text
        link = got.headers.get("link", "")
        path = link.partition("<")[2].partition(">")[0]
        assert not link or link.endswith('; rel="next"')
        number += 1
    assert number == 8
    came = {round(first["vmproxy"]["start"] + line[0], 3) for line in whole if line[1] == "o"}
    assert {round(at, 3) for one in times for at in one} == came
    assert said_before == "".join(line[2] for line in whole if line[1] == "o")
    assert marks == sum(line[1] == "m" for line in whole)


# For OpenStack.


def test_the_end_of_a_log_is_for_the_networks_that_may_ask(web: WebWorld, token: str) -> None:
    said(web, b"a" * 150_000 + b"end")
    hidden = web.get(f"/console_log/{VM_A}")
    assert hidden.status == 404
    web.front.reconfigure(WebSettings(listen=("tcp:8080",), console_log_from=(ip_network("10.1.2.0/24"),)))
    for form in (str(VM_A), VM_A.hex, str(VM_A).upper()):
        got = web.get(f"/console_log/{form}")
        assert (got.status, got.body) == (200, b"a" * (102_400 - 3) + b"end")
    absent = web.get(f"/console_log/{VM_B}")
    assert (absent.status, absent.body) == (hidden.status, hidden.body)
    assert web.get("/console_log/web01").status == 404
    rotate_log(web, web.console_of().log.path, compress=True)
    said(web, b"more")
    assert web.get(f"/console_log/{VM_A}").body[-7:] == b"endmore"
    client = web.client("10.9.9.9")
    assert client.ask("GET", f"/console_log/{VM_A}").status == 404
    assert open_files(web) == 0


def test_who_does_not_wait_for_the_end_of_a_log_leaves_no_file_open(web: WebWorld, token: str) -> None:
    said(web, b"end")
    web.front.reconfigure(WebSettings(listen=("tcp:8080",), console_log_from=(ip_network("10.1.2.0/24"),)))
    before = len(os.listdir("/proc/self/fd"))
    client = web.client()
    with writer_busy(web) as jobs:
        client.say(client.request("GET", f"/console_log/{VM_A}"))
        client.leave()
        assert jobs
    assert len(os.listdir("/proc/self/fd")) == before
    assert open_files(web) == 0
