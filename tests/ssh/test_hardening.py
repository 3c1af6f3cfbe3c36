"""What a hostile client may say behind the keys: it ends that connection, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS

from tests.support.clear_packets import STRICT, kexinit, plain, said
from tests.support.fakes import Logged
from tests.support.properties import examples
from tests.support.ssh import (
    CLOSE,
    DATA,
    DEBUG,
    DISCONNECT,
    GLOBAL_REQUEST,
    IGNORE,
    KEX_INIT,
    KEX_REPLY,
    KEXINIT,
    LOGIN_TIMEOUT,
    NEWKEYS,
    OPEN,
    OPEN_FAILURE,
    REQUEST,
    REQUEST_FAILURE,
    UNIMPLEMENTED,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    WINDOW_ADJUST,
    Client,
    SSHWorld,
    ed25519_key,
)
from vmproxy.auth.limits import Quota
from vmproxy.ssh.connection import CHANNELS_LIMIT
from vmproxy.ssh.frontend import PARTING_LIMIT
from vmproxy.ssh.transport import PACKET_LIMIT

PAIRS = [  # one of each kind
    (b"chacha20-poly1305@openssh.com", b"hmac-sha2-256"),
    (b"aes256-gcm@openssh.com", b"hmac-sha2-256"),
    (b"aes128-ctr", b"hmac-sha2-256-etm@openssh.com"),
    (b"aes256-ctr", b"hmac-sha2-512"),
]


ECDH = NS(bytes([9]) + b"\0" * 31)


GEX, GEX_INIT, GEX_REQUEST = b"diffie-hellman-group-exchange-sha256", 32, 34


GEX_GOOD = (GEX_REQUEST, struct.pack(">3L", 2048, 3072, 8192))


GROUP16 = b"diffie-hellman-group16-sha512"


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(1, 255).filter(lambda n: n != 20), payload=st.binary(max_size=80), stage=st.integers(0, 2))
def test_no_packet_at_any_stage_raises_or_logs_a_traceback(
    w: SSHWorld, logged: Logged, number: int, payload: bytes, stage: int
) -> None:
    client = w.connect() if stage < 2 else w.login()
    if stage == 1:
        client.ask_for_login()
    if stage == 2:
        client.open()
    client.send(number, payload)
    assert USERAUTH_SUCCESS not in client.numbers
    assert not logged.tracebacks
    client.tcp.closed()


def _channel_packets() -> dict[str, tuple[int, bytes]]:
    zero = b"\0" * 4
    return {
        "open, empty": (OPEN, b""),
        "open, no numbers": (OPEN, NS(b"session")),
        "open, a kind that is not ASCII": (OPEN, NS(b"\xff") + b"\0" * 12),
        "direct-tcpip, nothing": (OPEN, NS(b"direct-tcpip") + struct.pack(">3L", 9, 9999, 9999)),
        "direct-tcpip, half": (OPEN, NS(b"direct-tcpip") + struct.pack(">3L", 9, 9999, 9999) + NS(b"web01")),
        "direct-tcpip, a name that is not UTF-8": (
            OPEN,
            NS(b"direct-tcpip") + struct.pack(">3L", 9, 9999, 9999) + NS(b"\xff\x1b") + b"\0\0\0\1" + NS(b"") + zero,
        ),
        "an unknown channel": (DATA, struct.pack(">L", 77) + NS(b"x")),
        "a window for an unknown channel": (WINDOW_ADJUST, struct.pack(">2L", 77, 1)),
        "half a window": (WINDOW_ADJUST, zero),
        "data that is longer than it says": (DATA, zero + struct.pack(">L", 1) + b"xyz"),
        "data that is shorter than it says": (DATA, zero + struct.pack(">L", 100) + b"xyz"),
        "close of an unknown channel": (CLOSE, struct.pack(">L", 77)),
        "a request, empty": (REQUEST, zero),
        "a request that is not ASCII": (REQUEST, zero + NS(b"\xff\xfe") + b"\0"),
        "a request that is not ASCII, with reply": (REQUEST, zero + NS(b"\xff\xfe") + b"\1"),
        "exec without a command": (REQUEST, zero + NS(b"exec") + b"\0"),
        "exec without a command, with reply": (REQUEST, zero + NS(b"exec") + b"\1"),
        "exec, half a string": (REQUEST, zero + NS(b"exec") + b"\0" + b"\0\0\0\xffx"),
        "a signal without a name": (REQUEST, zero + NS(b"signal") + b"\0"),
        "pty-req with nothing": (REQUEST, zero + NS(b"pty-req") + b"\0"),
        "an unknown request": (REQUEST, zero + NS(b"received") + b"\0"),
        "a global request, empty": (GLOBAL_REQUEST, b""),
        "a global request that is not ASCII": (GLOBAL_REQUEST, NS(b"\xff") + b"\1"),
        "a reply to nothing": (82, b""),
        "a success of nothing": (99, zero),
        "a confirmation of nothing": (91, b"\0" * 16),
    }


@pytest.mark.parametrize("kind", _channel_packets())
def test_a_malformed_packet_of_a_channel_is_refused_quietly(w: SSHWorld, kind: str, logged: Logged) -> None:
    w.vm()
    client = w.login()
    other = w.login("web01").attach()
    client.open()
    client.send(*_channel_packets()[kind])
    assert not logged.tracebacks
    other.type(b"x")
    w.console().feed(b"still here")
    other.client.pump()
    assert other.out == b"still here"


@pytest.mark.parametrize(
    "open_it",
    [
        lambda c: c.open(b"x11"),
        lambda c: c.open(b"auth-agent@openssh.com"),
        lambda c: c.open(b"forwarded-tcpip"),
        lambda c: c.open(packet=1),
        lambda c: c.raw("nosuch"),
    ],
    ids=["x11", "agent", "forwarded", "tiny packets", "no such console"],
)
def test_a_refused_channel_is_no_error_of_ours(
    w: SSHWorld, open_it: Callable[[Client], object], logged: Logged
) -> None:
    client = w.login()
    open_it(client)
    assert OPEN_FAILURE in client.numbers
    assert not client.closed
    assert not logged.tracebacks


@pytest.mark.parametrize("kind", [b"tcpip-forward", b"keepalive@openssh.com", b"no-more-sessions@openssh.com", b"x"])
def test_nothing_is_forwarded_and_keepalives_are_answered(w: SSHWorld, kind: bytes) -> None:
    client = w.login()
    client.send(GLOBAL_REQUEST, NS(kind) + b"\1" + NS(b"0.0.0.0") + struct.pack(">L", 22))
    assert client.taken(82) == [b""]


def test_the_number_of_channels_is_bounded(w: SSHWorld) -> None:
    client = w.login()
    channels = [client.open() for _ in range(CHANNELS_LIMIT + 5)]
    assert [c.id is not None for c in channels] == [True] * CHANNELS_LIMIT + [False] * 5
    channels[0].close()
    assert client.open().id is not None


def test_one_operator_has_so_many_sessions_over_all_connections(w: SSHWorld) -> None:
    w.services.sessions = Quota(3, 5)
    clients = [w.login(), w.login()]
    channels = [client.open() for client in clients for _ in range(2)]
    assert [channel.id is not None for channel in channels] == [True, True, True, False]
    channels[0].close()
    assert clients[1].open().id is not None
    assert clients[1].open().id is None
    clients[0].tcp.closed()
    assert len(w.services.sessions) == 2
    clients[1].tcp.closed()
    assert len(w.services.sessions) == 0


def test_unknown_packets_fill_nobodys_log(w: SSHWorld, logged: Logged) -> None:
    client = w.connect()
    client.ask_for_login()
    for _ in range(20):
        if not client.closed:
            client.send(99, b"\xff" * 100_000)
    assert logged.size < 20_000


def test_the_words_of_a_disconnect_fill_nobodys_log(w: SSHWorld, logged: Logged) -> None:
    client = w.connect()
    client.send(DISCONNECT, struct.pack(">L", 11) + NS(b"\xff" * 900_000) + NS(b""))
    assert client.closed
    assert logged.size < 5_000


def test_a_client_that_takes_its_leave_is_no_error(w: SSHWorld, logged: Logged) -> None:
    client = w.login()
    client.send(DISCONNECT, struct.pack(">L", 11) + NS(b"disconnected by user") + NS(b""))
    assert not [e for e in logged.events if e["log_level"].name in ("error", "critical", "warn")]


def test_a_client_that_takes_its_leave_and_does_not_read_is_cut_off(w: SSHWorld) -> None:
    # What it has not read would keep its connection for ever, and its place among those that have not logged in.
    client = w.connect()
    client.tcp.reads = False
    for _ in range(10):
        client.send(99)
    client.send(DISCONNECT, struct.pack(">L", 11) + NS(b"") + NS(b""))
    assert client.tcp.buffer
    assert client.tcp.connected
    w.clock.advance(PARTING_LIMIT + 1)
    w.clock.advance(0)
    assert not client.tcp.connected
    assert len(w.accounts.gate) == 0


@pytest.mark.parametrize("number", [IGNORE, DEBUG, UNIMPLEMENTED])
def test_within_a_later_key_exchange_a_client_may_send_what_the_protocol_allows(w: SSHWorld, number: int) -> None:
    payload = {IGNORE: NS(b""), DEBUG: b"\0" + NS(b"") + NS(b""), UNIMPLEMENTED: b"\0" * 4}
    client = w.login()
    client.start_rekey()
    client.send(number, payload[number])
    assert not client.closed
    client.finish_rekey()
    client.send(GLOBAL_REQUEST, NS(b"x") + b"\1")
    assert REQUEST_FAILURE in client.numbers


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_no_byte_of_a_packet_can_be_changed_on_the_way(w: SSHWorld, logged: Logged, cipher: bytes, mac: bytes) -> None:
    w.vm()
    size = 0
    for at in range(0, 200, 5):
        client = w.login("web01", cipher=cipher, mac=mac)
        channel = client.attach(pty=False)
        channel.queue(DATA, NS(b"reboot\n"))
        size = len(client.out.buffer)
        if at >= size:
            break
        client.out.buffer[at] ^= 0x80
        client.server.dataReceived(bytes(client.out.buffer))
        # A changed length may stand for a packet whose end has not come. No more than that packet is waited for.
        if not client.closed:
            client.server.dataReceived(bytes(PACKET_LIMIT + 100))
        assert client.closed
        assert not client.server.buf
    assert size
    assert w.console().link.written == b""
    assert not logged.tracebacks


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
@pytest.mark.parametrize("length", [0, 1, 4, 5, 17, PACKET_LIMIT + 16, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_no_packet_has_is_refused_before_anything_is_kept(
    w: SSHWorld, cipher: bytes, mac: bytes, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = w.login(cipher=cipher, mac=mac)
    monkeypatch.setattr(type(client.server._opener), "length", lambda *_: length)  # as if it had been encrypted well
    client.server.dataReceived(bytes(16))
    assert client.closed
    assert not client.server.buf


@pytest.mark.parametrize("kex", [GEX, GROUP16])
def test_a_slow_key_exchange_is_computed_in_later_turns(w: SSHWorld, kex: bytes) -> None:
    public = NS(b"\4")
    begin = [(KEXINIT, kexinit(kex)), *([GEX_GOOD, (GEX_INIT, public)] if kex == GEX else [(KEX_INIT, public)])]
    clients = [plain(w, *begin) for _ in range(3)]
    before = [said(client) for client in clients]
    w.clock.advance(0)
    reply = 33 if kex == GEX else KEX_REPLY
    assert [said(client)[: len(old) + 1] for client, old in zip(clients, before, strict=True)] == [
        [*old, reply] for old in before
    ]
    assert not any(client.closed for client in clients)


def test_a_client_that_leaves_during_a_slow_key_exchange_costs_nothing_more(w: SSHWorld, logged: Logged) -> None:
    clients = [plain(w, (KEXINIT, kexinit(GROUP16)), (KEX_INIT, NS(b"\4"))) for _ in range(3)]
    w.clock.advance(0)
    for client in clients:
        client.tcp.closed()
    for _ in range(6):
        w.clock.advance(0)
    assert not logged.tracebacks


def test_a_wrong_guess_of_any_method_is_dropped_and_the_right_packet_answered(w: SSHWorld) -> None:
    guessed = kexinit()[:-5] + b"\1" + bytes(4)
    client = plain(w, (KEXINIT, guessed), (GEX_REQUEST, b"nonsense"), (KEX_INIT, ECDH))
    assert not client.closed
    assert KEX_REPLY in said(client)


def test_new_keys_are_asked_for_before_the_old_ones_are_worn_out(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01", cipher=b"chacha20-poly1305@openssh.com")
    channel = client.attach()
    client.server._left = 10_000  # what is left of eight gigabytes
    session = client.sessionID
    client.server_kexinit = b""
    for _ in range(100):
        w.console().feed(b"x" * 200)
        client.pump()
    assert client.server_kexinit
    assert client.server._left > 1_000_000
    assert client.sessionID == session
    assert channel.out == b"x" * 20_000


def test_worn_out_keys_give_no_new_time_to_log_in(w: SSHWorld) -> None:
    client = w.connect()
    w.clock.advance(LOGIN_TIMEOUT / 2)
    client.server._left = 0
    client.send(IGNORE, NS(b""))
    w.clock.advance(LOGIN_TIMEOUT / 2 + 1)
    assert client.closed


def test_a_client_that_does_not_give_new_keys_is_disconnected(w: SSHWorld) -> None:
    client = w.login()
    client.answer_kex = False
    client.server._left = 0
    client.send(IGNORE, NS(b""))
    client.send(IGNORE, NS(b""))
    assert not client.closed
    w.clock.advance(LOGIN_TIMEOUT + 1)
    assert client.closed


def test_a_second_key_exchange_is_done_and_changes_nothing(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    channel = client.attach()
    client.start_rekey()
    w.console().feed(b"meanwhile")
    client.pump()
    assert channel.out == b""
    client.finish_rekey()
    assert channel.out == b"meanwhile"
    channel.type(b"typed")
    w.console().feed(b" and after")
    client.pump()
    assert channel.out == b"meanwhile and after"


@pytest.mark.parametrize("number", [NEWKEYS, KEX_INIT])
def test_a_key_exchange_that_nobody_began_ends_the_connection_quietly(w: SSHWorld, number: int, logged: Logged) -> None:
    client = w.login()
    client._keyExchangeState = client._KEY_EXCHANGE_NONE
    client.send(number, ECDH if number == KEX_INIT else b"")
    assert client.closed
    assert not logged.tracebacks


def test_new_keys_in_a_second_exchange_before_they_are_made_end_the_connection_quietly(
    w: SSHWorld, logged: Logged
) -> None:
    client = w.login()
    client.start_rekey()
    client.send(NEWKEYS)
    client.server.dataReceived(b"x" * 100)
    assert client.closed
    assert not logged.tracebacks


def test_a_signature_made_for_another_connection_is_worth_nothing(w: SSHWorld) -> None:
    first, second = w.connect(), w.connect()
    packet = first.auth_packet(b"web01", ed25519_key())
    second.ask_for_login()
    second.send(USERAUTH_REQUEST, packet)
    assert USERAUTH_SUCCESS not in second.numbers


def test_a_key_exchange_that_a_login_overtakes_keeps_its_deadline(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    w.threads_held = True
    client.send(USERAUTH_REQUEST, client.auth_packet(b"alice", ed25519_key()))
    client.start_rekey()
    w.release_threads()
    w.clock.advance(0)
    assert len(w.front.logins) == 1
    w.clock.advance(LOGIN_TIMEOUT)
    assert client.closed


def test_the_packet_that_is_not_known_is_named_by_its_number(w: SSHWorld) -> None:
    client = w.login()
    for _ in range(3):
        number = client.outgoingPacketSequence
        client.send(200)
        assert client.taken(UNIMPLEMENTED) == [struct.pack(">L", number)]


@pytest.mark.parametrize("names", [0, 100, 220, 500])
def test_a_client_may_say_its_version_and_its_algorithms_at_once(w: SSHWorld, names: int) -> None:
    more = b"".join(b",another%d@example.com" % number for number in range(names))
    client = Client(w)
    client.plain()
    client.sendPacket(KEXINIT, kexinit(b"curve25519-sha256," + STRICT + more))
    client.sendPacket(KEX_INIT, ECDH)
    client.server.dataReceived(bytes(client.out.buffer))
    assert not client.closed
    assert said(client)[:2] == [KEXINIT, KEX_REPLY]


@pytest.mark.parametrize("piece", [1, 4096, 4097, 65536])
def test_a_version_without_end_is_not_kept(w: SSHWorld, piece: int) -> None:
    client = Client(w)
    for _ in range(0, 65536, piece):
        client.server.dataReceived(b"A" * piece)
    assert client.closed
    assert len(client.server.buf) <= 4096
