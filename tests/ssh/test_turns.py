"""A client's packets have their turns, and its time to log in is one, whatever it sends."""

from __future__ import annotations

from twisted.conch.ssh.common import NS

from tests.support.ssh import IGNORE, LOGIN_TIMEOUT, Client, SSHWorld
from vmproxy.ssh.transport import PACKETS_PER_TURN


def counting(client: Client) -> list[int]:
    """The packets that the server deals with, as it does."""
    server, seen = client.server, []
    dispatch = server.dispatchMessage

    def dispatched(number: int, payload: bytes) -> None:
        seen.append(number)
        dispatch(number, payload)

    server.dispatchMessage = dispatched  # type: ignore[assignment]  # replaced
    return seen


def test_many_small_packets_in_one_read_leave_turns_to_others(w: SSHWorld) -> None:
    client = w.login()
    seen = counting(client)
    for _ in range(10 * PACKETS_PER_TURN + 1):
        client.sendPacket(IGNORE, NS(b""))
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    assert len(seen) == PACKETS_PER_TURN
    assert not client.tcp.reading
    w.clock.advance(0)  # here one turn follows the other at once; in the reactor others come in between
    assert len(seen) == 10 * PACKETS_PER_TURN + 1
    assert client.tcp.reading
    channel = client.run("whoami")
    assert channel.status == 0


def test_what_comes_between_two_turns_keeps_its_order(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.attach(pty=False)
    link = w.console().link
    for number in range(3 * PACKETS_PER_TURN):
        channel.queue(94, NS(b"%03d " % number))
    data = bytes(client.out.buffer)
    client.out.buffer.clear()
    for start in range(0, len(data), 1000):
        client.server.dataReceived(data[start : start + 1000])
    for _ in range(4):
        w.clock.advance(0)
    assert link.written == b"".join(b"%03d " % number for number in range(3 * PACKETS_PER_TURN))


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
