"""The escape in a console session: when it counts, and what its keys say."""

from __future__ import annotations

import pytest

from tests.support.console_session import attach, feed, fresh, lines
from tests.support.fakes import VM_A, FakeViewer
from tests.support.ssh import SSHWorld
from vmproxy.operators.console_session import LONE_ESCAPE_SECONDS


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


def test_help_that_is_longer_than_the_screen_ends_with_the_way_out(w: SSHWorld) -> None:
    w.vm()
    writer = fresh(w)
    writer.type(b"\x05c?")
    assert lines(writer.err)[-1].startswith(" ^E^E")
    w.use_policy(None, [{"on": ["*"], "message": "hello", "sequences": {"sync": "<break>s"}}])
    fresh(w, "web01,ro")
    writer.clear()
    writer.type(b"\x05c?")
    said = lines(writer.err)
    assert len(said) > 24
    assert said[-1] == "[^Ec. detaches]"


def test_help_names_only_what_is_possible_now(w: SSHWorld) -> None:
    w.vm()
    writer, spy, reader = fresh(w), fresh(w), fresh(w, "web01,ro")
    for channel in (writer, spy, reader):
        channel.clear()
        channel.type(b"\x05c?")
    always = {".", ";", "?", "i", "n", "p", "P", "q", "r", "[", "h", "t", "u", "w", "eXY", "^E^E", "b", "L", "o"}
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
