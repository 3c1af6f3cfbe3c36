"""How sessions end, and requests in odd orders."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS

from tests.support.console_session import attach
from tests.support.fakes import VM_A
from tests.support.ssh import SSHWorld


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
