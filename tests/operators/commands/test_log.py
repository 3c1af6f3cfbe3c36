"""``log`` by time, ``search``, ``events``, ``replay``, ``record``: what has been said, and how reading it ends."""

from __future__ import annotations

import gzip
import json
import os
from uuid import UUID

import pytest

from tests.support.fakes import VM_B, FakeViewer, Logged
from tests.support.requirements import expressions
from tests.support.ssh import Client, RemoteChannel, SSHWorld
from vmproxy.operators.commands import context, events
from vmproxy.operators.commands.log import REST_SECONDS
from vmproxy.operators.commands.log_reading import READINGS_PER_OPERATOR, UNREAD_SECONDS
from vmproxy.operators.commands.watcher import QUEUE_LIMIT


def run(w: SSHWorld, command: str, user: str = "alice", **options: int) -> RemoteChannel:
    return w.login(user).run(command, **options)


def result(channel: RemoteChannel) -> tuple[str, str, int | None]:
    return channel.out.decode(), channel.err.decode(), channel.status


def say(w: SSHWorld, data: bytes, name: str = "web01", wait: float = 10) -> None:
    """A VM says something, and time goes by."""
    w.console(name).feed(data)
    w.store.flush()
    w.clock.advance(wait)


def rotate(w: SSHWorld, name: str = "web01", compress: bool = False) -> None:
    """What rotation does to a log and its trail."""
    w.store.flush()
    path = w.console(name).log.path
    for live in (path, path.with_name(path.name + ".events")):
        for number in range(9, 0, -1):
            for suffix in ("", ".gz"):
                old = live.with_name(f"{live.name}.{number}{suffix}")
                if old.exists():
                    old.rename(live.with_name(f"{live.name}.{number + 1}{suffix}"))
        if live.exists():
            first = live.with_name(f"{live.name}.1")
            live.rename(first)
            if compress:
                packed = live.with_name(f"{live.name}.1.gz")
                packed.write_bytes(gzip.compress(first.read_bytes()))
                os.utime(packed, (w.clock.seconds(),) * 2)
                first.unlink()
    w.store.reopen()


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


# log


def test_a_log_is_read_across_its_rotated_files(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\n")
    rotate(w, compress=True)
    say(w, b"two\r\nthr")
    rotate(w)
    say(w, b"ee\r\n")
    assert result(run(w, "log web01")) == ("one\r\ntwo\r\nthree\r\n", "", 0)
    assert run(w, "log web01 -n 2").out == b"two\r\nthree\r\n"
    assert run(w, "log web01 -n 1").out == b"three\r\n"


def test_a_part_of_a_log_by_time(w: SSHWorld) -> None:
    w.vm()
    for n in range(10):
        say(w, b"%d\r\n" % n)
        if n == 4:
            rotate(w)
    assert run(w, "log web01 --since 35s").out == b"7\r\n8\r\n9\r\n"
    assert run(w, "log web01 --since 55s --until 35s").out == b"5\r\n6\r\n"
    assert run(w, "log web01 --until 2023-11-14T22:13:35Z").out == b"0\r\n1\r\n"
    assert result(run(w, "log web01 --since now")) == ("", "", 0)


def test_timestamps_stand_in_front_of_each_line(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\ntw")
    say(w, b"o\r\nthree")
    lines = run(w, "log web01 -t").out.decode().splitlines()
    assert [line[25:] for line in lines] == ["one", "two", "three"]
    assert [line[17:23] for line in lines] == ["20.000", "20.000", "30.000"]
    assert run(w, "log web01 -t -n 1").out.decode().splitlines() == lines[-1:]
    assert run(w, "log web01 -t -n 0").out == b""


def test_text_is_what_a_terminal_shows(w: SSHWorld) -> None:
    w.vm()
    say(w, b"\x1b[31mred\x1b[m\r\n$ ls foo\b\b\bx")
    say(w, b"foo\r\n\xff \x1b[6nlogin: ")
    text = b"red\n$ ls xfoo\n\\xff login: \n"
    assert result(run(w, "log web01 --text")) == (text.decode(), "", 0)
    assert run(w, "log web01 --text -n 2").out == b"$ ls xfoo\n\\xff login: \n"
    assert run(w, "log web01 --text --since 15s").out == b"foo\n\\xff login: \n"
    stamped = run(w, "log web01 --text -t").out.decode().splitlines()
    assert [(line[17:23], line[25:]) for line in stamped] == [
        ("20.000", "red"),
        ("20.000", "$ ls xfoo"),
        ("30.000", "\\xff login: "),
    ]
    say(w, b"\r\n\x1b[2;1HBoot Manager\x1b[1;1HContinue\r\n")
    assert run(w, "log web01 --text -n 2").out == b"Continue\nBoot Manager\n"


def test_text_that_is_followed_waits_a_moment_for_the_end_of_a_line(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\n\x1b[1mtw")
    channel = run(w, "log -f --text web01")
    assert channel.out == b"one\n"
    w.console().feed(b"o\r\nlogin: ")
    channel.client.pump()
    assert channel.out == b"one\ntwo\n"
    w.clock.advance(REST_SECONDS)
    channel.client.pump()
    assert channel.out == b"one\ntwo\nlogin: \n"
    w.console().feed(b"root\r\n$ ")
    channel.client.pump()
    assert channel.out == b"one\ntwo\nlogin: \nroot\n"
    channel.close()
    w.clock.advance(REST_SECONDS)


def test_at_a_terminal_what_comes_behind_a_log_is_on_a_line_of_its_own(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\n\x1b[6nlogin: ")
    for options, shown in (
        ("", b"one\r\nlogin: \r\n"),
        ("--text", b"one\r\nlogin: \r\n"),
        ("--raw", b"one\r\n\x1b[6nlogin: \r\n"),
    ):
        channel = w.login().open()
        channel.pty()
        channel.exec(f"log web01 {options}")
        channel.client.pump()
        assert channel.out == shown


def test_a_follower_joins_the_log_without_a_byte_missing_or_doubled(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\ntw")
    w.runner.held = True
    channel = run(w, "log -f web01 --since 1h")
    w.console().feed(b"o\r\nthree\r\n")
    w.store.flush()
    w.runner.release()
    channel.client.pump()
    w.console().feed(b"four\r\n")
    channel.client.pump()
    assert channel.out == b"one\r\ntwo\r\nthree\r\nfour\r\n"


def test_a_followers_timestamps_go_on_from_the_log(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\ntw")
    channel = run(w, "log -f -t web01")
    w.console().feed(b"o\r\nthree")
    channel.client.pump()
    assert [line[25:] for line in channel.out.decode().splitlines()] == ["one", "two", "three"]


def test_a_follower_who_does_not_read_is_bounded_and_told_what_he_missed(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "log -f web01", window=1000)
    for _ in range(50):
        w.console().feed(b"x" * 100_000)
        channel.client.pump()
    (viewer,) = w.console().viewers.all
    assert viewer.skipped > 5_000_000 - QUEUE_LIMIT - 400_000
    for _ in range(20):
        channel.adjust(1_000_000)
    assert f"[-- {viewer.skipped} bytes skipped".encode() in channel.err
    assert len(channel.out) == 5_000_000 - viewer.skipped


def test_a_follower_is_told_what_a_reader_must_know_and_can_be_sent_off(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "log -f web01")
    w.console().log_failed("No space left on device")
    channel.client.pump()
    assert b"NOT being recorded" in channel.err
    w.console().viewers.kick(w.console().viewers.all[0], "root@10.0.0.1", "enough")
    channel.client.pump()
    assert channel.status == 7
    assert b"disconnected by root@10.0.0.1: enough" in channel.err
    assert w.console().viewers.all == ()


def test_a_reading_that_nobody_needs_the_place_of_may_take_its_time(w: SSHWorld) -> None:
    w.vm()
    for _ in range(40):
        say(w, b"x" * 50_000, wait=0)
    channel = w.login().run("log web01", window=1000)  # | less
    w.clock.advance(100 * UNREAD_SECONDS)
    channel.adjust(10_000_000)
    assert channel.status == 0
    assert len(channel.out) == 40 * 50_000


@pytest.mark.parametrize(("may", "status"), [("see", 10), ("", 3)])
def test_a_follower_leaves_when_the_rules_say_so(w: SSHWorld, may: str, status: int) -> None:
    w.vm()
    channel = run(w, "log -f web01")
    w.rules(("alice", may, "*"))
    channel.client.pump()
    assert channel.status == status
    assert w.console().viewers.all == ()
    w.console().feed(b"secret")
    channel.client.pump()
    assert channel.out == b""


def test_reading_a_log_is_audited_once(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\n")
    run(w, "log -f web01")
    run(w, "replay web01")
    run(w, "record web01")
    w.store.flush()
    assert [(e["event"], e["who"], e["console"]) for e in w.audited("log-read")] == [("log-read", "alice", "web01")] * 3


def test_only_so_many_logs_are_open_at_once(w: SSHWorld) -> None:
    w.vm()
    for _ in range(40):
        say(w, b"x" * 50_000, wait=0)
    client = w.login()
    before = fds()
    stalled = [client.run("log web01", window=1000) for _ in range(READINGS_PER_OPERATOR)]
    refused = client.run("log web01")
    assert refused.status == 9
    assert b"too many logs" in refused.err
    stalled.pop().close()
    assert len(client.run("log web01").out) == 2_000_000
    for channel in stalled:
        channel.close()
    assert fds() == before


def test_who_leaves_while_the_disk_is_slow_leaves_nothing_open(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    say(w, b"x" * 200_000)
    before = fds()
    for command in (
        "log web01",
        "log -f web01",
        "search x",
        "replay web01",
        "record web01",
        "expect web01 y --since 1h",
    ):
        for held in ("writer", "threads"):
            client = w.login()
            w.runner.held, w.threads_held = held == "writer", held == "threads"
            channel = client.run(command)
            channel.close()
            assert w.console().viewers.all == ()
            w.runner.release()
            w.threads_held = False
            w.release_threads()
            client.tcp.closed()
    assert fds() == before
    assert not logged.tracebacks


@pytest.mark.parametrize("command", ["log -f web01", "replay web01", "events -f web01", "expect web01 nothing"])
def test_control_c_at_a_terminal_ends_a_command_at_once(w: SSHWorld, command: str) -> None:
    w.vm()
    say(w, b"one\r\n")
    say(w, b"two\r\n")
    client = w.login()
    channel = client.attach(command)
    assert channel.status is None
    channel.type(b"\x03")
    assert channel.status == 130
    assert w.console().viewers.all == ()


# search


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


# events


def kinds(channel: RemoteChannel) -> list[str]:
    return [line.split("  ")[2] for line in channel.out.decode().splitlines()]


def test_events_of_one_console_and_of_all(w: SSHWorld) -> None:
    link = w.vm()
    w.clock.advance(5)
    w.vm("db01", uuid=VM_B)
    w.clock.advance(5)
    w.directory.lost(w.console(), link, "gone")
    channel = run(w, "events web01")
    assert kinds(channel) == ["up", "name", "down"]
    assert "reason=gone" in channel.out.decode().splitlines()[-1]
    everything = [json.loads(line) for line in run(w, "events --json").out.splitlines()]
    assert [(e["console"], e["event"]) for e in everything if e["event"] in ("up", "down")] == [
        ("web01", "up"),
        ("db01", "up"),
        ("web01", "down"),
    ]
    assert everything[-1]["uuid"] == str(w.console().uuid)
    assert kinds(run(w, "events -n 1")) == ["down"]
    assert kinds(run(w, "events -n 0")) == []
    assert kinds(run(w, "events --since 3s")) == ["down"]
    assert kinds(run(w, "events -n 1", "alice:db01")) == ["name"]


def test_the_last_events_are_found_behind_many_time_marks_and_in_rotated_trails(w: SSHWorld) -> None:
    w.vm()
    w.console().log.event("note", text="first")
    rotate(w, compress=True)
    w.console().log.event("note", text="second")
    for _ in range(3000):
        say(w, b"x", wait=2)
    w.console().log.event("note", text="third")
    out = run(w, "events -n 3 web01").out.decode()
    assert [line.rpartition("=")[2] for line in out.splitlines()] == ["first", "second", "third"]


def test_events_are_followed_across_a_rotation(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    client = w.login()
    channel = client.run("events -f -n 0 --json")
    said: list[str] = []
    for n in range(30):
        w.console("web01" if n % 3 else "db01").log.event("note", text=str(n))
        w.store.flush()
        said.append(str(n))
        if n % 7 == 6:
            rotate(w)
        w.clock.advance(1.0)
        client.pump()
    told = [json.loads(line) for line in channel.out.splitlines()]
    assert [e["text"] for e in told if e["event"] == "note"] == said
    assert all(e["console"] in ("web01", "db01") for e in told)


def test_events_that_happen_while_the_last_ones_are_read_are_shown_once(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    w.threads_held = True
    channel = client.run("events -f")
    w.console().log.event("note", text="meanwhile")
    w.store.flush()
    w.threads_held = False
    w.release_threads()
    for _ in range(3):
        w.clock.advance(1.0)
        client.pump()
    assert kinds(channel).count("note") == 1
    assert kinds(channel).count("up") == 1


def test_a_follower_of_events_who_does_not_read_is_told_how_many_it_missed(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUE_LIMIT", 1000)
    w.vm()
    client = w.login()
    channel = client.run("events -f -n 0")
    for n in range(50):
        w.console().log.event("note", text=str(n))
    w.store.flush()
    w.clock.advance(1.0)
    client.pump()
    shown = kinds(channel).count("note")
    assert 5 < shown < 50
    assert f"[-- {50 - shown} events skipped: your connection is too slow --]" in channel.err.decode()


def test_events_of_a_hidden_console_neither_count_nor_keep_a_follower_from_its_own(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUE_LIMIT", 1000)
    w.vm()
    w.vm("db01", uuid=VM_B)
    w.rules(("alice", "spy", "web01"))
    client = w.login()
    channel = client.run("events -f -n 0")
    for n in range(50):
        w.console("db01").log.event("note", text=str(n))
    w.store.flush()
    w.console().log.event("note", text="mine")
    w.store.flush()
    w.clock.advance(1.0)
    client.pump()
    assert "text=mine" in channel.out.decode()
    assert b"skipped" not in channel.err


def test_events_of_a_console_that_was_not_asked_for_cost_one_look_at_all_consoles(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    looks: list[None] = []
    chosen = context.chosen_or_own
    monkeypatch.setattr(events, "chosen_or_own", lambda *args: (looks.append(None), chosen(*args))[1])
    client = w.login()
    channel = client.run("events -f -n 0 web01")
    for n in range(5):
        w.console("db01").log.event("note", text=str(n))
        w.console().log.event("note", text=f"mine {n}")
        w.store.flush()
        w.clock.advance(1.0)
        client.pump()
    assert len(looks) == 2
    assert kinds(channel).count("note") == 5


def test_a_console_that_appears_while_events_are_followed_is_followed_too(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    channel = client.run("events -f")
    w.vm("db01", uuid=VM_B)
    for _ in range(12):
        w.clock.advance(1.0)
        client.pump()
    assert "  db01  up" in channel.out.decode()
    w.rules(("alice", "admin", "web01"))
    channel.clear()
    w.console("db01").log.event("note", text="secret")
    for _ in range(12):
        w.clock.advance(1.0)
        client.pump()
    assert b"secret" not in channel.out


def test_a_hostile_trail_costs_only_its_own_lines(w: SSHWorld) -> None:
    w.vm()
    w.store.flush()
    path = w.console().log.path
    trail = path.with_name(path.name + ".events")
    with trail.open("ab") as file:
        file.write(
            b'{"at":5,"event":"x"}\n[[[[\n\xff\n{"at":"2023-11-14T22:13:21.000Z","event":["x"]}\n' + b"[" * 100_000
        )
        file.write(b'\n{"at":"2023-11-14T22:13:21.000Z","offset":0,"event":"no\\u001b[2Jte","k\\u0007":"v\\n"}\n')
    out, err, status = result(run(w, "events web01 -n 1"))
    assert out.endswith("  web01  no\\x1b[2Jte  k\\x07=v\\x0a\n")
    assert (err, status) == ("", 0)


def test_events_of_hundreds_of_consoles(w: SSHWorld) -> None:
    for n in range(300):
        w.vm(f"vm{n}", uuid=UUID(int=n + 1))
    channel = run(w, "events -n 1000 --json")
    channel.client.pump()
    assert len({json.loads(line)["console"] for line in channel.out.splitlines()}) == 300


# replay and record


def test_a_replay_comes_at_the_pace_at_which_it_was_said(w: SSHWorld) -> None:
    w.vm()
    for n in range(4):
        say(w, b"%d\r\n" % n, wait=1.5)
    say(w, b"late\r\n", wait=1000)
    say(w, b"end\r\n")
    client = w.login()
    channel = client.run("replay web01 --speed 1")
    seen = []
    for _ in range(7):
        seen.append(channel.out)
        w.clock.advance(1.5)
        client.pump()
    assert seen[0] == b"0\r\n"
    assert seen[3] == b"0\r\n1\r\n2\r\n3\r\n"
    w.clock.advance(2)
    client.pump()
    assert channel.out.endswith(b"late\r\nend\r\n")
    assert (channel.err, channel.status) == (b"", 0)


def test_a_fast_replay_of_a_part(w: SSHWorld) -> None:
    w.vm()
    for n in range(10):
        say(w, b"%d\r\n" % n)
    client = w.login()
    channel = client.run("replay web01 --since 35s --until 15s --speed 1000000")
    assert (channel.out, channel.status) == (b"7\r\n8\r\n", 0)
    screen = client.attach("replay web01 --speed 1000000")
    assert b"[-- replay of web01; ^C ends it --]" in screen.screen
    assert b"[-- end of the replay --]" in screen.screen


def test_a_recording_is_an_asciicast_of_what_was_said(w: SSHWorld) -> None:
    w.vm()
    say(w, "grün".encode()[:3])
    say(w, "grün".encode()[3:] + b"\x1b[2J\r\n")
    channel = run(w, "record web01 --width 100 --height 30")
    header, *rest = map(json.loads, channel.out.splitlines())
    assert (header["version"], header["width"], header["height"], header["title"]) == (2, 100, 30, "web01")
    assert "".join(data for _, kind, data in rest if kind == "o") == "grün\x1b[2J\r\n"
    assert channel.status == 0


def test_a_reader_who_takes_little_makes_little(w: SSHWorld) -> None:
    w.vm()
    for _ in range(100):
        say(w, b"x" * 60_000 + b"\r\n", wait=0)
    for command in ("log -t web01", "record web01", "log --since 1h web01", "replay --speed 1000 web01"):
        client = w.login()
        channel = client.run(command, window=50_000)
        assert channel.session.queued < 500_000
        channel.close()


def test_what_cannot_be_read_is_told_and_the_rest_is_printed(w: SSHWorld) -> None:
    w.vm()
    say(w, b"one\r\n" * 1000)
    rotate(w, compress=True)
    say(w, b"two\r\n")
    path = w.console().log.path
    packed = path.with_name(path.name + ".1.gz")
    packed.write_bytes(packed.read_bytes()[:20])
    out, err, status = result(run(w, "log web01"))
    assert out.endswith("two\r\n")
    assert packed.name in err
    assert status == 1


def test_viewers_see_a_follower(w: SSHWorld) -> None:
    w.vm()
    bob = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(bob, write=True)
    client: Client = w.login()
    client.run("log -f web01")
    assert "alice@10.1.2.9" in client.run("who").out.decode()
