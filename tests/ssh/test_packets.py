"""Packets: known answers, both ways, and everything that is not a packet of who has the keys."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.ssh.packets import (
    CHACHA,
    CIPHERS,
    MACS,
    SEQUENCE,
    BadPacket,
    Keys,
    Opener,
    PlainOpener,
    PlainSealer,
    make_opener,
    make_sealer,
)

KEYS = Keys(bytes(range(64)), bytes(range(64, 128)), bytes(range(128, 192)))
PAIRS = [(cipher, mac) for cipher, kind in CIPHERS.items() for mac in ([b""] if kind.authenticates else MACS)]
pairs = pytest.mark.parametrize(("cipher", "mac"), PAIRS, ids=[b"+".join(pair).decode() for pair in PAIRS])


def opened(opener: Opener, packet: bytes, sequence: int = 0) -> bytes:
    length = opener.length(sequence, packet[: opener.head])
    assert (4 + length - opener.uncounted) % opener.block == 0
    assert len(packet) == 4 + length + opener.tag
    return opener.open(sequence, packet)


def test_the_worked_example_of_chacha20_poly1305() -> None:
    # draft-ietf-sshm-chacha20-poly1305, appendix A: key material, packet number 7, what is sent, what it means.
    key = bytes.fromhex(
        "8bbff6855fc102338c373e73aac0c914f076a905b2444a32eecaffeae22becc5"
        "e9b7a7a5825a8249346ec1c28301cf394543fc7569887d76e168f37562ac0740"
    )
    sent = bytes.fromhex(
        "2c3ecce4a5bc05895bf07a7ba956b6c68829ac7c83b780b7000ecde745afc705bbc378ce03a280236b87b53bed583966"
        "2302b164b6286a48cd1e097138e3cb909b8b2b829dd18d2a35ff82d995349e855bf02c298ef775f2d1a7e8b8"
    )
    opener = make_opener(CHACHA, b"", Keys(b"", key, b""))
    text = b"Lorem ipsum dolor sit amet, consectetur adipisicing elit"
    assert opener.length(7, sent[:4]) == 72
    assert opener.open(7, sent) == b"\x5e" + bytes(4) + struct.pack(">L", len(text)) + text


@pytest.mark.parametrize("cipher", [b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"])
def test_gcm_counts_its_nonce_up_and_authenticates_the_length_in_clear(cipher: bytes) -> None:
    # As RFC 5647, sections 7.1 to 7.3, says it, by means of another interface of the library.
    iv = b"abcd" + b"\xff" * 8
    sealer = make_sealer(cipher, b"", Keys(iv, KEYS.key, b""))
    for nonce in (iv, b"abcd" + bytes(8), b"abcd" + bytes(7) + b"\1"):
        packet = sealer.seal(5, 94, b"payload")
        key = KEYS.key[: CIPHERS[cipher].key]
        decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, packet[-16:])).decryptor()
        decryptor.authenticate_additional_data(packet[:4])
        plain = decryptor.update(packet[4:-16]) + decryptor.finalize()
        assert struct.unpack(">L", packet[:4])[0] == len(plain)
        assert plain[1:9] == b"\x5epayload"


@pytest.mark.parametrize("mac", list(MACS))
def test_a_mac_is_over_the_number_and_the_packet_encrypted_or_plain(mac: bytes) -> None:
    # RFC 4253, section 6.4; OpenSSH's PROTOCOL, section 1.5; RFC 4344 for the counter.
    kind = MACS[mac]
    packet = make_sealer(b"aes256-ctr", mac, KEYS).seal(0xFFFFFFFF, 94, b"payload")
    body, tag = packet[: -kind.size], packet[-kind.size :]
    decryptor = Cipher(algorithms.AES(KEYS.key[:32]), modes.CTR(KEYS.iv[:16])).decryptor()
    plain = body[:4] + decryptor.update(body[4:]) if kind.etm else decryptor.update(body)
    authenticated = body if kind.etm else plain
    key = KEYS.mac[: kind.size]
    assert tag == hmac.new(key, b"\xff" * 4 + authenticated, getattr(hashlib, kind.digest)).digest()
    assert plain[5:13] == b"\x5epayload"


@pairs
@examples(30)
@given(payloads=st.lists(st.binary(max_size=300), max_size=5), first=st.sampled_from([0, 3, SEQUENCE - 1]))
def test_what_is_sealed_is_opened(cipher: bytes, mac: bytes, payloads: list[bytes], first: int) -> None:
    sealer, opener = make_sealer(cipher, mac, KEYS), make_opener(cipher, mac, KEYS)
    for at, payload in enumerate(payloads):
        sequence = (first + at) & SEQUENCE
        packet = sealer.seal(sequence, 94, payload)
        assert opened(opener, packet, sequence) == b"\x5e" + payload
        assert payload not in packet or len(payload) < 8


@examples(30)
@given(payload=st.binary(max_size=100))
def test_packets_in_clear(payload: bytes) -> None:
    assert opened(PlainOpener(), PlainSealer().seal(0, 20, payload)) == b"\x14" + payload


@pairs
def test_a_changed_bit_anywhere_is_noticed(cipher: bytes, mac: bytes) -> None:
    packet = make_sealer(cipher, mac, KEYS).seal(1, 94, b"some payload")
    for at in range(8 * len(packet)):
        changed = bytearray(packet)
        changed[at // 8] ^= 1 << at % 8
        opener = make_opener(cipher, mac, KEYS)
        opener.length(1, bytes(changed[: opener.head]))  # whatever it is; the transport bounds it
        with pytest.raises(BadPacket):
            opener.open(1, bytes(changed))


@pairs
def test_a_packet_of_another_number_or_of_other_keys_is_not_taken(cipher: bytes, mac: bytes) -> None:
    packet = make_sealer(cipher, mac, KEYS).seal(1, 94, b"x")
    others = Keys(KEYS.iv, bytes(64), bytes(64))
    wrong = [(make_opener(cipher, mac, others), 1)]
    if b"gcm" not in cipher:  # which counts for itself
        wrong.append((make_opener(cipher, mac, KEYS), 2))
    for opener, sequence in wrong:
        opener.length(sequence, packet[: opener.head])
        with pytest.raises(BadPacket):
            opener.open(sequence, packet)


@each(("cipher", "mac"), [pair for pair in PAIRS if pair[0] != CHACHA])
@each("padding", [0, 3, 15, 200, 255])
def test_authentic_packets_with_wrong_padding_are_malformed(cipher: bytes, mac: bytes, padding: int) -> None:
    kind = CIPHERS[cipher]
    opener = make_opener(cipher, mac, KEYS)
    body = bytes([padding]) + bytes(15 if opener.uncounted else 11)
    head = struct.pack(">L", len(body))
    keys = KEYS.cut(kind)
    if kind.authenticates:
        encryptor = Cipher(algorithms.AES(keys.key), modes.GCM(keys.iv)).encryptor()
        encryptor.authenticate_additional_data(head)
        packet = head + encryptor.update(body) + encryptor.finalize() + encryptor.tag
    else:
        digest, size, etm = MACS[mac]
        update = Cipher(algorithms.AES(keys.key), modes.CTR(keys.iv)).encryptor().update
        packet = head + update(body) if etm else update(head + body)
        packet += hmac.digest(keys.mac[:size], bytes(4) + (packet if etm else head + body), digest)
    with pytest.raises(BadPacket, match="padding"):
        opened(opener, packet)
