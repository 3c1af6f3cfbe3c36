"""``search``: lines of all logs that one may read, and its bounds."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import fds, result, rotate, run, say
from tests.support.fakes import VM_B
from tests.support.requirements import expressions
from tests.support.ssh import Client, RemoteChannel, SSHWorld
from vmproxy.operators.readings import READINGS_PER_OPERATOR, UNREAD_SECONDS


def lines(channel: RemoteChannel) -> list[str]:
    return [line[22:] for line in channel.out.decode().splitlines()]


@expressions
def test_what_a_search_has_found_is_marked_at_a_terminal(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one Error, two \xff errors, caf\xc3\xa9\r\n")
    for command, shown in (
        ("search -i err", b"one \x1b[1;31mErr\x1b[mor, two \\xff \x1b[1;31merr\x1b[mors"),
        ("search x*", b"one Error, two "),
        ("search 'f. errors|caf.'", b"\x1b[1;31mcaf\xc3\xa9\x1b[m"),
    ):
        channel = w.login().open()
        channel.pty()
        channel.exec(command)
        channel.client.pump()
        assert shown in channel.out
    assert b"\x1b" not in run(w, "search -i err").out


@expressions
def test_search_finds_lines_in_all_logs_the_newest_first(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("db01", uuid=VM_B)
    say(w, b"panic: one\r\nfine\r\n")
    rotate(w)
    say(w, b"panic: two\r\n", "db01")
    say(w, b"Panic: three\r\n")
    channel = run(w, "search panic: web01")
    assert lines(channel) == ["web01: panic: one"]
    assert channel.status == 0
    assert sorted(lines(run(w, "search panic"))) == ["db01: panic: two", "web01: panic: one"]
    assert lines(run(w, "search -i panic web01")) == ["web01: Panic: three", "web01: panic: one"]
    assert lines(run(w, "search -F 'c: o'")) == ["web01: panic: one"]
    assert lines(run(w, "search '^f.ne$'")) == ["web01: fine"]
    assert lines(run(w, "search panic", "alice:db01")) == ["db01: panic: two"]
    assert lines(run(w, "search panic uuid:5028*")) == ["db01: panic: two"]
    found = [json.loads(line) for line in run(w, "search --json three").out.splitlines()]
    assert found == [
        {
            "at": "2023-11-14T22:13:40.000Z",
            "console": "web01",
            "uuid": str(w.console().uuid),
            "port": "1",
            "segment": 0,
            "offset": 0,
            "line": found[0]["line"],
        }
    ]
    assert found[0]["line"].rstrip() == "Panic: three"


@expressions
def test_search_goes_by_time_and_not_console_by_console(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("db01", uuid=VM_B)
    for n in range(6):
        say(w, b"login %d\r\n" % n, "web01" if n % 2 else "db01")
    channel = run(w, "search login -n 4")
    assert lines(channel) == ["web01: login 5", "db01: login 4", "web01: login 3", "db01: login 2"]
    assert b"only the newest 4 are shown" in channel.err
    assert lines(run(w, "search 'login [01]'")) == ["web01: login 1", "db01: login 0"]


def test_search_without_a_hit_is_status_1(w: SSHWorld) -> None:
    w.vm()
    assert result(run(w, "search nothing")) == ("", "nothing found\n", 1)


def test_search_since_a_time_leaves_out_what_is_older_and_that_does_not_count(w: SSHWorld) -> None:
    w.vm()
    for n in range(10):
        say(w, b"x%d\r\n" % n)
    assert lines(run(w, "search x --since 25s")) == ["web01: x9", "web01: x8"]
    channel = run(w, "search x -n 3")
    assert lines(channel) == ["web01: x9", "web01: x8", "web01: x7"]
    assert b"only the newest 3 are shown" in channel.err


def test_hostile_bytes_in_a_hit_do_not_reach_the_terminal(w: SSHWorld) -> None:
    w.vm()
    say(w, b"x\x1b[2J\xff\x07y\r\n")
    channel = run(w, "search x")
    assert channel.out.decode().strip().isprintable()
    assert json.loads(run(w, "search --json x").out)["line"].startswith("x\x1b[2J\\xff\x07y")


def operators(w: SSHWorld, count: int) -> list[Client]:
    """So many operators, logged in."""
    clients = []
    for n in range(count):
        client = w.login()
        client.server.avatar.name = client.server.avatar.user = f"operator{n}"  # type: ignore[attr-defined]  # looked at on purpose
        clients.append(client)
    return clients


def finish(w: SSHWorld, channels: list[RemoteChannel]) -> list[int | None]:
    """Let the disk answer until all is done; :returns: their statuses."""
    w.threads_held = False
    for _ in range(10):
        w.release_threads()
        for channel in channels:
            channel.client.pump()
    return [channel.status for channel in channels]


def test_a_few_search_at_once_and_the_others_wait(w: SSHWorld) -> None:
    w.vm()
    say(w, b"x\r\n")
    clients = operators(w, 5)
    w.threads_held = True
    waiting = [client.run("search x") for client in clients]
    assert w.waiting_for_threads == 3
    waiting[4].close()
    waiting[0].close()
    assert w.waiting_for_threads >= 4  # one more has its turn
    assert finish(w, waiting[1:4]) == [0, 0, 0]


def test_an_operator_searches_once_at_a_time(w: SSHWorld) -> None:
    w.vm()
    say(w, b"x\r\n")
    many, one = operators(w, 2)
    w.threads_held = True
    waiting = [many.run("search x") for _ in range(4)]
    assert w.waiting_for_threads == 1
    waiting.append(one.run("search x"))
    assert w.waiting_for_threads == 2
    assert finish(w, waiting) == [0] * 5


def test_who_does_not_read_what_he_finds_keeps_nobody_from_searching(w: SSHWorld) -> None:
    w.vm()
    for _ in range(100):
        say(w, b"hello world\r\n" * 1000, wait=0)
    *unread, reader = operators(w, 4)
    stalled = [client.run("search -n 10000 hello", window=1000) for client in unread for _ in range(2)]
    assert [channel.status for channel in stalled] == [None] * 6
    assert reader.run("search -n 1 hello").status == 0
    assert stalled[0].client.run("search -n 1 hello").status == 0


@pytest.mark.parametrize("command", ["log web01", "log -t web01", "replay --speed 1000000 web01", "record web01"])
def test_a_reading_that_is_not_read_for_a_minute_is_given_up_where_places_are_scarce(w: SSHWorld, command: str) -> None:
    w.vm()
    for _ in range(40):
        say(w, b"x" * 50_000, wait=0)
    client = w.login()
    before = fds()
    stalled = [client.run(command, window=1000) for _ in range(READINGS_PER_OPERATOR)]
    reader = stalled.pop()
    assert client.run("log web01").status == 9
    for _ in range(3):
        w.clock.advance(UNREAD_SECONDS / 2)
        reader.adjust(1000)
    assert client.run("log -n 0 web01").status == 0
    assert fds() > before  # who reads, however slowly, goes on
    for channel in stalled:
        channel.adjust(10_000_000)
    given_up = [channel for channel in stalled if channel.status == 1]
    assert all(b"ended: the client has read nothing for 60 s" in channel.err for channel in given_up)
    assert len(given_up) == 1  # there is a place then; the others may think on
    assert [channel.status for channel in stalled].count(0) == len(stalled) - 1
    reader.adjust(100_000_000)
    assert reader.status == 0
    assert fds() == before


@pytest.mark.parametrize(("may", "status"), [("see", 10), ("", 3)])
@pytest.mark.parametrize(
    "command",
    [
        "log web01",
        "log -t web01",
        "log -f web01",
        "replay --speed 1000000 web01",
        "replay --speed 1 web01",
        "record web01",
        "search -n 10000 x",
        "search -n 10000 x web01",
        "events -f web01",
        "events -f",
        "expect web01 end --since 1h",
    ],
)
def test_a_reading_ends_when_the_rules_forbid_it(w: SSHWorld, command: str, may: str, status: int) -> None:
    w.vm()
    for n in range(100):
        say(w, b"x" * 50_000 + b"%d\r\n" % n, wait=1)
    say(w, b"the end\r\n")
    w.console().log.event("note", text="the end")
    w.store.flush()
    before = fds()
    client = w.login()
    w.threads_held = command.startswith(("expect", "search"))
    channel = client.run(command, window=1000)
    w.clock.advance(2)
    w.rules(("alice", may, "*"))
    finish(w, [channel])
    seen = channel.out
    w.console().log.event("note", text="the end")
    w.console().feed(b"the end\r\n")
    w.store.flush()
    for _ in range(3):
        w.clock.advance(2)
        channel.adjust(10_000_000)
    assert channel.status == status
    assert b"the end" not in channel.out[len(seen) :]
    assert len(channel.out) < 600_000
    assert (b"no such console" if status == 3 else b"you may no longer") in channel.err or command.endswith("x")
    assert fds() == before


def test_a_search_goes_on_where_one_may_look_still(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    for name in ("web01", "db01"):
        for _ in range(40):
            say(w, b"hello world\r\n" * 1000, name, wait=0)
    channel = run(w, "search -n 10000 hello", window=1000)
    w.rules(("alice", "spy", "db01"))
    seen = len(channel.out)
    channel.adjust(100_000_000)
    assert channel.status == 0
    assert b"db01: hello world" in channel.out[seen:]
