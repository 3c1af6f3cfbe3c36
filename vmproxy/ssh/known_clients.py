"""Clients that are in wide use, and what they offer: whom a choice of algorithms shuts out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmproxy.ssh.algorithms import Algorithms
from vmproxy.ssh.packets import CIPHERS


class KnownClient(NamedTuple):
    """What of our algorithms a client offers by default. MACs and ciphers that are not ours are left out."""

    name: str
    kex: str
    host_keys: str
    ciphers: str
    macs: str


_X25519 = "curve25519-sha256 curve25519-sha256@libssh.org"
_NIST = "ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521"
_GEX = "diffie-hellman-group-exchange-sha256"
_GROUPS = f"diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 {_GEX}"
_RSA = "rsa-sha2-512 rsa-sha2-256"
_CTR = "aes128-ctr aes192-ctr aes256-ctr"
_GCM = "aes128-gcm@openssh.com aes256-gcm@openssh.com"
_CHACHA = "chacha20-poly1305@openssh.com"
_HMAC = "hmac-sha2-256 hmac-sha2-512"
_ETM = "hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com"

KNOWN_CLIENTS = (
    KnownClient(
        "OpenSSH from 7.4 on",
        f"{_X25519} {_NIST} {_GROUPS}",
        f"ssh-ed25519 {_RSA}",
        f"{_CHACHA} {_CTR} {_GCM}",
        f"{_ETM} {_HMAC}",
    ),
    KnownClient(
        "OpenSSH in FIPS mode (RHEL 8 and 9)",
        f"{_NIST} {_GROUPS}",
        _RSA,
        "aes256-gcm@openssh.com aes128-gcm@openssh.com aes256-ctr aes128-ctr",
        f"{_ETM} {_HMAC}",
    ),
    KnownClient(
        "OpenSSH hardened by ssh-audit's guide", f"{_X25519} {_GROUPS}", f"ssh-ed25519 {_RSA}", f"{_GCM} {_CTR}", _ETM
    ),
    KnownClient(
        "PuTTY from 0.75 on",
        f"{_X25519} {_NIST} {_GEX}",
        f"ssh-ed25519 {_RSA}",
        f"aes256-ctr aes192-ctr aes128-ctr {_CHACHA}",
        "hmac-sha2-256 hmac-sha2-256-etm@openssh.com",
    ),
    KnownClient(
        "Dropbear from 2020.79 on",
        f"{_X25519} {_NIST}",
        "ssh-ed25519 rsa-sha2-256",
        f"{_CHACHA} aes128-ctr aes256-ctr",
        "hmac-sha2-256",
    ),
    KnownClient(
        "paramiko from 2.9 on (Ansible, netmiko)",
        f"curve25519-sha256@libssh.org {_NIST} diffie-hellman-group16-sha512 {_GEX}",
        f"ssh-ed25519 {_RSA}",
        _CTR,
        f"{_HMAC} {_ETM}",
    ),
)


def shut_out(ours: Algorithms) -> Iterator[tuple[str, str]]:
    """The clients that cannot log in, as the key of a setting and what is missing."""
    for client in KNOWN_CLIENTS:
        ciphers = _common(client.ciphers, ours.ciphers)
        needs_mac = bool(ciphers) and not CIPHERS[ciphers[0]].authenticates  # it takes the first of its own list
        for key, theirs, found in (
            ("kex", client.kex, _common(client.kex, ours.kex)),
            ("host-key-algorithms", client.host_keys, _common(client.host_keys, ours.host_keys)),
            ("ciphers", client.ciphers, ciphers),
            ("macs", client.macs, not needs_mac or _common(client.macs, ours.macs)),
        ):
            if not found:
                yield f"ssh.{key}", f"{client.name} cannot log in; of what there is, it has {', '.join(theirs.split())}"


def _common(theirs: str, ours: tuple[bytes, ...]) -> list[bytes]:
    return [name for name in map(str.encode, theirs.split()) if name in ours]
