"""The raw stream: eight bits both ways, and broken rather than wrong."""

from __future__ import annotations

from uuid import UUID

import pytest
from conftest import Logged
from sshkit import VM_A, VM_B, FakeViewer, World


def test_every_byte_passes_both_ways_with_nothing_added(w: World) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    every = bytes(range(256)) * 3
    raw.type(every)
    w.console().feed(every)
    raw.client.pump()
    assert link.written == every
    assert raw.screen == every


def test_there_is_no_escape(w: World) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    raw.type(b"\x05c.\x05")
    assert link.written == b"\x05c.\x05"
    assert not raw.ended


@pytest.mark.parametrize(("host", "port"), [("web01", 0), ("web01", 1), (str(VM_A), 1), ("WEB", 1), ("web01.2", 0)])
def test_a_console_is_named_like_a_host(w: World, host: str, port: int) -> None:
    w.vm()
    w.vm("web01", port="2")
    assert w.login().raw(host, port).id is not None


def test_the_port_tells_serial_ports_apart(w: World) -> None:
    first, second = w.vm(), w.vm("web01", port="2")
    client = w.login()
    client.raw("web01", 2).type(b"two")
    client.raw("web01", 1).type(b"one")
    assert (first.written, second.written) == (b"one", b"two")


def test_port_1_is_also_that_of_a_vm_whose_only_port_has_another_label(w: World) -> None:
    link = w.vm("web01", port="com2")
    w.login().raw("web01", 1).type(b"x")
    assert link.written == b"x"


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("nosuch", 1, "no such console"),
        ("", 1, "no such console"),
        ("web01", 7, "no such console"),
        ("web01", 65535, "no such console"),
        ("db", 1, "could be 2 consoles"),
        ("down", 1, "down (gone)"),
        ("busy", 1, "bob@10.1.2.9 is attached"),
        ("\x1b[2J", 1, "\\x1b[2J: no such console"),
        ("b\u00fcro", 1, "b\\xfcro: no such console"),
    ],
)
def test_a_refusal_says_why(w: World, host: str, port: int, told: str, logged: Logged) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    w.vm("db02", uuid=UUID(int=5))
    w.directory.lost(w.console("db01"), w.vm("down", uuid=UUID(int=6)), "")
    link = w.vm("down", uuid=UUID(int=6))
    w.directory.lost(w.console("down"), link, "gone")
    w.vm("busy", uuid=UUID(int=7))
    w.console("busy").attach(FakeViewer(), write=True)
    refusal = w.login().raw(host, port).refusal
    assert refusal is not None
    assert told in refusal
    assert not logged.tracebacks


def test_it_takes_the_pen_and_gives_it_to_the_next_in_line(w: World) -> None:
    w.vm()
    raw = w.login().raw("web01")
    waiting = FakeViewer()
    w.console().attach(waiting, write=True)
    assert w.console().pen.writer is not waiting
    raw.close()
    assert w.console().pen.writer is waiting
    assert waiting in w.console().viewers
    assert len(w.console().viewers) == 1


def test_the_end_of_its_input_frees_the_pen_and_output_goes_on(w: World) -> None:
    w.vm()
    raw = w.login().raw("web01")
    raw.send(96)
    assert w.console().pen.writer is None
    w.console().feed(b"still")
    raw.client.pump()
    assert raw.out == b"still"


def test_who_is_forced_off_is_closed_rather_than_left_with_a_stream_that_goes_nowhere(w: World) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    w.login("web01,force").attach()
    raw.client.pump()
    assert raw.ended
    assert link.written == b""
    assert len(w.console().viewers) == 1


def test_a_line_that_goes_down_ends_the_stream_behind_its_last_byte(w: World) -> None:
    link = w.vm()
    raw = w.login().raw("web01")
    w.console().feed(b"last words")
    w.directory.lost(w.console(), link, "gone")
    raw.client.pump()
    assert raw.out == b"last words"
    assert raw.ended
    assert w.console().viewers == ()


def test_a_vm_that_connects_anew_without_having_been_down_keeps_the_stream(w: World) -> None:
    w.vm()
    raw = w.login().raw("web01")
    link = w.vm(peer="10.1.2.4")
    raw.type(b"x")
    assert link.written == b"x"
    assert not raw.ended
    assert raw.screen == b""


def test_input_that_can_no_longer_be_delivered_breaks_the_stream(w: World) -> None:
    w.vm()
    raw = w.login().raw("web01")
    raw.send(96)
    raw.type(b"after the end")
    assert raw.ended
    assert "raw-closed" in [e["event"] for e in w.events()]


def test_several_streams_and_sessions_share_one_connection(w: World) -> None:
    first, second = w.vm(), w.vm("db01", uuid=VM_B)
    client = w.login()
    a, b, c = client.raw("web01"), client.raw("db01"), client.attach("web01")
    a.type(b"a")
    b.type(b"b")
    c.type(b"c")
    assert (first.written, second.written) == (b"a", b"b")
    w.console("web01").feed(b"out")
    client.pump()
    assert (a.out, b.out, c.out) == (b"out", b"", b"out")
    a.close()
    c.type(b"now mine")
    assert first.written == b"anow mine"


def test_input_is_held_while_the_vm_takes_nothing(w: World) -> None:
    link = w.vm()
    link.ready = False
    raw = w.login().raw("web01")
    sent = 0
    while sent < 1_000_000 and (room := min(8192, raw.server_channel.localWindowLeft)):  # type: ignore[attr-defined]
        raw.type(b"x" * room)
        sent += room
    assert 64 * 1024 <= sent <= 256 * 1024
    link.ready = True
    w.console().link_ready()
    assert link.written == b"x" * sent
