"""Public keys in SSH's formats, and their fields.

Shared by lists of keys, certificates and revocation lists. The ``cryptography`` library decides whether a key is valid:
unlike conch's parsers it rejects truncated keys and trailing bytes, so that half a line of a file is never taken for
another, weaker key.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.serialization import SSHPublicKeyTypes, load_ssh_public_key

PUBLIC_KEY_LIMIT = 16 * 1024
"""Bound: bytes of a public key."""

KEY_TYPES: dict[bytes, int] = {
    b"ssh-ed25519": 1,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"ssh-rsa": 2,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
"""The accepted types of key, and the number of strings in each, without the type."""

SECURITY_KEY = b"sk-"
"""The prefix of types of keys in a security key (FIDO)."""

CERTIFICATE_SUFFIX = b"-cert-v01@openssh.com"
"""The suffix of a key's type, less its own ``@openssh.com``, in the type of a certificate for it."""

_TYPE_LIMIT = 64
_DOMAIN = b"@openssh.com"


class Fields:
    """Takes one field after the other from bytes in SSH's format (RFC 4251, section 5).

    Every method raises :exc:`ValueError` where fewer bytes are left than the field has.
    """

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def more(self) -> bool:
        """Whether any bytes are left."""
        return self.at < len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self.at:
            raise ValueError("cut short")
        self.at += count
        return self._data[self.at - count : self.at]

    def since(self, start: int) -> bytes:
        """The bytes taken since a position."""
        return self._data[start : self.at]

    def number(self, size: int) -> int:
        """Take an unsigned number of some bytes."""
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        """Take a string with its length in front."""
        return self.take(self.number(4))

    def strings(self) -> list[bytes]:
        """Take the rest, as strings."""
        found = []
        while self.more:
            found.append(self.string())
        return found


def key_type(blob: bytes) -> bytes:
    """The type in a key's blob; ``b""`` if there is none."""
    try:
        return Fields(blob[: 4 + _TYPE_LIMIT]).string()
    except ValueError:
        return b""


def key_problem(blob: bytes) -> str:
    """The problem of a public key; ``""`` if it is valid."""
    kind = key_type(blob)
    if kind not in KEY_TYPES:
        return "is of a type that is not supported"
    if len(blob) > PUBLIC_KEY_LIMIT:
        return f"is longer than {PUBLIC_KEY_LIMIT} bytes"
    try:
        load_key(blob)
    except Exception as error:  # the library's parsers raise whatever comes their way
        return f"is malformed ({error.__class__.__name__})"
    return ""


def load_key(blob: bytes) -> SSHPublicKeyTypes:
    """The key of a blob; of a security key, its signing key. Raises whatever the library raises."""
    return load_ssh_public_key(key_type(blob) + b" " + base64.b64encode(blob))


def certified_type(certificate_type: bytes) -> bytes:
    """The type of key of a type of certificate; ``b""`` if it is not accepted."""
    plain = certificate_type.removesuffix(CERTIFICATE_SUFFIX)
    if plain == certificate_type:
        return b""
    return next((kind for kind in KEY_TYPES if kind.removesuffix(_DOMAIN) == plain), b"")


def take_certified_key(fields: Fields) -> bytes:
    """Take the beginning of a certificate: its type, its nonce and the key inside.

    :returns: that key as it would stand alone.
    :raises ValueError: if that is not what the bytes are.
    """
    kind = certified_type(fields.string())
    if not kind:
        raise ValueError("not a certificate for a type of key that is supported")
    fields.string()  # the nonce
    start = fields.at
    for _ in range(KEY_TYPES[kind]):
        fields.string()
    return len(kind).to_bytes(4, "big") + kind + fields.since(start)


def certified_key(certificate: bytes) -> bytes:
    """The key inside a certificate, which is not checked otherwise.

    :raises ValueError: if it is not a certificate.
    """
    return take_certified_key(Fields(certificate))


def fingerprint(blob: bytes) -> str:
    """``SHA256:...`` as ``ssh-keygen -l`` shows it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def decoded_key(words: list[bytes]) -> bytes:
    """The key of a line ``TYPE BASE64 COMMENT``.

    :param words: the line's words.
    :returns: the key's blob.
    :raises ValueError: if it is not one; the text says what it is instead: "is malformed (...)".
    """
    if not words or words[0] not in KEY_TYPES:
        raise ValueError("has a type that is not supported")
    if len(words) < 2:
        raise ValueError("is malformed (nothing follows its type)")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except ValueError:
        raise ValueError("is malformed (not base64)") from None
    if problem := key_problem(blob):
        raise ValueError(problem)
    if key_type(blob) != words[0]:
        raise ValueError("is of another type than it says")
    return blob
