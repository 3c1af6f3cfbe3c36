"""``log``, ``replay`` and ``record``: the past of a console."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import fds, result, rotate, run, say
from tests.support.fakes import FakeViewer, Logged
from tests.support.ssh import Client, RemoteChannel, SSHWorld
from vmproxy.base.turns import SPAN
from vmproxy.log.plaintext import PlainLines
from vmproxy.operators.commands.log import REST_SECONDS
from vmproxy.operators.commands.watcher import QUEUE_LIMIT
from vmproxy.operators.readings import READINGS_PER_OPERATOR, UNREAD_SECONDS

# log.


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


def test_what_takes_long_to_look_at_is_followed_in_turns_and_not_beyond_the_rules(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    w.vm()
    channel = run(w, "log -f --text web01")
    fed: list[bytes] = []
    feed = PlainLines.feed

    def takes_time(lines: PlainLines, data: bytes, at: float) -> list[bytes]:
        fed.append(data)
        w.clock.rightNow += SPAN / 4
        return feed(lines, data, at)

    monkeypatch.setattr(PlainLines, "feed", takes_time)
    w.clock.advance(0)
    w.console().feed(b"0123456789\n" * 10_000)
    assert 0 < len(fed) < 10
    w.clock.advance(0)
    channel.client.pump()
    assert len(fed) == 27
    assert channel.out == b"0123456789\n" * 10_000
    w.console().feed(b"0123456789\n" * 10_000)
    w.rules(("*", "see", "*"))
    w.clock.advance(0)
    channel.client.pump()
    assert len(fed) < 40
    assert channel.status == 10


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


def lines(channel: RemoteChannel) -> list[str]:
    return [line[22:] for line in channel.out.decode().splitlines()]


# replay and record.


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
