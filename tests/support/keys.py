"""The real ``ssh-keygen``: keys, certificates and revocation lists as people make them."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

PROGRAM = shutil.which("ssh-keygen")

VALID_FROM = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
VALID_TO = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
NOW = datetime(2025, 6, 1, tzinfo=UTC).timestamp()
ADDRESS = "10.1.2.3"


def string(data: bytes) -> bytes:
    """A string in SSH's format."""
    return len(data).to_bytes(4, "big") + data


def blob_of(path: Path) -> bytes:
    """The second word of a public key's or certificate's file."""
    return base64.b64decode(path.read_bytes().split()[1])


class Keygen:
    """Makes things in a folder; a key of a kind is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str | Path) -> str:
        assert PROGRAM is not None
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, kind: str, name: str = "user") -> Path:
        """A key; its public half stands beside it with ``.pub``.

        :param kind: ``ed25519``, ``ecdsa-384``, ``rsa-2048``...
        """
        path = self.folder / f"{name}-{kind}"
        if not path.exists():
            algorithm, _, bits = kind.partition("-")
            self.run("-q", "-t", algorithm, *(("-b", bits) if bits else ()), "-N", "", "-C", name, "-f", path)
        return path

    def public(self, kind: str, name: str = "user") -> Path:
        return self.key(kind, name).with_suffix(".pub")

    def blob(self, kind: str, name: str = "user") -> bytes:
        return blob_of(self.public(kind, name))

    def security_key(self) -> Path:
        """The public half of a key in a security key that there is not."""
        path = self.folder / "security.pub"
        blob = string(b"sk-ssh-ed25519@openssh.com") + self.blob("ed25519")[-36:] + string(b"ssh:")
        path.write_bytes(b"sk-ssh-ed25519@openssh.com " + base64.b64encode(blob) + b" yubikey\n")
        return path

    def certificate(
        self,
        *options: str,
        user: str = "ed25519",
        authority: str = "ed25519",
        principals: str | None = "alice",
        key_id: str = "alice@example",
        serial: int = 7,
        valid: str = "20250101000000:20260101000000",
        public: Path | None = None,
    ) -> bytes:
        """A certificate.

        :param options: further arguments.
        :param public: the public half to be certified, if it is not a key of the kind ``user``.
        :returns: its blob.
        """
        original = public or self.public(user)
        copy = self.folder / "to-sign.pub"
        copy.write_bytes(original.read_bytes())
        names = () if principals is None else ("-n", principals)
        self.run(
            *("-q", "-s", self.key(authority, "ca"), "-I", key_id, "-z", str(serial), "-V", valid),
            *(*names, *options, copy),
        )
        return blob_of(self.folder / "to-sign-cert.pub")


def make_keygen(tmp_path_factory: pytest.TempPathFactory) -> Keygen:
    """What a module's fixture gives; without the program the test is skipped."""
    if PROGRAM is None:
        pytest.skip("ssh-keygen is not installed")
    return Keygen(tmp_path_factory.mktemp("keygen"))
