"""A client's packets have their turns, and its time to log in is one, whatever it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.conch.ssh.common import NS

from tests.support.fakes import VM_B, one_turn
from tests.support.sftp import STAT
from tests.support.sftp import Session as SFTPSession
from tests.support.ssh import IGNORE, LOGIN_TIMEOUT, REQUEST, Client, SSHWorld
from vmproxy.base.turns import SLICE, SPAN
from vmproxy.operators import shell
from vmproxy.operators.input_router import AT_ONCE
from vmproxy.operators.session import Session
from vmproxy.operators.terminal.line_editor import EditorEvent, LineEditor
from vmproxy.operators.visible import VisibleConsoles
from vmproxy.ssh.share import PACKETS_AT_ONCE

COST = SLICE / 4  # seconds that each packet takes


def counting(client: Client) -> list[int]:
    """The packets that the server deals with, as it does; each takes its time."""
    server, seen = client.server, []
    dispatch, clock = server.dispatchMessage, client.world.clock

    def dispatched(number: int, payload: bytes) -> None:
        seen.append(number)
        clock.rightNow += COST
        dispatch(number, payload)

    server.dispatchMessage = dispatched  # type: ignore[assignment]  # replaced
    return seen


def test_many_small_packets_in_one_read_leave_turns_to_others(w: SSHWorld) -> None:
    client = w.login()
    w.clock.advance(0)
    seen = counting(client)
    for _ in range(1001):
        client.sendPacket(IGNORE, NS(b""))
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert SPAN / COST <= len(seen) <= SPAN / COST + 1
    assert not client.tcp.reading
    w.clock.advance(0)  # here one turn follows the other at once; in the reactor others come in between
    assert len(seen) == 1001
    assert client.tcp.reading
    channel = client.run("whoami")
    assert channel.status == 0


def test_what_comes_between_two_turns_keeps_its_order(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.attach(pty=False)
    counting(client)
    link = w.console().link
    for number in range(100):
        channel.queue(94, NS(b"%03d " % number))
    data = bytes(client.out.buffer)
    client.out.buffer.clear()
    for start in range(0, len(data), 1000):
        client.server.dataReceived(data[start : start + 1000])
    for _ in range(4):
        w.clock.advance(0)
    assert link.written == b"".join(b"%03d " % number for number in range(100))


def test_one_operator_with_much_to_do_keeps_no_other_waiting(w: SSHWorld) -> None:
    busy, other = w.login("alice"), w.login("bob")
    w.clock.advance(0)
    seen, theirs = counting(busy), counting(other)
    for _ in range(1000):
        busy.sendPacket(IGNORE, NS(b""))
    other.sendPacket(IGNORE, NS(b""))
    w.services.turns.wait("carol", lambda: order.append((len(seen), len(theirs))))
    order: list[tuple[int, int]] = []
    for client in (busy, other):
        client.server.dataReceived(bytes(client.out.buffer))
        client.out.buffer.clear()
    assert not theirs  # others wait already
    w.clock.advance(0)
    assert len(theirs) == 1
    assert order[0][0] <= 2 * SLICE / COST
    assert len(seen) == 1000


def test_what_one_operator_may_be_sent_in_a_turn_is_bounded_over_all_connections(w: SSHWorld) -> None:
    w.vm()
    console = w.console()
    clients = [w.login("alice:web01") for _ in range(4)]
    channels = [client.attach(pty=False, window=1 << 30) for client in clients]
    w.clock.advance(0)
    sent = 0

    def counted(send: Any) -> Any:
        def sends(kind: int, payload: bytes) -> None:
            nonlocal sent
            sent += kind == 94
            send(kind, payload)

        return sends

    for client in clients:
        client.server.sendPacket = counted(client.server.sendPacket)
    for _ in range(PACKETS_AT_ONCE):
        console.feed(b"x" * 1025)
    assert sent <= PACKETS_AT_ONCE + 4
    for client in clients:
        client.pump()
    assert [len(channel.out) for channel in channels] == [1025 * PACKETS_AT_ONCE] * 4
    assert sent == 4 * PACKETS_AT_ONCE


def test_a_new_key_exchange_before_the_login_gives_no_new_time(w: SSHWorld) -> None:
    client = w.connect()
    for _ in range(3):
        w.clock.advance(LOGIN_TIMEOUT / 4)
        client.start_rekey()
        client.pump()
        client.finish_rekey()
        client.pump()
    assert client.tcp.connected
    w.clock.advance(LOGIN_TIMEOUT / 4)
    client.pump()
    w.clock.advance(1)
    assert not client.tcp.connected


def test_sessions_that_begin_in_one_read_have_their_turns(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    client = w.login()
    begun = []

    def slowly(session: Session, line: str) -> None:
        begun.append(line)
        w.clock.rightNow += SPAN

    monkeypatch.setattr(shell, "start", slowly)
    for channel, name in zip([client.open() for _ in "abc"], "abc", strict=True):
        channel.queue(REQUEST, NS(b"exec") + b"\0" + NS(name.encode()))
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    for count in (1, 2, 3):
        one_turn(w.clock)
        assert begun == [*"abc"][:count]


def test_channels_of_a_connection_that_is_lost_are_closed_in_turns(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    for _ in range(5):
        client.attach(pty=False)
    assert w.services.turns.open()
    w.clock.rightNow += SPAN
    client.tcp.closed()
    assert len(w.console().viewers.all) == 4
    assert client.server in w.front.transports  # its operator may not have others in its place yet
    w.clock.advance(0)
    assert not w.console().viewers.all
    assert not w.front.transports


def test_keys_in_one_packet_have_their_turns(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.attach()
    channel.type(b"\x05c;")
    feed, fed = LineEditor.feed, bytearray()

    def takes_time(editor: LineEditor, data: bytes) -> list[EditorEvent]:
        fed.extend(data)
        w.clock.rightNow += COST
        return feed(editor, data)

    monkeypatch.setattr(LineEditor, "feed", takes_time)
    w.clock.advance(0)
    channel.queue(94, NS(b"x\x7f" * 14_000 + b"y\x03"))
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert 0 < len(fed) <= AT_ONCE * (SPAN / COST + 1)
    while len(fed) < 28_002:
        one_turn(w.clock)
    client.pump()
    assert b"[you stay at web01]" in channel.err


def test_what_a_pipe_sends_before_its_end_is_sent_whole_in_whatever_turns(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login()
    channel = client.run("send web01")
    write = link.write

    def takes_time(data: bytes) -> None:
        w.clock.rightNow += COST
        write(data)

    link.write = takes_time
    w.clock.advance(0)
    data = bytes(range(256)) * 100
    channel.queue(94, NS(data))
    channel.queue(96)
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert 0 < len(link.written) < len(data)
    for _ in range(100):
        one_turn(w.clock)
    assert link.written == data
    client.pump()
    assert channel.status == 0


def test_what_waits_for_another_turn_waits_also_until_it_is_worked_out_what_is_seen(
    w: SSHWorld, sftp: SFTPSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    w.vm("web02", VM_B)
    client = w.login("web01")
    channel = client.attach()
    w.threads_held = True
    sftp.raw(sftp.request(STAT, NS(b"/web01.log")) + sftp.request(STAT, NS(b"/web02.log")))
    channel.session.router.put_off(b"\x05cu")
    asked: list[bool] = []

    def prepare(view: VisibleConsoles, may_go_on: Callable[[], bool]) -> bool:
        asked.append(len(asked) >= 10)
        return asked[-1]

    monkeypatch.setattr(VisibleConsoles, "prepare", prepare)
    channel.clear()
    w.release_threads()
    one_turn(w.clock)
    assert b"2 consoles" not in channel.err
    assert w.waiting_for_threads == 0
    while not asked[-1]:
        one_turn(w.clock)
    w.clock.advance(0)
    client.pump()
    assert b"2 consoles" in channel.err
    assert w.waiting_for_threads == 1
