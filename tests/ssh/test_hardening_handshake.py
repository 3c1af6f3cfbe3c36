"""What a hostile client may say before there are keys: it ends that connection, and nothing else."""

from __future__ import annotations

import struct

import pytest
from twisted.conch.ssh.common import NS

from tests.support.clear_packets import STRICT, kexinit, plain, said
from tests.support.fakes import Logged
from tests.support.ssh import (
    DATA,
    DEBUG,
    DISCONNECT,
    EXT_INFO,
    GLOBAL_REQUEST,
    IGNORE,
    KEX_INIT,
    KEX_REPLY,
    KEXINIT,
    NEWKEYS,
    OPEN,
    SERVICE_REQUEST,
    UNIMPLEMENTED,
    USERAUTH_REQUEST,
    Client,
    SSHWorld,
)
from vmproxy.ssh.transport import PACKET_LIMIT_BEFORE_LOGIN

ECDH = NS(bytes([9]) + b"\0" * 31)


GEX, GEX_INIT, GEX_REQUEST = b"diffie-hellman-group-exchange-sha256", 32, 34


GEX_GOOD = (GEX_REQUEST, struct.pack(">3L", 2048, 3072, 8192))


GROUP16 = b"diffie-hellman-group16-sha512"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n" * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-\r\n",
        b"SSH-2.0\r\n",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-x\nSSH-9.9-y\n",
        b"SSH-2.0-x\r\n" + b"\0" * 64,
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"SSH-2.0-x\r\n" + struct.pack(">LB", 12, 255) + b"\0" * 20,
        b"SSH-2.0-x\r\n" + struct.pack(">LB", 13, 4) + b"\0" * 20,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"A" * 5000,
        struct.pack(">LB", 12, 4) + bytes([30]) + b"\0" * 9 + b"\n",
    ],
)
def test_garbage_instead_of_ssh_raises_nothing(w: SSHWorld, garbage: bytes, logged: Logged) -> None:
    client = Client(w)
    for byte in garbage:
        client.server.dataReceived(bytes([byte]))
    other = Client(w)
    other.server.dataReceived(garbage)
    assert not logged.tracebacks


def test_endless_text_before_the_version_is_not_collected(w: SSHWorld) -> None:
    client = Client(w)
    for _ in range(100):
        client.server.dataReceived(b"x" * 1000)
    assert client.closed
    assert len(client.server.buf) < 200_000


@pytest.mark.parametrize("first", [IGNORE, DEBUG, UNIMPLEMENTED, SERVICE_REQUEST, EXT_INFO, 99])
def test_strictly_nothing_may_come_before_the_first_kexinit(w: SSHWorld, first: int) -> None:
    payload = {DEBUG: b"\0" + NS(b"") + NS(b""), SERVICE_REQUEST: NS(b"ssh-userauth"), EXT_INFO: b"\0" * 4}
    client = plain(w, (first, payload.get(first, b"\0" * 4)), (KEXINIT, kexinit()))
    assert client.closed


@pytest.mark.parametrize("between", [IGNORE, DEBUG, UNIMPLEMENTED, SERVICE_REQUEST, EXT_INFO, USERAUTH_REQUEST, 99])
@pytest.mark.parametrize("stage", ["after KEXINIT", "after KEX_INIT"])
def test_strictly_nothing_may_come_within_the_first_key_exchange(w: SSHWorld, between: int, stage: str) -> None:
    # Until NEWKEYS packets are not authenticated: anybody on the way may have put it there.
    payload = {DEBUG: b"\0" + NS(b"") + NS(b""), SERVICE_REQUEST: NS(b"ssh-userauth"), EXT_INFO: b"\0" * 4}
    odd = (between, payload.get(between, b"\0" * 4))
    if stage == "after KEXINIT":
        client = plain(w, (KEXINIT, kexinit()), odd)
    else:
        client = plain(w, (KEXINIT, kexinit()), (KEX_INIT, ECDH), odd)
    assert client.closed


def test_a_client_that_is_not_strict_may_send_what_the_protocol_allows(w: SSHWorld) -> None:
    ignored = (IGNORE, NS(b""))
    assert not plain(w, ignored, (KEXINIT, kexinit(b"curve25519-sha256")), ignored).closed


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("number", [SERVICE_REQUEST, USERAUTH_REQUEST, OPEN, GLOBAL_REQUEST, DATA])
def test_nothing_but_key_exchange_is_dealt_with_before_the_connection_is_encrypted(
    w: SSHWorld, number: int, strict: bool
) -> None:
    payload = NS(b"ssh-userauth") if number == SERVICE_REQUEST else NS(b"x") * 5
    kex = kexinit() if strict else kexinit(b"curve25519-sha256")
    client = plain(w, (KEXINIT, kex), (KEX_INIT, ECDH), (number, payload))
    assert client.closed
    assert client.server.service is None


@pytest.mark.parametrize(
    "packets",
    [
        [(NEWKEYS, b"")],
        [(KEXINIT, kexinit()), (NEWKEYS, b"")],
        [(KEXINIT, kexinit()), (NEWKEYS, b""), (IGNORE, NS(b"x" * 100))],
        [(KEXINIT, kexinit()), (NEWKEYS, b"x")],
        [(KEXINIT, kexinit()), (KEXINIT, kexinit())],
        [(KEX_INIT, ECDH)],
        [(KEXINIT, kexinit()), (KEX_INIT, b"")],
        [(KEXINIT, kexinit()), (KEX_INIT, NS(b""))],
        [(KEXINIT, kexinit()), (KEX_INIT, NS(b"\0" * 32))],  # the neutral element
        [(KEXINIT, kexinit()), (KEX_INIT, NS(b"x" * 31))],
        [(KEXINIT, kexinit(b"mlkem768x25519-sha256")), (KEX_INIT, NS(b"x" * 31))],
        [(KEXINIT, kexinit(b"mlkem768x25519-sha256")), (KEX_INIT, NS(b"\xff" * 1216))],
        [(KEXINIT, kexinit(b"mlkem768x25519-sha256")), (KEX_INIT, NS(b"\0" * 1216))],
        [(KEXINIT, kexinit(GEX)), (GEX_REQUEST, b"")],
        [(KEXINIT, kexinit(GEX)), (GEX_REQUEST, struct.pack(">3L", 1024, 1024, 1024))],
        [(KEXINIT, kexinit(GEX)), (GEX_REQUEST, struct.pack(">3L", 4096, 2048, 8192))],
        [(KEXINIT, kexinit(GEX)), (KEX_INIT, struct.pack(">L", 2048))],  # the old request
        [(KEXINIT, kexinit(GEX)), (GEX_INIT, NS(b"\4"))],
        [(KEXINIT, kexinit(GEX)), GEX_GOOD, (GEX_INIT, b"")],
        [(KEXINIT, kexinit(GEX)), GEX_GOOD, (GEX_INIT, NS(b"\1"))],
        [(KEXINIT, kexinit(GEX)), GEX_GOOD, GEX_GOOD],
        [(KEXINIT, kexinit(GEX)), GEX_GOOD, (GEX_INIT, NS(b"\4")), (NEWKEYS, b"")],
        [(KEXINIT, kexinit(GEX)), GEX_GOOD, (GEX_INIT, NS(b"\4")), (GEX_INIT, NS(b"\4"))],
        [(KEXINIT, kexinit(GROUP16)), (KEX_INIT, NS(b""))],
        [(KEXINIT, kexinit(GROUP16)), (KEX_INIT, NS(b"\1"))],
        [(KEXINIT, kexinit(GROUP16)), (KEX_INIT, NS(b"\xff" * 60_000))],
        [(KEXINIT, kexinit(GROUP16)), (KEX_INIT, NS(b"\4")), (NEWKEYS, b"")],
        [(KEXINIT, kexinit(b"ecdh-sha2-nistp256")), (KEX_INIT, NS(b"\4" + b"\1" * 64))],
        [(KEXINIT, kexinit()), (32, b"\0" * 4)],
        [(KEXINIT, kexinit()), (34, b"\0" * 12)],
        [(KEXINIT, kexinit()), (KEX_REPLY, b"")],
        [(KEXINIT, b"")],
        [(KEXINIT, b"\0" * 16)],
        [(KEXINIT, kexinit()[:-20])],
        [(KEXINIT, kexinit(STRICT))],
        [(KEXINIT, kexinit(b"kex-strict-s-v00@openssh.com"))],
        [(KEXINIT, kexinit(b"ext-info-s"))],
        [(KEXINIT, kexinit(b""))],
        [(KEXINIT, kexinit(compression=b"zlib"))],
        [(KEXINIT, kexinit(compression=b"zlib@openssh.com"))],
        [(DISCONNECT, b"")],
        [(EXT_INFO, b"")],
        [(EXT_INFO, b"\xff\xff\xff\xff")],
        [(SERVICE_REQUEST, b"")],
        [(SERVICE_REQUEST, b"\xff\xff\xff\xff")],
    ],
    ids=lambda packets: "-".join(str(n) for n, _ in packets),
)
def test_a_key_exchange_out_of_order_or_malformed_ends_the_connection_quietly(
    w: SSHWorld, packets: list[tuple[int, bytes]], logged: Logged
) -> None:
    client = plain(w, *packets)
    for _ in range(3):
        w.clock.advance(0)  # for exchanges that take their turns
    assert client.closed
    assert not logged.tracebacks


@pytest.mark.parametrize("number", [IGNORE, UNIMPLEMENTED, DEBUG])
def test_a_packet_that_means_nothing_may_be_malformed(w: SSHWorld, number: int, logged: Logged) -> None:
    plain(w, (number, b""))
    w.login().send(number)
    assert not logged.tracebacks


def test_nothing_behind_the_packet_that_ended_a_connection_is_looked_at(w: SSHWorld) -> None:
    client = plain(w, (KEXINIT, kexinit()), (IGNORE, NS(b"")), (KEX_INIT, ECDH))
    assert client.closed
    assert KEX_REPLY not in said(client)


def test_a_key_exchange_is_computed_once_however_often_it_is_asked_for(w: SSHWorld) -> None:
    # Each costs a signature: sent by the thousand they would hold up the VMs.
    client = plain(w, (KEXINIT, kexinit()), *[(KEX_INIT, ECDH)] * 50)
    assert said(client).count(KEX_REPLY) <= 1


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (EXT_INFO, struct.pack(">L", 120_000) + b"\0" * 960_000),
        (KEXINIT, kexinit(b"," * 900_000)),
        (KEXINIT, kexinit(b"a," * 450_000)),
    ],
    ids=["EXT_INFO", "KEXINIT, empty names", "KEXINIT, many names"],
)
def test_a_huge_packet_before_the_login_is_not_waited_for(w: SSHWorld, number: int, payload: bytes) -> None:
    client = plain(w, (number, payload))
    assert client.closed
    assert len(client.server.buf) <= 2 * PACKET_LIMIT_BEFORE_LOGIN


def test_a_huge_packet_that_trickles_in_is_not_waited_for(w: SSHWorld) -> None:
    client = Client(w)
    client.plain()
    client.server.dataReceived(bytes(client.out.buffer) + struct.pack(">LB", 1_000_004, 4))
    for _ in range(2_000):
        client.server.dataReceived(b"x" * 40)
    assert client.closed
