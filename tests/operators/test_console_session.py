"""An operator on a console: what is shown, who writes, what the escape does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS
from twisted.internet.defer import Deferred

from tests.support.fakes import VM_A, FakeViewer, Logged
from tests.support.properties import examples
from tests.support.ssh import DATA, RemoteChannel, SSHWorld
from vmproxy import __version__
from vmproxy.console.notices import LogFailed, LogRecovered
from vmproxy.operators.attachment import REPLAY_LINES
from vmproxy.operators.console_session import LONE_ESCAPE_SECONDS, REMINDER_SECONDS
from vmproxy.ssh.frontend import PARTING_SECONDS
from vmproxy.ssh.session import BARRIER_SECONDS

LOG = f"{VM_A}.log".encode()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def attach(w: SSHWorld, user: str = "web01", **options: Any) -> RemoteChannel:
    channel = w.login(user).attach(**options)
    assert not channel.ended, channel.screen
    return channel


def fresh(w: SSHWorld, user: str = "web01", **options: Any) -> RemoteChannel:
    """Attached, and the greeting forgotten."""
    channel = attach(w, user, **options)
    channel.clear()
    return channel


def lines(data: bytes) -> list[str]:
    return data.decode().replace("\r\n", "\n").splitlines()


def feed(w: SSHWorld, data: bytes, *channels: RemoteChannel) -> None:
    w.console().feed(data)
    for channel in channels:
        channel.client.pump()


# On attach


def test_the_greeting_says_where_one_is_and_that_one_may_write(w: SSHWorld) -> None:
    w.vm()
    w.clock.advance(75)
    assert lines(attach(w).err) == [
        "[Enter `^Ec?' for help]",
        "[web01 -- up 1m15s, from 10.1.2.3, logging to web01.log]",
        "[attached]",
    ]


def test_without_a_terminal_there_is_no_escape_and_lines_end_plainly(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w, pty=False)
    assert b"^Ec" not in channel.err
    assert b"\r" not in channel.err
    channel.type(b"\x05c.\x05\x05")
    assert link.written == b"\x05c.\x05\x05"
    assert not channel.ended


def test_notices_go_to_stderr_and_stdout_holds_exactly_the_vms_bytes(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    feed(w, b"\xff\x00\x1b[2J one\r\n", channel)
    channel.type(b"\x05cw\x05c?\x05ci")
    w.directory.lost(w.console(), link, "gone")
    w.vm()
    feed(w, b"two", channel)
    assert channel.out == b"\xff\x00\x1b[2J one\r\ntwo"


def test_the_second_operator_is_told_who_writes_and_that_he_only_looks_on(w: SSHWorld) -> None:
    w.vm()
    attach(w)
    w.clock.advance(7)
    greeting = lines(attach(w).err)
    assert greeting[2] == "[no, alice@10.1.2.9 is attached, idle 7s -- ^Ecf takes over]"
    third = lines(attach(w).err)
    assert third[3] == "[-- 1 other: alice@10.1.2.9 (spy) --]"
    fourth = lines(attach(w).err)
    assert fourth[3].startswith("[-- 2 others: alice@10.1.2.9 (spy), alice@10.1.2.9 (spy)")


def test_many_others_are_not_all_named(w: SSHWorld) -> None:
    w.vm()
    for n in range(50):
        w.console().viewers.attach(FakeViewer(f"v{n}@x"), write=False)
    text = attach(w).err.decode()
    assert "[-- 50 others: " in text
    assert text.count("(spy)") == 10


def test_without_a_terminal_nobody_is_told_of_keys_that_do_nothing(w: SSHWorld) -> None:
    w.vm()
    attach(w)
    channel = attach(w, pty=False)
    channel.type(b"x")
    assert b"^E" not in channel.err


def test_the_last_lines_come_from_the_log_between_marks_and_then_it_is_live(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"".join(b"line %d\r\n" % n for n in range(100)) + b"login: ")
    channel = attach(w)
    feed(w, b"root", channel)
    before = b"".join(b"line %d\r\n" % n for n in range(100 - REPLAY_LINES + 1, 100)) + b"login: "
    assert channel.screen.endswith(b"[-- last %d lines --]\r\n%s\r\n[-- live --]\r\nroot" % (REPLAY_LINES, before))
    assert channel.out == before + b"root"


@pytest.mark.parametrize(("wanted", "shown"), [("replay=0", 0), ("replay=1", 1), ("replay=3", 3), ("replay=500", 100)])
def test_how_much_is_replayed_can_be_said(w: SSHWorld, wanted: str, shown: int) -> None:
    w.vm()
    feed(w, b"".join(b"%d\n" % n for n in range(100)))
    channel = attach(w, f"web01,{wanted}")
    assert channel.out == b"".join(b"%d\n" % n for n in range(100 - shown, 100))
    assert (b"[-- live --]" in channel.err) == bool(shown)


def test_a_new_console_has_nothing_to_replay_and_says_nothing_of_it(w: SSHWorld) -> None:
    w.vm()
    assert b"last" not in attach(w).err


@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["feed", "thread", "writer", "pump"]), max_size=12))
def test_replay_and_live_output_join_without_a_byte_missing_or_doubled(w: SSHWorld, steps: list[str]) -> None:
    w.vm()
    feed(w, b"".join(b"%d\n" % n for n in range(5)))
    w.runner.held, w.threads_held = True, True
    client = w.connect()
    w.threads_held = False
    client.log_in("web01,replay=100000")
    w.threads_held = True
    channel = client.attach()
    for n, step in enumerate(steps):
        if step == "feed":
            w.console().feed(b"live %d\n" % n)
        elif step == "thread":
            w.release_threads()
        elif step == "writer":
            w.runner.release()
            w.runner.held = True
        else:
            client.pump()
    w.runner.release()
    w.threads_held = False
    for _ in range(3):
        w.store.flush()
        w.release_threads()
        client.pump()
    assert channel.out == w.console().log.path.read_bytes()
    client.tcp.closed()


def test_two_replays_asked_for_at_once_do_not_garble_what_is_live(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"old\r\n")
    channel = attach(w)
    channel.clear()
    w.threads_held = True
    channel.type(b"\x05cr")
    w.console().feed(b"one\r\n")
    channel.type(b"\x05cr")
    w.console().feed(b"two\r\n")
    w.store.flush()
    w.release_threads()
    channel.client.pump()
    assert channel.out.rstrip().endswith(b"two")


def test_a_log_that_cannot_be_read_is_said_and_the_console_is_live_all_the_same(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    feed(w, b"x\n")
    w.store.flush()
    path = w.console().log.path
    path.unlink()
    path.mkdir()
    channel = attach(w)
    assert b"[-- no replay: " in channel.err
    feed(w, b"live", channel)
    assert channel.out == b"live"
    assert not [line for line in logged.tracebacks if "command" in line]


def test_who_leaves_during_the_replay_leaves_nothing_behind(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    feed(w, b"x\n")
    w.store.flush()
    w.threads_held = True
    client = w.connect()
    w.threads_held = False
    client.log_in("web01")
    w.threads_held = True
    channel = client.attach()
    client.tcp.closed()
    w.release_threads()
    assert w.console().viewers.all == ()
    assert not logged.tracebacks
    assert channel.out == b""


def test_a_console_that_is_down_says_since_when_and_why_and_goes_live_when_it_returns(w: SSHWorld) -> None:
    link = w.vm()
    w.directory.lost(w.console(), link, "connection lost")
    w.clock.advance(60)
    channel = attach(w)
    assert "down since 2023-11-14 22:13:20Z (connection lost)" in channel.err.decode()
    channel.clear()
    channel.type(b"x")
    assert lines(channel.err) == ["[-- not sent: down since 2023-11-14 22:13:20Z (connection lost) --]"]
    link = w.vm(peer="10.1.2.4")
    channel.clear()
    channel.client.pump()
    channel.type(b"y")
    assert link.written == b"y"


# Writing


def test_what_is_typed_goes_to_the_vm_byte_for_byte(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    every = bytes(b for b in range(256) if b != 5)
    channel.type(every)
    assert link.written == every


def test_a_spy_is_reminded_at_most_once_in_five_seconds_and_nothing_is_sent(w: SSHWorld) -> None:
    link = w.vm()
    attach(w)
    spy = fresh(w)
    for _ in range(10):
        spy.type(b"x")
        w.clock.advance(REMINDER_SECONDS / 10)
    assert lines(spy.err) == ["[read-only -- ^Ecf takes over]"]
    w.clock.advance(REMINDER_SECONDS)
    spy.type(b"x")
    assert len(lines(spy.err)) == 2
    assert link.written == b""


def test_the_one_who_waited_longest_is_promoted_and_told(w: SSHWorld) -> None:
    link = w.vm()
    writer, second, third = attach(w), fresh(w), fresh(w)
    writer.type(b"\x05c.")
    second.client.pump()
    third.client.pump()
    assert b"[attached]" in second.err
    assert b"[attached]" not in third.err
    second.type(b"mine")
    third.type(b"not")
    assert link.written == b"mine"


def test_force_demotes_the_writer_tells_him_by_whom_and_cuts_nobody_off(w: SSHWorld) -> None:
    link = w.vm()
    writer, other = fresh(w), fresh(w)
    other.type(b"\x05cf")
    writer.client.pump()
    assert "[forced to `spy' mode by alice@10.1.2.9]" in lines(writer.err)
    assert "[attached -- alice@10.1.2.9 is a spy now]" in lines(other.err)
    writer.type(b"no")
    other.type(b"yes")
    assert link.written == b"yes"
    other.type(b"\x05c.")
    writer.client.pump()
    writer.type(b" again")
    assert link.written == b"yes again"


def test_force_on_attach_takes_the_pen(w: SSHWorld) -> None:
    link = w.vm()
    writer = fresh(w)
    attach(w, "web01,force").type(b"x")
    writer.client.pump()
    assert b"forced to `spy'" in writer.err
    assert link.written == b"x"


def test_a_read_only_session_is_never_promoted_and_cannot_take_the_pen(w: SSHWorld) -> None:
    link = w.vm()
    writer, reader = attach(w), attach(w, "web01,ro")
    assert b"[spy]" in reader.err
    reader.clear()
    writer.type(b"\x05c.")
    reader.type(b"\x05cf\x05cax")
    assert link.written == b""
    assert w.console().write_access.writer is None
    assert lines(reader.err).count("[this session is read-only]") == 2
    assert "[attached]" not in lines(reader.err)


def test_a_spy_by_choice_gives_up_the_pen_and_his_place_in_the_line(w: SSHWorld) -> None:
    w.vm()
    first, second = fresh(w), fresh(w)
    second.type(b"\x05cs")
    first.type(b"\x05cs")
    assert w.console().write_access.writer is None
    assert lines(first.err)[-1] == "[spy]"
    second.type(b"\x05ca")
    assert lines(second.err)[-1] == "[attached]"


def test_input_before_the_attachment_is_not_lost(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login("web01")
    channel = client.open()
    channel.pty()
    channel.queue(98, NS(b"shell") + b"\0")
    for piece in (b"ro", b"ot\r", b"\x05", b"c", b"s"):
        channel.queue(DATA, NS(piece))
    client.pump()
    assert link.written == b"root\r"
    assert lines(channel.err)[-1] == "[spy]"


def test_input_behind_a_detachment_is_not_sent_even_if_all_of_it_came_early(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login("web01")
    channel = client.open()
    channel.pty()
    channel.queue(98, NS(b"shell") + b"\0")
    for piece in (b"one", b"\x05c.", b"two"):
        channel.queue(DATA, NS(piece))
    client.pump()
    assert link.written == b"one"


def test_the_end_of_input_does_not_end_the_session(w: SSHWorld) -> None:
    w.vm()
    channel = attach(w, pty=False)
    channel.type(b"x")
    channel.send(96)
    feed(w, b"still", channel)
    assert channel.out == b"still"
    assert not channel.ended


# The escape


def test_a_lone_escape_reaches_the_guest_after_a_second(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    channel.type(b"a\x05")
    assert link.written == b"a"
    w.clock.advance(LONE_ESCAPE_SECONDS - 0.01)
    assert link.written == b"a"
    w.clock.advance(0.02)
    assert link.written == b"a\x05"
    channel.type(b"c.")
    assert link.written == b"a\x05c."


def test_what_follows_a_lone_escape_in_time_decides(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    channel.type(b"\x05")
    channel.type(b"\x05")
    assert link.written == b"\x05"
    channel.type(b"\x05")
    w.clock.advance(0.5)
    channel.type(b"x")
    assert link.written == b"\x05\x05x"
    w.clock.advance(10)
    assert link.written == b"\x05\x05x"


def test_detaching_ends_with_status_0_and_says_so(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05c.ignored")
    assert lines(channel.err) == ["[detached]"]
    assert (channel.status, channel.ended) == (0, True)


def test_a_pending_lone_escape_dies_with_the_session(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    channel.type(b"\x05")
    channel.close()
    w.clock.advance(2 * LONE_ESCAPE_SECONDS)
    assert link.written == b""


def _keys(help_text: bytes) -> set[str]:
    return {line[1:].split()[0] for line in lines(help_text) if line.startswith(" ")}


def test_help_names_only_what_is_possible_now(w: SSHWorld) -> None:
    w.vm()
    writer, spy, reader = fresh(w), fresh(w), fresh(w, "web01,ro")
    for channel in (writer, spy, reader):
        channel.clear()
        channel.type(b"\x05c?")
    always = {".", ";", "?", "i", "n", "p", "P", "q", "r", "^R", "t", "u", "v", "w", "eXY", "^E^E", "b", "L", "o"}
    assert _keys(writer.err) == always | {"l0", "s", "S", "\\015"}
    assert _keys(spy.err) == always | {"a", "f"}
    assert _keys(reader.err) == always


def test_who_lists_everybody_with_mode_idle_time_and_bytes_skipped(w: SSHWorld) -> None:
    w.vm()
    channel = attach(w)
    bob = FakeViewer("bob@10.1.2.8")
    bob.skipped = 48_213
    w.console().viewers.attach(bob, write=True)
    w.console().viewers.attach(FakeViewer("carol@10.1.2.7"), write=False)
    w.clock.advance(7)
    channel.client.pump()
    channel.clear()
    channel.type(b"\x05cw")
    said = lines(channel.err)
    assert said[0] == "[who]"
    assert said[1].startswith("* alice@10.1.2.9")
    assert "write" in said[1]
    assert "idle 0s" in said[1]
    assert said[2].split()[:3] == ["bob@10.1.2.8", "spy,", "waits"]
    assert "idle 7s" in said[2]
    assert "48.2 kB skipped" in said[2]
    assert said[3].split()[1] == "spy"
    assert "waits" not in said[3]


def test_information_tells_the_identity_the_counters_and_the_log(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    feed(w, b"x" * 1500, channel)
    channel.type(b"yy\x05ci")
    said = channel.err.decode()
    for part in (str(VM_A), "10.1.2.3", "1.5 kB", "2 bytes", str(w.console().log.path), "alice@10.1.2.9"):
        assert part in said


def test_a_break_is_for_the_writer_by_escape_and_by_the_clients_request(w: SSHWorld) -> None:
    link = w.vm()
    writer, spy = fresh(w), fresh(w)
    writer.type(b"\x05cl0")
    writer.request(b"break", b"\0\0\1\xf4")
    assert link.breaks == 2
    assert lines(writer.err).count("[halt sent]") == 2
    spy.type(b"\x05cl0")
    spy.request(b"break", b"\0\0\1\xf4")
    assert link.breaks == 2
    assert lines(spy.err).count("[read-only -- ^Ecf takes over]") == 2
    assert [e["event"] for e in w.audited("break")] == ["break", "break"]


def test_a_break_to_a_console_that_is_down_is_said_not_to_be_sent(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    w.directory.lost(w.console(), link, "gone")
    channel.client.pump()
    channel.clear()
    channel.type(b"\x05cl0")
    assert lines(channel.err)[0].startswith("[-- not sent: down since")


@pytest.mark.parametrize("key", [b"z", b"|", b"c", b"x", b"g", b"#", b"\x1b", b"\xff", b"l9", b"\r"])
def test_a_key_that_means_nothing_says_so_and_sends_nothing(w: SSHWorld, key: bytes) -> None:
    link = w.vm()
    channel = fresh(w)
    channel.type(b"\x05c" + key)
    assert len(lines(channel.err)) == 1
    assert channel.err.strip().decode().isprintable()
    assert link.written == b""


def test_the_replay_can_be_asked_for_again(w: SSHWorld) -> None:
    w.vm()
    channel = attach(w)
    feed(w, b"one\r\ntwo\r\n", channel)
    channel.clear()
    channel.type(b"\x05cr")
    assert channel.screen == b"[-- last 2 lines --]\r\none\r\ntwo\r\n[-- live --]\r\n"


# Notices


def test_each_notice_has_a_line_of_its_own(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w)
    feed(w, b"half a li", channel)
    w.directory.lost(w.console(), link, "connection lost to 10.1.2.3")
    w.clock.advance(2)
    w.vm(peer="10.1.2.4")
    feed(w, b"ne\r\n", channel)
    assert channel.screen == (
        b"half a li\r\n[-- web01: line down (connection lost to 10.1.2.3) 22:13:20Z --]\r\n"
        b"[-- web01: line up (10.1.2.4) after 2.0 s --]\r\nne\r\n"
    )


def test_others_coming_and_going_are_told(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    other = attach(w)
    other.type(b"\x05c.")
    channel.client.pump()
    assert lines(channel.err) == ["[-- alice@10.1.2.9 attached (spy) --]", "[-- alice@10.1.2.9 detached --]"]


def test_a_quiet_session_hears_only_what_is_essential(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w, "web01,quiet")
    attach(w).type(b"\x05c.")
    w.directory.lost(w.console(), link, "gone")
    w.vm()
    w.console().viewers.tell(LogFailed("No space left on device"))
    w.console().viewers.tell(LogRecovered(1000))
    channel.client.pump()
    assert lines(channel.err) == [
        "[-- log: cannot write: No space left on device; NOT being recorded --]",
        "[-- log: recording again, 1.0 kB lost --]",
    ]


def test_the_end_of_the_server_is_told_and_ends_every_session_with_its_status(w: SSHWorld) -> None:
    w.vm()
    attached, quiet = fresh(w), fresh(w, "web01,quiet")
    for channel in (attached, quiet):
        channel.clear()
    stopped: list[object] = []
    Deferred.fromCoroutine(w.front.stop()).addBoth(stopped.append)
    for channel in (attached, quiet):
        channel.client.pump()
        assert lines(channel.err)[-1] == "[-- console server shutting down --]"
        assert channel.status == 6
    w.clock.advance(PARTING_SECONDS)
    assert stopped == [None]
    assert attached.client.closed
    assert quiet.client.closed


def test_the_end_of_the_server_is_told_at_once_also_to_a_terminal_whose_answer_is_awaited(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01,replay=0")
    client.answer_requests = False
    channel = client.attach()
    feed(w, b"output", channel)
    assert channel.out == b""  # it waits until the greeting is on the screen
    Deferred.fromCoroutine(w.front.stop())
    client.pump()
    assert channel.screen.endswith(b"output\r\n[-- console server shutting down --]\r\n")
    assert channel.status == 6


def test_a_client_that_does_not_read_does_not_keep_the_server_from_stopping(w: SSHWorld) -> None:
    w.vm()
    client = attach(w).client
    idle = w.connect()
    client.tcp.reads = False
    w.console().feed(b"x" * 100_000)
    stopped: list[object] = []
    Deferred.fromCoroutine(w.front.stop()).addBoth(stopped.append)
    idle.pump()
    assert idle.closed
    assert stopped == []
    w.clock.advance(PARTING_SECONDS)
    assert stopped == [None]
    assert client.closed


def test_nobody_is_let_in_while_the_server_stops(w: SSHWorld) -> None:
    Deferred.fromCoroutine(w.front.stop())
    assert w.factory.buildProtocol(None) is None


# Sessions that are ended, and odd orders


@pytest.mark.parametrize("name", [b"INT", b"TERM", b"HUP"])
def test_signals_end_a_session(w: SSHWorld, name: bytes) -> None:
    w.vm()
    channel = attach(w)
    channel.request(b"signal", NS(name))
    assert channel.status == 1
    assert channel.ended


def test_the_end_of_a_connection_detaches_all_its_sessions(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    for _ in range(5):
        client.attach()
    assert len(w.console().viewers.all) == 5
    client.tcp.closed()
    assert w.console().viewers.all == ()
    assert [e["event"] for e in w.events()].count("detach") == 5


def test_a_channel_runs_one_thing(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.open()
    for kind, data in ((b"shell", b""), (b"shell", b""), (b"exec", NS(b"list"))):
        channel.request(kind, data)
    assert channel.replies == [99, 100, 100]
    assert len(w.console().viewers.all) == 1


def test_success_is_answered_before_anything_is_shown(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.open()
    client.got.clear()
    channel.request(b"shell")
    assert client.numbers[0] == 99


def test_a_terminal_then_a_command_and_a_command_then_a_terminal_both_work(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    first = client.open()
    first.pty()
    first.exec("status web01")
    assert first.out.count(b"\r\n") == first.out.count(b"\n") > 0
    second = client.open()
    second.queue(98, NS(b"exec") + b"\0" + NS(b"status web01"))
    second.queue(98, NS(b"pty-req") + b"\0" + NS(b"xterm") + b"\0" * 16 + NS(b""))
    client.pump()
    assert (first.status, second.status) == (0, 0)


def test_requests_before_anything_runs_do_nothing(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login("web01")
    channel = client.open()
    channel.request(b"break", b"\0\0\0\0")
    channel.request(b"window-change", b"\0" * 16)
    channel.request(b"env", NS(b"LANG") + NS(b"C"))
    channel.request(b"subsystem", NS(b"netconf"))
    channel.request(b"x11-req", b"\0" * 20)
    channel.request(b"auth-agent-req@openssh.com")
    assert channel.replies == [100, 99, 100, 100, 100, 100]
    channel.shell()
    channel.type(b"works")
    assert link.written == b"works"


def test_interrupting_before_anything_is_attached_ends_a_session_with_a_terminal(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    channel = client.open()
    channel.pty()
    channel.type(b"\x03")
    assert channel.ended
    assert channel.status == 130


def test_interrupting_a_followed_log_on_a_terminal_ends_it(w: SSHWorld) -> None:
    # The terminal is raw: the key comes to us, and there is nothing else that it could be for.
    w.vm()
    client = w.login()
    channel = client.open()
    channel.pty()
    channel.exec("log -f web01")
    channel.type(b"\x03")
    assert channel.ended


def test_a_hostile_name_shows_no_control_character(w: SSHWorld) -> None:
    w.vm("\x1b]0;x\x07evil\r\n[-- web01: line up --]\u202e\u2028", uuid=VM_A)
    channel = w.login().attach(str(VM_A))
    client = w.login()
    listed = [client.run("list"), client.run("status evil"), client.run(f"status {VM_A}")]
    channel.type(b"\x05ci\x05cw")
    for text in [channel.err, *(c.screen for c in listed)]:
        assert all(c.isprintable() or c in "\r\n" for c in text.decode())
    assert b"\n[-- web01" not in channel.err


def test_the_trail_says_who_came_wrote_and_left(w: SSHWorld) -> None:
    w.vm()
    first, second = attach(w), attach(w)
    second.type(b"\x05cf\x05cl0")
    second.type(b"\x05c.")
    first.type(b"\x05c.")
    kinds = [(e["event"], e.get("mode")) for e in w.events() if e["event"] not in ("up", "name")]
    assert kinds == [
        ("attach", "write"),
        ("attach", "spy"),
        ("force", None),
        ("break", None),
        ("detach", None),
        ("promote", None),
        ("detach", None),
    ]


# The order of the two streams on a terminal


def test_on_a_terminal_a_stream_waits_until_the_client_has_dealt_with_the_other(w: SSHWorld) -> None:
    # Clients write stdout and stderr apart; only their answer says that what came before is on the screen.
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach()
    assert channel.screen.endswith(b"[-- last 1 line --]\r\n")
    channel.send(100)  # "I do not know that request" is an answer as good as any
    assert channel.screen.endswith(b"[-- last 1 line --]\r\nold\r\n")
    channel.send(99)
    assert channel.screen.endswith(b"old\r\n[-- live --]\r\n")


def test_a_client_that_never_answers_is_not_waited_for_for_ever(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach()
    for _ in range(3):
        w.clock.advance(BARRIER_SECONDS)
        client.pump()
    assert channel.screen.endswith(b"old\r\n[-- live --]\r\n")
    channel.type(b"\x05c.")
    w.clock.advance(BARRIER_SECONDS)
    client.pump()
    assert channel.status == 0


def test_without_a_terminal_nothing_waits_for_answers(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach(pty=False)
    assert channel.out == b"old\r\n"
    assert b"[-- live --]" in channel.err


def test_answers_that_nobody_asked_for_change_nothing(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    for number in (99, 100, 99):
        channel.send(number)
    feed(w, b"out", channel)
    channel.type(b"in")
    assert (channel.out, link.written) == (b"out", b"in")


def test_a_channel_closed_while_an_answer_is_awaited_leaves_nothing_behind(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    feed(w, b"old\r\n")
    for end in ("close", "lost"):
        client = w.login("web01")
        client.answer_requests = False
        channel = client.attach()
        if end == "close":
            channel.close()
        else:
            client.tcp.closed()
        w.clock.advance(2 * BARRIER_SECONDS)
        assert w.console().viewers.all == ()
    assert not logged.tracebacks


# The seam between past and present.


def test_who_writes_is_said_again_behind_the_replay(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"long\r\n" * 50)
    fresh(w)
    w.clock.advance(108)
    late = attach(w)
    line = "[no, alice@10.1.2.9 is attached, idle 1m48s -- ^Ecf takes over]"
    assert lines(late.err).count(line) == 2
    assert lines(late.err)[-2:] == ["[-- live --]", line]
    late.clear()
    late.type(b"\x05cr")
    assert lines(late.err)[-2:] == ["[-- live --]", line]


def test_that_a_console_is_down_is_said_again_behind_the_replay(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"last words\r\n")
    w.lose(w.console(), "closed by 10.1.2.3")
    channel = attach(w)
    down = "[-- web01: down since 2023-11-14 22:13:20Z (closed by 10.1.2.3) --]"
    assert lines(channel.err)[-2:] == ["[-- live --]", down]
    second = attach(w)
    assert lines(second.err)[-3:-1] == ["[-- live --]", down]
    assert lines(second.err)[-1].startswith("[no, alice@10.1.2.9 is attached")
    w.vm()
    channel.clear()
    channel.type(b"\x05cr")
    assert lines(channel.err)[-1] == "[-- live --]"


def test_writers_and_those_who_want_to_read_only_have_a_plain_seam(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"old\r\n")
    for user in ("web01", "web01,ro"):
        assert lines(attach(w, user).err)[-1] == "[-- live --]"


def test_without_a_terminal_it_is_said_that_there_are_no_keys(w: SSHWorld) -> None:
    w.vm()
    channel = w.login("web01").attach(pty=False)
    assert lines(channel.err)[0] == "[no terminal: there are no escape keys; ssh -t gives one]"


def test_keys_of_conserver_that_have_a_meaning_here(w: SSHWorld) -> None:
    w.use_policy(None, [{"on": "*", "message": "patch night"}])
    w.vm()
    w.console().feed(b"".join(b"line %d\r\n" % n for n in range(10)))
    channel = fresh(w)
    channel.type(b"\x05cv\x05cm")
    assert lines(channel.err) == [f"[vmproxy {__version__}]", "patch night"]
    for key in (b"P", b"R"):
        channel.clear()
        channel.type(b"\x05c" + key + b"3\r")
        assert b"[-- last 3 lines --]" in channel.err
        assert channel.out.splitlines()[-3:] == [b"line 7", b"line 8", b"line 9"]
    channel.type(b"\x05cPmany\r")
    assert "[give a number from 1 to 100000]" in lines(channel.err)


def test_who_fits_a_screen(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    w.clock.advance(86_300)
    channel.type(b"\x05cw")
    assert max(map(len, lines(channel.err))) < 80
