"""Logins said packet by packet: an operators file in place of the one key, and each method's requests."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from tests.support.ssh import (
    EXT_INFO,
    SERVICE_ACCEPT,
    USERAUTH_FAILURE,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    Client,
    SSHWorld,
    authorized_line,
    ed25519_key,
)
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.guests import GuestList
from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.limits import LONGEST_DELAY

INFO_REQUEST, INFO_RESPONSE = 60, 61
SECRET = "correct horse"


@cache
def cheap_hash(secret: str = SECRET) -> str:
    """A hash that costs next to nothing."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(secret)


def line(number: int = 0, options: str = "") -> str:
    """A key's line, in TOML's quotes."""
    return f"'{options}{' ' if options else ''}{authorized_line(ed25519_key(number)).decode()}'"


def use_operators(w: SSHWorld, text: str, guests: GuestList | None = None) -> Path:
    """Have the operators say a file, from now on."""
    path = w.folder / "operators.toml"
    path.write_text(text)
    path.chmod(0o600)
    in_thread, clock = w.services.in_thread, w.services.clock
    accounts = Authenticator(AccountSettings(path), "nobody", in_thread, clock, w.audit.record, guests=guests)
    w.factory.use_accounts(accounts)
    accounts.load()
    return path


def begun(w: SSHWorld) -> Client:
    """A client whose login can begin."""
    client = w.connect()
    client.ask_for_login()
    client.taken(SERVICE_ACCEPT, EXT_INFO)
    return client


def request(user: str | bytes, method: bytes, rest: bytes = b"") -> bytes:
    name = user.encode() if isinstance(user, str) else user
    return NS(name) + NS(b"ssh-connection") + NS(method) + rest


def password(client: Client, user: str | bytes, secret: str | bytes = SECRET) -> bool:
    """Try a password, and wait as long as the answer takes.

    :returns: whether it led in.
    """
    client.send(USERAUTH_REQUEST, request(user, b"password", b"\0" + NS(secret)))
    _held_back(client)
    return answered(client)


def interactive(client: Client, user: str | bytes, secret: str | bytes = SECRET) -> bool:
    """The same with a prompt."""
    client.send(USERAUTH_REQUEST, request(user, b"keyboard-interactive", NS(b"") + NS(b"")))
    assert client.taken(INFO_REQUEST)
    client.send(INFO_RESPONSE, struct.pack(">L", 1) + NS(secret))
    _held_back(client)
    return answered(client)


def _held_back(client: Client) -> None:
    """Wait until the password is looked at: after failures that takes its time."""
    client.world.clock.advance(client.world.factory.accounts.delays.present("10.1.2.9"))
    client.pump()


def with_key(client: Client, user: str, key: Key | None = None, **options: Any) -> bool:
    """Try a key with its signature."""
    packet = client.auth_packet(user.encode(), key or ed25519_key(), **options)
    client.send(USERAUTH_REQUEST, packet)
    return answered(client)


def with_certificate(client: Client, user: str, key: Key, certificate: bytes, algorithm: bytes = b"") -> bool:
    """Try a certificate, signed with its key."""
    client.send(USERAUTH_REQUEST, certificate_packet(client, user, key, certificate, algorithm))
    return answered(client)


def certificate_packet(client: Client, user: str, key: Key, certificate: bytes, algorithm: bytes = b"") -> bytes:
    plain = algorithm or key.sshType()
    body = request(user, b"publickey", b"\1" + NS(plain + b"-cert-v01@openssh.com") + NS(certificate))
    assert client.sessionID is not None
    return body + NS(key.sign(NS(client.sessionID) + bytes([USERAUTH_REQUEST]) + body, plain))


def answered(client: Client) -> bool:
    """Wait for the answer to a try.

    :returns: whether it led in.
    """
    if not client.taken(USERAUTH_SUCCESS):
        client.world.clock.advance(LONGEST_DELAY)
        client.pump()
        assert USERAUTH_SUCCESS not in client.numbers, "success was held back"
        assert client.closed or client.taken(USERAUTH_FAILURE)
        return False
    return True


class Authority:
    """A certificate authority: the real ``ssh-keygen``."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("ssh-keygen") is None:
            pytest.skip("there is no ssh-keygen (Debian: openssh-client)")
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._keygen("-t", "ed25519", "-N", "", "-f", str(folder / "ca"))
        self.line = (folder / "ca.pub").read_text().strip()

    def _keygen(self, *words: str) -> None:
        subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def certify(self, key: Key, principals: str, *options: str) -> bytes:
        """:returns: a certificate's blob."""
        (self.folder / "user.pub").write_bytes(authorized_line(key) + b"\n")
        names = ("-n", principals) if principals else ()
        self._keygen(
            "-s", str(self.folder / "ca"), "-I", "the-id", "-z", "7", *names, *options, str(self.folder / "user.pub")
        )
        return base64.b64decode((self.folder / "user-cert.pub").read_bytes().split()[1])
