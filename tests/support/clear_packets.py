"""A client that speaks in the clear: what it sends, and what it is answered."""

from __future__ import annotations

from twisted.conch.ssh.common import NS

from tests.support.ssh import (
    NEWKEYS,
    Client,
    SSHWorld,
)

STRICT = b"kex-strict-c-v00@openssh.com"


def kexinit(kex: bytes = b"curve25519-sha256," + STRICT, compression: bytes = b"none") -> bytes:
    lists = [kex, b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[compression] * 2, b"", b""]
    return b"\0" * 16 + b"".join(map(NS, lists)) + b"\0" * 5


def plain(w: SSHWorld, *packets: tuple[int, bytes]) -> Client:
    """A client that sends packets in the clear, all in one piece, and answers nothing."""
    client = Client(w)
    client.plain()
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    for number, payload in packets:
        client._keyExchangeState = client._KEY_EXCHANGE_NONE
        client.sendPacket(number, payload)
    client.outgoingPacketSequence = 0
    client.server.dataReceived(bytes(client.out.buffer))
    client.out.buffer.clear()
    return client


def said(client: Client) -> list[int]:
    """The numbers of the packets that the server has sent in the clear: up to NEWKEYS."""
    data = bytes(client.tcp.buffer).partition(b"\r\n")[2]
    numbers: list[int] = []
    while len(data) > 5 and NEWKEYS not in numbers:
        size = int.from_bytes(data[:4], "big")
        numbers.append(data[5])
        data = data[4 + size :]
    return numbers
