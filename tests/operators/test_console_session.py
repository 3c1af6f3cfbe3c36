"""An operator on a console: what is shown, and who writes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS

from tests.support.console_session import attach, feed, fresh, lines
from tests.support.fakes import FakeViewer, Logged
from tests.support.properties import examples
from tests.support.ssh import DATA, SSHWorld
from vmproxy import __version__
from vmproxy.operators.attachment import REPLAY_LINES
from vmproxy.operators.console_session import REMINDER_SECONDS

# On attach.


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


# Writing.


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
