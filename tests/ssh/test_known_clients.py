"""Whom a choice of algorithms shuts out."""

from __future__ import annotations

from tests.support.cases import each
from vmproxy.config.settings import SETTINGS
from vmproxy.ssh.algorithms import HOST_KEYS, Algorithms
from vmproxy.ssh.key_exchange import METHODS
from vmproxy.ssh.known_clients import KNOWN_CLIENTS, shut_out
from vmproxy.ssh.packets import CIPHERS, MACS


def told(**settings: str) -> list[str]:
    """The problems with these settings, ``host_keys`` for ``host-key-algorithms``, as in the file."""
    keys = {"host_keys": "host-key-algorithms"}
    values = {name: SETTINGS[f"ssh.{keys.get(name, name)}"].kind(value) for name, value in settings.items()}
    return [f"{key}: {text}" for key, text in shut_out(Algorithms(**values))]


def test_the_default_shuts_out_nobody() -> None:
    assert told() == []


@each(
    ("settings", "whom"),
    [
        ({"macs": "-hmac-sha2-256,hmac-sha2-512"}, []),  # every one of them has an AEAD cipher, or these
        ({"macs": "-hmac-sha2-256,hmac-sha2-512", "ciphers": "-chacha*"}, ["Dropbear"]),
        ({"ciphers": "chacha20-poly1305@openssh.com"}, ["OpenSSH in FIPS", "OpenSSH hardened", "paramiko"]),
        ({"ciphers": "aes256-gcm@openssh.com"}, ["PuTTY", "Dropbear", "paramiko"]),
        ({"kex": "-diffie*"}, ["OpenSSH in FIPS"]),
        ({"kex": "-diffie*,mlkem*", "host_keys": "ssh-ed25519"}, ["OpenSSH in FIPS", "OpenSSH in FIPS"]),
        ({"kex": "ecdh-sha2-nistp256"}, ["OpenSSH hardened"]),
        ({"host_keys": "rsa-sha2-512"}, ["Dropbear"]),
    ],
)
def test_who_is_shut_out_is_named_with_the_setting_and_what_they_have(
    settings: dict[str, str], whom: list[str]
) -> None:
    found = told(**settings)
    assert len(found) == len(whom)
    for line, name in zip(found, whom, strict=True):
        assert f": {name}" in line
        assert line.partition(":")[0] in SETTINGS


def test_clients_are_described_by_names_that_there_are() -> None:
    for client in KNOWN_CLIENTS:
        for names, known in (
            (client.kex, METHODS),
            (client.host_keys, HOST_KEYS),
            (client.ciphers, CIPHERS),
            (client.macs, MACS),
        ):
            assert {name.encode() for name in names.split()} <= set(known)
