"""What is offered, and what client and server agree on."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS

from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.errors import VMProxyError
from vmproxy.ssh import key_exchange, packets
from vmproxy.ssh.algorithms import (
    DEFAULT_KEX,
    HOST_KEYS,
    KEXINIT_LIMIT,
    STRICT_CLIENT,
    Algorithms,
    NoAgreement,
    agree,
    choice,
)

OURS = Algorithms()
KEX, HOST_KEY, AEAD, CTR, MAC = (
    b"curve25519-sha256",
    b"ssh-ed25519",
    b"aes128-gcm@openssh.com",
    b"aes128-ctr",
    b"hmac-sha2-256",
)


def kexinit(
    kex: bytes = KEX,
    host_key: bytes = HOST_KEY,
    ciphers: tuple[bytes, bytes] = (CTR, CTR),
    macs: tuple[bytes, bytes] = (MAC, MAC),
    compression: bytes = b"none",
    guess: bool = False,
) -> bytes:
    lists = (kex, host_key, *ciphers, *macs, compression, compression, b"", b"")
    return bytes(16) + b"".join(map(NS, lists)) + struct.pack(">?L", guess, 0)


def test_the_clients_order_counts() -> None:
    names = b"unknown,aes128-gcm@openssh.com,aes256-ctr"
    assert agree(OURS, kexinit(ciphers=(names, CTR))).inward == (AEAD, b"")
    assert agree(OURS, kexinit(ciphers=(names, CTR))).outward == (CTR, MAC)


def test_beside_a_cipher_that_authenticates_any_mac_will_do() -> None:
    assert agree(OURS, kexinit(ciphers=(AEAD, AEAD), macs=(b"umac-128-etm@openssh.com", b""))).inward == (AEAD, b"")


@each(
    ("offer", "told"),
    [
        (kexinit(kex=b"diffie-hellman-group1-sha1"), "no common key exchange method: the client has diffie-hellman-gr"),
        (kexinit(kex=b"ecdh-sha2-nistp256," + STRICT_CLIENT), "and ssh.kex has mlkem768x25519-sha256,curve25519"),
        (kexinit(kex=STRICT_CLIENT), "key exchange"),
        (kexinit(kex=b"kex-strict-s-v00@openssh.com,ext-info-s"), "key exchange"),
        (kexinit(host_key=b"ssh-rsa,ecdsa-sha2-nistp256"), "host key algorithm"),
        (kexinit(ciphers=(b"aes128-cbc", CTR)), "cipher"),
        (kexinit(ciphers=(CTR, b"none")), "cipher"),
        (kexinit(macs=(b"hmac-sha1", MAC)), "MAC: the client has hmac-sha1, and ssh.macs has"),
        (kexinit(ciphers=(AEAD, CTR), macs=(MAC, b"none")), "MAC"),
        (kexinit(compression=b"zlib@openssh.com"), "compression"),
        (kexinit(kex=b""), "the client has none"),
        (kexinit(kex=b"\xff\x1b[2J"), "\\x1b"),
    ],
)
def test_where_nothing_is_common_it_is_told_what_the_client_has(offer: bytes, told: str) -> None:
    with pytest.raises(NoAgreement) as caught:
        agree(OURS, offer)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("kex", "host_key", "wrong"),
    [
        (DEFAULT_KEX[0], b"ssh-ed25519", False),
        (KEX + b"," + DEFAULT_KEX[0], b"ssh-ed25519", True),
        (DEFAULT_KEX[0], b"rsa-sha2-512", True),
    ],
)
def test_a_guess_is_right_if_both_sides_prefer_it(kex: bytes, host_key: bytes, wrong: bool) -> None:
    assert agree(OURS, kexinit(kex, host_key, guess=True)).guess_is_wrong is wrong
    assert agree(OURS, kexinit(kex, host_key)).guess_is_wrong is False


@each("cut", range(0, len(kexinit()), 7))
def test_a_message_that_is_cut_short_is_malformed(cut: int) -> None:
    with pytest.raises((ValueError, struct.error)):
        agree(OURS, kexinit()[:cut])


def test_a_message_is_not_longer_than_any_client_needs() -> None:
    with pytest.raises(ValueError, match="long"):
        agree(OURS, kexinit(kex=b"x," * (KEXINIT_LIMIT // 2)))


@examples(60)
@given(st.binary(max_size=400))
def test_any_message_is_refused_in_words(message: bytes) -> None:
    with pytest.raises((ValueError, NoAgreement)):
        agree(OURS, message)


def test_our_own_message_says_what_is_offered() -> None:
    lists = getNS(OURS.kexinit()[16:], 10)
    assert lists[-1] == bytes(5)
    assert lists[2] == lists[3] == b",".join(packets.CIPHERS)
    assert OURS.kexinit()[:16] != OURS.kexinit()[:16]


# The setting. Its cases are in tests/config/test_settings.py; these are its forms.

KNOWN = [b"one", b"two", b"three", b"four@x"]
kind = choice(KNOWN, (b"one", b"two", b"four@x"), "thing")


@each(
    ("value", "chosen"),
    [
        ("three", "three"),
        ("two,one", "two,one"),
        (["two", "one"], "two,one"),
        (" two , one ", "two,one"),
        ("one,one", "one"),
        ("+three", "one,two,four@x,three"),
        ("+one", "one,two,four@x"),
        (["+three", "one"], "one,two,four@x,three"),
        ("^three", "three,one,two,four@x"),
        ("^two", "two,one,four@x"),
        ("^four@x,three", "four@x,three,one,two"),
        ("-one", "two,four@x"),
        ("-*@x,on?", "two"),
        ("-unknown", "one,two,four@x"),
    ],
)
def test_names_replace_and_signs_change_the_default_as_in_openssh(value: object, chosen: str) -> None:
    assert b",".join(kind(value)).decode() == chosen


@examples(100)
@given(st.text("+-^*,? onethrwfu@x", max_size=20) | st.lists(st.text("+-^*,onetw", max_size=6), max_size=4))
def test_any_text_gives_known_names_or_a_problem_in_words(value: object) -> None:
    try:
        found = kind(value)
    except VMProxyError as error:
        assert str(error)  # noqa: PT017  # either is fine
        return
    assert found
    assert set(found) <= set(KNOWN)
    assert len(set(found)) == len(found)


def test_libraries_without_a_method_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_exchange, "mlkem", None)  # cryptography before 48
    usable = OURS.usable()
    assert OURS.missing(usable) == ["mlkem768x25519-sha256"]
    assert usable.kex == DEFAULT_KEX[1:]
    assert usable.ciphers == OURS.ciphers
    with pytest.raises(VMProxyError, match=r"ssh\.kex: the libraries"):
        Algorithms(kex=(b"mlkem768x25519-sha256",)).usable()


def test_host_keys_are_of_the_types_that_are_made() -> None:
    assert set(HOST_KEYS.values()) == {b"ssh-ed25519", b"ssh-rsa"}
