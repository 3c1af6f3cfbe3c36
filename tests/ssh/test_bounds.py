"""What a client that does not read, or a VM that floods, can make us keep: bounded, whatever is asked for meanwhile."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from twisted.conch.ssh.common import NS

from tests.support.ssh import (
    CLOSE,
    DATA,
    GLOBAL_REQUEST,
    OPEN,
    REQUEST,
    SOCKET_MARK,
    WINDOW_ADJUST,
    Client,
    RemoteChannel,
    SSHWorld,
)
from vmproxy.console.notices import GuestBreak, Joined
from vmproxy.operators.output_view import QUEUE_LIMIT
from vmproxy.operators.viewer_queue import RECENT_LIMIT
from vmproxy.ssh.channel import PACKET, WINDOW
from vmproxy.ssh.direct_tcpip import QUEUE_LIMIT as RAW_QUEUE_LIMIT
from vmproxy.ssh.transport import PACKET_OVERHEAD, UNREAD_LIMIT

CHUNK = b"0123456789abcdef" * 256
ROOM = 3 * QUEUE_LIMIT  # replay, live output and notices together


def kept(client: Client) -> int:
    """Bytes that the server keeps for a client."""
    server = client.server
    channels = server.service.channels.values() if server.service is not None else ()  # type: ignore[attr-defined]  # looked at on purpose
    queued = sum(c.queued + len(c.buf) for c in channels)
    early = sum(len(data) for c in channels if hasattr(c, "router") for data in c.router._waiting)
    blocked = sum(len(p) + 100 for _, p in server._blocked)
    return queued + early + blocked + len(client.tcp.buffer) + len(server.buf)  # type: ignore[no-any-return]  # counts


def stalled(w: SSHWorld, how: str, pty: bool = False) -> tuple[Client, RemoteChannel]:
    """Somebody on the console who stopped taking what he is sent.

    On a terminal the first output waits for an answer of the client already; without one it gets to the socket.
    """
    w.vm()
    client = w.login("web01")
    window = 100 if how == "window" else 1 << 30
    channel = client.attach(window=window, pty=pty)
    if how == "socket":
        client.tcp.reads = False
    elif how == "rekey":
        client.start_rekey()
    return client, channel


def recover(client: Client, channel: RemoteChannel, how: str) -> None:
    if how == "socket":
        client.tcp.reads = True
        client.pump()
    elif how == "rekey":
        client.finish_rekey()
    else:
        channel.adjust(1 << 30)


hows = pytest.mark.parametrize("how", ["socket", "window", "rekey"])


@hows
@pytest.mark.parametrize("pty", [True, False])
def test_a_flood_is_kept_within_bounds_and_what_was_skipped_is_told_when_the_client_reads_again(
    w: SSHWorld, how: str, pty: bool
) -> None:
    client, channel = stalled(w, how, pty)
    console = w.console()
    total = 0
    for _ in range(2000):
        console.feed(CHUNK)
        total += len(CHUNK)
        w.store.flush()
    assert kept(client) < ROOM
    assert b"skipped" not in channel.err
    recover(client, channel, how)
    got = len(channel.out)
    (told,) = [line for line in channel.err.splitlines() if b"skipped" in line]
    assert told == b"[-- %d bytes skipped: your connection is too slow --]" % (total - got)
    console.feed(b"live again")
    client.pump()
    assert channel.out.endswith(b"live again")
    assert kept(client) == 0


@hows
def test_a_stalled_viewer_slows_nobody_else(w: SSHWorld, how: str) -> None:
    stalled(w, how)
    other = w.login("web01").attach()
    other.clear()
    console = w.console()
    for _ in range(300):
        console.feed(CHUNK)
        other.client.pump()
        w.store.flush()
    assert len(other.out) == 300 * len(CHUNK)
    assert b"skipped" not in other.err
    assert console.log.path.stat().st_size == 300 * len(CHUNK)


@hows
def test_what_was_kept_comes_in_order_before_the_gap_and_the_gap_is_one(w: SSHWorld, how: str) -> None:
    client, channel = stalled(w, how)
    console = w.console()
    pieces = [b"%099d\n" % n for n in range(6_000)]
    for piece in pieces:
        console.feed(piece)
        w.store.flush()
    recover(client, channel, how)
    assert b"".join(pieces).startswith(channel.out)
    assert len(channel.out) >= QUEUE_LIMIT // 2


@hows
def test_the_number_skipped_is_shown_to_the_others(w: SSHWorld, how: str) -> None:
    stalled(w, how)
    for _ in range(200):
        w.console().feed(CHUNK)
    other = w.login("web01").attach()
    other.clear()
    other.type(b"\x05cw")
    assert b"skipped" in other.err


def test_a_chunk_larger_than_the_queue_is_announced_and_the_view_goes_on(w: SSHWorld) -> None:
    w.vm()
    channel = w.login("web01").attach()
    w.console().feed(b"x" * (QUEUE_LIMIT + 1))
    channel.client.pump()
    w.console().feed(b"after")
    channel.client.pump()
    assert b"[-- 1 bytes skipped" in channel.err
    assert channel.out == b"x" * QUEUE_LIMIT + b"after"


@hows
def test_notices_without_end_are_kept_within_bounds(w: SSHWorld, how: str) -> None:
    # A VM makes one of each break that it sends.
    client, _ = stalled(w, how)
    for _ in range(20_000):
        w.console().viewers.tell(GuestBreak())
        w.console().viewers.tell(Joined("x" * 200, True))
    assert kept(client) < ROOM


@hows
@pytest.mark.parametrize("keys", [b"\x05c?", b"\x05cw", b"\x05ci", b"\x05cr", b"\x05cz", b"\x05ca"])
def test_escape_commands_without_end_are_kept_within_bounds(w: SSHWorld, how: str, keys: bytes) -> None:
    client, channel = stalled(w, how, pty=True)
    w.console().feed(CHUNK * 16)
    w.store.flush()
    for _ in range(50):
        if client.closed or channel.ended:
            break
        if how == "rekey":  # what a client says within a key exchange is not allowed, but may come
            client._keyExchangeState = client._KEY_EXCHANGE_NONE
        channel.type(keys * 20)
    assert kept(client) < ROOM


@pytest.mark.parametrize("how", ["socket", "rekey"])
@pytest.mark.parametrize("what", ["global", "open", "request", "unknown"])
def test_replies_to_a_client_that_does_not_read_them_are_kept_within_bounds(w: SSHWorld, how: str, what: str) -> None:
    client, channel = stalled(w, how)
    packet = {
        "global": (GLOBAL_REQUEST, NS(b"keepalive@openssh.com") + b"\1"),
        "open": (OPEN, NS(b"x11") + struct.pack(">3L", 9, 9, 9)),
        "request": (REQUEST, struct.pack(">L", channel.id) + NS(b"env") + b"\1"),
        "unknown": (150, b""),
    }[what]
    for _ in range(40):
        if client.closed:
            break
        client._keyExchangeState = client._KEY_EXCHANGE_NONE
        for _ in range(1000):
            client.sendPacket(*packet)
        client.pump()
    assert kept(client) - (len(client.server.buf)) < ROOM


@hows
def test_opening_and_closing_without_end_leaves_nothing_behind(w: SSHWorld, how: str) -> None:
    w.vm()
    client = w.login("web01")
    for _ in range(200):
        channel = client.attach()
        channel.close()
        client.got.clear()
    assert client.server.service.channels == {}
    assert w.console().viewers.all == ()
    assert w.console().write_access.writer is None


def test_a_log_is_read_only_as_fast_as_the_client_takes_it(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"")
    for _ in range(1000):
        w.console().feed(CHUNK)
        w.store.flush()
    client = w.login()
    channel = client.run("log web01", window=100_000)
    assert kept(client) < 200_000
    for _ in range(10):
        channel.adjust(500_000)
        assert kept(client) < 200_000
    assert len(channel.out) == 1000 * len(CHUNK)
    assert channel.status == 0


def test_a_list_of_many_consoles_is_not_kept_once_for_every_channel(w: SSHWorld) -> None:
    for n in range(400):
        w.vm(f"vm{n}", uuid=UUID(int=n + 1))
    client = w.login()
    for _ in range(60):
        client.run("list --json", window=0)
    assert kept(client) < 8 * 1024 * 1024


# Closing somebody who does not read


def test_a_connection_that_broke_the_rules_goes_away_though_its_client_does_not_read(w: SSHWorld) -> None:
    client, _ = stalled(w, "socket")
    for _ in range(100):
        w.console().feed(CHUNK)
    client.send(DATA, b"")
    assert client.closed
    for _ in range(120):
        w.clock.advance(1)
    assert not client.tcp.connected
    assert w.console().viewers.all == ()


def test_a_connection_that_broke_the_rules_is_closed_when_what_waited_is_read(w: SSHWorld) -> None:
    # The transport resumes its producer instead of closing; somebody must see to it that the end follows.
    client, _ = stalled(w, "socket")
    w.console().feed(b"x" * (SOCKET_MARK + 1))
    client.send(DATA, b"")
    client.tcp.reads = True
    client.pump()
    assert not client.tcp.connected


def test_nothing_is_sent_behind_a_disconnect(w: SSHWorld) -> None:
    client, _ = stalled(w, "socket")
    for _ in range(100):
        w.console().feed(CHUNK)
    client.send(DATA, b"")
    client.tcp.reads = True
    client.pump()
    assert client.numbers[-1] == 1


@hows
def test_who_detaches_gives_up_the_pen_at_once_though_he_reads_nothing(w: SSHWorld, how: str) -> None:
    client, channel = stalled(w, how, pty=True)
    spy = w.login("web01").attach()
    for _ in range(100):
        w.console().feed(CHUNK)
    if how == "rekey":
        client._keyExchangeState = client._KEY_EXCHANGE_NONE
    channel.type(b"\x05c.")
    spy.client.pump()
    assert b"\n[attached]\r\n" in spy.err
    assert len(w.console().viewers.all) == 1


def test_a_second_key_exchange_that_is_never_finished_ends(w: SSHWorld) -> None:
    client, _ = stalled(w, "rekey")
    for _ in range(3600):
        w.clock.advance(1)
    assert client.closed
    assert w.console().write_access.writer is None


# Windows and packets of unusual sizes


@pytest.mark.parametrize("window", [0, 1, 7, 4096, (1 << 32) - 1])
@pytest.mark.parametrize("packet", [4096, 5000, (1 << 32) - 1])
def test_any_window_and_packet_size_gives_the_same_bytes(w: SSHWorld, window: int, packet: int) -> None:
    w.vm()
    channel = w.login("web01").attach(window=window, packet=packet)
    w.console().feed(CHUNK)
    for _ in range(20):
        channel.adjust(997)
    channel.client.pump()
    assert channel.out == CHUNK


def test_a_window_opened_beyond_all_measure_is_no_reason_to_stop(w: SSHWorld) -> None:
    w.vm()
    channel = w.login("web01").attach(window=(1 << 32) - 1)
    for _ in range(5):
        channel.adjust((1 << 32) - 1)
    w.console().feed(b"x")
    channel.client.pump()
    assert channel.out == b"x"


def test_more_input_than_was_allowed_closes_the_channel_and_nothing_else(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login("web01")
    first, second = client.attach(), client.attach()
    first.type(b"x" * (PACKET + 1))
    assert first.ended
    assert b"x" not in link.written
    second.type(b"\x05ca")
    second.type(b"fine")
    assert link.written == b"fine"


def test_data_behind_the_close_of_a_channel_goes_nowhere(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login("web01")
    channel = client.attach()
    client.answer_close = False
    channel.queue(DATA, NS(b"\x05c."))
    channel.queue(DATA, NS(b"late"))
    channel.queue(WINDOW_ADJUST, struct.pack(">L", 10))
    channel.queue(REQUEST, NS(b"break") + b"\1" + struct.pack(">L", 0))
    channel.queue(CLOSE)
    client.pump()
    assert link.written == b""
    assert link.breaks == 0
    assert not client.closed
    assert w.console().viewers.all == ()


def test_input_is_held_back_while_the_vm_takes_nothing_and_all_of_it_arrives(w: SSHWorld) -> None:
    link = w.vm()
    link.ready = False
    client = w.login("web01")
    channel = client.attach()
    sent = 0
    for _ in range(50):
        size = min(8192, channel.session.localWindowLeft)
        if not size:
            break
        channel.type(bytes([97 + sent // 8192 % 26]) * size)
        sent += size
    assert sent <= 4 * WINDOW, "the window is open though nobody takes the input"
    assert sent >= WINDOW
    link.ready = True
    w.console().link_ready()
    client.pump()
    assert len(link.written) == sent
    assert channel.session.localWindowLeft == WINDOW
    channel.type(b"more")
    assert link.written.endswith(b"more")


@pytest.mark.parametrize("how", ["socket", "window"])
def test_a_raw_stream_whose_reader_is_slow_is_kept_within_bounds_and_misses_nothing(w: SSHWorld, how: str) -> None:
    w.vm()
    client = w.login()
    raw = client.raw("web01", window=100 if how == "window" else 1 << 30)
    client.tcp.reads = how != "socket"
    pieces = [b"%09d\n" % n for n in range(500_000)]
    for at in range(0, len(pieces), 100):
        w.console().feed(b"".join(pieces[at : at + 100]))
        w.store.flush()
    assert kept(client) < RAW_QUEUE_LIMIT + 200_000
    assert raw.stream._behind.kept <= RECENT_LIMIT
    client.tcp.reads = True
    raw.adjust(1 << 30)
    assert raw.out == b"".join(pieces)
    assert kept(client) == 0
    assert not raw.ended


def test_answers_that_wait_for_new_keys_are_bounded_also_for_a_client_that_reads(w: SSHWorld) -> None:
    client = w.login()
    client.answer_kex = False
    client.server._left = 0  # the keys are worn out
    for _ in range(20):
        if client.closed:
            break
        client.tcp.reads = False
        for _ in range(1400):
            client.sendPacket(200, b"")  # unknown: the answers may be sent at once
        for _ in range(500):
            client.sendPacket(GLOBAL_REQUEST, NS(b"x") + b"\1")
        client.pump()
        client.tcp.reads = True
        client.pump()
    assert len(client.server._blocked) * PACKET_OVERHEAD <= UNREAD_LIMIT
