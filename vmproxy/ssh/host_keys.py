"""The server's own keys: made on first start, kept in the state folder, readable for nobody else.

An Ed25519 key for clients of this decade and an RSA key of 3072 bits for older ones.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from twisted.conch.ssh.keys import EncryptedKeyError, FingerprintFormats, Key

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

RSA_BITS = 3072
_TYPES = {"ed25519": "Ed25519", "rsa": "RSA"}


class HostKeyError(VMProxyError):
    """A host key that cannot be used; the text says why."""


def load_or_make(folder: Path) -> list[Key]:
    """The host keys, those that are missing made now.

    :returns: the Ed25519 key, then the RSA key.
    :raises HostKeyError: if a key cannot be read, or others may read it.
    :raises OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_load(folder / f"ssh_host_{kind}_key", kind) for kind in ("ed25519", "rsa")]


def fingerprint(key: Key) -> str:
    """``SHA256:...`` as ``ssh`` shows it on first contact."""
    return f"SHA256:{key.fingerprint(FingerprintFormats.SHA256_BASE64)}".rstrip("=")


def _load(path: Path, kind: str) -> Key:
    if not path.exists():
        make_key(path, kind)
    if path.stat().st_mode & 0o077:
        raise HostKeyError(f"{path}: others may read this private key; chmod 600 it, or remove it to get a new one")
    try:
        key = _parsed(path.read_bytes())
    except EncryptedKeyError:
        raise HostKeyError(f"{path}: has a passphrase, which nobody is there to enter") from None
    except Exception as error:  # conch's parsers raise whatever comes their way
        raise HostKeyError(f"{path}: not a private key ({visible(str(error), 200)})") from None
    if key.isPublic() or key.type() != _TYPES[kind]:
        raise HostKeyError(f"{path}: not a private key of the kind {kind}")
    return key


def _parsed(data: bytes) -> Key:
    # To prove that the factors of an RSA key are primes takes a tenth of a second, of a start of less than one. Whoever
    # has changed them could have taken the key; that it is in one piece shows in that it signs. Everything else goes
    # the long way, which says what is wrong.
    try:
        key = load_ssh_private_key(data, None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, RSAPrivateKey):
            key.public_key().verify(key.sign(data, PKCS1v15(), SHA256()), data, PKCS1v15(), SHA256())
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        parsed: Key = Key.fromString(data)
        return parsed
    return Key(key)


def make_key(path: Path, kind: str) -> None:
    """Make a key pair as ``ssh-keygen`` would: ``path`` for its owner alone, and ``path.pub``.

    :param kind: ``ed25519`` or ``rsa``.
    :raises FileExistsError: if there is one.
    """
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(65537, RSA_BITS)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name(path.name + ".pub").write_bytes(public + b" vmproxy\n")
