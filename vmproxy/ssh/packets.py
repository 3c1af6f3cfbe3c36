"""SSH packets: framed, encrypted, authenticated, and back (RFC 4253, 4344, 5647; OpenSSH's PROTOCOL files).

A *sealer* makes the packets of one direction, an *opener* takes those of the other apart. Neither knows of a socket.

Invariant: an opener does not decrypt a packet before its tag is found right. Two exceptions come from the protocol: the
length under ChaCha20, and everything under a MAC of the old kind (without ``-etm``), which is over the plain text.
Bound: nothing is kept of a packet that is not complete but its length.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from vmproxy.errors import VMProxyError

LEAST_PADDING = 4
SEQUENCE = 0xFFFFFFFF
"""Packets are numbered modulo 2**32."""

_HEAD = struct.Struct(">LBB")
_LONG = struct.Struct(">L")
_TAG = 16  # of both AEAD ciphers


class BadPacket(VMProxyError):
    """A packet that is not what a peer with the right keys sends."""


class Sealer(Protocol):
    """The packets of one direction, outgoing."""

    def seal(self, sequence: int, number: int, payload: bytes) -> bytes:
        """A packet.

        :param sequence: the number of the packet in its direction.
        :param number: of the message.
        """


class Opener(Protocol):
    """The packets of the other direction.

    :ivar head: the bytes of a packet that its length is read from.
    :ivar uncounted: the bytes at the beginning that are not in the multiple of the block size: the length, or none.
    :ivar block: the size of a block.
    :ivar tag: the size of the authentication tag.
    """

    head: int
    uncounted: int
    block: int
    tag: int

    def length(self, sequence: int, head: bytes) -> int:
        """The length of a packet, not yet authenticated. Asked once for each packet."""

    def open(self, sequence: int, packet: bytes) -> bytes:
        """The message in a whole packet: its number, then its payload.

        :raises BadPacket: if the tag is wrong, or what is authentic is malformed.
        """


class CipherKind(NamedTuple):
    """What a cipher needs.

    :ivar key: bytes.
    :ivar iv: bytes.
    :ivar authenticates: whether it is an AEAD cipher, beside which there is no MAC.
    """

    key: int
    iv: int
    authenticates: bool


class MACKind(NamedTuple):
    """What a MAC needs.

    :ivar size: the bytes of the key, and of the tag.
    :ivar etm: whether it is over the encrypted packet (*encrypt then MAC*).
    """

    digest: str
    size: int
    etm: bool


CHACHA = b"chacha20-poly1305@openssh.com"

CIPHERS = {
    CHACHA: CipherKind(64, 0, True),
    b"aes256-gcm@openssh.com": CipherKind(32, 12, True),
    b"aes128-gcm@openssh.com": CipherKind(16, 12, True),
    b"aes256-ctr": CipherKind(32, 16, False),
    b"aes192-ctr": CipherKind(24, 16, False),
    b"aes128-ctr": CipherKind(16, 16, False),
}
MACS = {
    b"hmac-sha2-256-etm@openssh.com": MACKind("sha256", 32, True),
    b"hmac-sha2-512-etm@openssh.com": MACKind("sha512", 64, True),
    b"hmac-sha2-256": MACKind("sha256", 32, False),
    b"hmac-sha2-512": MACKind("sha512", 64, False),
}


class Keys(NamedTuple):
    """The keys of one direction; each as long as needed, or longer."""

    iv: bytes
    key: bytes
    mac: bytes

    def cut(self, kind: CipherKind) -> Keys:
        """As long as a cipher needs them."""
        return Keys(self.iv[: kind.iv], self.key[: kind.key], self.mac)


def make_sealer(cipher: bytes, mac: bytes, keys: Keys) -> Sealer:
    """The sealer of an agreed cipher and MAC."""
    keys = keys.cut(CIPHERS[cipher])
    if cipher == CHACHA:
        return ChaChaSealer(keys.key)
    if CIPHERS[cipher].authenticates:
        return GCMSealer(keys)
    return CTRSealer(keys, MACS[mac])


def make_opener(cipher: bytes, mac: bytes, keys: Keys) -> Opener:
    """The opener of an agreed cipher and MAC."""
    keys = keys.cut(CIPHERS[cipher])
    if cipher == CHACHA:
        return ChaChaOpener(keys.key)
    if CIPHERS[cipher].authenticates:
        return GCMOpener(keys)
    return CTROpener(keys, MACS[mac])


def _framed(number: int, payload: bytes, block: int, uncounted: int) -> bytes:
    padding = block - (6 + len(payload) - uncounted) % block
    if padding < LEAST_PADDING:
        padding += block
    return b"".join((_HEAD.pack(2 + len(payload) + padding, padding, number), payload, os.urandom(padding)))


def _message(body: bytes) -> bytes:
    padding = body[0]
    if not LEAST_PADDING <= padding < len(body) - 1:
        raise BadPacket("the padding is wrong")
    return body[1:-padding]


# Before the keys.


class PlainSealer:
    """Packets in clear."""

    __slots__ = ()

    def seal(self, sequence: int, number: int, payload: bytes) -> bytes:
        return _framed(number, payload, 8, 0)


class PlainOpener:
    """Packets in clear."""

    __slots__ = ()
    head, uncounted, block, tag = 4, 0, 8, 0

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, packet: bytes) -> bytes:
        return _message(packet[4:])


# AES in counter mode, and HMAC.


def _stream(keys: Keys) -> Callable[[bytes], bytes]:
    update: Callable[[bytes], bytes] = Cipher(algorithms.AES(keys.key), modes.CTR(keys.iv)).encryptor().update
    return update


class CTRSealer:
    """AES-CTR with HMAC."""

    __slots__ = ("_digest", "_etm", "_key", "_update")

    def __init__(self, keys: Keys, mac: MACKind) -> None:
        self._update = _stream(keys)
        self._key = keys.mac[: mac.size]
        self._digest, _, self._etm = mac

    def seal(self, sequence: int, number: int, payload: bytes) -> bytes:
        order = _LONG.pack(sequence)
        if self._etm:
            packet = _framed(number, payload, 16, 4)
            packet = packet[:4] + self._update(packet[4:])
            return packet + hmac.digest(self._key, order + packet, self._digest)
        packet = _framed(number, payload, 16, 0)
        return self._update(packet) + hmac.digest(self._key, order + packet, self._digest)


class CTROpener:
    """AES-CTR with HMAC. Without ``-etm`` the first block is decrypted for the length, as the protocol has it."""

    __slots__ = ("_digest", "_first", "_key", "_update", "head", "tag", "uncounted")
    block = 16

    def __init__(self, keys: Keys, mac: MACKind) -> None:
        self._update = _stream(keys)
        self._key = keys.mac[: mac.size]
        self._digest, self.tag, etm = mac
        self.head, self.uncounted = (4, 4) if etm else (16, 0)
        self._first = b""

    def length(self, sequence: int, head: bytes) -> int:
        if not self.uncounted:
            head = self._first = self._update(head)
        return int.from_bytes(head[:4], "big")

    def open(self, sequence: int, packet: bytes) -> bytes:
        packet, tag = packet[: -self.tag], packet[-self.tag :]
        if self.uncounted:
            self._verify(sequence, packet, tag)
            return _message(self._update(packet[4:]))
        packet = self._first + self._update(packet[16:])
        self._verify(sequence, packet, tag)
        return _message(packet[4:])

    def _verify(self, sequence: int, packet: bytes, tag: bytes) -> None:
        if not hmac.compare_digest(hmac.digest(self._key, _LONG.pack(sequence) + packet, self._digest), tag):
            raise BadPacket("the MAC is wrong")


# AES-GCM.


class _Nonces:
    """The nonces of AES-GCM: four bytes that stay, eight that count packets."""

    __slots__ = ("_count", "_fixed")

    def __init__(self, iv: bytes) -> None:
        self._fixed, self._count = iv[:4], int.from_bytes(iv[4:], "big")

    def next(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce


class GCMSealer:
    """AES-GCM. The length is in clear, and authenticated."""

    __slots__ = ("_encrypt", "_nonce")

    def __init__(self, keys: Keys) -> None:
        self._encrypt = AESGCM(keys.key).encrypt
        self._nonce = _Nonces(keys.iv).next

    def seal(self, sequence: int, number: int, payload: bytes) -> bytes:
        packet = _framed(number, payload, 16, 4)
        return packet[:4] + self._encrypt(self._nonce(), packet[4:], packet[:4])


class GCMOpener:
    """AES-GCM."""

    __slots__ = ("_decrypt", "_nonce")
    head, uncounted, block, tag = 4, 4, 16, _TAG

    def __init__(self, keys: Keys) -> None:
        self._decrypt = AESGCM(keys.key).decrypt
        self._nonce = _Nonces(keys.iv).next

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, packet: bytes) -> bytes:
        try:
            body = self._decrypt(self._nonce(), packet[4:], packet[:4])
        except InvalidTag:
            raise BadPacket("the tag is wrong") from None
        return _message(body)


# ChaCha20 and Poly1305 as OpenSSH has them: two keys, and the nonce is the packet's number.

_FIRST_BLOCK = bytes(64)  # its key stream makes the key of Poly1305


def _chacha(key: bytes) -> Any:
    return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()


class ChaChaSealer:
    """chacha20-poly1305@openssh.com: one ChaCha20 for the length, another for the rest."""

    __slots__ = ("_body", "_length")

    def __init__(self, key: bytes) -> None:
        self._body, self._length = _chacha(key[:32]), _chacha(key[32:])

    def seal(self, sequence: int, number: int, payload: bytes) -> bytes:
        packet = _framed(number, payload, 8, 4)
        nonce = sequence.to_bytes(16, "big")
        self._length.reset_nonce(nonce)
        self._body.reset_nonce(nonce)
        stream = self._body.update(_FIRST_BLOCK + packet[4:])
        packet = b"".join((self._length.update(packet[:4]), stream[64:]))
        return packet + Poly1305.generate_tag(stream[:32], packet)


class ChaChaOpener:
    """chacha20-poly1305@openssh.com."""

    __slots__ = ("_body", "_length")
    head, uncounted, block, tag = 4, 4, 8, _TAG

    def __init__(self, key: bytes) -> None:
        self._body, self._length = _chacha(key[:32]), _chacha(key[32:])

    def length(self, sequence: int, head: bytes) -> int:
        self._length.reset_nonce(sequence.to_bytes(16, "big"))
        return int.from_bytes(self._length.update(head), "big")

    def open(self, sequence: int, packet: bytes) -> bytes:
        self._body.reset_nonce(sequence.to_bytes(16, "big"))
        key = self._body.update(_FIRST_BLOCK)[:32]
        try:
            Poly1305.verify_tag(key, packet[:-_TAG], packet[-_TAG:])
        except InvalidSignature:
            raise BadPacket("the tag is wrong") from None
        return _message(self._body.update(packet[4:-_TAG]))
