"""An operator's terminal: notices between sequences, reports that are no typing, and the way out."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from tests.support.fakes import VM_B
from tests.support.ssh import RemoteChannel, SSHWorld
from tests.support.terminal import Terminal
from vmproxy.console.notices import Joined
from vmproxy.operators.output_view import NOTICES_LIMIT, WITHIN_SECONDS

BOB = "bob@10.1.2.9"
PROGRAM = b"\x1b[?1049h\x1b[?25l\x1b[?1003h\x1b[5;10r\x1b[1;31mtop"
UNDONE = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1003l", b"\x1b[r", b"\x1b[m")


def attached(w: SSHWorld, user: str = "web01") -> RemoteChannel:
    channel = w.login(user).attach()
    channel.clear()
    return channel


def feed(w: SSHWorld, data: bytes, *channels: RemoteChannel) -> None:
    w.console().feed(data)
    for channel in channels:
        channel.client.pump()


@pytest.mark.parametrize(
    ("begin", "rest"), [(b"\x1b[1;3", b"1mRED"), (b"\xe2\x82", b"\xac RED"), (b"\x1b]0;ti", b"tle\x07RED")]
)
def test_a_notice_waits_for_the_end_of_a_sequence_or_character(w: SSHWorld, begin: bytes, rest: bytes) -> None:
    w.vm()
    first = attached(w)
    feed(w, begin, first)
    attached(w)
    first.client.pump()
    assert first.screen == begin
    feed(w, rest, first)
    assert first.screen.startswith(begin + rest + b"\r\n[-- alice")
    w.clock.advance(1)
    first.client.pump()
    assert first.screen.count(b"[-- alice") == 1


def test_notices_that_wait_for_it_are_bounded(w: SSHWorld) -> None:
    w.vm()
    first = attached(w)
    feed(w, b"\x1b[1;3", first)
    for number in range(20_000):
        w.console().viewers.tell(Joined(f"operator{number}", False))
    feed(w, b"1mRED", first)
    assert b"operator0 " in first.screen
    assert len(first.screen) <= 2 * NOTICES_LIMIT
    w.console().viewers.tell(Joined("the last", False))
    first.client.pump()
    assert b"the last" in first.screen


def test_a_sequence_that_does_not_end_is_begun_again_behind_the_notice(w: SSHWorld) -> None:
    w.vm()
    first = attached(w)
    feed(w, b"\x1b[1;3", first)
    attached(w)
    w.clock.advance(WITHIN_SECONDS)
    first.client.pump()
    assert b"\x18\r\n[-- alice" in first.screen
    feed(w, b"1mRED", first)
    assert first.out == b"\x1b[1;3\x18\x1b[1;31mRED"
    terminal = Terminal()
    terminal.feed(first.screen)
    assert [line for line in terminal.lines if "RED" in line] == ["RED"]


@pytest.mark.parametrize(
    ("begun", "rest", "shown"),
    [
        (b"\xc3", b"\xa9t\xc3\xa9", b"\xc3\xc3\xa9t\xc3\xa9"),
        (b"\x1b]0;\xc3", b"\xa9\x07on", b"\x1b]0;\xc3\x18\x1b]0;\xc3\xa9\x07on"),
    ],
)
def test_a_character_that_does_not_end_is_shown_whole_behind_the_notice(
    w: SSHWorld, begun: bytes, rest: bytes, shown: bytes
) -> None:
    w.vm()
    first = attached(w)
    feed(w, begun, first)
    attached(w)
    w.clock.advance(WITHIN_SECONDS)
    first.client.pump()
    assert b"[-- alice" in first.err
    feed(w, rest, first)
    assert first.out == shown


def test_a_notice_does_not_wait_where_there_is_no_terminal(w: SSHWorld) -> None:
    w.vm()
    script = w.login("web01").attach(pty=False)
    script.clear()
    feed(w, b"\x1b[1;3", script)
    attached(w)
    script.client.pump()
    assert b"[-- alice" in script.err
    feed(w, b"1m", script)
    assert script.out == b"\x1b[1;31m"


@pytest.mark.parametrize("way", ["detach", "move", "kick", "signal", "forbidden", "stop"])
def test_the_terminal_is_as_it_was_whatever_way_the_console_is_left(w: SSHWorld, way: str) -> None:
    w.vm()
    w.vm("db01", VM_B)
    channel = attached(w)
    feed(w, PROGRAM, channel)
    channel.clear()
    match way:
        case "detach":
            channel.type(b"\x05c.")
        case "move":
            channel.type(b"\x05c;db01\r")
        case "kick":
            w.console().viewers.kick(w.console().viewers.all[0], BOB, "maintenance")
        case "signal":
            channel.request(b"signal", b"\0\0\0\4TERM", reply=False)
        case "forbidden":
            w.rules(("*", "see", "*"))
        case "stop":
            Deferred.fromCoroutine(w.front.stop())
    channel.client.pump()
    for undo in UNDONE:
        assert undo in channel.screen, channel.screen
    words = {"detach": b"[detached]", "move": b"[detached from"}.get(way)
    if words:
        assert channel.screen.index(b"\x1b[?1049l") < channel.screen.index(words)


def test_nothing_is_undone_where_nothing_was_done(w: SSHWorld) -> None:
    w.vm()
    channel = attached(w)
    feed(w, b"plain\r\n", channel)
    channel.type(b"\x05c.")
    assert channel.screen == b"plain\r\n[detached]\r\n"


def test_an_answer_of_a_spys_terminal_is_no_typing(w: SSHWorld) -> None:
    link = w.vm()
    writer = attached(w)
    spy = w.login("web01,ro").attach()
    spy.clear()
    feed(w, b"\x1b[6n", writer, spy)
    idle = w.console().viewers.all[1].last_input
    w.clock.advance(10)
    spy.type(b"\x1b[5;1R")
    writer.type(b"\x1b[24;1R")
    assert spy.err == b""
    assert link.written == b"\x1b[24;1R"
    assert w.console().viewers.all[1].last_input == idle
    spy.type(b"x")
    assert b"[read-only" in spy.err


def test_an_answer_of_a_terminal_answers_no_question_of_ours(w: SSHWorld) -> None:
    link = w.vm()
    channel = attached(w)
    attached(w)
    channel.type(b"\x05cb")
    channel.type(b"\x1b]11;rgb:0/0/0\x1b\\hello\r")
    assert b"rgb" not in channel.err
    assert link.written == b"\x1b]11;rgb:0/0/0\x1b\\"


def test_what_is_cut_within_a_key_stays_in_order(w: SSHWorld) -> None:
    link = w.vm()
    channel = attached(w)
    channel.type(b"\x1b[200~pasted\x1b[20")
    channel.type(b"1~more")
    assert link.written == b"\x1b[200~pasted\x1b[201~more"


def test_an_escape_works_behind_a_key_with_alt(w: SSHWorld) -> None:
    link = w.vm()
    channel = attached(w)
    channel.type(b"\x1b_")
    channel.type(b"ls")
    channel.type(b"\x05c.")
    assert link.written == b"\x1b_ls"
    assert channel.ended
